"""Navigation is measured on real sessions: who steers, what they claim, what is true, and how the model answered."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.models.chat_server import MODEL, ChatServer, Turn

from loopwright.agents.carm.formats import NAVIGATION, Navigation
from loopwright.finetune.evaluate.carm import navigation
from loopwright.finetune.evaluate.carm.navigation import (
    ATLAS,
    STEERINGS,
    NavigationRun,
    evaluate_navigation,
    navigate,
    ordered_pairs,
    row,
    sampled,
)
from loopwright.graphs.carm import run as carm_run
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.landmarks import LANDMARKS

PAIRS = [("phantom:0", "Carina", "T1"), ("phantom:0", "T1", "Carina")]
STAY = NAVIGATION.render(
    Navigation(
        context="T1", x="CENTER", extent_x="NONE", y="CENTER", extent_y="NONE", reason_x="In line.", reason_y="In line."
    )
)


@pytest.fixture(autouse=True)
def _coarse(phantom: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every volume is the coarse phantom, seen in small pictures."""
    for module in (carm_run, navigation):
        monkeypatch.setattr(module, "opened_case", lambda volume, landmarks: phantom)
    monkeypatch.setattr(navigation, "whole_phantoms", lambda n: [f"phantom:{k}" for k in range(n)])
    monkeypatch.setenv("LOOPWRIGHT_CARM__IMAGE_SIZE_PX", "64")


UNAIDED = STEERINGS["network+vlm-unaided"]


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as server:
        yield server


@pytest.fixture
def card(server: ChatServer, tmp_path: Path) -> str:
    path = tmp_path / "served.yaml"
    path.write_text(f"kind: served\nbase: {MODEL}\nbase_url: {server.url}\n", encoding="utf-8")
    return str(path)


def test_an_unaided_model_that_says_it_is_there_is_believed_and_measured(server: ChatServer, card: str) -> None:
    server.turns += [Turn(pieces=(STAY,)), Turn(pieces=(f"```xml\n{STAY}\n```",))]
    told: list[NavigationRun] = []
    runs = navigate(PAIRS, told.append, steering=UNAIDED, model=card)
    assert told == runs and [(r.start, r.target) for r in runs] == [(start, target) for _, start, target in PAIRS]
    for run in runs:
        assert run.claimed and not run.success and run.exposures == 1
        assert run.distance_mm == pytest.approx(run.straight_mm) and run.straight_mm > 30
    assert sorted(run.strict for run in runs) == [0.0, 1.0]
    found = row("phantom", "all pairs", runs, UNAIDED)
    assert found.model == "network+vlm-unaided"
    assert (found.figures["strict_format"], found.figures["unanswered"], found.figures["success"]) == (0.5, 0.0, 0.0)


def test_a_model_that_never_answers_has_failed(card: str) -> None:
    [run] = navigate(PAIRS[:1], lambda _: None, steering=STEERINGS["network+vlm"], model=card)
    assert run.unanswered and not run.claimed and not run.success
    assert "None of 3 answers" in run.reason


def test_many_sessions_are_under_way_together_without_getting_into_each_others_way(
    server: ChatServer, card: str
) -> None:
    server.answer = lambda body: Turn(pieces=(STAY,))
    pairs = [("phantom:0", start, target) for start, target in ordered_pairs(LANDMARKS)[: navigation.AT_ONCE]]
    runs = navigate(pairs, lambda _: None, steering=STEERINGS["network+vlm"], model=card)
    assert [(r.start, r.target) for r in runs] == [(start, target) for _, start, target in pairs]
    assert all(run.claimed and run.strict == 1.0 for run in runs)


def test_every_steering_takes_the_same_runs(server: ChatServer, card: str) -> None:
    server.turns += [Turn(pieces=(STAY,))] * 2
    told: list[NavigationRun] = []
    rows, bars = evaluate_navigation(
        "phantom", volumes=2, n=2, seed=3, on_run=told.append, steerings=(ATLAS, STEERINGS["network+vlm"]), model=card
    )
    assert [(r.model, r.n, r.n_cases) for r in rows] == [("network+atlas", 2, 2), ("network+vlm", 2, 2)]
    assert "strict_format" not in rows[0].figures
    assert [(r.volume, r.start, r.target) for r in told[:2]] == [(r.volume, r.start, r.target) for r in told[2:]]
    assert [(bar.name, bar.wanted) for bar in bars] == [
        ("phantom network+atlas success", 0.95),
        ("phantom network+vlm success", 0.95),
    ]


def test_runs_are_drawn_evenly_and_never_twice() -> None:
    pairs = ordered_pairs(["a", "b", "c"])
    assert len(pairs) == 6 and ("a", "a") not in pairs
    runs = list(sampled(["p", "q"], lambda _: pairs, 5, seed=0))
    assert [volume for volume, *_ in runs] == ["p"] * 3 + ["q"] * 2
    assert len(set(runs)) == 5
    assert len(list(sampled(["p", "q"], lambda _: pairs, None, seed=0))) == 12
