"""Bounded grammars: what a model may say, made of a pydantic model, a pattern or tools, and enforced token by token.

Every grammar knows its longest answer, so that a token budget can cover it; a schema without one is refused when the
grammar is made. llguidance does the matching. Knows tokenizers, and neither models nor messages.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from llguidance import LLMatcher, LLTokenizer, regex_to_lark
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from loopwright.errors import BadInput, DeveloperError
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
"""Largest size of a tool's number that states no limit."""

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
    longest_bytes: int = Field(ge=0, description="no answer's text is longer, in UTF-8; visual tokens apart")
    n_visual: int = Field(default=0, ge=0, description="visual tokens of every answer")

    @property
    def max_tokens(self) -> int:
        """A budget that no legal answer exceeds, its end token included, whatever the tokenizer.

        A token of text adds at least one byte. Nothing smaller is safe: a model may spell what usually is one token.
        """
        return self.longest_bytes + self.n_visual + 1


@lru_cache(maxsize=64)
def json_grammar(model: type[BaseModel]) -> Grammar:
    """The JSON objects without white space that `model`'s JSON schema describes, with fields in their order.

    Strings need `max_length`, lists `max_length`, integers `ge` and `le`, floats `ge`, `le` and `multiple_of` (which
    says how many decimals there are). Fields with a default may be left out, further fields are never there. What
    validators ask for beyond the schema, a grammar cannot know.

    Raises:
        DeveloperError: naming the field that has no bound, or what makes the schema impossible to fulfil.
    """
    schema = model.model_json_schema()
    longest = _longest(schema, model.__name__, schema.get("$defs", {}))
    grammar = Grammar(kind="json", text=json.dumps(schema, ensure_ascii=False), longest_bytes=longest)
    return _satisfiable(grammar, model.__name__)


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

    A number without limits or decimals of its own has six digits at most and three decimals.

    Args:
        functions: JSON of each one's `name` and `parameters`, a JSON schema without references.
        opening: what precedes the call.
        closing: what follows it.

    Raises:
        DeveloperError: as `json_grammar`.
    """
    calls, longest = [], 0
    for function in map(json.loads, functions):
        members = {"name": {"const": function["name"]}, "arguments": _with_limits(function["parameters"])}
        calls.append({"type": "object", "properties": members, "required": ["name", "arguments"]})
        longest = max(longest, _longest(calls[-1], function["name"], {}))
    schema = json.dumps({"x-guidance": _JSON, "anyOf": calls}, ensure_ascii=False)
    grammar = Grammar(
        kind="lark",
        text=f"start: {json.dumps(opening)} call {json.dumps(closing)}\ncall: %json {schema}",
        longest_bytes=len(opening.encode()) + longest + len(closing.encode()),
    )
    return _satisfiable(grammar, "tools")


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
        self._words, spelling = _words(tokenizer, tuple(end_ids) if end_ids is not None else None)
        visual = _any_visual(tokenizer) if grammar.n_visual else ""
        self._matcher = LLMatcher(self._words, _compiled(grammar, spelling, visual), log_level=0)
        self._grammar = grammar
        if spelling is not None:
            self._matcher.compute_bitmask()
            if self._matcher.is_error():
                raise BadInput(
                    f"The tokenizer `{spelling.owner}` lacks bytes that every answer of {grammar.kind} "
                    f"{grammar.text!r:.200} needs ({_cause(self._matcher)}). Use a model whose tokenizer has them."
                )
        self._check()

    def allowed(self, n_logits: int | None = None) -> NDArray[np.bool_]:
        """(n_logits,) True where a token may come next: at least one token, only end tokens once complete.

        `n_logits` is the width of the model's output, which may exceed the vocabulary (the rest is never allowed);
        None: the vocabulary's size.
        """
        packed = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        self._check()
        return np.unpackbits(packed, count=n_logits or self._words.vocab_size, bitorder="little").view(np.bool_)

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


def _longest(node: dict[str, Any], path: str, defs: Mapping[str, Any], inside: frozenset[str] = frozenset()) -> int:
    """Bytes of the longest JSON text of a schema node. Closes its objects in place: no undeclared property."""

    def of(child: dict[str, Any], suffix: str = "") -> int:
        return _longest(child, path + suffix, defs, inside)

    match node:
        case {"$ref": ref}:
            if ref in inside:
                raise _unbounded(path, "contains itself", "Nest models of their own, a fixed number of times")
            return _longest(defs[ref.removeprefix("#/$defs/")], path, defs, inside | {ref})
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
            return _longest_number(node, path)
        case {"type": "string"}:
            return _longest_string(node, path)
        case {"type": "array"}:
            return _longest_array(node, path, of)
        case {"type": "object", "properties": properties}:
            node["additionalProperties"] = False
            members = [_bytes(name) + 1 + of(child, f".{name}") for name, child in properties.items()]
            return 2 + sum(members) + max(0, len(members) - 1)
        case {"type": "object"}:
            raise _unbounded(path, "is a dictionary with any keys", "Make it a model with one field for each key")
        case _:
            raise _unbounded(path, "may be anything", "Give it a type")


def _longest_string(node: dict[str, Any], path: str) -> int:
    if "format" in node:
        what = f"is text in the format {node['format']!r}"
        raise _unbounded(path, what, "Make it a `str` with `max_length` and `pattern`")
    if "maxLength" not in node:
        raise _unbounded(path, "is a string without a longest length", "Give it `Field(max_length=...)`")
    if _NEGATED.search(pattern := node.get("pattern", "")):
        raise DeveloperError(
            f"`{path}` has the pattern {pattern!r}, and pydantic and llguidance disagree on what `\\D` and `\\W` hold. "
            "Write them out, such as `[^0-9]`."
        )
    return 2 + _UTF8_BYTES * int(node["maxLength"])


def _longest_number(node: dict[str, Any], path: str) -> int:
    limits = [node.get(key, node.get(f"exclusive{key.capitalize()}", math.inf)) for key in ("minimum", "maximum")]
    if not all(map(math.isfinite, limits)):
        raise _unbounded(path, "is a number without limits", "Give it `Field(ge=..., le=...)`")
    if node["type"] == "number" and "multipleOf" not in node:
        raise _unbounded(
            path, "is a number with any decimals", "Give it `Field(multiple_of=0.01)`, or whatever it needs"
        )
    exponent = Decimal(str(node.get("multipleOf", 1))).normalize().as_tuple().exponent
    n_decimals = max(0, -int(exponent))
    n_digits = max(len(str(int(abs(limit)))) for limit in limits)
    return len("-") + n_digits + (len(".") + n_decimals if n_decimals else 0)


def _longest_array(node: dict[str, Any], path: str, of: Callable[[dict[str, Any], str], int]) -> int:
    if "maxItems" not in node:
        raise _unbounded(path, "is a list without a longest length", "Give it `Field(max_length=...)`")
    if node.get("uniqueItems"):
        raise _unbounded(path, "is a set, which no grammar can enforce", "Make it a list")
    first = [of(child, f"[{i}]") for i, child in enumerate(node.get("prefixItems", []))]
    n_rest = int(node["maxItems"]) - len(first)
    rest = n_rest * of(node.get("items", {}), "[]") if n_rest > 0 else 0
    return 2 + sum(first) + rest + max(0, len(first) + n_rest - 1)


def _with_limits(node: Any) -> Any:
    """A schema in which every number has limits and, if it is no integer, decimals."""
    if isinstance(node, list):
        return [_with_limits(each) for each in node]
    if not isinstance(node, dict):
        return node
    limited = {key: _with_limits(each) for key, each in node.items()}
    if node.get("type") in ("integer", "number"):
        lowest = {} if "exclusiveMinimum" in node else {"minimum": -_FREE_NUMBER}
        highest = {} if "exclusiveMaximum" in node else {"maximum": _FREE_NUMBER}
        decimals = {"multipleOf": 0.001} if node["type"] == "number" else {}
        return lowest | highest | decimals | limited
    return limited


def _bytes(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def _unbounded(path: str, what: str, repair: str) -> DeveloperError:
    return DeveloperError(f"`{path}` {what}, but a token budget has to cover the longest answer. {repair}.")


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


def _compiled(grammar: Grammar, spelling: Spelling | None = None, visual: str = "") -> str:
    """llguidance's form of `grammar`, without the characters that a tokenizer cannot spell; `visual` are its tokens."""
    if grammar.kind == "json":
        schema = grammar.text if spelling is None else spelling.restrict(grammar.text)
        return LLMatcher.grammar_from_json_schema(schema, overrides=_JSON)
    if grammar.kind == "lark":  # `tool_call_grammar` alone makes these
        rules, schema = grammar.text.split("%json ", 1)
        restricted = schema if spelling is None else spelling.restrict(schema)
        return LLMatcher.grammar_from_lark(f"{rules}%json {restricted}")
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


