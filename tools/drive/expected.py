"""What a scene becomes by itself: where the ego is expected, and the road users at constant velocity, seen from there.

It conditions the imagined frame, and is the future that needs no model. Knows no picture and no simulator.
"""

from math import atan2, hypot

from loopwright.tools.drive.predictor import ShortTermPredictor
from loopwright.tools.drive.scene import Pose, Scene

_SHORT_S = 0.1
_STANDS_M = 0.02
"""Who moves less in `_SHORT_S` keeps its direction."""


def expected_pose(scene: Scene, horizon_s: float, predictor: ShortTermPredictor | None = None) -> Pose:
    """Where the ego will be after `horizon_s` by the short-term predictor, and how it will be turned, in its frame."""
    predictor = predictor or ShortTermPredictor()
    x, y = predictor.predict(scene.history, scene.command, horizon_s)
    x_before, y_before = predictor.predict(scene.history, scene.command, horizon_s - _SHORT_S)
    dx, dy = x - x_before, y - y_before
    return Pose(x, y, atan2(dy, dx) if hypot(dx, dy) > _STANDS_M else 0.0)


def moved(scene: Scene, pose: Pose, horizon_s: float) -> Scene:
    """`scene` after `horizon_s`, seen from `pose`: the ego stands there, the others kept their velocity."""
    agents = tuple(agent.model_copy(update={"box": agent.after(horizon_s)}) for agent in scene.agents)
    return scene.model_copy(update={"agents": agents}).seen_from(pose)
