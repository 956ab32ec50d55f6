"""What happened, what the models were asked and said, and where the loop stands in its graph."""

import re

from markupsafe import Markup
from nicegui import ui

from loopwright.graphs.steps import SessionStep
from loopwright.web.console import Console, SessionView
from loopwright.web.pages.parts import lines_html, place_of, said_html

SHOWN_EVENTS = 200
"""Of a long session the newest; the export has them all."""


class Record:
    """Three tabs about one session."""

    def __init__(self, console: Console, view: SessionView) -> None:
        self._console, self._id = console, view.row.id
        self._shown = max(0, len(view.events) - SHOWN_EVENTS)
        self._said: object = None
        self._node = ""
        self._mermaid = _mermaid(view)
        with ui.element("section").classes("lw-card").props('aria-label="Record"'):
            with ui.tabs().props("align=left no-caps dense") as tabs:
                happened, model, graph = ui.tab("What happened"), ui.tab("Model"), ui.tab("Graph")
            with ui.tab_panels(tabs, value=happened).props("keep-alive"):
                with ui.tab_panel(happened):
                    if self._shown:
                        ui.label(f"{self._shown} earlier events are in the export.").classes("lw-soft lw-small")
                    self._feed = ui.element("div").classes("lw-feed").props('role="log" tabindex="0"')
                with ui.tab_panel(model):
                    self._replies = ui.html("", sanitize=False)
                with ui.tab_panel(graph):
                    self._graph = ui.mermaid(self._mermaid).classes("lw-graph")
                    self._standing = ui.label().classes("lw-soft")
            self._head = ui.label().classes("lw-soft lw-small").style("overflow-wrap: anywhere")

    def show(self, view: SessionView, chosen: SessionStep | None) -> None:
        """Show what is new."""
        fresh = view.events[self._shown :]
        self._shown = len(view.events)
        html = Markup("").join(lines_html(place_of(e), self._console.lines(e, view.loop)) for e in fresh)
        if html:
            with self._feed:
                ui.html(html, sanitize=False)
            ui.run_javascript(f"const feed = getHtmlElement({self._feed.id}); if (feed) feed.scrollTop = 1e9;")
        if fresh:
            self._head.set_text(f"{view.row.n_events} events, head {view.row.head_hash}")
        self._show_replies(chosen)
        node = _node_of(view)
        if node != self._node:
            self._node = node
            lit = f"{self._mermaid}\n\tstyle {node} fill:#ffd83d,stroke:#8a5a00,stroke-width:3px" if node else ""
            self._graph.set_content(lit or self._mermaid)
            self._standing.set_text(f"The loop stands at: {node}" if node else "The loop does not run.")

    def _show_replies(self, chosen: SessionStep | None) -> None:
        replies = [] if chosen is None else [e for e in chosen.events if e.kind == "replied"]
        told = (chosen and (chosen.branch, chosen.step), len(replies))
        if told == self._said or chosen is None:
            return
        self._said = told
        title = Markup('<p class="lw-soft">Step {}: {}</p>').format(
            chosen.name, f"{len(replies)} replies" if replies else "no model was asked"
        )
        self._replies.set_content(title + Markup("<hr>").join(said_html(self._id, each) for each in replies))


def _mermaid(view: SessionView) -> str:
    """The graph without what its nodes are about, which is too long for a box."""
    drawn = view.loop.graph.get_graph().draw_mermaid() if view.loop is not None else "graph TD;\n\tunknown"
    return re.sub(r"<hr/>.*?(?=\)$)", "", drawn, flags=re.MULTILINE)


def _node_of(view: SessionView) -> str:
    """The node of the outer loop that runs, or at which the loop rests."""
    if view.row.has_ended:
        return ""
    newest = next((e for e in reversed(view.events) if e.kind == "node"), None)
    if newest is None:
        return ""
    outer = str(newest.payload["path"]).partition(".")[0]
    return outer or str(newest.payload["node"])