@lru_cache(maxsize=1)
def _byte_words() -> LLTokenizer:
    """A vocabulary of single bytes: what a grammar is checked with before any tokenizer is at hand."""
    return LLTokenizer("byte")


@lru_cache(maxsize=8)
def _words(
    tokenizer: "PreTrainedTokenizerFast", end_ids: tuple[int, ...] | None
) -> tuple[LLTokenizer, Spelling | None]:
    """llguidance's form of a tokenizer, about a second's work for a large one, and what it can write if not all."""
    from llguidance.hf import from_tokenizer  # imports transformers

    own: Any = tokenizer.eos_token_id
    ends = [own] if end_ids is None else list(end_ids)
    if not ends or None in ends:
        raise BadInput(f"The tokenizer `{tokenizer.name_or_path}` has no end token. Set its `eos_token`.")
    try:
        words = from_tokenizer(tokenizer, eos_token=ends)
    except ValueError as error:
        raise BadInput(f"llguidance cannot use the tokenizer `{tokenizer.name_or_path}`: {error}.") from error
    spelled = {piece[0] for i in range(words.vocab_size) if len(piece := words.decode_bytes([i])) == 1}
    if missing := sorted(REQUIRED - spelled):
        raise BadInput(
            f"The tokenizer `{tokenizer.name_or_path}` has no token for the byte {bytes(missing[:1])!r} and "
            f"{len(missing) - 1} others, so an answer could get stuck under a grammar. Use a byte-level tokenizer."
        )
    return words, Spelling.of(tokenizer.name_or_path, spelled)
