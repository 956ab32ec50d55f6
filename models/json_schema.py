"""JSON schemas of other people: brought to the few forms that grammars are made of, measured, and checked by pydantic.

`plain_schema` takes what OpenAI, Anthropic, LangChain and pydantic 1 and 2 write. Knows neither models nor messages.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, NotRequired, Required, TypeAlias, Union

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from loopwright.errors import DeveloperError

Schema: TypeAlias = dict[str, Any]

_DROPPED = frozenset({"title", "description", "default", "examples", "discriminator", "$defs", "definitions", "strict"})
"""Keys that say nothing about which texts fit."""
_FORMATS = frozenset(["date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid"])
"""Those that a grammar can hold a text to; others are left to whoever checks the value."""
_LIMITS = {
    "minLength": "min_length", "maxLength": "max_length", "minItems": "min_length", "maxItems": "max_length",
    "minimum": "ge", "maximum": "le", "exclusiveMinimum": "gt", "exclusiveMaximum": "lt", "multipleOf": "multiple_of",
}  # fmt: skip
UTF8_BYTES = 4
"""The longest character. The escapes that are allowed in JSON take two bytes."""
_FREE_NUMBER = 999_999
"""Largest size of a number that states no limit."""
_FREE_BYTES = 64
"""What a text in a format or a pattern without `maxLength` is taken to need."""
_NEGATED = re.compile(r"(?<!\\)(?:\\\\)*\\[DW]")
_TYPES: dict[str, Any] = {"string": str, "integer": int, "number": float, "boolean": bool, "null": None}


def plain_schema(schema: Mapping[str, Any], name: str) -> Schema:
    """`schema` without references, lists of types, single `allOf` and texts for readers. `name` is what errors call it.

    Raises:
        DeveloperError: it contains itself, refers to what is not there, or intersects several schemas.
    """
    return _plain(schema, name, schema, frozenset())


def json_instructions(schema: Mapping[str, Any]) -> str:
    """What a model is told that is not held to a JSON schema."""
    return f"Reply with one JSON object, and nothing else, that fits this JSON schema:\n{json.dumps(schema)}"


def checker(schema: Mapping[str, Any]) -> Callable[[bytes | str], Any]:
    """A function that reads JSON text as a value of the plain `schema`; it raises pydantic's `ValidationError`."""
    return TypeAdapter(_type(schema)).validate_json


def _plain(node: Mapping[str, Any], path: str, root: Mapping[str, Any], inside: frozenset[str]) -> Schema:
    def within(child: Mapping[str, Any], suffix: str = "") -> Schema:
        return _plain(child, path + suffix, root, inside)

    if (ref := node.get("$ref")) is not None:
        if ref in inside:
            raise DeveloperError(
                f"`{path}` contains itself, but a token budget has to cover the longest answer. Nest models of their "
                "own, a fixed number of times."
            )
        return _plain(_referred(root, ref, path), path, root, inside | {ref})
    made: Schema = {key: value for key, value in node.items() if key not in _DROPPED}
    if made.get("format") not in _FORMATS:
        made.pop("format", None)
    if len(parts := made.pop("allOf", ())) > 1:
        raise DeveloperError(f"`{path}` has `allOf` of {len(parts)} schemas. Write out what they have in common.")
    for part in parts:
        made = within(part) | made
    if isinstance(kinds := made.get("type"), list):
        rest = {key: value for key, value in made.items() if key != "type"}
        made = {"anyOf": [{"type": kind} if kind == "null" else rest | {"type": kind} for kind in kinds]}
    for key in ("anyOf", "oneOf", "prefixItems"):
        if key in made:
            made[key] = [within(child, f"[{i}]" if key == "prefixItems" else "") for i, child in enumerate(made[key])]
    if "properties" in made:
        made["properties"] = {name: within(child, f".{name}") for name, child in made["properties"].items()}
        made.setdefault("type", "object")
    for key in ("items", "additionalProperties"):
        if isinstance(made.get(key), Mapping):
            made[key] = within(made[key], "[]")
    return made


def _referred(root: Mapping[str, Any], ref: str, path: str) -> Any:
    """What `ref`, such as `#/$defs/Step`, stands for."""
    found: Any = root
    for step in ref.removeprefix("#/").split("/"):
        if not isinstance(found, Mapping) or step not in found:
            raise DeveloperError(f"`{path}` refers to {ref!r}, which its schema does not define. Define it there.")
        found = found[step]
    return found


def _type(node: Mapping[str, Any]) -> Any:
    """The Python type whose values fit `node`. Patterns and formats are left to grammars."""
    match node:
        case {"const": value}:
            return Literal[value]
        case {"enum": values}:
            return Literal[tuple(values)]
        case {"anyOf": options} | {"oneOf": options}:
            return Union[tuple(map(_type, options))]  # noqa: UP007  # of any number
        case {"type": "object", "properties": properties} if properties:
            return _object(node, properties)
        case {"type": "object"}:
            each = node.get("additionalProperties")
            return dict[str, _type(each) if isinstance(each, Mapping) else Any]  # type: ignore[misc]  # made at run time
        case {"type": "array"}:
            return _limited(list[_type(node.get("items", {}))], node)  # type: ignore[misc]  # made at run time
        case {"type": kind} if kind in _TYPES:
            return _limited(_TYPES[kind], node)
        case _:
            return Any


def _object(node: Mapping[str, Any], properties: Mapping[str, Any]) -> Any:
    required = node.get("required", ())
    fields: dict[str, Any] = {
        name: Required[_type(child)] if name in required else NotRequired[_type(child)]
        for name, child in properties.items()
    }
    extra: Literal["forbid", "allow"] = "forbid" if node.get("additionalProperties") is False else "allow"
    made: Any = TypedDict("Object", fields)  # type: ignore[misc]  # made at run time
    return with_config(ConfigDict(extra=extra))(made)


def _limited(kind: Any, node: Mapping[str, Any]) -> Any:
    limits = {_LIMITS[key]: value for key, value in node.items() if key in _LIMITS}
    return Annotated[kind, Field(**limits)] if limits else kind


def longest_text(node: dict[str, Any], path: str, opened: list[str]) -> int:
    """Bytes of the longest JSON text of a plain schema node, its open parts empty; their paths are added to `opened`.

    Closes its objects in place: no undeclared property.
    """

    def of(child: dict[str, Any], suffix: str = "") -> int:
        return longest_text(child, path + suffix, opened)

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
        return 2 + UTF8_BYTES * int(node["maxLength"])
    opened.append(path)
    return 2 + UTF8_BYTES * int(node.get("minLength", 0)) + (_FREE_BYTES if node.keys() & {"format", "pattern"} else 0)


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


def with_limits(node: Any) -> Any:
    """A schema in which every number has limits and, if it is no integer, decimals."""
    if isinstance(node, list):
        return [with_limits(each) for each in node]
    if not isinstance(node, dict):
        return node
    limited = {key: with_limits(each) for key, each in node.items() if each not in (math.inf, -math.inf)}
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
