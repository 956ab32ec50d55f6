"""Answers are found amid thoughts, prose and fences, at no retry's cost; of two that differ none is guessed."""

import pytest
from langchain_core.messages import HumanMessage
from tests.models.backends import JSON, MM, Move

from loopwright.errors import BadInput
from loopwright.models.answers import TextFormat
from loopwright.models.asking import ask
from loopwright.models.scripted import ScriptedChatModel

LEFT = Move(direction="left", distance_mm=20)
TEXT = JSON.render(LEFT)
OTHER = '{"direction":"right","distance_mm":30}'


@pytest.mark.parametrize(
    "said",
    [
        f"<think>{{right}}? No: {OTHER} would leave it.</think>\n{TEXT}",
        f"<THINK>\nI {{could}} go right.\n</THINK>\n```json\n{TEXT}\n```",
        f"or {OTHER}\n</think>\n\n{TEXT}",
        f"<thinking>{OTHER}</thinking>{TEXT}",
        f"By {{rule}} 3 I say: {TEXT}",
        f"By {{rule}} 3 I say:\n```JSON\n{TEXT}\n```\nas {{asked}}.",
        f"``` json\n{TEXT}\n```",
        f"```JSON {TEXT}```",
        f"First I look:\n```python\nlook()\n```\nThen:\n```json\n{TEXT}\n```",
        f"{TEXT}\nSo it stays {{in}} view.",
    ],
)
def test_an_answer_is_found_at_the_first_attempt(said: str) -> None:
    with ScriptedChatModel(replies=(said,)) as model:
        reply = ask(model, [HumanMessage("Where to?")], Move)
    assert (reply.value, reply.attempts, reply.is_exact) == (LEFT, 1, False)


@pytest.mark.parametrize("said", ["<think>Or 30 mm?</think>20 mm", "<think>30?</think>```TEXT\n20 mm\n```"])
def test_text_is_found_behind_thoughts(said: str) -> None:
    assert MM.repair(said) == 20


@pytest.mark.parametrize(
    "said",
    [
        f"{TEXT} or {OTHER}",
        f"<think>{TEXT}</think>I cannot say.",
        f"<think>{TEXT}",
        f'{{"answer": {TEXT},}}',
        f"```json\n{TEXT}\n```\nor\n```json\n{OTHER}\n```",
    ],
    ids=["two", "only a thought", "cut off in thought", "inside a broken one", "two fences"],
)
def test_nothing_is_guessed(said: str) -> None:
    with pytest.raises(BadInput):
        JSON.repair(said)


def test_a_format_may_have_thoughts_of_its_own() -> None:
    thoughtful: TextFormat[str] = TextFormat(
        name="thoughtful",
        pattern="<think>[a-z]{1,9}</think>[a-z]{1,9}",
        longest_chars=33,
        example="<think>bone</think>left",
        render=str,
        read=str,
        tidy=lambda text: text.removeprefix("<think>"),
    )
    assert thoughtful.repair("```\n<think>bone</think>left\n```") == "bone</think>left"
