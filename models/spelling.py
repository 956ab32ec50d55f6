"""Which characters a tokenizer can write, and grammars that hold no others.

A byte-level tokenizer may lack tokens for single bytes (SmolLM2's for six control characters and for F1 and F2, which
begin characters that Unicode has not assigned). An answer that began such a character could get stuck, so a grammar
leaves it out: every answer that remains can be spelled byte by byte. Knows bytes, patterns and schemas, and neither
tokenizers nor models.
"""

import json
from collections.abc import Set
from typing import Any, NamedTuple, Self

from loopwright.errors import BadInput

REQUIRED = frozenset([*range(0x20, 0x7F), 0x0A])
"""Bytes that no tokenizer may lack: JSON and patterns are made of them."""
_UTF8 = frozenset([*range(0xC0), *range(0xC2, 0xF5)])
_SURROGATES = range(0xD800, 0xE000)
_PLANES = 0x10000
"""From here on, a character has four bytes."""


class Spelling(NamedTuple):
    """What the tokenizer `owner` can write where it lacks bytes."""

    owner: str
    spelled: Set[int]
    """The bytes that have a token of their own."""
    characters: str
    """A character class, as Rust's regular expressions write it: whose bytes are all spelled."""

    @classmethod
    def of(cls, owner: str, spelled: Set[int]) -> Self | None:
        """None where nothing of UTF-8 is lacking."""
        return None if spelled >= _UTF8 else cls(owner, spelled, _writable(spelled))

    def restrict(self, schema: str) -> str:
        """The JSON schema `schema` with strings of these characters alone.

        Raises:
            BadInput: a field's name or one of a closed set of values cannot be written.
        """
        return json.dumps(self._restricted(json.loads(schema)), ensure_ascii=False)

    def _restricted(self, node: dict[str, Any]) -> dict[str, Any]:
        made = dict(node)
        values = node.get("enum", [node["const"]] if "const" in node else [])
        for literal in (*node.get("properties", ()), *values):
            if not self.spelled >= set(json.dumps(literal, ensure_ascii=False).encode()):
                raise BadInput(
                    f"The tokenizer `{self.owner}` has no token for a byte of {literal!r}, which the schema asks for. "
                    "Write it in ASCII, or use a model whose tokenizer has all bytes."
                )
        for key in ("properties", "$defs"):
            if key in node:
                made[key] = {name: self._restricted(child) for name, child in node[key].items()}
        for key in ("anyOf", "oneOf", "prefixItems"):
            if key in node:
                made[key] = [self._restricted(child) for child in node[key]]
        for key in ("items", "additionalProperties"):
            if isinstance(node.get(key), dict):
                made[key] = self._restricted(node[key])
        if node.get("type") == "string" and not node.keys() & {"const", "enum"}:
            made["allOf"] = [{"pattern": f"^{self.characters}*$"}]
        return made


def _writable(spelled: Set[int]) -> str:
    """The class of the characters whose bytes are all among `spelled`.

    Those of four bytes only where no continuation byte is lacking: to tell them apart takes 100,000 ranges.
    """
    pieces = [(c, c) for c in range(_PLANES) if c not in _SURROGATES and spelled >= set(chr(c).encode())]
    if spelled >= set(range(0x80, 0xC0)):
        begins = [(lead & 0x07) << 18 for lead in range(0xF0, 0xF5) if lead in spelled]
        pieces += [(max(first, _PLANES), min(first | 0x3FFFF, 0x10FFFF)) for first in begins]
    ranges: list[tuple[int, int]] = []
    for first, last in pieces:
        begin = ranges.pop()[0] if ranges and ranges[-1][1] == first - 1 else first
        ranges.append((begin, last))
    return "[" + "".join(rf"\x{{{first:X}}}-\x{{{last:X}}}" for first, last in ranges) + "]"
