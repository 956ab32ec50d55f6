"""Grammars: open schemas are refused by field; whatever tokens are drawn, the answer parses and fits its budget."""

import enum
import json
import operator
import random
import re
from collections.abc import Callable
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llguidance.hf import from_tokenizer
from pydantic import BaseModel, ConfigDict, Field, RootModel, confloat, conint, conlist, conset, constr, create_model
from tests.models.templates import QWEN_SPECIALS
from tests.models.tiny import byte_fallback_tokenizer, tokenizer
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from loopwright.errors import BadInput, DeveloperError
from loopwright.models.grammar import Grammar, Matcher, json_grammar, regex_grammar, tool_call_grammar
from loopwright.tools.registry import TOOLS

Draw = Callable[[list[int]], int]


def byte_level() -> PreTrainedTokenizerFast:
    """As Qwen's."""
    return tokenizer(QWEN_SPECIALS, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def byte_fallback() -> PreTrainedTokenizerFast:
    """As Llama 2's."""
    return byte_fallback_tokenizer(("<pad>", "</s>", "<turn>"), "first", pad_token="<pad>", eos_token="</s>")


TOKENIZERS = {"byte-level": byte_level(), "byte fallback": byte_fallback()}
every_tokenizer = pytest.mark.parametrize("words", TOKENIZERS.values(), ids=TOKENIZERS)


def answer(grammar: Grammar, words: PreTrainedTokenizerFast, draw: Draw) -> tuple[str, int]:
    """What comes out when `draw` picks among the allowed tokens until an end token, and how many tokens that took."""
    matcher, ids = Matcher(grammar, words), list[int]()
    while True:
        choices = matcher.allowed().nonzero()[0].tolist()
        assert choices, words.decode(ids)
        token = draw(choices)
        matcher.advance(token)
        if token == words.eos_token_id:
            assert matcher.is_complete
            return str(words.decode(ids)), len(ids) + 1
        ids.append(token)


def at_random(seed: int) -> Draw:
    return random.Random(seed).choice


def spelling(words: PreTrainedTokenizerFast, seed: int) -> Draw:
    """The worst model: it spells, and it ends only when it must."""
    rng = random.Random(seed)

    def draw(choices: list[int]) -> int:
        going_on = [i for i in choices if i != words.eos_token_id]
        short = [i for i in going_on if len(words.decode([i])) == 1]
        return rng.choice(short or going_on or choices)

    return draw


class Colour(enum.Enum):
    RED = "red"
    BLUE = 'bl"ue\n'


class Point(NamedTuple):
    x: Annotated[int, Field(ge=-9, le=9)]
    y: Annotated[int, Field(ge=0, le=100)]


def _model(fields: list[Any], n_optional: int) -> type[BaseModel]:
    optional: dict[str, Any] = {f"o{i}": (kind | None, None) for i, kind in enumerate(fields[:n_optional])}
    required: dict[str, Any] = {f"f{i} é": (kind, ...) for i, kind in enumerate(fields[n_optional:])}
    return create_model("Made", **optional, **required)


def pairs(limit: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(-limit, limit), min_size=2, max_size=2).map(sorted)


LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([bool, NoneType, Colour, Point, Literal["T1", "T12", 3, None], Literal["é/ß"]]),
    st.builds(lambda n, more: constr(min_length=n, max_length=n + more), st.integers(0, 3), st.integers(0, 3)),
    st.just(constr(max_length=6, pattern=r"^[a-c]+\d|x$")),
    pairs(10**12).map(lambda pair: conint(ge=pair[0], le=pair[1])),
    pairs(200).map(lambda pair: conint(gt=pair[0], lt=pair[1] + 2)),
    st.builds(
        lambda pair, step: confloat(ge=pair[0], le=pair[1] + step, multiple_of=step),
        pairs(2000),
        st.sampled_from([0.01, 0.1, 0.25, 0.5, 2.0, 1e-5]),
    ),
)


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.builds(_model, st.lists(inner, max_size=4), st.integers(0, 4)),
        st.builds(lambda kind, n: conlist(kind, max_length=n), inner, st.integers(0, 3)),
        st.builds(lambda *kinds: tuple.__class_getitem__(kinds), inner, inner),
        st.builds(operator.or_, inner, inner),
        inner.map(lambda kind: kind | None),
    )


