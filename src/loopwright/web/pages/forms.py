"""Forms made of JSON schemas: a run's settings, and the arguments of a tool.

A field that is left as it is by default is not sent. What a form cannot show as a field of its own is typed as JSON.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from nicegui import ui

from loopwright.errors import BadInput

Schema = Mapping[str, Any]


class SchemaForm:
    """The fields of one object; `values()` reads them."""

    def __init__(self, schema: Schema, given: Mapping[str, Any] | None = None) -> None:
        self._read: dict[str, Callable[[], Any]] = {}
        self._given = dict(given or {})
        required = schema.get("required", ())
        for name, field in schema.get("properties", {}).items():
            resolved = _resolved(field, schema)
            self._add(name, resolved, is_required=name in required)

    def values(self) -> dict[str, Any]:
        """What was entered; a field without a value is left out.

        Raises:
            BadInput: a field is no number, or no JSON.
        """
        found = {name: read() for name, read in self._read.items()}
        return {name: value for name, value in found.items() if value is not None}

    def _add(self, name: str, field: Schema, *, is_required: bool) -> None:
        label = name.replace("_", " ") + (" *" if is_required else "")
        hint = str(field.get("description", ""))
        value = self._given.get(name, field.get("default"))
        kind = field.get("type")
        if "enum" in field:
            entry: Any = ui.select(list(field["enum"]), value=value, label=label)
            self._read[name] = lambda: entry.value
        elif kind == "boolean":
            entry = ui.checkbox(label, value=bool(value))
            self._read[name] = lambda: bool(entry.value)
        elif kind in ("number", "integer"):
            entry = ui.input(label, value="" if value is None else f"{value:g}" if kind == "number" else str(value))
            entry.props('inputmode="decimal"')
            self._read[name] = lambda: _number(name, entry.value, kind)
        elif kind == "string":
            entry = ui.input(label, value="" if value is None else str(value))
            self._read[name] = lambda: entry.value.strip() or None
        elif kind == "array" and field.get("items", {}).get("type") == "string":
            entry = ui.textarea(f"{label} (one a line)", value="\n".join(value or ())).props("autogrow rows=1")
            self._read[name] = lambda: [line.strip() for line in entry.value.splitlines() if line.strip()] or None
        else:
            entry = ui.input(f"{label} (JSON)", value="" if value is None else json.dumps(value))
            self._read[name] = lambda: _json(name, entry.value)
        if kind != "boolean":
            entry.props("outlined dense").classes("w-full")
        if hint:
            entry.props(f'hint="{hint.replace(chr(34), "”")}"') if kind != "boolean" else ui.label(hint).classes(
                "lw-soft lw-small"
            )


def _resolved(field: Schema, root: Schema) -> Schema:
    """A field without references, and without the null of an optional one."""
    if "$ref" in field:
        target: Any = root
        for part in str(field["$ref"]).removeprefix("#/").split("/"):
            target = target[part]
        return {**target, **{n: v for n, v in field.items() if n != "$ref"}}
    options = [each for each in field.get("anyOf", ()) if each.get("type") != "null"]
    if len(options) == 1:
        return {**_resolved(options[0], root), **{n: v for n, v in field.items() if n != "anyOf"}}
    return field


def _number(name: str, text: str, kind: str) -> float | int | None:
    if not text.strip():
        return None
    try:
        return int(text) if kind == "integer" else float(text.replace(",", "."))
    except ValueError:
        raise BadInput(f"`{name}` {text!r}: expected a number.") from None


def _json(name: str, text: str) -> Any:
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInput(f"`{name}` {text!r}: expected JSON ({error}).") from None
