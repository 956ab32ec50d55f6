"""JSON schemas that a grammar can be made of: closed, bounded, every number with its unit (rule 6). Knows no tool."""

import re
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel

from loopwright.errors import DeveloperError

UNITS = (
    *("mm", "cm", "m", "px", "pixels", "voxels", "mm/s", "m/s", "m/s^2", "Hz", "HU", "ms", "s", "min"),
    *("deg", "degrees", "rad", "radians", "percent", "probability", "dimensionless"),
    *("count", "number of", "id", "index"),
)
"""Common units: one of them as a word of its own, anywhere in a number's description, states its unit."""

_COMMON = re.compile(
    r"(?<![\w'’/^])(" + "|".join(re.escape(u) for u in sorted(UNITS, key=len, reverse=True)) + r")(?![\w/^])"
)
_ATOM = r"(?:[A-Za-zµμΩ°%]+(?:_[a-z]+)?|\[[\w']+\]|10[*^]-?\d+|1)(?:\^?[+-]?\d+)?(?:\{[^{}]+\})?|\{[^{}]+\}"
_UCUM = rf"/?(?:{_ATOM})(?:[./*·](?:{_ATOM}))*"
_STATED = re.compile(rf"(?:,\s*(?:{_UCUM}|degrees? [CFK]|\w+ per \w+)|\s\((?:{_UCUM})\)|\s\[(?:{_UCUM})\])\.?$")
"""Any other unit text at the end of the description, written as UCUM does: `, kPa`, `, mg/dL`, `(10*3/uL)`."""

_DROPPED = ("title", "default", "$defs", "discriminator")


def bounded_schema(model: type[BaseModel], mode: Literal["validation", "serialization"]) -> dict[str, Any]:
    """The strict JSON schema of `model`: references inlined, every field required, no further fields.

    Raises:
        DeveloperError: naming each field of unbounded length, of any type, or that is a number without a unit.
    """
    schema = model.model_json_schema(mode=mode)
    strict = _strict(schema, schema.get("$defs", {}), (model.__name__,))
    problems = list(_problems(strict, model.__name__, ""))
    if problems:
        raise DeveloperError(f"`{model.__name__}` cannot be a tool's schema: {'; '.join(problems)}.")
    return strict


def _strict(node: dict[str, Any], defs: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    if "$ref" in node:
        name = node["$ref"].rsplit("/", 1)[-1]
        if name in path:
            raise DeveloperError(f"`{path[0]}` contains itself through `{name}`; its depth has no bound.")
        return _strict(defs[name], defs, (*path, name)) | {k: v for k, v in node.items() if k == "description"}
    strict = {k: v for k, v in node.items() if k not in _DROPPED}
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            strict[key] = _strict(node[key], defs, path)
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if key in node:
            strict[key] = [_strict(each, defs, path) for each in node[key]]
    if "properties" in node or node.get("type") == "object":
        strict["properties"] = {k: _strict(v, defs, path) for k, v in node.get("properties", {}).items()}
        strict["required"] = list(strict["properties"])
        strict.setdefault("additionalProperties", False)
    return strict


def _problems(node: dict[str, Any], where: str, description: str) -> Iterator[str]:
    description = node.get("description", description)
    if "enum" in node or "const" in node:
        return
    kind = node.get("type")
    nested = [each for key in ("anyOf", "oneOf", "allOf", "prefixItems") for each in node.get(key, ())]
    if kind is None and not nested:
        yield f"`{where}` takes anything; give it a type"
    if kind == "string" and "maxLength" not in node:
        yield f"`{where}` is a string without `max_length`"
    if kind in ("number", "integer") and not _states_unit(description):
        yield (
            f"`{where}` is a number whose description {description!r} states no unit. End it with one (`, mm`, "
            "`, mg/dL`, `, degrees C`), or say what it counts (`number of`, `index of`)"
        )
    if kind == "array":
        if "maxItems" not in node:
            yield f"`{where}` is a list without `max_length`"
        nested += [node["items"]] if isinstance(node.get("items"), dict) else []
    if kind == "object":
        if node["additionalProperties"] is not False:
            yield f"`{where}` takes any field; give it a model with named fields"
        for name, each in node["properties"].items():
            yield from _problems(each, f"{where}.{name}", "")
    for each in nested:
        yield from _problems(each, where, description)


def _states_unit(description: str) -> bool:
    return bool(_COMMON.search(description) or _STATED.search(description))
