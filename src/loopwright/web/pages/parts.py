"""Pieces of pages as HTML. Everything that is anybody's text is escaped here; what loops draw is `Markup` already."""

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from loopwright.agents.sessions.export import image_refs
from loopwright.graphs.loop.lines import Line, visible
from loopwright.graphs.step_view import Picture, StepView
from loopwright.graphs.steps import SessionStep
from loopwright.schema import Event, ImageRef
from loopwright.web.console import Overview


def badge(status: str) -> Markup:
    """A status."""
    return Markup('<span class="lw-badge {0}">{0}</span>').format(status)


def image_url(session_id: str, ref: ImageRef) -> str:
    """Where a picture of a session is."""
    return f"/api/sessions/{quote(session_id, safe='')}/images/{ref.sha256}"


def session_url(session_id: str) -> str:
    """Where a session's page is."""
    return f"/sessions/{quote(session_id, safe='')}"


def item(each: Overview) -> Markup:
    """A session in a list."""
    thumb = Markup('<span class="thumb none">no picture</span>')
    if each.picture is not None:
        thumb = Markup('<img class="thumb" src="{}" alt="Last picture" loading="lazy">').format(
            image_url(each.row.id, each.picture)
        )
    needs = Markup('<div class="needs">{}</div>').format(visible(each.needs)) if each.needs else ""
    return Markup(
        '<a class="lw-card lw-item" href="{}">{}<div><div class="id">{}</div><div>{} {}</div>'
        '<div class="lw-soft">{}</div>{}<div class="lw-soft lw-small">begun {} UTC · {} events</div></div></a>'
    ).format(
        session_url(each.row.id),
        thumb,
        each.row.id,
        badge(each.status),
        each.row.loop,
        visible(each.about),
        needs,
        f"{each.row.created_at:%Y-%m-%d %H:%M:%S}",
        each.row.n_events,
    )


def lines_html(place: str, lines: Iterable[Line]) -> Markup:
    """What an event tells."""
    row = Markup(
        '<div class="lw-line {}"><span class="where">{}</span><span class="label">{}</span><span class="text">{}{}'
        "</span></div>"
    )
    detail = Markup('<span class="detail">{}</span>')
    return Markup("").join(
        row.format(
            line.tone, place, visible(line.label), visible(line.text),
            detail.format(visible(line.detail)) if line.detail else "",
        )
        for line in lines
    )  # fmt: skip


def place_of(event: Event) -> str:
    """Its step, with the branch where the session was rewound."""
    return f"{event.branch}:{event.step}" if event.branch else str(event.step)


def picture_svg(session_id: str, step: SessionStep, picture: Picture, *, points: bool = False) -> Markup:
    """A picture with what is drawn over it, in the picture's own pixels. `points`: it can be pointed at."""
    ref = picture.image
    pointing = Markup(' data-points data-branch="{}" data-step="{}" tabindex="0"').format(step.branch, step.step)
    label = picture.title or f"Picture of step {step.name}"
    if points:
        label += ". Point at it: click, drag, or arrow keys and Enter."
    return Markup(
        '<svg class="lw-picture over" viewBox="0 0 {w} {h}" role="img" aria-label="{label}"{pointing}>'
        '<image href="{href}" width="{w}" height="{h}"/>{svg}<path class="lw-hint"/></svg>'
    ).format(
        w=ref.width_px,
        h=ref.height_px,
        label=label,
        pointing=pointing if points else "",
        href=image_url(session_id, ref),
        svg=picture.svg,
    )


def others_html(session_id: str, step: SessionStep, shown: StepView) -> Markup:
    """The pictures of a step beside its main one, with their titles: a film strip, say."""
    figure = Markup("<figure>{}<figcaption>{}</figcaption></figure>")
    others = [figure.format(picture_svg(session_id, step, each), each.title) for each in shown.pictures[1:]]
    return Markup('<div class="lw-views">{}</div>').format(Markup("").join(others)) if others else Markup("")


def act_table(arguments: Mapping[str, Any]) -> Markup:
    """The exact arguments of an act."""
    row = Markup("<tr><th>{}</th><td>{}</td></tr>")
    rows = Markup("").join(row.format(name, visible(_plain(value))) for name, value in arguments.items())
    return Markup('<table class="lw-act">{}</table>').format(rows)


def said_html(session_id: str, event: Event) -> Markup:
    """What a model was asked and said."""
    payload = event.payload
    turns = Markup("").join(
        Markup('<div class="lw-soft lw-small">{}</div>{}').format(turn["role"], _content(session_id, turn["content"]))
        for turn in payload["prompt"]
    )
    return Markup(
        '<div class="lw-said"><strong>{}</strong> <span class="lw-soft lw-small">{}, {} tokens read, {} written</span>'
        "<details><summary>Asked</summary>{}</details><div>Said</div><pre>{}</pre></div>"
    ).format(
        payload["role"],
        payload["model"],
        payload["usage"]["input_tokens"],
        payload["usage"]["output_tokens"],
        turns,
        visible_lines(payload["reply"]),
    )


def visible_lines(text: str) -> str:
    """Text of several lines, its other control characters shown."""
    return "\n".join(visible(line) for line in text.splitlines())


def _content(session_id: str, content: Any) -> Markup:
    if isinstance(content, str):
        return Markup("<pre>{}</pre>").format(visible_lines(content))
    shown = []
    for part in content:
        if isinstance(part, dict) and part.get("type") == "text":
            shown.append(Markup("<pre>{}</pre>").format(visible_lines(str(part["text"]))))
        else:
            shown.append(_picture_of(session_id, part))
    return Markup("").join(shown)


def _picture_of(session_id: str, part: Any) -> Markup:
    """A picture that a prompt refers to, wherever its reference is in the part."""
    refs = list(image_refs(part))
    if not refs:
        return Markup("<pre>{}</pre>").format(json.dumps(part)[:500])
    return Markup("").join(
        Markup('<img src="{}" alt="Picture in the prompt">').format(image_url(session_id, ref)) for ref in refs
    )


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
