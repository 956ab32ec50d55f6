"""How true a drawn or imagined view from above is to the scene: road users, by the colours that they are drawn in."""

from math import hypot
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import center_of_mass, label
from scipy.optimize import linear_sum_assignment

from loopwright.tools.drive.scene import Scene
from loopwright.tools.drive.views import TOP_FORWARD_M, TOP_M, Picture, occupancy_seen

NEAR_M = 2.0
"""An agent counts as found where something is drawn no farther from its centre."""
LEAST_M2 = 2.0
"""Smaller blots are no agents."""
_WHOLE_M = 3.0
"""An agent nearer to the edge of the picture may lie outside of it in part, and is not asked for."""


class Fidelity(NamedTuple):
    """Of one picture. Counts, so that many pictures' add up."""

    both: int
    """Cells of 1 m with an agent in the picture and in truth."""
    either: int
    """Cells with one in either."""
    found: int
    """Agents of the scene that were drawn within 2 m, each blot used once."""
    there: int
    """Agents of the scene in the picture."""
    drawn: int
    """Blots in the picture that are agents."""
    right: int
    """Blots that lie within 2 m of an agent of the scene."""


def fidelity(picture: Picture, truth: Picture, scene: Scene) -> Fidelity:
    """A picture against what is right.

    Args:
        picture: (N, N, 3) drawn by a model, laid out as `top_view` lays it out.
        truth: what `top_view` draws of `scene`.
        scene: what is shown.
    """
    seen, true = occupancy_seen(picture), occupancy_seen(truth)
    cell_m = TOP_M / len(seen)
    blots = _blots(seen, cell_m)
    agents = np.array([(a.box.x_m, a.box.y_m) for a in scene.agents]).reshape(-1, 2)
    x, y = TOP_FORWARD_M - agents[:, 0], TOP_M / 2 - agents[:, 1]
    to_edge = np.min([x, y, TOP_M - x, TOP_M - y], axis=0, initial=np.inf)
    distances = np.hypot(*(agents[:, None] - blots[None]).transpose(2, 0, 1))
    pairs = list(zip(*linear_sum_assignment(np.minimum(distances, 2 * NEAR_M)), strict=True))
    near = {(i, j) for i, j in pairs if distances[i, j] <= NEAR_M}
    asked = {int(i) for i in np.flatnonzero(to_edge > _WHOLE_M)}
    whole = [j for j, (bx, by) in enumerate(blots) if _from_edge(bx, by) > _WHOLE_M]
    return Fidelity(
        both=int((seen & true).sum()),
        either=int((seen | true).sum()),
        found=sum(i in asked for i, _ in near),
        there=len(asked),
        drawn=len(whole),
        right=sum(any(hypot(*(blots[j] - agent)) <= NEAR_M for agent in agents) for j in whole),
    )


def total(of: list[Fidelity]) -> Fidelity:
    """Of many pictures."""
    return Fidelity(*map(sum, zip(*of, strict=True))) if of else Fidelity(0, 0, 0, 0, 0, 0)


def _blots(seen: NDArray[np.bool_], cell_m: float) -> NDArray[np.float64]:
    """(K, 2) centres of connected agent cells, x and y in metres."""
    labels, count = cast(tuple[NDArray[np.int32], int], label(seen, structure=np.ones((3, 3))))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    kept = [k + 1 for k in range(count) if sizes[k] * cell_m**2 >= LEAST_M2]
    centres = np.array(center_of_mass(seen, labels, kept)).reshape(-1, 2)
    down, right = (centres[:, 0] + 0.5) * cell_m, (centres[:, 1] + 0.5) * cell_m
    return np.column_stack([TOP_FORWARD_M - down, TOP_M / 2 - right])


def _from_edge(x_m: float, y_m: float) -> float:
    x, y = TOP_FORWARD_M - x_m, TOP_M / 2 - y_m
    return float(min(x, y, TOP_M - x, TOP_M - y))
