"""Prompts of the surgeon's role: what is fixed first, the view as it is, never long; and the knowledge's files."""

import shutil
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage, SystemMessage

from loopwright.agents.surgery.formats import CAPTION_CHARS, N_RANKS
from loopwright.agents.surgery.history import MemoryMode, MemorySettings, MemoryView, Step, imagined, view
from loopwright.agents.surgery.knowledge import PROCEDURES, bundled_knowledge, load_knowledge
from loopwright.agents.surgery.prompts import NEXT, caption_messages, next_action_messages, plan_messages
from loopwright.errors import BadInput, UnknownName
from loopwright.models.images import image_refs
from loopwright.schema import ImageRef
from loopwright.tools.surgery.vocabulary import ACTIONS, Action

ONE, TWO = (ImageRef(sha256=letter * 64, width_px=128, height_px=128) for letter in "ab")
STEPS = (
    Step(action="Tissue Retraction"),
    Step(action="Dissection", duration_s=21, caption="Instruments: hook.", images=(ONE,)),
    Step(action="Coagulation", duration_s=5, caption="Instruments: bipolar.", images=(ONE, TWO)),
)
BUNDLED = PROCEDURES / "cholecystectomy"


def asked(mode: MemoryMode = "all", steps: tuple[Step, ...] = STEPS, n_near: int = 2, *, pictures: bool = False) -> str:
    settings = MemorySettings(mode=mode, near_steps=n_near, near_as="pictures" if pictures else "captions")
    return plan_messages(view(steps, settings))[1].text


def lines(text: str) -> list[str]:
    """Those of the past: between the goal and the question."""
    return text.split("\n")[1:-1]


def test_what_is_fixed_comes_first_and_holds_the_knowledge() -> None:
    system, _ = plan_messages(view(STEPS), words="go on", goal="Stop the bleeding.")
    assert isinstance(system, SystemMessage) and system == next_action_messages(MemoryView())[0]
    knowledge = bundled_knowledge()
    parts = (knowledge.name, knowledge.process, knowledge.safety, *knowledge.actions.values(), *ACTIONS)
    assert all(part in system.text for part in parts)


def test_questions_differ_at_their_end_alone() -> None:
    plan, following = plan_messages(view(STEPS))[1].text, next_action_messages(view(STEPS))[1].text
    assert following.endswith(f"\n{NEXT}")
    assert plan.split("\n")[:-1] == following.split("\n")[:-1]


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("image-action", ["Now: Coagulation. Instruments: bipolar."]),
        ("near", ["Near: 21 s. Instruments: hook.", "Now: 5 s. Instruments: bipolar."]),
        ("near-action", ["Near: Dissection, 21 s. Instruments: hook.", "Now: Coagulation, 5 s. Instruments: bipolar."]),
        (
            "all",
            [
                "Before: Tissue Retraction.",
                "Near: Dissection, 21 s. Instruments: hook.",
                "Now: Coagulation, 5 s. Instruments: bipolar.",
            ],
        ),
    ],
)
def test_captions_are_told_in_every_mode(mode: MemoryMode, told: list[str]) -> None:
    assert lines(asked(mode)) == told
    assert isinstance(plan_messages(view(STEPS))[1].content, str)


def test_pictures_are_shown_in_order_and_told_by_number() -> None:
    (_, message) = plan_messages(view(STEPS, MemorySettings(near_as="pictures", near_steps=2)))
    assert image_refs([message]) == [ONE, ONE, TWO]
    assert lines(message.text)[1:] == ["Near: Dissection, 21 s. Picture 1.", "Now: Coagulation, 5 s. Picture 2, 3."]
    assert lines(asked("image-action", pictures=True)) == ["Now: Coagulation. Picture 1."]
    assert lines(asked(steps=STEPS[:1], pictures=True)) == ["Now: Tissue Retraction. No picture."]


def test_what_is_imagined_is_called_planned() -> None:
    assert lines(asked("near-action", imagined(STEPS, ["Dissection", "Aspiration"]), 1)) == [
        "Now: Coagulation, 5 s. Instruments: bipolar.",
        "Then, planned: Dissection.",
        "Then, planned: Aspiration.",
    ]


