"""The heat map of the paper's Fig. 3a: what views centred on each landmark are taken for, a panel a model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loopwright.finetune.evaluate.carm.rankings import MALFORMED
from loopwright.finetune.measure.rows import Row
from loopwright.tools.carm.landmarks import LANDMARKS, landmark_id


def plot_confusion(rows: Sequence[Row], path: Path) -> None:
    """Draw the rows `confusion` of one world as a PNG: true landmarks down, first answers across, shares of each row.

    Landmarks go by their numbers, as in the paper; the last column are malformed answers.
    """
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(row.model for row in rows))
    figure = Figure(figsize=(4.4 * len(models) + 1.6, 4.8), layout="constrained")
    panels = figure.subplots(1, len(models), squeeze=False)[0]
    numbers = [str(landmark_id(name)) for name in LANDMARKS]
    for axes, model in zip(panels, models, strict=True):
        axes.imshow(shares([row for row in rows if row.model == model]), vmin=0, vmax=1, cmap="Blues")
        axes.set(title=model, xlabel="first answer", ylabel="centred on")
        axes.set_xticks(range(len(LANDMARKS) + 1), [*numbers, "-"], fontsize="small")
        axes.set_yticks(range(len(LANDMARKS)), numbers, fontsize="small")
    figure.colorbar(panels[0].images[0], ax=panels, label="share of views")
    figure.savefig(path)


def shares(rows: Sequence[Row]) -> NDArray[np.float64]:
    """(L, L + 1): of the views centred on a landmark, how many are taken for each, last the malformed answers.

    NaN for a landmark that no view is centred on.
    """
    table = np.full((len(LANDMARKS), len(LANDMARKS) + 1), np.nan)
    names = [*LANDMARKS, MALFORMED]
    for row in rows:
        table[LANDMARKS.index(row.variant)] = [row.figures.get(name, 0.0) for name in names]
    return table
