"""Forms made of JSON schemas: a run's settings, and the arguments of a tool.

A field that is left as it is by default is not sent. What a form cannot show as a field of its own is typed as JSON.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from markupsafe import Markup
from nicegui import events, ui

from loopwright.errors import BadInput
from loopwright.schema.json_text import parse_json
from loopwright.settings import settings
from loopwright.web.files import suffixes_of

Schema = Mapping[str, Any]


class SchemaForm:
    """The fields of one object; `values()` reads them.

    Args:
        schema: of the object.
        given: values that are there already.
        loop: of a run's settings. Those that have to be filled in come first, the others are folded away, and files
            can be sent to those that take some.
    """

    def __init__(self, schema: Schema, given: Mapping[str, Any] | None = None, *, loop: str = "") -> None:
        self._read: dict[str, Callable[[], Any]] = {}
        self._given, self._loop = dict(given or {}), loop
        fields = {name: _resolved(field, schema) for name, field in schema.get("properties", {}).items()}
        self._required = [name for name in fields if name in schema.get("required", ())]
        others = [name for name in fields if name not in self._required]
        for name in self._required:
            self._add(name, fields[name])
        with _fold("More settings") if loop and self._required else ui.element().classes("lw-form"):
            for name in others:
                self._add(name, fields[name])

    def values(self) -> dict[str, Any]:
        """What was entered; a field without a value is left out.

        Raises:
            BadInput: a field that has to be filled in is empty, or one is no number, or no JSON.
        """
        found = {name: read() for name, read in self._read.items()}
        if missing := [name for name in self._required if found[name] is None]:
            raise BadInput(f"Please fill in {', '.join(f'`{name}`' for name in missing)}.")
        return {name: value for name, value in found.items() if value is not None}

    def _add(self, name: str, field: Schema) -> None:
        label = name.replace("_", " ") + (" *" if name in self._required else "")
        hint = str(field.get("description", ""))
        value = self._given.get(name, field.get("default"))
        kind = field.get("type")
        if kind == "boolean":
            box = ui.checkbox(label, value=bool(value))
            self._read[name] = lambda: bool(box.value)
            if hint:
                ui.label(hint).classes("lw-soft lw-small lw-of-box")
            return
        entry: Any
        if "enum" in field:
            entry = ui.select(list(field["enum"]), value=value, label=label)
            self._read[name] = lambda: entry.value
        elif kind in ("number", "integer"):
            entry = ui.input(label, value="" if value is None else json.dumps(value)).props('inputmode="decimal"')
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
        entry.props("outlined dense").classes("w-full")
        if hint:
            hinted(entry, hint)
        if self._loop and kind == "string" and "enum" not in field and (suffixes := suffixes_of(field)) is not None:
            _sender(self._loop, name, suffixes, entry.set_value)


def hinted(entry: ui.element, hint: str) -> None:
    """Say below a field what it is for; a long hint takes the lines that it needs."""
    entry.props["hint"] = hint
    entry.props("hide-bottom-space")


def _fold(title: str) -> ui.element:
    """What is folded away until it is asked for."""
    with ui.element("details").classes("lw-fold"):
        ui.html(Markup("<span>{}</span>").format(title), sanitize=False, tag="summary")
        return ui.element().classes("lw-form")


def _sender(loop: str, name: str, suffixes: tuple[str, ...], set_value: Callable[[str], None]) -> None:
    """Sends a file to the server; its path there becomes the field's value (`static/console.js`)."""
    to = f"/api/loops/{quote(loop, safe='')}/files/{quote(name, safe='')}"
    html = Markup(
        '<label class="lw-file">Send a file …<input type="file" accept="{}" data-to="{}" data-max-mb="{}"></label>'
        '<span class="lw-soft lw-small" role="status"></span>'
    ).format(",".join(suffixes), to, f"{settings().console.max_file_mb:g}")
    at = ui.html(html, sanitize=False)

    def keep(event: events.GenericEventArguments) -> None:
        set_value(str(event.args["detail"]))

    at.classes("lw-row").on("kept", keep, args=["detail"])


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
        value = int(text) if kind == "integer" else float(text.replace(",", "."))
    except ValueError:
        raise BadInput(f"`{name}` {text!r}: expected {'a whole' if kind == 'integer' else 'a'} number.") from None
    if not math.isfinite(value):
        raise BadInput(f"`{name}` {text!r}: expected a finite number.")
    return value


def _json(name: str, text: str) -> Any:
    if not text.strip():
        return None
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        raise BadInput(f"`{name}` {text[:80]!r}: expected JSON ({error}).") from None
