"""How a step of the drive loop looks in the console: the road with what is decided, and the imagined frames."""

from collections.abc import Mapping
from typing import Any

from loopwright.graphs.drive.report import PACKAGE, over
from loopwright.graphs.drive.run import DriveRun
from loopwright.graphs.drive.steps import DriveStep
from loopwright.graphs.report import render_template
from loopwright.graphs.step_view import Picture, StepView
from loopwright.graphs.steps import SessionStep
from loopwright.schema import ImageRef


def show(run: DriveRun, prepared: Mapping[str, Any], step: SessionStep) -> StepView:
    """What is seen, with the trajectory; what is imagined of what comes; and what was imagined of this very moment."""
    one = DriveStep(**vars(step))
    road = one.road
    pictures = []
    if road is not None:
        images = {"from above": road.images.top, **{view: getattr(road.images, view) for view in run.cameras}}
        marks = over(one, run.horizon_s)
        for name, image in images.items():
            if image is not None:
                pictures.append(Picture(image, f"Seen {name}", marks if name == "from above" else type(marks)("")))
    if one.imagined is not None:
        pictures.append(Picture(one.imagined.image, f"Imagined for {one.imagined.horizon_s:g} s later"))
    for then in one.came:
        image = ImageRef.model_validate(then["imagined"])
        pictures.append(Picture(image, f"Imagined {then['horizon_s']:g} s earlier of this moment"))
    html = render_template(
        "moment.html.j2", PACKAGE, road=road, thought=one.thoughts[-1] if one.thoughts else None, came=one.came
    )
    return StepView(tuple(pictures), html)
