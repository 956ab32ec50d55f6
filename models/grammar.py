"""Bounded grammars: what a model may say, made of a schema, a pattern or tools, and enforced token by token.

Every grammar knows its longest answer, so that a token budget can cover it. Parts without a longest length (strings,
lists, dictionaries) are open: they are closed in time where the budget ends. llguidance does the matching. Knows
tokenizers, and neither models nor messages.
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from llguidance import LLMatcher, LLTokenizer, regex_to_lark
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from loopwright.errors import BadInput, DeveloperError
from loopwright.models.json_schema import plain_schema
from loopwright.models.spelling import REQUIRED, Spelling
from loopwright.models.visual_tokens import split_visual, visual_ids
from loopwright.schema import Frozen

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions
    from transformers import PreTrainedTokenizerFast

_UTF8_BYTES = 4
"""The longest character. The escapes that are allowed in JSON take two bytes."""

_JSON: "JsonCompileOptions" = {"whitespace_flexible": False, "coerce_one_of": True, "json_allowed_escapes": 'nrbtf\\"'}
"""No white space to pad an answer with; the branches of a union may overlap; no `\\u....`, which takes six bytes."""

_FREE_NUMBER = 999_999
"""Largest size of a number that states no limit."""

_FREE_BYTES = 64
"""What a text in a format or a pattern without `maxLength` is taken to need."""

_CLOSING = 32
"""Tokens beyond its frame that an open answer may take to close: a character's rest, an escape, nested brackets."""

_ANY_WIDTH = 2**31
"""From here on, `re` means that a pattern has no longest match."""

_ASCII = "dws"
"""Digits, words and spaces, the classes that llguidance shall take as ASCII."""

_NEGATED = re.compile(r"(?<!\\)(?:\\\\)*\\[DW]")

_NOTHING = "NoExtension"
"""How llguidance says that there is no next byte."""


class Grammar(Frozen):
    """A set of texts that has a longest one. Make it with one of the functions below, which check that."""

    kind: Literal["json", "regex", "lark"]
    text: str = Field(description="the JSON schema, the regular expression or the Lark rules of the whole answer")
    longest_bytes: int = Field(
        ge=0, description="no answer's text is longer, in UTF-8, its open parts empty, visual tokens apart"
    )
    is_open: bool = Field(default=False, description="some parts have no longest length, and end with the token budget")
    n_visual: int = Field(default=0, ge=0, description="visual tokens of every answer")

    @property
    def max_tokens(self) -> int:
        """A budget that no legal answer exceeds, its end token included, whatever the tokenizer.

        A token of text adds at least one byte. Nothing smaller is safe: a model may spell what usually is one token. Of
        an open grammar it is what closing the answer takes at most, wherever it stands.
        """
        return self.longest_bytes + self.n_visual + 1 + (_CLOSING if self.is_open else 0)

    def budget(self, max_tokens: int) -> int:
        """A reply's longest length in tokens, where `max_tokens` are meant for open parts."""
        return self.max_tokens + (max_tokens if self.is_open else 0)


@lru_cache(maxsize=64)
def json_grammar(model: type[BaseModel]) -> Grammar:
    """The JSON objects without white space that `model`'s JSON schema describes, with fields in their order.

    Strings without `max_length`, lists without `max_length` and dictionaries are open. Numbers without limits or
    decimals of their own have six digits at most and three decimals. Fields with a default may be left out, further
    fields are never there. What validators ask for beyond the schema, a grammar cannot know.

    Raises:
        DeveloperError: naming the field that contains itself or is a set, or what makes the schema impossible.
    """
    return schema_grammar(json.dumps(plain_schema(model.model_json_schema(), model.__name__)), model.__name__)


@lru_cache(maxsize=64)
def schema_grammar(schema: str, name: str) -> Grammar:
    """As `json_grammar`, of a plain JSON schema (`loopwright.models.json_schema`), as text.

    Raises:
        DeveloperError: as `json_grammar`.
    """
    limited, opened = _with_limits(json.loads(schema)), list[str]()
    longest = _longest(limited, name, opened)
    text = json.dumps(limited, ensure_ascii=False)
    return _satisfiable(Grammar(kind="json", text=text, longest_bytes=longest, is_open=bool(opened)), name)


