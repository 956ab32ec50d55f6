"""JSON schemas of other people: brought to the few forms that grammars are made of, and checked against by pydantic.

`plain_schema` takes what OpenAI, Anthropic, LangChain and pydantic 1 and 2 write. Knows neither models nor messages.
"""

from collections.abc import Callable, Mapping
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
_TYPES: dict[str, Any] = {"string": str, "integer": int, "number": float, "boolean": bool, "null": None}


def plain_schema(schema: Mapping[str, Any], name: str) -> Schema:
    """`schema` without references, lists of types, single `allOf` and texts for readers. `name` is what errors call it.

    Raises:
        DeveloperError: it contains itself, refers to what is not there, or intersects several schemas.
    """
    return _plain(schema, name, schema, frozenset())


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
    made = {key: value for key, value in node.items() if key not in _DROPPED}
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
