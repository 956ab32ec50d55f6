"""A step as a page shows it while the session runs: its picture, what is drawn over it, and what it is said to show.

A loop says how its own steps look (`Loop(show=...)`), and what pointing at a picture of them may mean
(`Loop(pointed=...)`). Knows no loop, and no page.
"""

from typing import NamedTuple

from markupsafe import Markup

from loopwright.agents.sessions.export import image_refs
from loopwright.errors import BadInput
from loopwright.graphs.loop.declare import Declaration
from loopwright.graphs.steps import SessionStep
from loopwright.memory import SessionRow
from loopwright.schema import ImageRef


class Picture(NamedTuple):
    """One picture. `svg` is drawn over it, in pixels of the picture: origin at the top left corner, u right, v down."""

    image: ImageRef
    title: str = ""
    svg: Markup = Markup("")


class StepView(NamedTuple):
    """`pictures`, the main one first; `html` says what they are taken to show. Both with the classes of the report."""

    pictures: tuple[Picture, ...] = ()
    html: Markup = Markup("")


class Pointed(NamedTuple):
    """A place on the main picture of a step, px; `to` is where a drag ended, None for a click."""

    at_px: tuple[float, float]
    to_px: tuple[float, float] | None = None


def step_view(loop: Declaration | None, row: SessionRow, step: SessionStep) -> StepView:
    """A step of a session as its loop shows it; without a loop, or a `show` of its own, what its tools kept."""
    if loop is not None and loop.show is not None and step.seen is not None:
        shown: StepView = loop.show(*_kept(loop, row), step)
        return shown
    return StepView(tuple(Picture(ref) for ref in kept_pictures(step)[::-1]))


def pointed_at(loop: Declaration, row: SessionRow, step: SessionStep, pointed: Pointed) -> list[str]:
    """What pointing there may mean, as messages to the session.

    Raises:
        BadInput: the loop cannot be pointed at, or the place is outside the picture.
    """
    if loop.pointed is None or step.seen is None:
        raise BadInput(f"The loop {loop.name!r} takes no pointing here. Say it in words: {loop.language.examples}")
    image = step_view(loop, row, step).pictures[0].image
    for u, v in filter(None, pointed):
        if not (0 <= u <= image.width_px and 0 <= v <= image.height_px):
            raise BadInput(
                f"({u:g}, {v:g}) px is outside the picture of {image.width_px} x {image.height_px} px. Point inside it."
            )
    return list(loop.pointed(*_kept(loop, row), step, pointed))


def kept_pictures(step: SessionStep) -> list[ImageRef]:
    """What the step began with, and what its tools kept, each once."""
    outputs = [e.payload.get("output") for e in step.events if e.kind in ("observed", "acted")]
    return list({ref.sha256: ref for ref in image_refs([step.seen, *outputs])}.values())


def thumbnail(step: SessionStep) -> ImageRef | None:
    """The picture that a step began with, None where it has none."""
    return next(iter(kept_pictures(step)), None)


def _kept(loop: Declaration, row: SessionRow) -> tuple[object, dict[str, object]]:
    """The configuration of a session's outer loop, and what was prepared for it."""
    kept = row.config["scopes"][""]
    return loop.config.model_validate(kept["config"]), kept["prepared"]
