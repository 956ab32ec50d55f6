"""The error tree: drawn as it is, split by who acts, with codes that the command line documents."""

import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright import errors
from loopwright.cli.output import EXIT_CODES
from loopwright.errors import LoopwrightError, UnknownName


def tree(root: type[LoopwrightError]) -> Iterator[type[LoopwrightError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


OURS = [error for error in tree(LoopwrightError) if error.__module__ == errors.__name__]


def test_the_drawing_is_the_tree() -> None:
    drawn = re.findall(r"^ {4}([| `-]*)(\w+)", errors.__doc__ or "", flags=re.MULTILINE)
    parents: dict[int, str] = {}
    for indent, name in drawn:
        depth = len(indent) // 4
        parents[depth] = name
        if depth:
            assert getattr(errors, name).__base__.__name__ == parents[depth - 1]
    assert [name for _, name in drawn] == [error.__name__ for error in OURS]


def test_the_drawing_states_the_exit_codes() -> None:
    for name, code in re.findall(r"(\w+) +(\d+)\b", errors.__doc__ or ""):
        assert getattr(errors, name).exit_code == int(code)


def test_every_exit_code_is_documented() -> None:
    assert {error.exit_code for error in OURS} <= EXIT_CODES.keys()


@pytest.mark.parametrize("error", OURS, ids=lambda error: error.__name__)
def test_every_error_says_who_acts(error: type[LoopwrightError]) -> None:
    assert error.__doc__


def test_an_unknown_name_suggests_the_nearest() -> None:
    error = UnknownName("landmark", "carena", ["Skull", "Carina", "T12"])
    assert str(error) == "Unknown landmark 'carena'. Did you mean `Carina`? Known: Skull, Carina, T12."
    assert error.known == ("Skull", "Carina", "T12")


def test_an_unknown_name_among_none() -> None:
    assert str(UnknownName("session", "x", [])) == "Unknown session 'x'. Known: none."


@given(st.text(), st.lists(st.text()))
def test_an_unknown_name_never_fails_to_say_so(name: str, known: list[str]) -> None:
    assert repr(name) in str(UnknownName("thing", name, known))
