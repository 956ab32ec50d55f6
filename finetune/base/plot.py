"""The picture of a run: its losses, and how much of what it is asked it gets right on held-out cases."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot(metrics: Path, picture: Path) -> None:
    """Draw the lines of `metrics` (JSON, one object a line, each with `step`) as a PNG."""
    from matplotlib.figure import Figure

    records = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    figure = Figure(figsize=(10, 4), layout="constrained")
    of_loss, of_exact = figure.subplots(1, 2)
    _draw(of_loss, records, ["answer", "seen", "known", "found"])
    of_loss.set(xlabel="step", ylabel="loss", yscale="log", title="training")
    _draw(of_exact, records, sorted({key for record in records for key in record if key.endswith("exact")}))
    of_exact.set(xlabel="step", ylabel="exact answers", ylim=(0, 1), title="held-out cases")
    figure.savefig(picture)


def _draw(axes: "Axes", records: list[dict[str, float]], names: list[str]) -> None:
    """One line for each name that has a value above zero: the eye's stage has no loss of words."""
    for name in names:
        points = [(record["step"], record[name]) for record in records if record.get(name) is not None]
        if any(value for _, value in points):
            axes.plot(*zip(*points, strict=True), label=name)
            axes.legend(fontsize="small")
