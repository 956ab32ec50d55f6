"""Tools of a chat: sessions of other loops, begun, run, spoken to and asked about, and what earlier ones were about.

They change the memory, not the chat's world: whatever a session moves goes through its own guard, consent and ledger.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from pydantic import Field

from loopwright.errors import BadInput, LoopwrightError, ToolError
from loopwright.graphs.answering import answer
from loopwright.graphs.loop.delivery import deliver
from loopwright.graphs.loop.session import Session
from loopwright.graphs.registry import get_loop
from loopwright.graphs.sessions import headline
from loopwright.memory import Memory
from loopwright.schema import Frozen
from loopwright.schema.json_text import parse_json
from loopwright.tools.contract import ToolContext, tool

MOST_LINES, MOST_CHARS, MOST_FOUND = 40, 300, 5
QUIET = ("resumed", "heard", "guarded", "asked", "stopped", "paused")
"""Kinds of events that a chat does not repeat: it said or asked so itself."""
SEARCHED = 300
"""Of the sessions, newest first, so many are searched."""
Id = Field(max_length=200, description="id of a session")


class Begin(Frozen):
    """A session to begin."""

    loop: str = Field(max_length=200, description="name of a loop")
    settings: str = Field(max_length=4000, description="of the run, a JSON object")


class Of(Frozen):
    """A session."""

    session: str = Id


class Told(Frozen):
    """Something to say to a session."""

    session: str = Id
    text: str = Field(max_length=2000, description="what a person said")


class Begun(Frozen):
    """A session that was begun."""

    session: str = Id
    about: str = Field(max_length=4000, description="what it was begun for")


class Rest(Frozen):
    """How a session came to rest, what happened meanwhile, and what it asks."""

    status: str = Field(max_length=40, description="how it came to rest")
    happened: tuple[Annotated[str, Field(max_length=MOST_CHARS)], ...] = Field(max_length=MOST_LINES)
    question: str = Field(default="", max_length=8000, description="what it asks; empty: nothing")
    question_id: str = Field(default="", max_length=40, description="of the question")


class Words(Frozen):
    """What to look for."""

    text: str = Field(max_length=2000, description="in plain words")


class Found(Frozen):
    """What was found, the best first."""

    lines: tuple[Annotated[str, Field(max_length=8000)], ...] = Field(max_length=MOST_LINES)


@tool(effect="write", timeout_s=60)
def begin_session(args: Begin, context: ToolContext) -> Begun:
    """Begin a session of a loop; a person consents to each of its acts, and answers where it is not sure."""
    memory = _memory(context)
    try:
        settings = {"approval": "human", "on_uncertain": "ask", **parse_json(args.settings)}
        session = get_loop(args.loop).start(memory, **settings)
        session.require_models()
    except (LoopwrightError, ValueError) as error:
        raise ToolError(str(error)) from error
    return Begun(session=session.id, about=headline(session.loop, memory.sessions.get(session.id)))


@tool(effect="write", timeout_s=3600)
def run_session(args: Of, context: ToolContext) -> Rest:
    """Run a session until it ends, or asks a person. A STOP of the chat stops it."""
    session = _session(args.session, context)
    lines = list[str]()
    try:
        with _stopped_with(session, context):
            for event in session.stream():
                lines += [
                    f"{line.label}: {line.text}"[:MOST_CHARS]
                    for line in event.lines
                    if line.text and event.kind not in QUIET
                ]
    except LoopwrightError as error:
        raise ToolError(str(error)) from error
    asked = session.questions if session.status == "waiting" else []
    return Rest(
        status=session.status,
        happened=tuple(lines[-MOST_LINES:]),
        question=asked[0].text if asked else "",
        question_id=asked[0].id if asked else "",
    )


@tool(effect="write", timeout_s=30)
def tell_session(args: Told, context: ToolContext) -> Found:
    """Say to a session what a person said; what it is understood as."""
    memory = _memory(context)
    session = _session(args.session, context)
    language = session.loop.language
    try:
        deliver(memory, args.session, args.text)
    except BadInput as error:
        raise ToolError(str(error)) from error
    said = re.sub(r"^q\d+: ", "", args.text)
    words = language.dump(language.parse(said))
    return Found(lines=(words["question"],) if words["kind"] == "unclear" else ())


@tool(effect="read", timeout_s=30)
def ask_session(args: Told, context: ToolContext) -> Found:
    """Answer a question about a session from its record."""
    session = _session(args.session, context)
    return Found(lines=(str(answer(_memory(context), args.session, args.text, session.loop))[:4000],))


@tool(effect="read", timeout_s=60)
def recall_sessions(args: Words, context: ToolContext) -> Found:
    """Earlier sessions that words are about, by what they were begun for, how they ended and what people said."""
    memory = _memory(context)
    wanted = _content(args.text)
    scored: list[tuple[int, str]] = []
    for row in memory.sessions.list()[:SEARCHED]:
        if row.id == context.session_id:
            continue
        try:
            about = headline(get_loop(row.loop), row)
        except LoopwrightError:  # its package is not here any more
            about = headline(None, row)
        line = f"{row.created_at:%Y-%m-%d %H:%M} {row.id}: {row.loop}, {about}: {row.status}"
        said = " ".join(message.text for message in memory.inbox.since(row.id, 0)[:MOST_LINES])
        scored.append((len(wanted & _content(f"{line} {said}")), line))
    best = [line for n, line in sorted(scored, key=lambda one: -one[0]) if n or not wanted]
    return Found(lines=tuple(line[:MOST_CHARS] for line in best[:MOST_FOUND]))


TOOLS = (begin_session, run_session, tell_session, ask_session, recall_sessions)
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "the and did you have was were what when which time last earlier before yesterday previous previously remember "
        "recall ever session sessions with about that this are for say said tell",
    )
)


def _content(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w{3,}", text.casefold())) - _COMMON


@contextmanager
def _stopped_with(session: Session, context: ToolContext) -> Iterator[None]:
    """Whatever halts the chat stops the session that it runs."""
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            if context.cancel.wait(0.05) and not done.is_set():
                session.say("STOP", author="chat")
                return

    watcher = threading.Thread(target=watch, name=f"chat-stop-{session.id}", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _session(session_id: str, context: ToolContext) -> Session:
    memory = _memory(context)
    try:
        return get_loop(memory.sessions.get(session_id).loop).resume(session_id, memory)
    except LoopwrightError as error:
        raise ToolError(str(error)) from error


def _memory(context: ToolContext) -> Memory:
    assert context.memory is not None
    return context.memory


def as_settings(settings: dict[str, object]) -> str:
    """As `begin_session` takes them."""
    return json.dumps(settings, ensure_ascii=False, sort_keys=True)
