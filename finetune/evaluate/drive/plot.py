"""The picture of the paper's Fig. 3: 3 s trajectories beside what came and a baseline, from above."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loopwright.errors import MissingDependency
from loopwright.finetune.evaluate.drive.metrics import corners, rectangles
from loopwright.tools.drive.scene import Point, Sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = 6
COLOURS = ("tab:blue", "tab:red", "tab:orange", "tab:purple")
TRUTH, TRUTH_COLOUR = "what came", "tab:green"
_MARGIN_M = 8.0
_WIDTH = 0.5
"""Of a panel, as a share of its height, at least."""


def plot_trajectories(
    samples: Sequence[Sample], answers: Mapping[str, Sequence[Sequence[Point] | None]], path: Path
) -> None:
    """Draw up to `PANELS` samples as a PNG, the ego at the bottom and its way up; `answers` by name, one a sample.

    Samples are those whose first answer lies farthest from the last one, of each log in turn. Agents are drawn where
    they are (filled) and where they are 3 s later (dashed).

    Raises:
        MissingDependency: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependency("Pictures need matplotlib: `pip install 'loopwright[train]'`.") from error
    shown = chosen(samples, answers)
    figure = Figure(figsize=(2.9 * len(shown), 5.2), layout="constrained")
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, k in zip(panels, shown, strict=True):
        _panel(axes, samples[k], {name: said[k] for name, said in answers.items()})
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(answers) + 2)
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


def _panel(axes: "Axes", sample: Sample, answers: Mapping[str, Sequence[Point] | None]) -> None:
    scene = sample.scene
    for lane in scene.lanes:
        axes.plot(*_across(lane.centre), color="0.85", linewidth=1)
    boxes = [agent.box for agent in scene.agents]
    for outline in corners(rectangles(boxes)):
        axes.fill(-outline[:, 1], outline[:, 0], color="0.6")
    later = [futures[-1] for futures in sample.agent_futures.values() if futures[-1] is not None]
    for outline in corners(rectangles(later)):
        axes.fill(-outline[:, 1], outline[:, 0], fill=False, linestyle="--", edgecolor="0.6")
    ego = corners(rectangles([scene.ego]))[0]
    axes.fill(-ego[:, 1], ego[:, 0], color="black")
    axes.plot(*_across(scene.history), color="black", linestyle=":", label="past 2 s")
    truth = [(0.0, 0.0), *(point for point in sample.future if point is not None)]
    drawn: list[tuple[str, Sequence[Point] | None, str]] = [(TRUTH, truth, TRUTH_COLOUR)]
    drawn += [(name, said, COLOURS[k % len(COLOURS)]) for k, (name, said) in enumerate(answers.items())]
    for name, points, colour in drawn:
        shown: Any = _across([(0.0, 0.0), *points]) if points else ([], [])
        wide = 5 if name == TRUTH else 1.5
        axes.plot(*shown, color=colour, linewidth=wide, alpha=0.5 if name == TRUTH else 1, marker=".", label=name)
    ways = np.array([point for _, points, _ in drawn for point in points or ()])
    low, high = ways[:, 0].min() - 2 * _MARGIN_M, ways[:, 0].max() + _MARGIN_M
    middle, half = -(ways[:, 1].max() + ways[:, 1].min()) / 2, max((high - low) * _WIDTH, np.ptp(ways[:, 1])) / 2
    axes.set_ylim(low, high)
    axes.set_xlim(middle - half, middle + half)
    axes.set_aspect("equal")
    axes.set_title(f"{scene.token[-24:]}\n{scene.speed_mps:.1f} m/s, {scene.command}", fontsize="small")
    axes.set_xlabel("m to the right")
    axes.set_ylabel("m ahead")


def _across(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    """To the right and ahead: x is up."""
    return [-y for _, y in points], [x for x, _ in points]