KINDS = st.recursive(LEAVES, _nested, max_leaves=6)


@every_tokenizer
@settings(max_examples=60)
@given(kind=KINDS, seed=st.integers(0, 2**16))
def test_every_answer_is_valid_and_fits_the_budget(words: PreTrainedTokenizerFast, kind: Any, seed: int) -> None:
    made = create_model("Whole", value=(kind, ...))
    grammar = json_grammar(made)
    for draw in (at_random(seed), spelling(words, seed)):
        text, n_tokens = answer(grammar, words, draw)
        made.model_validate_json(text)
        assert len(text.encode()) <= grammar.longest_bytes
        assert n_tokens <= grammar.max_tokens


PIECES = st.sampled_from(["a", "é", "/", r"\d", r"\.", "[^<>]", "[a-f0-9_]", "(?:L|RIGHT)", r"\w", "<x>", ".", r"\s\D"])


@settings(max_examples=60)
@given(
    pieces=st.lists(st.tuples(PIECES, st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=6),
    seed=st.integers(0, 2**16),
)
def test_every_answer_matches_its_pattern(pieces: list[tuple[str, int, int]], seed: int) -> None:
    pattern = "".join(f"{piece}{{{n},{n + more}}}" for piece, n, more in pieces)
    grammar = regex_grammar(pattern, longest_chars=200)
    words = TOKENIZERS["byte-level"]
    for draw in (at_random(seed), spelling(words, seed)):
        text, n_tokens = answer(grammar, words, draw)
        assert re.fullmatch(pattern, text, re.ASCII)
        assert n_tokens <= grammar.max_tokens


def test_the_budget_is_no_larger_than_the_longest_answer() -> None:
    class Plan(BaseModel):
        name: str = Field(max_length=2)
        steps: list[Literal["go", "halt"]] = Field(max_length=2)
        angle_deg: float = Field(ge=-90, le=90, multiple_of=0.5)
        sure: bool | None

    longest = '{"name":"😀😀","steps":["halt","halt"],"angle_deg":-90.0,"sure":false}'
    assert json_grammar(Plan).longest_bytes == len(longest.encode())
    assert regex_grammar("[a-z]{2}|[0-9]{5}", 5).longest_bytes == 5
    assert regex_grammar("é{0,3}x", 4).longest_bytes == 4 * 4


@every_tokenizer
def test_the_longest_answer_is_legal(words: PreTrainedTokenizerFast) -> None:
    class Note(BaseModel):
        text: str = Field(max_length=3)
        n: int = Field(ge=-100, lt=1000)

    grammar, longest = json_grammar(Note), '{"text":"😀é😀","n":-100}'
    as_bytes = from_tokenizer(words)
    spelled = {as_bytes.decode_bytes([i]): i for i in range(len(words))}
    matcher = Matcher(grammar, words)
    for byte in longest.encode():
        assert not matcher.is_complete
        matcher.advance(spelled[bytes([byte])])
    assert matcher.is_complete
    assert matcher.allowed().nonzero()[0].tolist() == [words.eos_token_id]


class Nested(BaseModel):
    name: str


class Recursive(BaseModel):
    inner: "Recursive | None" = None


@cache
def closing(words: PreTrainedTokenizerFast) -> frozenset[int]:
    """The tokens that close a string, a list or an object, or begin with what does."""
    return frozenset(i for i in range(len(words)) if words.decode([i]).strip(" ")[:1] in ('"', "]", "}"))


def endless(words: PreTrainedTokenizerFast, grammar: Grammar, asked: int, seed: int) -> str:
    """What a model says that never closes what it has opened, within the budget of `asked` tokens."""
    rng, ids = random.Random(seed), list[int]()
    matcher, budget = Matcher(grammar, words), grammar.budget(asked)
    for n_left in range(budget, 0, -1):
        choices = matcher.allowed(n_left=n_left).nonzero()[0].tolist()
        token = rng.choice([i for i in choices if i not in closing(words)] or choices)
        matcher.advance(token)
        if token == words.eos_token_id:
            break
        ids.append(token)
        if matcher.is_complete:
            break
    assert matcher.is_complete, words.decode(ids)
    return str(words.decode(ids))


@every_tokenizer
@pytest.mark.parametrize(
    "kind",
    [
        *(
            str,
            int,
            float,
            bool | Nested,
            UUID,
            Any,
            list[bool],
            list[list[str]],
            dict[str, bool],
            dict[str, Nested],
        ),
        *(conint(ge=0), conint(le=-(10**7)), confloat(ge=0, le=1), confloat(ge=0, le=float("inf"), multiple_of=0.1)),
        *(conlist(str, max_length=2), conlist(str, min_length=2), tuple[bool, str], constr(min_length=3)),
        *(Nested, Annotated[list[Nested | None], Field(max_length=2)], constr(pattern="^[a-z]+$")),
    ],
    ids=str,
)
def test_a_field_without_a_bound_ends_with_the_token_budget(words: PreTrainedTokenizerFast, kind: Any) -> None:
    made = create_model("Plan", field=(kind, ...), rest=(list[str], ...))
    grammar = json_grammar(made)
    assert grammar.is_open
    for asked in (1, 30):
        made.model_validate_json(endless(words, grammar, asked, seed=asked))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (conset(bool, max_length=2), "`Plan.field` is a set.*Make it a list"),
        (Recursive, "`Plan.field.inner` contains itself"),
        (conint(ge=3, le=2), "`Plan` makes no grammar: .*'field' is unsatisfiable"),
        (conint(ge=1, le=6, multiple_of=7), "`Plan` makes no grammar"),
        (constr(max_length=2, pattern="^...$"), "`Plan` makes no grammar"),
        (constr(max_length=2, pattern=r"^\W$"), r"`Plan.field` has the pattern '\^.*Write them out"),
        (constr(max_length=2, pattern=r"a\b"), "`Plan` makes no grammar"),
    ],
)
def test_a_field_that_no_grammar_can_hold_is_refused_by_its_path(kind: Any, said: str) -> None:
    with pytest.raises(DeveloperError, match=said):
        json_grammar(create_model("Plan", field=(kind, ...)))


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("[a-z]*", "any number of characters.*Bound each repetition"),
        ("[a-z]{2,9}", "up to 9 characters, but `longest_chars` is 8"),
        ("(a", "no regular expression: missing \\)"),
        ("a(?=b)", "look-around.* not supported"),
        (r"[^\s\S]", "nothing matches it"),
    ],
)
def test_a_pattern_that_cannot_be_kept_to_is_refused(pattern: str, said: str) -> None:
    with pytest.raises(DeveloperError, match=said):
        regex_grammar(pattern, longest_chars=8)


