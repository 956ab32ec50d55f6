"""Plain text: whatever was said becomes text that decoding may write, cut at a word's end."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.agents.plain import plain_pattern, plainly


@pytest.mark.parametrize(
    ("text", "n_chars", "plain"),
    [
        ("The <b>duct</b> is\n seen.", 40, "The b duct b is seen."),
        ("((one)) two", 20, "one)) two"),
        ("one two three", 7, "one two"),
        ("one two three", 6, "one"),
        ("unbroken", 3, "unb"),
        ("- - - one two", 3, "one"),
        ("", 5, ""),
        ("<>", 5, ""),
    ],
)
def test_free_words_are_made_plain(text: str, n_chars: int, plain: str) -> None:
    assert plainly(text, n_chars) == plain


@given(st.text(st.sampled_from("ab<é \n.(-"), max_size=40), st.integers(1, 30))
def test_what_is_plain_may_be_written_and_stays_as_it_is(text: str, n_chars: int) -> None:
    plain = plainly(text, n_chars)
    assert plain == "" or re.fullmatch(plain_pattern(n_chars), plain)
    assert plainly(plain, n_chars) == plain
