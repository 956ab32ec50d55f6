"""The dialog by which a session that rests goes on with other models."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nicegui import ui

from loopwright.web.console import SessionView
from loopwright.web.pages.forms import hinted


class ModelsDialog:
    """Asks for a model card for each role of a session; one that is left empty keeps its model."""

    def __init__(self, view: SessionView, go_on: Callable[[dict[str, str]], Awaitable[None]]) -> None:
        self._go_on = go_on
        self._entries: dict[str, ui.input] = {}
        self._dialog = ui.dialog().props('aria-label="Models"')
        with self._dialog, ui.element("div").classes("lw-card lw-form"):
            ui.html("<h2>Go on with other models</h2>", sanitize=False)
            ui.label("They hold until the session rests again; the record names the model of each reply.")
            for role, kept in view.row.config.get("models", {}).items():
                entry = ui.input(f"model of the {role}").props("outlined dense")
                hinted(entry, f"a model card's name or path; empty: {_name_of(kept)}")
                self._entries[role] = entry
            with ui.element("div").classes("lw-row"):
                ui.button("Go on with these", on_click=self._send).props("unelevated")
                ui.button("Cancel", on_click=self._dialog.close).props("flat")

    def open(self) -> None:
        """Show it."""
        self._dialog.open()

    async def _send(self) -> None:
        self._dialog.close()
        typed = {role: (entry.value or "").strip() for role, entry in self._entries.items()}
        await self._go_on({role: card for role, card in typed.items() if card})


def _name_of(kept: Mapping[str, Any]) -> str:
    """Of the model that a session began with."""
    return str(kept["card"]["name"]) if "card" in kept else f"{kept['object']['model']}, an object that no record holds"
