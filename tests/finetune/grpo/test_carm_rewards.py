"""The C-arm's rewards on made-up episodes over a real phantom: good ones, bad ones, and ways to cheat."""

from typing import Any

import pytest

from loopwright.agents.carm.formats import NAVIGATION, Navigation
from loopwright.finetune.grpo.carm import distance_gained, exposures_spent, false_claims, target_reached
from loopwright.finetune.grpo.episode import Episode, Happened, Turn
from loopwright.graphs.carm.run import opened_case, start_pose

VOLUME = "phantom:30000"
STAY = NAVIGATION.render(
    Navigation(context="T12", x="CENTER", extent_x="NONE", reason_x="there", y="CENTER", extent_y="NONE", reason_y="so")
)
GO = STAY.replace("<x>CENTER</x><extent_x>NONE</extent_x>", "<x>LEFT</x><extent_x>SMALL</extent_x>")


def seen(mm_off: float) -> Happened:
    """An exposure so far from the target."""
    pose = start_pose("T12", opened_case(VOLUME, None)).model_dump(mode="json")
    return Happened(kind="observed", payload={"output": {"pose": pose | {"z_mm": pose["z_mm"] + mm_off}}})


def episode(*turns: tuple[str, float | None], start_mm: float = 100, status: str = "succeeded") -> Episode:
    """Replies, and how far the view is after each; None: no exposure after it."""
    made = [Turn(text=text, is_exact=True, n_tokens=9, events=() if mm is None else (seen(mm),)) for text, mm in turns]
    row: dict[str, Any] = {"volume": VOLUME, "target": ["T12"]}
    return Episode(row=row, opening=(seen(start_mm),), turns=tuple(made), status=status)


@pytest.mark.parametrize(
    ("run", "gained", "reached", "spent", "claims", "why"),
    [
        (episode((GO, 40), (GO, 0), (STAY, None)), 1.0, 1.0, -0.25, 0.0, "straight there, and says so"),
        (episode((GO, 40), (GO, 14), (STAY, None)), 0.86, 1.0, -0.25, 0.0, "within the radius"),
        (episode((STAY, None)), 0.0, 0.0, 0.0, -1.0, "hack: claims at once"),
        (episode((GO, 40), (STAY, None)), 0.6, 0.0, -0.125, -1.0, "claims too early"),
        (episode((STAY, 40), (GO, 0), (STAY, None)), 1.0, 1.0, -0.25, -1.0, "a false claim that the loop overruled"),
        (
            episode(*[(GO, 50), (GO, 100)] * 4, (GO, 0), (STAY, None)),
            1.0,
            0.0,
            -1.125,
            0.0,
            "hack: to and fro, to gain",
        ),
        (episode((GO, 0), status="failed"), 1.0, 0.0, -0.125, 0.0, "is there, and does not say so"),
        (episode((GO, 400), (GO, 700), status="failed"), -2.0, 0.0, -0.25, 0.0, "away; a motion loses 1 at most"),
        (episode(("nonsense", None), status="paused"), 0.0, 0.0, 0.0, 0.0, "no motion that can be read"),
    ],
)
def test_what_an_episode_earns(
    run: Episode, gained: float, reached: float, spent: float, claims: float, why: str
) -> None:
    found = [sum(reward(run)) for reward in (distance_gained, target_reached, exposures_spent, false_claims)]
    assert found == pytest.approx([gained, reached, spent, claims], abs=1e-6), why
    for reward in (distance_gained, target_reached, exposures_spent, false_claims):
        assert len(reward(run)) == len(run.turns)
