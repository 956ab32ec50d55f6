"""Tokenizers that lack bytes: whatever is drawn, an answer ends whole, without what they cannot write."""

import json
import re
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llguidance.hf import from_tokenizer
from pydantic import BaseModel, Field, constr, create_model
from tests.models.templates import CHATML_SPECIALS, SMOLLM2_LACKS
from tests.models.test_grammar import KINDS, PIECES, answer, at_random, spelling
from tests.models.tiny import tokenizer
from transformers import PreTrainedTokenizerFast

from loopwright.errors import BadInput
from loopwright.models.grammar import Matcher, json_grammar, regex_grammar, tool_call_grammar

LACKING = {
    "SmolLM2's": SMOLLM2_LACKS,
    "all of four bytes": frozenset(range(0xF0, 0xF5)),
    "two that continue, two that begin": frozenset({0x98, 0xA5, 0xC3, 0xE2}),
    "all but ASCII": frozenset(range(0x80, 0x100)),
    "control characters": frozenset({*range(0x0A), *range(0x0B, 0x20)}),
}


def lacking(bytes_: frozenset[int]) -> PreTrainedTokenizerFast:
    words = tokenizer(CHATML_SPECIALS, lacking=bytes_, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    spelled = from_tokenizer(words)
    assert not bytes_ & {piece[0] for i in range(len(words)) if len(piece := spelled.decode_bytes([i])) == 1}
    return words


TOKENIZERS = {name: lacking(bytes_) for name, bytes_ in LACKING.items()}
every_tokenizer = pytest.mark.parametrize("name", LACKING)


@every_tokenizer
@settings(max_examples=25)
@given(kind=KINDS, n=st.integers(0, 9), seed=st.integers(0, 2**16))
def test_every_answer_is_valid_and_can_be_spelled(name: str, kind: Any, n: int, seed: int) -> None:
    made = create_model("Whole", value=(kind, ...), text=(constr(min_length=n, max_length=9), ...))
    grammar = json_grammar(made)
    try:
        Matcher(grammar, TOKENIZERS[name])
    except BadInput as refused:
        assert re.search("no token for a byte of '[^']*[éß]", str(refused))
        return
    for draw in (at_random(seed), spelling(TOKENIZERS[name], seed)):
        text, n_tokens = answer(grammar, TOKENIZERS[name], draw)
        made.model_validate_json(text)
        assert not LACKING[name] & set(text.encode())
        assert n_tokens <= grammar.max_tokens


@every_tokenizer
@settings(max_examples=25)
@given(
    pieces=st.lists(
        st.tuples(PIECES | st.sampled_from(["[à-ü]", "[€☢a]", "[😀\U00051000]"]), st.integers(0, 2), st.integers(0, 4)),
        min_size=1,
        max_size=6,
    ),
    seed=st.integers(0, 2**16),
)
def test_every_answer_matches_its_pattern(name: str, pieces: list[tuple[str, int, int]], seed: int) -> None:
    pattern = "".join(f"{piece}{{{n},{n + more}}}" for piece, n, more in pieces)
    grammar = regex_grammar(pattern, longest_chars=200)
    try:
        Matcher(grammar, TOKENIZERS[name])
    except BadInput as refused:
        assert "lacks bytes that every answer" in str(refused)
        return
    for draw in (at_random(seed), spelling(TOKENIZERS[name], seed)):
        text, _ = answer(grammar, TOKENIZERS[name], draw)
        assert re.fullmatch(pattern, text, re.ASCII)
        assert not LACKING[name] & set(text.encode())


@every_tokenizer
@settings(max_examples=10)
@given(n=st.integers(1, 9), seed=st.integers(0, 2**16))
def test_every_tool_call_is_valid_and_can_be_spelled(name: str, n: int, seed: int) -> None:
    made = create_model("Arguments", text=(constr(min_length=n, max_length=9), ...))
    function = json.dumps({"name": "note", "parameters": made.model_json_schema()})
    grammar = tool_call_grammar((function,), "<call>", "</call>")
    for draw in (at_random(seed), spelling(TOKENIZERS[name], seed)):
        text, n_tokens = answer(grammar, TOKENIZERS[name], draw)
        made.model_validate(json.loads(text.removeprefix("<call>").removesuffix("</call>"))["arguments"])
        assert not LACKING[name] & set(text.encode())
        assert n_tokens <= grammar.max_tokens


@pytest.mark.parametrize(
    ("name", "text", "fits"),
    [
        ("SmolLM2's", "é😀\U00100000", True),
        ("SmolLM2's", "\U00051000", False),
        ("all of four bytes", "é€", True),
        ("all of four bytes", "😀", False),
        ("two that continue, two that begin", "ā", True),
        ("two that continue, two that begin", "é", False),
        ("two that continue, two that begin", "\u0118", False),
        ("two that continue, two that begin", "😀", False),
        ("all but ASCII", "e", True),
        ("all but ASCII", "é", False),
    ],
)
def test_a_character_is_left_out_where_its_bytes_are_lacking(name: str, text: str, fits: bool) -> None:
    class Note(BaseModel):
        text: str = Field(max_length=3)

    words = TOKENIZERS[name]
    as_bytes = from_tokenizer(words)
    tokens = {as_bytes.decode_bytes([i]): i for i in range(len(words))}
    matcher = Matcher(json_grammar(Note), words)
    begun = b'{"text":"'
    for byte in begun:
        matcher.advance(tokens[bytes([byte])])
    for byte in text.encode():
        if bytes([byte]) not in tokens or not matcher.allowed()[tokens[bytes([byte])]]:
            assert not fits
            return
        matcher.advance(tokens[bytes([byte])])
    assert fits


def test_what_an_answer_cannot_do_without_is_named() -> None:
    class Word(BaseModel):
        word: Literal["été", "hiver"]

    class Named(BaseModel):
        été: bool

    words = TOKENIZERS["all but ASCII"]
    for made in (Word, Named):
        with pytest.raises(BadInput, match=r"no token for a byte of 'été'.*ASCII"):
            Matcher(json_grammar(made), words)
    with pytest.raises(BadInput, match="lacks bytes that every answer of regex 'été'"):
        Matcher(regex_grammar("été", 3), words)
    assert answer(regex_grammar("été|hiver", 5), words, at_random(0))[0] == "hiver"