@lru_cache(maxsize=64)
def regex_grammar(pattern: str, longest_chars: int) -> Grammar:
    """The texts that `pattern` matches as a whole: Python's syntax, without look-around and back-references.

    The classes `\\d`, `\\w`, `\\s` and their opposites are those of `re.ASCII`: Unicode's differ from engine to engine.
    A `loopwright.models.visual_tokens.visual_pattern` in it stands for tokens of the model's vocabulary.

    Raises:
        DeveloperError: the pattern is malformed, matches nothing, or matches more than `longest_chars` characters.
    """
    width = _longest_match(pattern)
    if width > longest_chars:
        n_chars = str(width) if width < _ANY_WIDTH else "any number of"
        raise DeveloperError(
            f"The pattern {pattern!r} matches up to {n_chars} characters, but `longest_chars` is {longest_chars!r}. "
            "Bound each repetition (`{0,200}` in place of `*`) and count again."
        )
    texts, counts = split_visual(pattern)
    longest_bytes = 0
    for text in texts:
        _satisfiable(Grammar(kind="regex", text=text, longest_bytes=0), pattern)
        longest_bytes += _longest_match(text) * (1 if _is_ascii(text) else _UTF8_BYTES)
    return Grammar(kind="regex", text=pattern, longest_bytes=longest_bytes, n_visual=sum(counts))


@lru_cache(maxsize=64)
def tool_call_grammar(functions: tuple[str, ...], opening: str, closing: str) -> Grammar:
    """One call of one of several functions, `{"name":...,"arguments":{...}}` without white space, between two marks.

    Args:
        functions: JSON of each one's `name` and `parameters`, a plain JSON schema.
        opening: what precedes the call.
        closing: what follows it.

    Raises:
        DeveloperError: as `json_grammar`.
    """
    calls, longest, opened = [], 0, list[str]()
    for function in map(json.loads, functions):
        members = {"name": {"const": function["name"]}, "arguments": _with_limits(function["parameters"])}
        calls.append({"type": "object", "properties": members, "required": ["name", "arguments"]})
        longest = max(longest, _longest(calls[-1], function["name"], opened))
    schema = json.dumps({"x-guidance": _JSON, "anyOf": calls}, ensure_ascii=False)
    grammar = Grammar(
        kind="lark",
        text=f"start: {json.dumps(opening)} call {json.dumps(closing)}\ncall: %json {schema}",
        longest_bytes=len(opening.encode()) + longest + len(closing.encode()),
        is_open=bool(opened),
    )
    return _satisfiable(grammar, "tools")


def either_grammar(call: Grammar, answer: Grammar) -> Grammar:
    """A tool call (`tool_call_grammar`), or a JSON answer in its place (`schema_grammar`)."""
    schema = json.dumps({"x-guidance": _JSON, **json.loads(answer.text)}, ensure_ascii=False)
    return Grammar(
        kind="lark",
        text=f"{call.text.replace('start: ', 'start: answer | ', 1)}\nanswer: %json {schema}",
        longest_bytes=max(call.longest_bytes, answer.longest_bytes),
        is_open=call.is_open or answer.is_open,
    )


