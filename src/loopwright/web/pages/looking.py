"""The picture of a step, large, with what the loop draws over it, and the timeline of all steps."""

from collections.abc import Callable, Sequence
from functools import partial

from markupsafe import Markup
from nicegui import ui

from loopwright.graphs.step_view import StepView, thumbnail
from loopwright.graphs.steps import SessionStep
from loopwright.web.console import Console, SessionView
from loopwright.web.pages.parts import image_url, picture_svg

Place = tuple[int, int]
"""Branch and step."""
SHOWN_STEPS = 100
"""Of a long session the newest; the export has them all."""


class Looking:
    """Follows the newest step until another is chosen."""

    def __init__(self, console: Console, view: SessionView, actions: Callable[[SessionStep], None]) -> None:
        self._console, self._actions = console, actions
        self._chosen: Place | None = None
        self._steps: Sequence[SessionStep] = ()
        self._told: object = None
        self._shown_actions: Place | None = None
        self._thumbs: dict[Place, tuple[ui.html, str]] = {}
        with ui.element("section").classes("lw-card").props('aria-label="Picture"'):
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
        others = Markup("").join(picture_svg(self._view.row.id, one, each) for each in shown.pictures[1:])
        views = Markup('<div class="lw-views more">{}</div>').format(others) if others else Markup("")
        self._more.set_visibility(bool(views or shown.html.strip()))
        self._set(self._more, views + shown.html)
        self._draw_timeline(one)
        self._draw_actions(one)

    def _draw_timeline(self, one: SessionStep) -> None:
        with self._timeline:
            for each in self._steps[-SHOWN_STEPS:]:
                place = each.branch, each.step
                html = self._thumb(each, is_chosen=each is one)
                if place not in self._thumbs:
                    made = ui.html(html, sanitize=False).on("click", partial(self._choose, place))
                    self._thumbs[place] = made, html
                elif self._thumbs[place][1] != html:
                    self._thumbs[place][0].set_content(html)
                    self._thumbs[place] = self._thumbs[place][0], html

    def _thumb(self, each: SessionStep, *, is_chosen: bool) -> Markup:
        image = thumbnail(each)
        picture = Markup('<span class="none">–</span>')
        if image is not None:
            url = image_url(self._view.row.id, image)
            picture = Markup('<img src="{}" alt="" loading="lazy">').format(url)
        classes = " ".join(("lw-step", *["chosen"] * is_chosen, *["left-behind"] * each.is_left_behind))
        return Markup('<button class="{}" aria-pressed="{}">{}step {}</button>').format(
            classes, str(is_chosen).lower(), picture, each.name
        )

    def _draw_actions(self, one: SessionStep) -> None:
        if self._shown_actions == (one.branch, one.step):
            return
        self._shown_actions = one.branch, one.step
        self._at_step.clear()
        with self._at_step:
            self._actions(one)

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