def test_at_the_start_nothing_is_told_as_done() -> None:
    assert lines(asked(steps=())) == ["Nothing was done yet."]


def test_the_long_past_is_counted() -> None:
    steps = tuple(Step(action=action) for action in ("Dissection", "Coagulation") * 4)
    found = view(steps, MemorySettings(distant_steps=2))
    assert lines(plan_messages(found)[1].text)[:2] == [
        "Long ago: 2 Coagulation, 3 Dissection.",
        "Before: Coagulation, Dissection.",
    ]


def test_the_goal_comes_first_and_the_surgeons_words_last() -> None:
    (_, message) = plan_messages(view(STEPS), goal="Stop\nthe bleeding.", words=" no, it is\nbleeding ")
    told = message.text.split("\n")
    assert told[0] == "Goal: Stop the bleeding."
    assert told[-2] == 'The surgeon says: "no, it is bleeding"'
    assert next_action_messages(view(STEPS))[1].text.startswith(f"Goal: {bundled_knowledge().goal}\n")


def test_a_caption_is_asked_of_pictures() -> None:
    system, message = caption_messages([ONE, TWO])
    assert image_refs([message]) == [ONE, TWO] and "cholecystectomy" in system.text
    with pytest.raises(BadInput, match="no picture to describe"):
        caption_messages([])


@given(
    actions=st.lists(st.sampled_from(ACTIONS), max_size=400),
    mode=st.sampled_from(get_args(MemoryMode)),
)
def test_a_prompt_stays_short_however_long_the_past(actions: list[Action], mode: MemoryMode) -> None:
    """A token has a character at least: with no picture, no tokenizer needs the small base's context of 4096 tokens."""
    steps = [Step(action=action, duration_s=600, caption="x" * CAPTION_CHARS) for action in actions]
    messages = plan_messages(view(steps, MemorySettings(mode=mode)))
    assert sum(len(message.text) for message in messages) < 2200
    assert isinstance(messages[-1], HumanMessage)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A procedure of the user's own."""
    shutil.copytree(BUNDLED, tmp_path / "appendectomy")
    return tmp_path / "appendectomy"


def test_another_procedure_is_another_folder(own: Path) -> None:
    (own / "procedure.yaml").write_text(
        "name: appendectomy\ngoal: Take the appendix out.\n"
        "actions: {Dissection: a, Coagulation: b, Tissue Retraction: c}\n"
    )
    (own / "process.md").write_text("Find it.\n\nTake it out.\n")
    knowledge = load_knowledge(own)
    assert knowledge.choices == ("Dissection", "Coagulation", "Tissue Retraction")
    assert len(knowledge.choices) >= N_RANKS
    system, message = plan_messages(MemoryView(), knowledge)
    assert system.text.startswith("You assist the surgeon. Procedure: appendectomy. Find it. Take it out. Safety:")
    assert "Vessel Clipping" not in system.text.rsplit("Actions.")[-1]
    assert message.text.startswith("Goal: Take the appendix out.\n")


def test_an_unknown_procedure_is_refused() -> None:
    with pytest.raises(UnknownName, match="Did you mean `cholecystectomy`"):
        load_knowledge("cholecystectomie")


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("procedure.yaml", "name: [", "is no YAML"),
        ("procedure.yaml", "just words", "expected the keys `name`"),
        ("procedure.yaml", "name: a\ngoal: b\nactions: {Dissection: c, Coagulation: d}", "`actions` = .* there are 2"),
        ("procedure.yaml", "name: a\ngoal: b\nactions: {Cutting: c, Dissection: d, Aspiration: e}", "Cutting"),
        ("procedure.yaml", "name: a\naim: b\nactions: {}", "`goal`"),
        ("process.md", "", "`process` = ''"),
        ("safety.md", "Careful. " * 100, "at most 600"),
        ("safety.md", None, "cannot be read .* procedure.yaml, process.md and safety.md"),
    ],
)
def test_a_wrong_file_is_named(own: Path, file: str, text: str | None, said: str) -> None:
    (own / file).unlink() if text is None else (own / file).write_text(text)
    with pytest.raises(BadInput, match=said):
        load_knowledge(own)
