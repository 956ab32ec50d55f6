"""The picture of a run: its losses, and how much of what it is asked it gets right on held-out cases."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot(metrics: Path, picture: Path) -> None:
    """Draw the lines of `metrics` (JSON, one object a line, each with `step`) as a PNG."""
    from matplotlib.figure import Figure

    records = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    exact = sorted({key for record in records for key in record if key.endswith("/exact")})
    worlds = sorted({key.partition("/")[0] for key in exact})
    figure = Figure(figsize=(6 * (1 + len(worlds)), 4), layout="constrained")
    of_loss, *of_worlds = figure.subplots(1, 1 + len(worlds), squeeze=False)[0]
    _draw(of_loss, records, {name: name for name in ("answer", "seen", "known", "found", "repeated", "read")})
    of_loss.set(xlabel="step", ylabel="loss", yscale="log", title="training")
    for axes, world in zip(of_worlds, worlds, strict=True):
        kinds = {key: _kind(key, world) for key in exact if key.startswith(f"{world}/")}
        _draw(axes, records, kinds)
        axes.set(xlabel="step", ylabel="exact answers", ylim=(0, 1.02), title=f"{world}, held-out cases")
    figure.savefig(picture)


def _kind(key: str, world: str) -> str:
    """What is asked: "where" of "world/where/exact", "all" of "world/exact"."""
    return key.removeprefix(f"{world}/").removesuffix("exact").removesuffix("/") or "all"


def _draw(axes: "Axes", records: list[dict[str, float]], labels: Mapping[str, str]) -> None:
    """A line for each key of `labels` with a value above zero: the eye's stage has no loss of words."""
    for name, label in labels.items():
        points = [(record["step"], record[name]) for record in records if record.get(name) is not None]
        if any(value for _, value in points):
            width = 3 if label == "all" else 1.5
            axes.plot(*zip(*points, strict=True), label=label, linewidth=width, marker=".")
            axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