def test_undeclared_properties_and_white_space_never_appear() -> None:
    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")
        properties: bool

    texts = {answer(json_grammar(Open), TOKENIZERS["byte-level"], at_random(seed))[0] for seed in range(20)}
    assert texts == {'{"properties":true}', '{"properties":false}'}


def test_a_tagged_union_keeps_each_tag_with_its_fields() -> None:
    class Move(BaseModel):
        kind: Literal["move"]
        mm: int = Field(ge=0, le=9)

    class Halt(BaseModel):
        kind: Literal["halt"]

    class Either(RootModel[Annotated[Move | Halt, Field(discriminator="kind")]]): ...

    either: Any = Either
    texts = [answer(json_grammar(either), TOKENIZERS["byte-level"], at_random(seed))[0] for seed in range(20)]
    assert {type(Either.model_validate_json(text).root) for text in texts} == {Move, Halt}


def test_a_token_that_is_not_allowed_is_refused() -> None:
    words = TOKENIZERS["byte-level"]
    matcher = Matcher(regex_grammar("ab", 2), words)
    with pytest.raises(DeveloperError, match=r"\('b'\) is not allowed here"):
        matcher.advance(words.get_vocab()["b"])


def test_the_models_own_end_tokens_end_an_answer() -> None:
    words = TOKENIZERS["byte fallback"]
    ends = [words.eos_token_id, words.convert_tokens_to_ids("<turn>")]
    for end in ends:
        matcher = Matcher(regex_grammar("ab?", 2), words, ends)
        matcher.advance(words.get_vocab()["a"])
        assert matcher.allowed()[ends].all()
        assert not matcher.is_complete
        matcher.advance(end)
        assert matcher.is_complete


