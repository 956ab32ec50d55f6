"""What a C-arm episode earns: nearness, arrival, few exposures, no false claims; by the true place of the target."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from loopwright.agents.carm.formats import NAVIGATION
from loopwright.errors import BadInput
from loopwright.finetune.grpo.episode import Episode, Happened, last_only, payloads
from loopwright.graphs.carm.run import opened_case
from loopwright.settings import settings
from loopwright.tools.carm.geometry import Pose, in_plane_offset_mm
from loopwright.tools.carm.landmarks import canonical_name

MAX_EXPOSURES = 8
"""As the evaluation allows."""


def distance_gained(episode: Episode) -> list[float]:
    """What each motion brought the view nearer, in shares of the way from start to target; at worst -1 a motion."""
    before, gained = distances_mm(episode)[0], []
    whole = max(before, 1.0)
    for after in distances_mm(episode)[1:]:
        gained.append(float(max(-1.0, (before - after) / whole)))
        before = after
    return gained


def target_reached(episode: Episode) -> list[float]:
    """1 where the loop says that the target is centred, it truly is, and no more exposures were made than allowed."""
    exposures = sum(len(payloads(events, "observed")) for events in _moments(episode))
    reached = episode.status == "succeeded" and _is_there(distances_mm(episode)[-1])
    return last_only(episode, float(reached and exposures <= MAX_EXPOSURES))


def exposures_spent(episode: Episode) -> list[float]:
    """What each turn took of the exposures allowed, negative."""
    return [-len(payloads(turn.events, "observed")) / MAX_EXPOSURES for turn in episode.turns]


def false_claims(episode: Episode) -> list[float]:
    """-1 for each reply that calls a target centred which is not, whether the loop believed it or not."""
    there = [_is_there(mm) for mm in distances_mm(episode)[:-1]]
    return [-float(not at and _says_centred(turn.text)) for turn, at in zip(episode.turns, there, strict=True)]


REWARDS = {
    "distance_gained": distance_gained,
    "target_reached": target_reached,
    "exposures_spent": exposures_spent,
    "false_claims": false_claims,
}


def distances_mm(episode: Episode) -> list[float]:
    """From the target to the central ray, mm: before the first turn, and after each."""
    places = [np.inf]
    for events in _moments(episode):
        seen = payloads(events, "observed")
        places.append(_distance_mm(episode.row, seen[-1]["output"]["pose"]) if seen else places[-1])
    return places[1:]


def _moments(episode: Episode) -> list[tuple[Happened, ...]]:
    return [episode.opening, *(turn.events for turn in episode.turns)]


def _is_there(distance_mm: float) -> bool:
    return distance_mm <= settings().carm.success_radius_mm


def _says_centred(text: str) -> bool:
    try:
        return NAVIGATION.parse(text).stays
    except BadInput:
        return False


def _distance_mm(row: dict[str, Any], pose: dict[str, Any]) -> float:
    target = row["target"] if isinstance(row["target"], str) else row["target"][-1]
    return float(np.linalg.norm(in_plane_offset_mm(_landmarks(row["volume"])[canonical_name(target)], Pose(**pose))))


@lru_cache(maxsize=256)
def _landmarks(volume: str) -> Mapping[str, Any]:
    return opened_case(volume, None).landmarks
