"""The picture of a step, large, with what the loop draws over it, and the timeline of all steps."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from markupsafe import Markup
from nicegui import ui

from loopwright.graphs.step_view import StepView, thumbnail
from loopwright.graphs.steps import SessionStep
from loopwright.web.console import Console, SessionView
from loopwright.web.pages.parts import image_url, others_html, picture_svg

Place = tuple[int, int]
"""Branch and step."""
SHOWN_STEPS = 100
"""Of a long session the newest; the export has them all."""


class Thumb(NamedTuple):
    """A step in the timeline: a button that stays, so that the focus stays on it, and what is inside."""

    at: ui.element
    inside: ui.html


class Looking:
    """Follows the newest step until another is chosen."""

    def __init__(self, console: Console, view: SessionView, actions: Callable[[SessionStep], None]) -> None:
        self._console, self._actions = console, actions
        self._chosen: Place | None = None
        self._steps: Sequence[SessionStep] = ()
        self._told: object = None
        self._shown_actions: tuple[int, int, int] | None = None
        self._thumbs: dict[Place, Thumb] = {}
        with ui.element("section").classes("lw-card lw-look").props('aria-label="Picture"'):
            with ui.element("div").classes("lw-row"):
                self._title = ui.html("", sanitize=False)
                self._live = ui.button("Follow the newest", on_click=self.follow).props("flat dense")
            self._picture = ui.html("", sanitize=False)
        with ui.element("section").classes("lw-card").props('aria-label="Timeline"'):
            ui.html("<h2>Timeline</h2>", sanitize=False)
            self._timeline = ui.element("div").classes("lw-timeline")
            self._at_step = ui.element("div").classes("lw-row")
        self._more = ui.html("", sanitize=False).classes("lw-card").props('role="region" aria-label="What it shows"')
        self._view = view

    @property
    def chosen(self) -> SessionStep | None:
        """The step that is shown."""
        found = next((one for one in self._steps if (one.branch, one.step) == self._chosen), None)
        return found or (self._steps[-1] if self._steps else None)

    def follow(self) -> None:
        """Show the newest step, and each that comes."""
        self._chosen = None
        self._draw()

    def show(self, view: SessionView, steps: Sequence[SessionStep]) -> None:
        """Show what is new."""
        self._view, self._steps = view, steps
        self._draw()

    def _choose(self, place: Place) -> None:
        self._chosen = place
        self._draw()

    def _draw(self) -> None:
        one = self.chosen
        told = (self._chosen, len(self._view.events), one and (one.branch, one.step, one.is_left_behind))
        if one is None or told == self._told:
            return
        self._told = told
        self._live.set_visibility(self._chosen is not None)
        shown = self._console.step_view(self._view.row, one)
        takes_pointing = self._view.loop is not None and self._view.loop.pointed is not None and bool(shown.pictures)
        points = takes_pointing and not self._view.row.has_ended and one is self._steps[-1]
        self._title.set_content(_title(one, shown, points=points))
        main = Markup('<p class="lw-soft">This step has no picture.</p>')
        if shown.pictures:
            main = picture_svg(self._view.row.id, one, shown.pictures[0], points=points)
        self._set(self._picture, main)
        more = others_html(self._view.row.id, one, shown) + shown.html
        self._more.set_visibility(bool(more.strip()))
        self._set(self._more, more)
        self._draw_timeline(one)
        self._draw_actions(one)

    def _draw_timeline(self, one: SessionStep) -> None:
        with self._timeline:
            for each in self._steps[-SHOWN_STEPS:]:
                place = each.branch, each.step
                if place not in self._thumbs:
                    at = ui.element("button").classes("lw-step").on("click", partial(self._choose, place))
                    with at:
                        self._thumbs[place] = Thumb(at, ui.html("", sanitize=False))
                thumb = self._thumbs[place]
                is_so = {"chosen": each is one, "left-behind": each.is_left_behind}
                thumb.at.classes(
                    " ".join(name for name, so in is_so.items() if so),
                    remove=" ".join(name for name, so in is_so.items() if not so),
                )
                thumb.at.props(f"aria-pressed={str(each is one).lower()}")
                self._set(thumb.inside, self._inside(each))

    def _inside(self, each: SessionStep) -> Markup:
        image = thumbnail(each)
        picture = Markup('<span class="none">–</span>')
        if image is not None:
            picture = Markup('<img src="{}" alt="" loading="lazy">').format(image_url(self._view.row.id, image))
        return Markup("{}step {}").format(picture, each.name)

    def _draw_actions(self, one: SessionStep) -> None:
        newest = max((each for each in self._steps if each.step == one.step), key=lambda each: each.branch)
        if self._shown_actions == (one.branch, one.step, newest.branch):
            return
        self._shown_actions = one.branch, one.step, newest.branch
        self._at_step.clear()
        with self._at_step:
            if newest is one:
                self._actions(one)
            else:
                ui.label(f"Step {newest.name} has taken its place: go back to that one.").classes("lw-soft lw-small")

    @staticmethod
    def _set(at: ui.html, html: str) -> None:
        if at.content != html:
            at.set_content(html)


def _title(one: SessionStep, shown: StepView, *, points: bool) -> Markup:
    """Which step it is, and what its picture is."""
    said = [f"branch {one.branch}"] * bool(one.branch) + ["left behind by a rewind"] * one.is_left_behind
    said += [shown.pictures[0].title] if shown.pictures and shown.pictures[0].title else []
    said += ["point at it to correct: click or drag"] * points
    return Markup('<h2>Step {} <span class="lw-soft lw-small">{}</span></h2>').format(one.step, " · ".join(said))
