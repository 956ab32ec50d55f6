"""The recipe loop's own parts of a session's report: the labels with their scores, and the texts with marked words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from loopwright.agents.recipe.feedback import Edits
from loopwright.agents.recipe.judge import SETS, LabelSet
from loopwright.agents.recipe.prompts import in_words
from loopwright.graphs.loop.declare import ReadBlob
from loopwright.graphs.loop.describe import describe as described
from loopwright.graphs.recipe.describe import describe
from loopwright.graphs.recipe.marked import Piece, marked
from loopwright.graphs.recipe.run import RecipeRun
from loopwright.graphs.report import Fact, Section, render_template
from loopwright.graphs.report_parts import picture_uris, short_name, steps_section
from loopwright.schema import Event
from loopwright.tools.recipe.extract import Vocabularies, labels_of_text
from loopwright.tools.recipe.labels import f1
from loopwright.tools.recipe.tools import SeenDish
from loopwright.tools.recipe.vocabulary import Vocabulary

PACKAGE = "loopwright.graphs.recipe"
"""Whose `templates` this report is drawn with."""


class LabelRow(NamedTuple):
    """One label: who said it, how sure the judge is on either side, and whether it is kept and true."""

    name: str
    is_predicted: bool
    before: float | None
    after: float | None
    is_kept: bool
    is_true: bool


class Text(NamedTuple):
    """A text of the page, its steps in pieces, with the F1 of the labels that it names; None for the reference."""

    title: str
    steps: list[list[Piece]]
    f1: dict[str, float] | None


def recipe_sections(
    run: RecipeRun, prepared: Mapping[str, Any], events: Sequence[Event], read_blob: ReadBlob
) -> list[Section]:
    """The sections of a recipe session, whatever became of it."""
    known = Vocabularies(*(Vocabulary.model_validate(prepared["known"][what]) for what in Vocabularies._fields))
    seen = _seen(events)
    image = None if seen is None else seen.image
    tables = {what: label_rows(what, prepared, events) for what in SETS}
    texts = list(_texts(prepared, events, known))
    uris = picture_uris([] if image is None else [image], read_blob)
    page = render_template(
        "dish.html.j2", PACKAGE, picture=uris.get("" if image is None else short_name(image), ""), tables=tables,
        texts=texts, has_image=image is not None,
    )  # fmt: skip
    return [
        Section(
            title="The dish, its labels and its instructions", html=page, facts=tuple(_facts(run, prepared, events))
        ),
        steps_section(events, lambda event: described(event, describe), read_blob),
    ]


def _facts(run: RecipeRun, prepared: Mapping[str, Any], events: Sequence[Event]) -> Iterator[Fact]:
    yield Fact("Dish", run.dish)
    yield Fact("In truth", prepared["title"])
    yield Fact("Predictor", run.predictor)
    yield Fact("Judge", run.judge if run.scsr else "none")
    for event in (e for e in events if e.kind == "started"):
        for role, used in event.payload["models"].items():
            yield Fact(f"Model of the {role}", used["model"])
    yield Fact("Writer", run.writer)
    yield Fact("Told to the writer", run.context)
    yield Fact("Redone", str(sum(e.kind == "verified" and e.payload["repairs"] > 0 for e in events)))


def _seen(events: Sequence[Event]) -> SeenDish | None:
    outputs = [e.payload.get("output") for e in events if e.kind == "observed"]
    return next((SeenDish.model_validate(output) for output in outputs if output), None)


def label_rows(what: LabelSet, prepared: Mapping[str, Any], events: Sequence[Event]) -> list[LabelRow]:
    """Every label that anybody named, the judge's surest first."""
    own = [event for event in events if event.payload.get("what") == what]
    predicted, sides = (
        _last(own, "predicted", "labels"),
        {side: _scores(own, side) for side in ("initial", "rectified")},
    )
    kept = Edits.model_validate(_edits(events)).applied(what, _last(own, "selected", "labels"))
    names = dict.fromkeys((*predicted, *sides["initial"], *sides["rectified"], *kept, *prepared["truth"][what]))

    def row(name: str) -> LabelRow:
        before, after = sides["initial"].get(name), sides["rectified"].get(name)
        is_true = name in prepared["truth"][what]
        return LabelRow(in_words(name), name in predicted, before, after, name in kept, is_true)

    return sorted(map(row, names), key=lambda one: (-max(one.before or 0, one.after or 0), one.name))


def _edits(events: Sequence[Event]) -> dict[str, Any]:
    """What people changed, from what was heard."""
    from_text: dict[int, Any] = {}
    for event in events:
        for one in event.payload.get("messages", ()) if event.kind in ("node", "heard") else ():
            from_text[one["message_id"]] = one
    edits = Edits()
    for one in from_text.values():
        edits = edits.heard(one["words"], one["text"])
    return edits.model_dump(mode="json")


def _scores(events: Sequence[Event], side: str) -> dict[str, float]:
    return {one["label"]: one["confidence"] for one in _last(events, "judged", side)}


def _last(events: Sequence[Event], kind: str, name: str) -> list[Any]:
    return next((list(event.payload[name]) for event in reversed(events) if event.kind == kind), [])


def _texts(prepared: Mapping[str, Any], events: Sequence[Event], known: Vocabularies) -> Iterator[Text]:
    """What was written with labels, what without, and the recipe itself."""
    for title, source in (("Written with the labels", "labels"), ("Written from the picture alone", "picture")):
        found = [e.payload["steps"] for e in events if e.kind == "drafted" and e.payload["from"] == source]
        if found:
            yield _text(title, found[-1], prepared, known)
    yield _text("The recipe itself", prepared["reference"], prepared, known)._replace(f1=None)


def _text(title: str, steps: Sequence[str], prepared: Mapping[str, Any], known: Vocabularies) -> Text:
    found, truth = labels_of_text(steps, known), prepared["truth"]
    scores: dict[str, float] = {what: f1(getattr(found, what), frozenset(truth[what])) for what in SETS}
    return Text(title, [marked(step, truth, known) for step in steps], scores)
