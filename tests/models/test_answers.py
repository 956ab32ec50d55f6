"""Forms: read exactly or repaired, never guessed; what is no such answer is named and shown."""

import re

import pytest

from loopwright.errors import BadInput
from loopwright.models.answers import TextFormat
from loopwright.models.markup import tag_content, without_fences

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
