"""The picture of the paper's Fig. 3: 3 s trajectories beside what came and a baseline, from above and ahead."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from loopwright.errors import MissingDependency
from loopwright.finetune.evaluate.drive.metrics import corners, rectangles
from loopwright.tools.drive.scene import Point, Sample
from loopwright.tools.drive.views import Colour, camera_view

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = 6
COLOURS = ("tab:blue", "tab:red", "tab:orange", "tab:purple")
TRUTH, TRUTH_COLOUR = "what came", "tab:green"
CAMERA_SIZE_PX = (384, 256)
Way = tuple[str, Sequence[Point] | None, str]
"""A name, points or None, a colour."""
_MARGIN_M = 8.0
_WIDTH = 0.5
"""Of a panel, as a share of its height, at least."""


def plot_trajectories(
    samples: Sequence[Sample], answers: Mapping[str, Sequence[Sequence[Point] | None]], path: Path
) -> None:
    """Draw up to `PANELS` samples as a PNG, from above, the ego's way up; `answers` by name, one a sample.

    Below each, the same through the front camera, drawn from the scene. Samples are those whose first answer lies
    farthest from the last one, of each log in turn. Agents are drawn where they are (filled) and where they are 3 s
    later (dashed).

    Raises:
        MissingDependency: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependency("Pictures need matplotlib: `pip install 'loopwright[train]'`.") from error
    shown = chosen(samples, answers)
    figure = Figure(figsize=(2.9 * len(shown), 7.2), layout="constrained")
    above, ahead = figure.subplots(2, len(shown), squeeze=False, height_ratios=(5, 2))
    for at, top, camera in zip(shown, above, ahead, strict=True):
        ways = _ways(samples[at], {name: said[at] for name, said in answers.items()})
        _from_above(top, samples[at], ways)
        drawn = [(points, _rgb(colour), 1.5 / (1 + k)) for k, (_, points, colour) in enumerate(ways) if points]
        camera.imshow(camera_view(samples[at].scene, "F", *CAMERA_SIZE_PX, ways=drawn))
        camera.set_axis_off()
    figure.legend(*above[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(answers) + 2)
    figure.savefig(path, dpi=110)


def chosen(samples: Sequence[Sample], answers: Mapping[str, Sequence[Sequence[Point] | None]]) -> list[int]:
    """Which samples are shown, in the order of the set."""
    first, last = (list(answers.values())[at] for at in (0, -1))
    apart = [np.linalg.norm(np.subtract(a[-1], b[-1])) if a and b else -1.0 for a, b in zip(first, last, strict=True)]
    by_log: dict[str, list[int]] = {}
    for k in sorted(range(len(samples)), key=lambda k: -apart[k]):
        by_log.setdefault(samples[k].log, []).append(k)
    in_turn = [k for turn in zip_longest(*by_log.values()) for k in turn if k is not None]
    return sorted(in_turn[:PANELS])


def _ways(sample: Sample, answers: Mapping[str, Sequence[Point] | None]) -> list[Way]:
    truth = [point for point in sample.future if point is not None]
    said = [(name, points, COLOURS[k % len(COLOURS)]) for k, (name, points) in enumerate(answers.items())]
    return [(TRUTH, truth, TRUTH_COLOUR), *said]


def _from_above(axes: "Axes", sample: Sample, ways: Sequence[Way]) -> None:
    scene = sample.scene
    for lane in scene.lanes:
        axes.plot(*_across(lane.centre), color="0.85", linewidth=1)
    for outline in corners(rectangles([agent.box for agent in scene.agents])):
        axes.fill(-outline[:, 1], outline[:, 0], color="0.6")
    later = [futures[-1] for futures in sample.agent_futures.values() if futures[-1] is not None]
    for outline in corners(rectangles(later)):
        axes.fill(-outline[:, 1], outline[:, 0], fill=False, linestyle="--", edgecolor="0.6")
    ego = corners(rectangles([scene.ego]))[0]
    axes.fill(-ego[:, 1], ego[:, 0], color="black")
    axes.plot(*_across(scene.history), color="black", linestyle=":", label="past 2 s")
    for name, points, colour in ways:
        shown = _across([(0.0, 0.0), *points]) if points else ([], [])
        wide, alpha = (5.0, 0.5) if name == TRUTH else (1.5, 1.0)
        axes.plot(*shown, color=colour, linewidth=wide, alpha=alpha, marker=".", label=name)
    _frame(axes, np.array([(0.0, 0.0), *(point for _, points, _ in ways for point in points or ())]))
    axes.set_title(f"{scene.token[-24:]}\n{scene.speed_mps:.1f} m/s, {scene.command}", fontsize="small")
    axes.set_xlabel("m to the right")
    axes.set_ylabel("m ahead")


def _frame(axes: "Axes", drawn: NDArray[np.float64]) -> None:
    """Around the points (n, 2) that are drawn, wide enough to see beside them."""
    low, high = drawn[:, 0].min() - 2 * _MARGIN_M, drawn[:, 0].max() + _MARGIN_M
    middle = -(drawn[:, 1].max() + drawn[:, 1].min()) / 2
    half = max((high - low) * _WIDTH, np.ptp(drawn[:, 1]) + _MARGIN_M) / 2
    axes.set_ylim(low, high)
    axes.set_xlim(middle - half, middle + half)
    axes.set_aspect("equal")


def _across(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    """To the right and ahead: x is up."""
    return [-y for _, y in points], [x for x, _ in points]


def _rgb(colour: str) -> Colour:
    from matplotlib.colors import to_rgb

    r, g, b = (round(255 * each) for each in to_rgb(colour))
    return r, g, b
