"""Parts of a report for any loop: one card a step with its pictures and what happened in it, each picture once."""

import base64
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from loopwright.errors import IntegrityError
from loopwright.graphs.loop.declare import ReadBlob
from loopwright.graphs.loop.lines import Line
from loopwright.graphs.report import Section, render_template
from loopwright.graphs.step_view import kept_pictures
from loopwright.graphs.steps import SessionStep, read_steps_as
from loopwright.schema import Event, ImageRef


class Card(NamedTuple):
    """One step as the page shows it; `pictures` are short names of what its tools kept."""

    step: SessionStep
    pictures: tuple[str, ...]
    lines: list[Line]


def steps_section(events: Sequence[Event], describe: Callable[[Event], list[Line]], read_blob: ReadBlob) -> Section:
    """Step by step, of a loop that brings no sections of its own.

    Args:
        events: the session's log, whole or as far as it got.
        describe: what an event tells a person.
        read_blob: a picture's bytes.
    """
    steps = read_steps_as(SessionStep, events)
    refs = [kept_pictures(one) for one in steps]
    cards = [
        Card(one, tuple(map(short_name, found)), [line for event in one.events for line in describe(event)])
        for one, found in zip(steps, refs, strict=True)
    ]
    uris = picture_uris((ref for found in refs for ref in found), read_blob)
    return Section(title="Step by step", html=render_template("steps.html.j2", cards=cards, uris=uris))


def picture_uris(refs: Iterable[ImageRef], read_blob: ReadBlob) -> dict[str, str]:
    """Each picture once: short name to data URI, or to nothing where the memory cannot give it back."""
    found: dict[str, str] = {}
    for ref in refs:
        if short_name(ref) not in found:
            try:
                uri = f"data:{ref.media_type};base64,{base64.b64encode(read_blob(ref)).decode()}"
            except IntegrityError:
                uri = ""
            found[short_name(ref)] = uri
    return found


def short_name(ref: ImageRef) -> str:
    """By which a page refers to a picture."""
    return ref.sha256[:16]
