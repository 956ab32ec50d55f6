"""The model as navigator: a picture, an estimate and a chain of thought become one step of the ladder.

After the paper's section 2.3. The estimate is the atlas navigator's own (`estimate_target`), told in the prompt; the
picture may know better where to go, but not that there is nowhere left to go. Proposes only: what the guard refuses is
answered by the atlas navigator, which halves its steps until one is allowed, and so is a claim to be there where the
estimate is outside the radius of arrival: the ladder's last step may leave more than that.
"""

import numpy as np

from loopwright.agents.asker import Asker
from loopwright.agents.carm.formats import NAVIGATION, Ladder, Navigation
from loopwright.agents.carm.navigator import (
    AtlasNavigator,
    Decision,
    Estimate,
    Situation,
    estimate_target,
    in_view,
    waypoint,
)
from loopwright.agents.carm.prompts import Previous, estimate_report, navigation_messages


class ChatNavigator:
    """Asks the model for one command. CENTER along both axes means that the target is centred."""

    def __init__(self, *, ladder: Ladder | None = None, is_told: bool = True) -> None:
        """`is_told`: whether the prompt holds the estimate; without it the model goes by the picture alone."""
        self._ladder = ladder or Ladder()
        self._is_told = is_told
        self._atlas = AtlasNavigator()

    def decide(self, situation: Situation, asker: Asker) -> Decision:
        """See `Navigator`. A lost elbow or wrist is looked for along the arm, as the atlas navigator does."""
        if situation.refusals:
            return self._atlas.decide(situation)
        towards = waypoint(situation)
        estimate = estimate_target(towards)
        messages = navigation_messages(
            situation.image,
            towards.target,
            ladder=self._ladder,
            previous=situation.previous,
            words=situation.words,
            report=report_of(estimate, situation.field_of_view_mm, self._ladder) if self._is_told else "",
        )
        said = asker.ask("navigator", messages, NAVIGATION)
        if said.stays and not self._may_be_there(estimate, situation, on_the_way=towards is not situation):
            instead = self._atlas.decide(situation)
            return instead.model_copy(update={"rationale": f"not there yet: {instead.rationale}"})
        return self._decision(said, estimate, situation.target, towards.target)

    def _may_be_there(self, estimate: Estimate, situation: Situation, *, on_the_way: bool) -> bool:
        """Whether a claim to be there is believed. Nothing is reached on the way, so something has to move; and to who
        is told an estimate it says how far there is to go: a false claim ends the run, another step costs a picture."""
        distance_mm = float(np.hypot(*estimate.offset_mm))
        is_near = estimate.source != "atlas" and distance_mm <= situation.arrival_radius_mm
        return not on_the_way and (is_near or not self._is_told)

    def _decision(self, said: Navigation, estimate: Estimate, target: str, towards: str) -> Decision:
        by_way = "" if towards == target else f"by way of {towards}: "
        left_mm, caudal_mm = (float(mm) for mm in estimate.offset_mm)
        return Decision(
            target=target,
            arrived=said.stays,
            motion=self._ladder.motion(said),
            distance_mm=round((left_mm**2 + caudal_mm**2) ** 0.5, 1),
            sd_mm=round(estimate.sd_mm, 1),
            source="model",
            rationale=f"{by_way}{said.reason_x} {said.reason_y}",
            towards="" if towards == target else towards,
            said=Previous(landmark=said.landmark, command=said.command),
        )


def report_of(estimate: Estimate, field_of_view_mm: float, ladder: Ladder) -> str:
    """The line that tells a model of an estimate, in the words that it was trained on."""
    seen = estimate.source != "atlas" and in_view(estimate.offset_mm.tolist(), field_of_view_mm)
    told_by = ["earlier pictures" if name.startswith("an earlier") else name for name in estimate.told_by]
    sources = ", ".join(dict.fromkeys(told_by)) or "earlier pictures"
    left_mm, caudal_mm = (float(mm) for mm in estimate.offset_mm)
    basis = "in view" if seen else f"expected from {sources}"
    return estimate_report(left_mm, caudal_mm, estimate.sd_mm, basis, ladder=ladder)