class Matcher:
    """One answer as it grows under `grammar`: which tokens may come next, until the answer is complete.

    Args:
        grammar: what is allowed.
        tokenizer: a fast tokenizer, byte-level or with byte fallback.
        end_ids: the tokens that end the model's turn (`generation_config.eos_token_id`); None: the tokenizer's own.

    Raises:
        BadInput: the tokenizer lacks an end token, a byte of ASCII, visual tokens, or what every answer needs.
        DeveloperError: the grammar is too large for llguidance.
    """

    def __init__(
        self, grammar: Grammar, tokenizer: "PreTrainedTokenizerFast", end_ids: Sequence[int] | None = None
    ) -> None:
        self._words, spelling, self._ids = _words(tokenizer, tuple(end_ids) if end_ids is not None else None)
        visual = _any_visual(tokenizer) if grammar.n_visual else ""
        self._matcher = LLMatcher(self._words, _compiled(grammar, spelling, self._words, visual), log_level=0)
        self._grammar = grammar
        if spelling is not None:
            self._matcher.compute_bitmask()
            if self._matcher.is_error():
                raise BadInput(
                    f"The tokenizer `{spelling.owner}` lacks bytes that every answer of {grammar.kind} "
                    f"{grammar.text!r:.200} needs ({_cause(self._matcher)}). Use a model whose tokenizer has them."
                )
        self._check()

    def allowed(self, n_logits: int | None = None, *, n_left: int | None = None) -> NDArray[np.bool_]:
        """(n_logits,) True where a token may come next: at least one token, only end tokens once complete.

        Args:
            n_logits: the width of the model's output, which may exceed the vocabulary (the rest is never allowed);
                None: the vocabulary's size.
            n_left: how many tokens may yet come. An open answer is closed when there are no more than that takes.
        """
        packed = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        self._check()
        mask = np.unpackbits(packed, count=n_logits or self._words.vocab_size, bitorder="little").view(np.bool_)
        if self._grammar.is_open and n_left is not None and n_left <= self._grammar.max_tokens:
            return self._closing(mask)
        return mask

    def _closing(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Of what is allowed the one mark that ends a string, a list or an object, where one does; else all of it."""
        in_string = mask[self._ids[ord(" ")]]  # nothing else in an answer holds white space
        for mark in b'"' if in_string else b'}]",':
            if mask[self._ids[mark]]:
                return np.arange(len(mask)) == self._ids[mark]
        return mask

    def advance(self, token_id: int) -> None:
        """Take `token_id` as the next token.

        Raises:
            DeveloperError: it is not allowed here.
        """
        if not self._matcher.consume_token(token_id):
            raise DeveloperError(
                f"Token {token_id!r} ({self._words.decode_str([token_id])!r}) is not allowed here. "
                "Draw only tokens that `allowed()` marks."
            )

    @property
    def is_complete(self) -> bool:
        """Whether the answer is whole and nothing but an end token could follow it, or one has."""
        return self._matcher.is_stopped()

    def _check(self) -> None:
        if self._matcher.is_error():
            what = f"{self._grammar.kind} {self._grammar.text!r:.200}"
            raise DeveloperError(f"llguidance cannot go on with {what}: {_cause(self._matcher)}. Simplify it.")


def _longest(node: dict[str, Any], path: str, opened: list[str]) -> int:
    """Bytes of the longest JSON text of a plain schema node, its open parts empty; their paths are added to `opened`.

    Closes its objects in place: no undeclared property.
    """

    def of(child: dict[str, Any], suffix: str = "") -> int:
        return _longest(child, path + suffix, opened)

    match node:
        case {"const": value}:
            return _bytes(value)
        case {"enum": values}:
            return max(map(_bytes, values))
        case {"anyOf": options} | {"oneOf": options}:
            return max(map(of, options))
        case {"type": "null"}:
            return len("null")
        case {"type": "boolean"}:
            return len("false")
        case {"type": "integer" | "number"}:
            return _longest_number(node)
        case {"type": "string"}:
            return _longest_string(node, path, opened)
        case {"type": "array"}:
            return _longest_array(node, path, opened, of)
        case {"type": "object", "properties": properties}:
            node["additionalProperties"] = False
            members = [_bytes(name) + 1 + of(child, f".{name}") for name, child in properties.items()]
            return 2 + sum(members) + max(0, len(members) - 1)
        case {"type": "object"}:
            opened.append(path)
            each = node.get("additionalProperties")
            return len('{"":}') + (of(each, "[]") if isinstance(each, dict) else len('""'))
        case _:
            opened.append(path)
            return len('""')


def _longest_string(node: dict[str, Any], path: str, opened: list[str]) -> int:
    if _NEGATED.search(pattern := node.get("pattern", "")):
        raise DeveloperError(
            f"`{path}` has the pattern {pattern!r}, and pydantic and llguidance disagree on what `\\D` and `\\W` hold. "
            "Write them out, such as `[^0-9]`."
        )
    if "maxLength" in node:
        return 2 + _UTF8_BYTES * int(node["maxLength"])
    opened.append(path)
    return 2 + _UTF8_BYTES * node.get("minLength", 0) + (_FREE_BYTES if node.keys() & {"format", "pattern"} else 0)


def _longest_number(node: dict[str, Any]) -> int:
    limits = [node.get(key, node.get(f"exclusive{key.capitalize()}", math.inf)) for key in ("minimum", "maximum")]
    exponent = Decimal(str(node.get("multipleOf", 1))).normalize().as_tuple().exponent
    n_decimals = max(0, -int(exponent))
    n_digits = max(len(str(int(abs(limit)))) for limit in limits)
    return len("-") + n_digits + (len(".") + n_decimals if n_decimals else 0)


def _longest_array(node: dict[str, Any], path: str, opened: list[str], of: Callable[[dict[str, Any], str], int]) -> int:
    if node.get("uniqueItems"):
        raise DeveloperError(f"`{path}` is a set, which no grammar can enforce. Make it a list.")
    first = [of(child, f"[{i}]") for i, child in enumerate(node.get("prefixItems", []))]
    if "maxItems" not in node:
        opened.append(path)
    n_rest = max(int(node.get("maxItems", max(1, node.get("minItems", 0)))) - len(first), 0)
    rest = n_rest * of(node.get("items", {}), "[]") if n_rest > 0 else 0
    return 2 + sum(first) + rest + max(0, len(first) + n_rest - 1)


def _with_limits(node: Any) -> Any:
    """A schema in which every number has limits and, if it is no integer, decimals."""
    if isinstance(node, list):
        return [_with_limits(each) for each in node]
    if not isinstance(node, dict):
        return node
    limited = {key: _with_limits(each) for key, each in node.items() if each not in (math.inf, -math.inf)}
    if node.get("type") in ("integer", "number"):
        known = [abs(limited[key]) for key in limited if key.lower().endswith("imum")]
        free = max([_FREE_NUMBER, *(10 * limit for limit in known)])
        lowest = {} if "exclusiveMinimum" in limited else {"minimum": -free}
        highest = {} if "exclusiveMaximum" in limited else {"maximum": free}
        decimals = {"multipleOf": 0.001} if node["type"] == "number" else {}
        return lowest | highest | decimals | limited
    return limited


def _bytes(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def _satisfiable(grammar: Grammar, name: str) -> Grammar:
    matcher = LLMatcher(_byte_words(), _compiled(grammar), log_level=0)
    matcher.compute_bitmask()
    if matcher.is_error():
        raise DeveloperError(f"`{name}` makes no grammar: {_cause(matcher)}. Correct it.")
    return grammar


def _longest_match(pattern: str) -> int:
    """Characters that a pattern matches at most."""
    try:
        width: int = import_module("re._parser").parse(pattern).getwidth()[1]  # no public door tells a pattern's width
    except re.error as error:
        raise DeveloperError(f"The pattern {pattern!r} is no regular expression: {error}.") from error
    return width


def _is_ascii(pattern: str) -> bool:
    """Whether every match is ASCII. A pattern that is too large to tell counts as not."""
    other = f"start: TEXT\nTEXT: /{regex_to_lark(pattern, _ASCII)}/ & ~/[\\x00-\\x7F]*/"
    matcher = LLMatcher(_byte_words(), LLMatcher.grammar_from_lark(other), log_level=0)
    matcher.compute_bitmask()
    return matcher.is_error() and _NOTHING in matcher.get_error()


def _cause(matcher: LLMatcher) -> str:
    """The line of llguidance's message that tells."""
    lines = matcher.get_error().splitlines()
    if _NOTHING in lines[0]:
        return "nothing matches it"
    return next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[0])