def test_logits_beyond_the_vocabulary_are_never_allowed() -> None:
    words = TOKENIZERS["byte-level"]
    matcher = Matcher(regex_grammar(".", 1), words)
    assert matcher.allowed().shape == (len(words),)
    assert matcher.allowed(512).nonzero()[0].max() < len(words)
    assert matcher.allowed(300).tolist() == matcher.allowed()[:300].tolist()


def test_a_tokenizer_that_cannot_spell_or_end_is_refused() -> None:
    letters = Tokenizer(models.BPE(vocab={"</s>": 0, "a": 1}, merges=[]))
    with pytest.raises(BadInput, match="decoder"):
        Matcher(regex_grammar("a", 1), PreTrainedTokenizerFast(tokenizer_object=letters, eos_token="</s>"))
    letters.decoder = decoders.ByteLevel()
    grammar = regex_grammar("a", 1)
    with pytest.raises(BadInput, match="no end token"):
        Matcher(grammar, PreTrainedTokenizerFast(tokenizer_object=letters))
    with pytest.raises(BadInput, match=r"no token for the byte b'\\n'"):
        Matcher(grammar, PreTrainedTokenizerFast(tokenizer_object=letters, eos_token="</s>"))


@every_tokenizer
@pytest.mark.parametrize("draws", [at_random, spelling], ids=["at random", "spelling"])
def test_a_tool_is_called_whatever_is_drawn(words: PreTrainedTokenizerFast, draws: Any) -> None:
    tools = {tool.name: tool for tool in TOOLS if tool.name != "leave_note"}  # that one's text is 4000 bytes long
    functions = tuple(json.dumps(tool.openai_schema()["function"]) for tool in tools.values())
    grammar, called = tool_call_grammar(functions, "<a>", "</a>"), set()
    for seed in range(12):
        draw = draws(words, seed) if draws is spelling else draws(seed)
        text, n_tokens = answer(grammar, words, draw)
        call = json.loads(text.removeprefix("<a>").removesuffix("</a>"))
        assert call.keys() == {"name", "arguments"} and n_tokens <= grammar.max_tokens
        tools[call["name"]].input_model.model_validate(call["arguments"])
        called.add(call["name"])
    assert len(called) > 1


def test_a_call_with_an_open_string_ends_with_the_token_budget() -> None:
    schema = {"type": "object", "properties": {"why": {"type": "string"}}, "required": ["why"]}
    grammar = tool_call_grammar((json.dumps({"name": "look", "parameters": schema}),), "<a>", "</a>")
    text = endless(TOKENIZERS["byte-level"], grammar, asked=40, seed=1)
    assert json.loads(text.removeprefix("<a>").removesuffix("</a>"))["name"] == "look"


def test_a_number_without_limits_has_some_in_a_call() -> None:
    schema = {"type": "object", "properties": {"mm": {"type": "number", "minimum": 0}, "n": {"type": "integer"}}}
    function = json.dumps({"name": "look", "parameters": schema | {"required": ["mm", "n"]}})
    grammar = tool_call_grammar((function,), "", "")
    for seed in range(20):
        text, _ = answer(grammar, TOKENIZERS["byte-level"], spelling(TOKENIZERS["byte-level"], seed))
        said = json.loads(text)["arguments"]
        assert 0 <= said["mm"] <= 999_999 and abs(said["n"]) <= 999_999
