"""Two branches of a session, or a session and its fork, side by side, step by step."""

import asyncio
from typing import NamedTuple

from markupsafe import Markup
from nicegui import ui

from loopwright.errors import LoopwrightError
from loopwright.graphs.steps import SessionStep
from loopwright.web.access import SessionId
from loopwright.web.console import Console
from loopwright.web.pages.frame import RESPONSE_S, Frame
from loopwright.web.pages.parts import lines_html, others_html, picture_svg, session_url


class Side(NamedTuple):
    """One line of steps: a branch of a session."""

    session_id: str
    branch: int
    steps: tuple[SessionStep, ...]

    @property
    def name(self) -> str:
        """For a choice."""
        return f"{self.session_id}, branch {self.branch}"


def compare_page(frame: Frame) -> None:
    """The page that compares."""

    @ui.page("/sessions/{session_id}/compare", title="Compare · Loopwright", response_timeout=RESPONSE_S)
    async def compare(session_id: SessionId, left: int = 0, right: int = -1) -> None:
        try:
            sides = await asyncio.to_thread(_sides, frame.console, session_id)
        except LoopwrightError as error:
            with frame.page():
                ui.label(str(error)).classes("lw-error")
            return
        left, right = left % max(1, len(sides)), right % max(1, len(sides))
        with frame.page():
            ui.html(Markup("<h1>Compare</h1>"), sanitize=False)
            ui.link(f"Session {session_id}", session_url(session_id))
            if len(sides) < 2:
                ui.label("There is one branch only: go back to a step, or fork, to have another.")
            if not sides:
                return
            names = {n: side.name for n, side in enumerate(sides)}

            def choose(first: int, second: int) -> None:
                ui.navigate.to(f"{session_url(session_id)}/compare?left={first}&right={second}")

            with ui.element("div").classes("lw-compare"):
                for_left = ui.select(names, value=left, label="Left").props("outlined dense")
                for_right = ui.select(names, value=right, label="Right").props("outlined dense")
            for_left.on_value_change(lambda event: choose(event.value, right))
            for_right.on_value_change(lambda event: choose(left, event.value))
            html = await asyncio.to_thread(_rows, frame.console, sides[left], sides[right])
            ui.html(html, sanitize=False)


def _sides(console: Console, session_id: str) -> list[Side]:
    """The branches of a session, of its parent and of its forks."""
    row = console.row(session_id)
    related = [session_id, *filter(None, [row.parent])]
    related += [each.id for each in console.memory.sessions.list() if each.parent == session_id]
    sides = []
    for each in related:
        steps = console.steps(each)
        branches = sorted({one.branch for one in steps})
        sides += [Side(each, n, tuple(one for one in steps if one.branch == n)) for n in branches]
    return sides


def _rows(console: Console, left: Side, right: Side) -> Markup:
    numbers = sorted({one.step for side in (left, right) for one in side.steps})
    by_step = [(side, {one.step: one for one in side.steps}) for side in (left, right)]
    cells = [_cell(console, side, steps.get(number)) for number in numbers for side, steps in by_step]
    return Markup('<div class="lw-compare" style="margin-top: 1rem">{}</div>').format(Markup("").join(cells))


def _cell(console: Console, side: Side, one: SessionStep | None) -> Markup:
    if one is None:
        return Markup('<div class="lw-card lw-soft">no such step</div>')
    row = console.row(side.session_id)
    shown = console.step_view(row, one)
    picture = picture_svg(side.session_id, one, shown.pictures[0]) if shown.pictures else ""
    others = others_html(side.session_id, one, shown)
    loop = console.loop_if_any(row.loop)
    lines = Markup("").join(lines_html("", console.lines(event, loop)) for event in one.events)
    return Markup('<div class="lw-card"><h2>Step {}</h2>{}{}{}{}</div>').format(
        one.name, picture, others, shown.html, lines
    )