def _compiled(
    grammar: Grammar, spelling: Spelling | None = None, words: LLTokenizer | None = None, visual: str = ""
) -> str:
    """llguidance's form of `grammar` for a tokenizer, without the characters that it cannot spell; `visual` are its
    visual tokens.
    """
    restrict: Callable[[str], str] = str if spelling is None else spelling.restrict
    if grammar.kind == "json":
        return LLMatcher.grammar_from_json_schema(restrict(grammar.text), overrides=_JSON)
    if grammar.kind == "lark":  # a schema stands at its line's end
        rules = [line.partition("%json ") for line in grammar.text.splitlines()]
        lines = [f"{_with_tokens(rule, words)}{mark}{restrict(schema) if mark else ''}" for rule, mark, schema in rules]
        return LLMatcher.grammar_from_lark("\n".join(lines))
    texts, counts = split_visual(grammar.text)
    writable = f" & /{spelling.characters}*/" if spelling is not None else ""
    terminals = [f"TEXT{k}: /{regex_to_lark(text, _ASCII)}/{writable}" for k, text in enumerate(texts)]
    tokens = [f" {visual}{{{count}}} TEXT{k}" for k, count in enumerate(counts, start=1)]
    return LLMatcher.grammar_from_lark("\n".join([f"start: TEXT0{''.join(tokens)}", *terminals]))


