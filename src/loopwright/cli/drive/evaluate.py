"""`loopwright eval drive`: trajectories beside what came, on recorded drives."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from loopwright.cli.drive import closed, imagination, openloop
from loopwright.errors import BadInput

What = Annotated[
    Literal["open", "imagination", "headroom", "closed"],
    typer.Option(
        help="What to measure: `open`: trajectories beside what came, on recorded drives; `imagination`: imagined "
        "frames beside what came, on simulated ones; `headroom`: whole simulated drives of the planner that knows "
        "all of the future, constant velocities or the present frame alone; `closed`: those beside IDM and other "
        "drivers."
    ),
]
Data = Annotated[
    list[Path] | None,
    typer.Option(
        help="Recorded drives to test on: nuScenes, Argoverse 2, comma2k19, traffic or planning samples; repeat it "
        "for several."
    ),
]
TrainData = Annotated[
    list[Path] | None,
    typer.Option(help="Further recorded drives for what learns; those of a tested log are not used for it."),
]
Predictions = Annotated[
    list[Path] | None,
    typer.Option(help="File of trajectories by token, anybody's; repeat it for several. See docs/drive-data.md."),
]


def evaluate(
    what: What = "open",
    data: Data = None,
    train_data: TrainData = None,
    predictions: Predictions = None,
    axes: Annotated[
        Literal["ego", "fsdrive"],
        typer.Option(help="Of predicted points: `ego` (forward, left), or `fsdrive` (right, forward)."),
    ] = "ego",
    ego_status: Annotated[
        bool, typer.Option("--ego-status/--no-ego-status", help="Whether baselines see the ego's speed and past.")
    ] = True,
    n: Annotated[int, typer.Option(min=1, help="Moments of each horizon (imagination).")] = 200,
    model: Annotated[
        str, typer.Option(help="Model card whose adapter `drive` imagines (imagination, closed).")
    ] = "small",
    skip: Annotated[
        bool, typer.Option("--skip", help="Leave out moments with missing or damaged data, and say which.")
    ] = False,
    scenario: Annotated[
        list[str] | None, typer.Option(help="Simulated road; repeat it for several. By default all.")
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Simulated drives of each driver on each road.")] = 50,
    part: Annotated[Literal["validation", "test"], typer.Option(help="Whose seeds are driven.")] = "test",
    row: Annotated[
        list[str] | None, typer.Option(help="Only this driver's row, such as `oracle`; repeat it for several.")
    ] = None,
    policy: Annotated[
        list[Path] | None, typer.Option(help="Policy of `train drive-policy`, for `closed`; repeat it for several.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Also write tables (Markdown), rows (JSON), a picture or the drives to this folder."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> int:
    """Measure trajectories, imagined frames or whole drives, beside baselines."""
    if what == "imagination":
        return imagination.run(n, model, out, as_json)
    if what != "open":
        simulated = closed.Asked(what, closed.roads(scenario or ()), row or (), episodes, part, policy or (), model)
        return closed.run(simulated, out, as_json)
    if not data:
        raise BadInput("Give `--data PATH`: recorded drives to measure on.")
    asked = openloop.Asked(
        data=data,
        training=train_data or [],
        predictions=predictions or [],
        axes=axes,
        ego_status=ego_status,
        skip=skip,
    )
    return openloop.run(asked, out, as_json)
