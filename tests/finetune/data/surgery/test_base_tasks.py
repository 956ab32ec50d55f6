"""What the surgery teaches the base: every answer is true of its frame, whatever the wording."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from loopwright.agents.surgery.formats import CAPTION, PLAN
from loopwright.finetune.data.corpus import Corpus, Lesson, Turn
from loopwright.finetune.data.surgery.base_tasks import KINDS, SurgeryLessons
from loopwright.tools.surgery.procedure import PROGRESS, VisibleState
from loopwright.tools.surgery.vocabulary import ACTIONS, INSTRUMENTS


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return SurgeryLessons(patients=3, frames_per_patient=8).open(Path(), print)


def test_answers_agree_with_what_is_measured(corpus: Corpus) -> None:
    """The state that each answer names is the one whose measures the lesson carries."""
    rng, met = np.random.default_rng(0), set[str]()
    for index in [k for k in range(len(corpus)) for _ in range(6)]:
        lesson = corpus.lesson(index, rng)
        assert len({turn.about[0] for turn in lesson.turns}) == 4
        for turn in lesson.turns:
            met.add(turn.about[0])
            assert is_true(turn, dict(zip(corpus.targets, lesson.targets.tolist(), strict=True))), (index, turn)
    assert met == {kind.name for kind in KINDS}


def is_true(turn: Turn, measured: dict[str, float]) -> bool:
    there = [name for name in INSTRUMENTS if measured[f"{name} in view"]]
    blood = {"pooling": "pooling blood", "oozing": "oozing blood"}
    bleeding = next((words for name, words in blood.items() if measured[name]), "no bleeding")
    match turn.about:
        case ("progress",):
            return measures(PROGRESS.index(turn.answer)) == pytest.approx([measured[m] for m in corpus_measures()])
        case ("bleeding",):
            return turn.answer == bleeding
        case ("instruments",):
            return turn.answer == (", ".join(there) or "none")
        case ("instrument", name):
            return turn.answer == ("yes" if name in there else "no") and name in turn.question
        case ("clips",):
            return int(turn.answer) == 2 * measured["vessels clipped"]
        case ("detached",):
            return int(turn.answer) == pytest.approx(3 * measured["thirds detached"])
        case _:
            return bleeding in turn.answer and all((name in turn.answer) == (name in there) for name in INSTRUMENTS)


def corpus_measures() -> tuple[str, ...]:
    return "adhesions", "exposure", "vessels clipped", "thirds detached"


def measures(progress: int) -> list[float]:
    state = VisibleState(progress=progress)
    return [state.adhesions / 2, state.exposure / 2, state.vessels_clipped / 2, state.thirds_detached / 3]


def test_captions_have_the_form_that_the_loop_asks_for(corpus: Corpus) -> None:
    captions = [probe.turn.answer for probe in corpus.probes(20) if probe.kind == "caption"]
    assert len(captions) == 20 and len(set(captions)) > 10
    for caption in captions:
        assert CAPTION.read(caption) == caption


def test_spots_are_of_the_instruments_in_view(corpus: Corpus) -> None:
    lessons = [corpus.lesson(index, np.random.default_rng(0)) for index in range(len(corpus))]

    def in_view(lesson: Lesson) -> list[bool]:
        return [value == 1 for value in lesson.targets[-len(INSTRUMENTS) :].tolist()]

    for lesson in lessons:
        assert (~lesson.spots.isnan().any(-1)).tolist() == in_view(lesson)
    assert any(any(in_view(lesson)) for lesson in lessons)


def test_no_patient_is_in_two_parts(corpus: Corpus) -> None:
    assert corpus.cases["train"] == [0, 2]
    assert {probe.group for probe in corpus.probes(30)} == {f"simulated-{1_000_000 + k}" for k in range(20)}
    assert {probe.group for probe in corpus.probes(30, test=True)} == {f"simulated-{2_000_000 + k}" for k in range(20)}
    assert [probe.turn for probe in corpus.probes(3)] == [probe.turn for probe in corpus.probes(3)]


def test_all_states_are_drawn_about_evenly() -> None:
    """Nothing of how procedures run, which is fitted to real patients, is in the base."""
    corpus = SurgeryLessons(patients=1).open(Path(), print)
    answers = [probe.turn.answer for probe in corpus.probes(120) if probe.kind == "progress"]
    counts = [answers.count(name) for name in PROGRESS]
    assert sum(counts) == 120 and min(counts) >= 4 and max(counts) <= 22


def test_the_camera_changes_light_and_keeps_the_scene(corpus: Corpus) -> None:
    image = corpus.lesson(0, np.random.default_rng(0)).image[None].float() / 255
    one, again, other = (corpus.augment(image, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert one.min() >= 0 and one.max() <= 1
    both = torch.stack([image.flatten(), one.flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.9


def test_writings_are_in_the_forms_of_the_roles_and_of_every_action(corpus: Corpus) -> None:
    rng = np.random.default_rng(0)
    written = [corpus.writing(rng) for _ in range(200)]
    plans = [PLAN.parse(text) for text in written if text not in ACTIONS]
    assert {text for text in written if text in ACTIONS} == set(ACTIONS)
    assert {plan.ranking[0] for plan in plans} == set(ACTIONS) and len(set(written)) > 120


def test_readings_are_answered_by_their_own_text(corpus: Corpus) -> None:
    rng, met = np.random.default_rng(0), set[str]()
    for turn in (corpus.reading(rng) for _ in range(200)):
        (kind,) = turn.about
        met.add(kind)
        past = re.search(r"Before: (.*)\.\nNow: ([A-Z a-z]+),", turn.question)
        assert past
        before = past[1].split(", ")
        wanted = {"now": past[2], "before": before[-1], "earlier": before[-2], "first": before[0]}
        if kind == "ever":
            assert (turn.answer == "yes") == any(f"Was there {action} " in turn.question for action in before)
        else:
            assert turn.answer == wanted.get(kind, turn.answer) and turn.answer in turn.question
    assert met == {"now", "before", "earlier", "first", "ever", "caption"}