def _any_visual(tokenizer: "PreTrainedTokenizerFast") -> str:
    """llguidance's form of any visual token."""
    ids = visual_ids(tokenizer)
    if not ids:
        raise BadInput(
            f"The answer has visual tokens, and the tokenizer `{tokenizer.name_or_path}` has none. Take a role whose "
            "adapter was trained with `model.visual_tokens`."
        )
    return f"<[{ids[0]}-{ids[-1]}]>"


def _with_tokens(rule: str, words: LLTokenizer | None) -> str:
    """A rule whose texts name the tokens that are marks of their own in a vocabulary, such as Qwen's `<tool_call>`."""

    def named(text: re.Match[str]) -> str:
        ids = words.tokenize_str(json.loads(text[0]), parse_special=True) if words is not None else []
        if not any(words.is_special_token(i) for i in ids):  # type: ignore[union-attr]  # then there are none
            return text[0]
        parts = [f"<[{i}]>" if words.is_special_token(i) else json.dumps(words.decode_str([i])) for i in ids]
        return " ".join(parts)

    return re.sub(r'"(?:[^"\\]|\\.)*"', named, rule)


@lru_cache(maxsize=1)
def _byte_words() -> LLTokenizer:
    """A vocabulary of single bytes: what a grammar is checked with before any tokenizer is at hand."""
    return LLTokenizer("byte")


@lru_cache(maxsize=8)
def _words(
    tokenizer: "PreTrainedTokenizerFast", end_ids: tuple[int, ...] | None
) -> tuple[LLTokenizer, Spelling | None, dict[int, int]]:
    """llguidance's form of a tokenizer, about a second's work for a large one; what it can write if not all; its bytes.

    Bytes are given with the ids of the tokens that are one byte alone.
    """
    from llguidance.hf import from_tokenizer  # imports transformers

    own: Any = tokenizer.eos_token_id
    ends = [own] if end_ids is None else list(end_ids)
    if not ends or None in ends:
        raise BadInput(f"The tokenizer `{tokenizer.name_or_path}` has no end token. Set its `eos_token`.")
    try:
        words = from_tokenizer(tokenizer, eos_token=ends)
    except ValueError as error:
        raise BadInput(f"llguidance cannot use the tokenizer `{tokenizer.name_or_path}`: {error}.") from error
    spelled = {piece[0]: i for i in range(words.vocab_size) if len(piece := words.decode_bytes([i])) == 1}
    if missing := sorted(REQUIRED - spelled.keys()):
        raise BadInput(
            f"The tokenizer `{tokenizer.name_or_path}` has no token for the byte {bytes(missing[:1])!r} and "
            f"{len(missing) - 1} others, so an answer could get stuck under a grammar. Use a byte-level tokenizer."
        )
    return words, Spelling.of(tokenizer.name_or_path, spelled.keys()), spelled
