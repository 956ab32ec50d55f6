"""The surgeon's conversations: inference's own prompts, answers in the forms, nobody's future, nobody who is tested."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from loopwright.agents.surgery.formats import CAPTION, NEXT_ACTION, PLAN, Plan, caption_of
from loopwright.agents.surgery.history import MemoryMode, MemorySettings, step_of, steps_of, view
from loopwright.agents.surgery.prompts import next_action_messages, plan_messages
from loopwright.errors import BadInput
from loopwright.finetune.data.cases import cases_of
from loopwright.finetune.data.files import check_file, read_examples
from loopwright.finetune.data.rows import IMAGE, Example
from loopwright.finetune.data.surgery.build import Recorded, SurgeryChat, build
from loopwright.finetune.data.surgery.plan_texts import plan_of
from loopwright.finetune.data.surgery.tasks import Scene, Task, TaskSettings, questions
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.drawing import draw_moment
from loopwright.tools.surgery.procedure import BLEEDING, PROGRESS, VisibleState, bundled_procedure
from loopwright.tools.surgery.samples import HistoryRules, Sample, samples_of
from loopwright.tools.surgery.simulator import simulate
from loopwright.tools.surgery.splits import PARTS, Part, patient_of, split_of, video_of
from loopwright.tools.surgery.statistics import fit_statistics
from loopwright.tools.surgery.vocabulary import ACTIONS, TARGETS, Action

MODES: tuple[MemoryMode, ...] = ("all", "near-action", "near", "image-action")
EVERYBODY = (79, 2, 51, 6, 25, 80, 32, 5, 15, 40, 31, 57)


def clips_of_patient(seed: int, patient: int) -> list[Clip]:
    """Clips like those of CholecT45: no phases, and nobody knows what is visible."""
    changes = {"video": video_of(patient), "phase": None}
    return [moment.clip.model_copy(update=changes) for moment in simulate(bundled_procedure(), seed)]


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    """Of twelve patients, fold 1 as test: its samples are there, as a careless caller might hand them in."""
    clips = {patient: clips_of_patient(seed, patient) for seed, patient in enumerate(EVERYBODY)}
    split = split_of("fold1", EVERYBODY)
    samples: dict[Part, list[Sample]] = {
        part: [s for p in EVERYBODY if split.part_of(p) == part for s in samples_of(clips[p], HistoryRules())]
        for part in PARTS
    }
    return Recorded(samples, fit_statistics([clips[p] for p in EVERYBODY if split.part_of(p) == "train"]))


def asked_in(mode: MemoryMode | None, *tasks: Task, **more: object) -> TaskSettings:
    settings = {"mode": mode, "tasks": tasks, "plan_share": 1, "undescribed_share": 0}
    return TaskSettings.model_validate(settings | more)


def asked(example: Example) -> str:
    return example.turns[-2].text


def answers(examples: Sequence[Example]) -> list[str]:
    return [example.turns[-1].text for example in examples]


def test_nobody_who_is_tested_appears_and_the_files_say_who_does(recorded: Recorded, tmp_path: Path) -> None:
    written = build(tmp_path, SurgeryChat(simulated=2), recorded)
    split = split_of("fold1", EVERYBODY)
    tested = {video_of(patient) for patient in split.test}
    assert len(tested) == 5
    durations = {part: {s.near[-1].duration_s for s in recorded.samples[part] if len(s.actions) == 9} for part in PARTS}
    assert durations["test"] - durations["train"] - durations["validation"]  # or the next lines could not fail
    for path in written:
        cases = cases_of(path)
        assert not tested & set(cases) and not (tmp_path / "test.messages.jsonl").exists()
        assert {patient_of(case) for case in cases if case.startswith("VID")} >= (
            split.train if path.name.startswith("train") else split.validation | split.train
        )
    assert {case for case in cases_of(tmp_path / "train.messages.jsonl") if case.startswith("sim")} == {
        "simulated-0",
        "simulated-1",
    }
    without = recorded._replace(samples={part: recorded.samples[part] for part in ("train", "validation")})
    assert build(tmp_path / "again", SurgeryChat(simulated=2), without) == {
        tmp_path / "again" / path.name: rows for path, rows in written.items()
    }
    for path in written:
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_the_bundled_simulator_makes_a_file_depend_on_everybody(tmp_path: Path) -> None:
    build(tmp_path, SurgeryChat(simulated=1), formats=("messages",))
    cases = cases_of(tmp_path / "train.messages.jsonl")
    assert "simulated-0" in cases and {video_of(p) for p in split_of("all").train} < set(cases)


@pytest.mark.parametrize("mode", MODES)
def test_prompts_are_inferences_own_and_answers_are_the_labels(
    recorded: Recorded, tmp_path: Path, mode: MemoryMode
) -> None:
    build(tmp_path, SurgeryChat(asked=asked_in(mode, "next")), recorded, formats=("messages",))
    examples = read_examples(tmp_path / "train.messages.jsonl")
    samples = recorded.samples["train"]
    assert answers(examples) == [NEXT_ACTION.render(sample.next) for sample in samples]
    for example, sample in list(zip(examples, samples, strict=True))[::40]:
        steps = steps_of(sample, lambda clip: step_of(clip, caption=caption_of(clip)))
        expected = next_action_messages(view(steps, MemorySettings(mode=mode)))
        assert [turn.text for turn in example.turns[:-1]] == [message.text for message in expected]


def test_every_view_is_drawn_where_none_is_set(recorded: Recorded, tmp_path: Path) -> None:
    build(tmp_path, SurgeryChat(), recorded, formats=("messages",))
    examples = read_examples(tmp_path / "train.messages.jsonl")
    told = Counter(
        ("Before:" in asked(e), any(f"Now: {action}" in asked(e) for action in ACTIONS), "Not described" in asked(e))
        for e in examples
    )
    assert {history for history, _, _ in told} == {acted for _, acted, _ in told} == {True, False}
    described = sum(n for (_, _, without), n in told.items() if not without)
    assert 0.8 < described / sum(told.values()) < 1
    plans = sum(text.startswith("{") for text in answers(examples))
    assert 0.08 < plans / len(recorded.samples["train"]) < 0.25


def test_what_is_asked_knows_nothing_of_the_next_clip(recorded: Recorded) -> None:
    def said(clips: Sequence[Clip]) -> list[str]:
        sample = list(samples_of(clips, HistoryRules()))[10]
        steps = steps_of(sample, lambda clip: step_of(clip, caption=caption_of(clip)))
        scene = Scene(sample, steps, dict.fromkeys(ACTIONS, 0.2))
        found = questions(scene, asked_in("all", "next", "plan"), np.random.default_rng(0))
        return [message.text for prompt, _ in found for message in prompt]

    clips = clips_of_patient(0, 1)
    following = clips[11].model_copy(update={"instruments": {"scissors": 1}, "targets": {"gut": 1}, "end_s": 999_999})
    other = [*clips[:11], following, *clips[12:]]
    assert said(clips) == said(other) != said([clips[0], *clips[2:]])


def test_pictures_are_shown_described_and_lie_beside_the_file(recorded: Recorded, tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    (frames / "VID01").mkdir(parents=True)
    Image.new("RGB", (854, 480), (200, 90, 80)).save(frames / "VID01" / "000007.png")
    sample = recorded.samples["train"][3]
    shown = sample.near[-1].model_copy(update={"frames": ("VID01/000007.png",)})
    with_picture = sample.model_copy(update={"near": (*sample.near[:-1], shown)})
    few = Recorded({"train": [*recorded.samples["train"][:3], with_picture]}, recorded.statistics, frames)
    settings = asked_in("all", "next", "plan", "caption", near_as="pictures", caption_share=1)
    build(tmp_path / "dir", SurgeryChat(asked=settings, simulated=1), few)
    checked = check_file(tmp_path / "dir" / "train.messages.jsonl")
    assert not checked.problems and all(len(example.images) == 1 for example in checked.examples)
    of_patient = [e for e in checked.examples if sample.video in e.images[0]]
    assert [e.turns[-2].text.count(IMAGE) for e in of_patient] == [1, 1, 1]
    assert CAPTION.parse(of_patient[2].turns[-1].text) == caption_of(shown)
    with Image.open(tmp_path / "dir" / of_patient[0].images[0]) as copied:
        assert copied.size == (448, 252)
    moments = list(simulate(bundled_procedure(), 0))  # other statistics, so other patients: drawn as the world draws
    simulated = [e for e in checked.examples if "simulated-0" in e.images[0]]
    with Image.open(tmp_path / "dir" / simulated[0].images[0]) as drawn:
        assert np.asarray(drawn).shape == draw_moment(moments[0]).shape
    seen = [e.turns[-1].text for e in simulated if e.turns[-1].text.startswith("Seen")]
    assert len(seen) == len(simulated) / 3
    assert len({json.dumps(e.images) for e in simulated}) == len(simulated) / 3


def test_a_plan_says_what_is_true_and_puts_first_what_came_next(tmp_path: Path) -> None:
    build(
        tmp_path, SurgeryChat(asked=asked_in("all", "next", "plan"), simulated=3, plain_share=0), formats=("messages",)
    )
    examples = read_examples(tmp_path / "train.messages.jsonl")
    assert len(examples) > 60
    for (question, following), (planned, said) in pairs(examples):
        plan = PLAN.parse(said)
        assert plan.ranking[0] == following and question.split("\nWhich")[0] == planned.split("\nPlan")[0]
        bleeds = "no bleeding" not in planned
        assert ("leed" in plan.safety or "lood" in plan.safety) >= bleeds
        for ranked in plan.actions:
            if ranked.action == "Coagulation":
                assert (ranked.rationale == "Nothing bleeds now.") == (not bleeds)


def test_some_simulated_moments_are_told_as_recorded_ones_are(tmp_path: Path) -> None:
    build(tmp_path, SurgeryChat(asked=asked_in("near", "plan"), simulated=4), formats=("messages",))
    examples = read_examples(tmp_path / "train.messages.jsonl")
    plain = ["Seen:" not in asked(example) for example in examples]
    assert 0.15 < np.mean(plain) < 0.45
    told = [PLAN.parse(answer).progress.startswith("Work is at the") for answer in answers(examples)]
    assert told == plain  # what the prompt does not show, the answer does not know


def pairs(examples: Sequence[Example]) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """Questions and answers, two and two."""
    said = [(asked(example), example.turns[-1].text) for example in examples]
    yield from zip(said[::2], said[1::2], strict=True)


@given(
    ranking=st.permutations(ACTIONS),
    progress=st.none() | st.integers(0, len(PROGRESS) - 1),
    bleeding=st.sampled_from(BLEEDING),
    target=st.sampled_from(TARGETS),
    past=st.none() | st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=150),
)
def test_all_that_is_said_is_in_the_form(
    ranking: list[str], progress: int | None, bleeding: str, target: str, past: list[str] | None
) -> None:
    clip = Clip(video="a", index=0, action="Dissection", start_s=0, end_s=9, labelled_s=9, targets={target: 3})
    state = None if progress is None else VisibleState.model_validate({"progress": progress, "bleeding": bleeding})
    plan = plan_of(ranking, clip, state, past)  # type: ignore[arg-type]  # drawn from the vocabulary
    assert PLAN.parse(PLAN.render(plan)) == plan
    assert len({ranked.rationale for ranked in plan.actions}) == 3


def test_a_teachers_plan_takes_the_place_of_ours(recorded: Recorded, tmp_path: Path) -> None:
    sample: Sample = recorded.samples["train"][5]
    others = [action for action in ACTIONS if action not in (sample.next, sample.actions[-1])][:2]
    plan = Plan.model_validate(
        {
            "progress": "Far.",
            "safety": "None.",
            "actions": [{"action": a, "rationale": "Because."} for a in (sample.next, *others)],
        }
    )
    settings = asked_in("all", "plan", plan_share=0)
    build(tmp_path, SurgeryChat(asked=settings), recorded, distilled={(sample.video, sample.index): plan})
    (example,) = read_examples(tmp_path / "train.sharegpt.jsonl")
    assert example.turns[-1].text == PLAN.render(plan)
    steps = steps_of(sample, lambda clip: step_of(clip, caption=caption_of(clip)))
    assert asked(example) == plan_messages(view(steps))[1].text


def test_a_plan_that_contradicts_the_label_is_of_other_clips(recorded: Recorded, tmp_path: Path) -> None:
    first, second = recorded.samples["train"][:2]
    others: list[Action] = [action for action in ACTIONS if action not in (second.next, first.next)]
    wrong = plan_of((second.next, first.next, *others), first.near[-1], None, None)
    distilled = {(first.video, first.index): wrong, ("VID99", 3): wrong}
    said: list[str] = []
    build(tmp_path, SurgeryChat(asked=asked_in(None, "plan")), recorded, distilled=distilled, on_progress=said.append)
    assert first.next != second.next
    assert said[-1].startswith("plans: 0 used; left out are 1 that contradict the label at their moment, and 1 of")


def test_files_of_an_earlier_build_do_not_stay(recorded: Recorded, tmp_path: Path) -> None:
    build(tmp_path, SurgeryChat(simulated=1, asked=asked_in("all", "next")))
    assert cases_of(tmp_path / "validation.messages.jsonl")
    with pytest.raises(BadInput, match="nothing to ask about"):  # a build that comes to nothing takes nothing away
        build(tmp_path, SurgeryChat(asked=TaskSettings(near_as="pictures")), recorded)
    assert cases_of(tmp_path / "validation.messages.jsonl")
    alone = recorded._replace(samples={"train": recorded.samples["train"], "validation": []})
    build(tmp_path, SurgeryChat(asked=asked_in("all", "next")), alone, formats=("messages",))
    assert [path.name for path in sorted(tmp_path.glob("*.jsonl"))] == ["train.messages.jsonl"]
    assert set(cases_of(tmp_path / "train.messages.jsonl")) == {s.video for s in recorded.samples["train"]}


def test_nothing_to_ask_about_is_said(recorded: Recorded, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is nothing to ask about"):
        build(tmp_path, SurgeryChat(asked=TaskSettings(near_as="pictures")), recorded)
