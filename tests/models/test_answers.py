"""Formats: read exactly or repaired, never guessed; what is no such answer is named and shown."""

import re
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from tests.models.backends import CALL, JSON, LOOK, Move

from loopwright.errors import BadInput, UnknownName
from loopwright.models.answers import AnswerFormat, TextFormat, read
from loopwright.models.markup import json_object, tag_content, without_fences

MM: TextFormat[int] = TextFormat(
    name="distance",
    pattern=r"[0-9]{1,3} mm",
    longest_chars=6,
    example="20 mm",
    render=lambda value: f"{value} mm",
    read=lambda text: int(text.removesuffix(" mm")),
    tidy=lambda text: f"{int(''.join(filter(str.isdigit, text)))} mm",
)


def test_a_value_is_written_and_read() -> None:
    assert MM.render(20) == "20 mm"
    assert MM.parse("20 mm") == 20
    assert MM.repair("```\n20  MM\n```") == 20


def test_what_is_no_answer_is_shown_with_what_was_expected() -> None:
    with pytest.raises(BadInput, match=r"'far' is no `distance`: .*Expected the form of '20 mm'"):
        MM.parse("far")
    with pytest.raises(BadInput, match="'far' is no `distance`"):
        MM.repair("far")


def test_a_long_answer_is_shown_in_part() -> None:
    with pytest.raises(BadInput) as raised:
        MM.parse("x" * 5000)
    assert str(raised.value).startswith(f"The answer {'x' * 200!r} is no")


@pytest.mark.parametrize(
    "text", ["[1]", " [1]\n", "```\n[1]\n```", "```xml\n[1]```", "Here it is:\n```json\n[1]\n```\nDone.", "```[1]```"]
)
def test_fences_and_what_is_around_them_go(text: str) -> None:
    assert without_fences(text) == "[1]"


def test_a_tag_stands_there_once() -> None:
    assert tag_content("<X>\n  left  of\nit </x>", "x") == "left of it"
    for text, n in (("<y>1</y>", 0), ("<x>1</x><x>2</x>", 2), ("<x>1", 0)):
        with pytest.raises(ValueError, match=re.escape(f"`<x>` stands there {n} times")):
            tag_content(text, "x")


def test_a_text_format_makes_a_grammar() -> None:
    grammar = MM.grammar()
    assert (grammar.kind, grammar.text, grammar.longest_bytes) == ("regex", MM.pattern, 6)


LEFT = Move(direction="left", distance_mm=20)


@pytest.mark.parametrize(("answer", "value"), [(JSON, LEFT), (CALL, LOOK), (MM, 20)], ids=["json", "call", "text"])
def test_what_a_format_writes_it_reads(answer: AnswerFormat[Any], value: object) -> None:
    text = answer.render(value)
    assert read(text, answer) == (value, True)
    assert read(f"So:\n```\n{text}\n```\nGood luck.", answer) == (value, False)
    assert answer.text_of(AIMessage(text)) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"direction":"up","distance_mm":900}', r"`direction` = 'up': .*; `distance_mm` = 900: .*less than or equal"),
        ('{"direction":"left"}', "`distance_mm` = {'direction': 'left'}: Field required"),
        ("left", "there is no JSON object"),
        ("}{", "there is no JSON object"),
        ('{"direction":', "there is no JSON object"),
    ],
)
def test_what_fits_no_schema_is_told_field_by_field(text: str, said: str) -> None:
    with pytest.raises(
        BadInput, match=rf"is no `Move`: {said}.*Reply with the corrected JSON object, and nothing else"
    ):
        read(text, JSON)


def test_an_object_is_found_in_its_fence_and_without_one() -> None:
    text = JSON.render(LEFT)
    assert JSON.repair(f"By {{rule}} 3:\n```json\n{text}\n```") == LEFT
    assert JSON.repair(f"I say {text}. The ```fence``` is elsewhere.") == LEFT
    assert json_object("a {b {c} d} e") == "{b {c} d}"


def test_arguments_of_a_call_are_those_of_the_tool() -> None:
    assert CALL.parse('{"name":"look","arguments":{"depth_mm":"20","note":"bone"}}') == LOOK
    assert CALL.parse('{"name":"next_clip"}').name == "next_clip"
    with pytest.raises(BadInput, match="Unknown tool 'lock'") as raised:
        CALL.parse('{"name":"lock","arguments":{}}')
    assert isinstance(raised.value.__cause__, UnknownName)
    for text in ('["look"]', '{"name":"look","arguments":[]}', '{"name":"look","why":"so"}', '{"arguments":{}}'):
        with pytest.raises(BadInput, match="not one call with `name` and `arguments`"):
            CALL.parse(text)
    with pytest.raises(BadInput):
        CALL.parse('{"name":"look","arguments":{"depth_mm":NaN,"note":"bone"}}')


def test_a_call_that_a_model_made_is_its_answer() -> None:
    called = {"name": "look", "args": LOOK.arguments, "id": "1", "type": "tool_call"}
    assert CALL.text_of(AIMessage("I look.", tool_calls=[called])) == CALL.render(LOOK)
    broken = {"name": "look", "args": '{"depth', "id": "1", "error": None, "type": "invalid_tool_call"}
    assert CALL.text_of(AIMessage("", invalid_tool_calls=[broken])) == 'look {"depth'


def test_lone_surrogates_are_no_answer() -> None:
    formats: list[AnswerFormat[Any]] = [JSON, MM, CALL]
    for answer in formats:
        with pytest.raises(BadInput, match="surrogates not allowed"):
            read('{"name":"\ud800"}', answer)
