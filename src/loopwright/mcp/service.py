"""What each tool of the server does: blocking, for any thread. Knows nothing of the protocol but its content blocks."""

import base64
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mcp_types import CallToolResult, ImageContent, TextContent

from loopwright.agents.sessions.export import image_refs
from loopwright.errors import BadInput
from loopwright.graphs.loop.loop import Loop
from loopwright.mcp.hands import Hands
from loopwright.schema import Approve, Event, Feedback, ImageRef, Instead
from loopwright.web.console import Console
from loopwright.web.reading import Asked, open_questions

POLL_S = 0.1
DEFAULT_WAIT_S = 60.0
HALT_S = 5.0
"""How long a STOP waits to tell that it was heard; it is delivered before."""
MAX_LINES = 30
"""Of what happened, in one answer."""
CLIENT = "mcp client"
"""The author of what a client says that is no person's answer."""


@dataclass(frozen=True)
class Waiting:
    """A session that a call waits for. `after`: events that were there before; `call`: the tool that was called."""

    session: str
    after: int
    wait_s: float
    call: str = ""


class Service:
    """The loops of one memory, as tools."""

    def __init__(self, console: Console, *, speaks_for_person: bool = False) -> None:
        self.console = console
        self.memory = console.memory
        self._hands = Hands(console.memory, console.loop)
        self._speaks_for_person = speaks_for_person

    @property
    def loops(self) -> dict[str, Loop]:
        """Those that can be loaded."""
        return {name: loop for name, loop in self.console.loops.items() if isinstance(loop, Loop)}

    def begin(self, name: str, given: dict[str, Any]) -> "Waiting | CallToolResult":
        """Do what a tool does at once; the session to wait for, or the answer."""
        arguments = dict(given)
        wait_s = float(arguments.pop("wait_s", DEFAULT_WAIT_S))
        verb, _, loop = name.partition("_")
        if verb in ("run", "open") and loop in self.loops:
            models = arguments.pop("models", {})
            begun = self.console.start(loop, arguments, models) if verb == "run" else self._hands.open(loop, arguments)
            return Waiting(begun, 0, wait_s)
        if name == "sessions":
            return self._sessions()
        session = str(arguments.pop("session"))
        n = self.memory.sessions.get(session).n_events
        match name:
            case "session_status":
                return Waiting(session, max(0, n - MAX_LINES), wait_s)
            case "say":
                self._say(session, arguments["text"], arguments.get("question", ""))
            case "stop":
                self.console.stop(session, CLIENT)
                if (hand := self._hands.held(session)) is not None:
                    hand.halted(HALT_S)
                return Waiting(session, n, 0)
            case "resume":
                if self._hands.held(session) is None:
                    self._resume(session)
            case "rewind":
                self.console.rewind(session, arguments["step"])
            case "fork":
                return Waiting(self.console.fork(session, arguments["step"]), 0, 0)
            case "close":
                self._call(session, "finish", arguments)
            case _:
                self._call(session, name, arguments)
                return Waiting(session, n, wait_s, name)
        return Waiting(session, n, 0 if name == "rewind" else wait_s)

    def settle(self, waiting: Waiting) -> None:
        """Wait until the session ends, rests, asks a person, or is ready for the next call."""
        until = time.monotonic() + waiting.wait_s
        hand = self._hands.held(waiting.session)
        if hand is not None:
            hand.settle(until, lambda: bool(self.questions(waiting.session)))
            return
        while time.monotonic() < until:
            row = self.memory.sessions.get(waiting.session)
            if row.status not in ("created", "running") or waiting.session not in self.memory.sessions.held():
                return
            time.sleep(POLL_S)

    def questions(self, session: str) -> list[Asked]:
        """What the session asks a person, who has not answered yet."""
        row = self.memory.sessions.get(session)
        loop = self.console.loop_if_any(row.loop)
        if loop is None:
            return []
        asked = open_questions(self.memory, row, self.memory.events.read(session), loop.language)
        return [one for one in asked if one.answer is None]

    def answer(self, session: str, question: str, text: str) -> None:
        """A person's answer, who was asked through the client."""
        self.console.say(session, f"{question}: {text}", "person at the mcp client")

    def result(self, waiting: Waiting) -> CallToolResult:
        """How the session stands: as text, as structured content, and its newest picture."""
        row = self.memory.sessions.get(waiting.session)
        loop = self.console.loop_if_any(row.loop)
        events = self.memory.events.read(waiting.session, after=waiting.after)
        asked = self.questions(waiting.session)
        is_held = waiting.session in self.memory.sessions.held()
        found: dict[str, Any] = {
            "session": row.id,
            "loop": row.loop,
            "status": "interrupted" if row.status == "running" and not is_held else row.status,
            "head": row.seal_hash,
            "questions": [
                {"question": one.question.id, "text": one.question.text, "options": list(one.question.options)}
                for one in asked
            ],
        }
        done = _last(events, waiting.call)
        if done is not None:
            found["call"] = {name: value for name, value in done.payload.items() if name in _OF_A_CALL}
        lines = [str(line.text) for event in events for line in self.console.lines(event, loop) if line.text]
        found["happened"] = lines[-MAX_LINES:]
        if asked:
            found["next"] = (
                "A person has to answer: through this client where it shows forms, at the console, or with "
                f'`loopwright feedback {row.id} "..."`.'
            )
        shown = [done] if done is not None else events
        pictures = [ref for event in shown for ref in image_refs(event.payload)][-1:]
        failed = done is not None and (done.payload.get("status", "done") != "done" or "error" in done.payload)
        return CallToolResult(
            content=[TextContent(text=json.dumps(found, ensure_ascii=False)), *map(self._picture, pictures)],
            structured_content=found,
            is_error=failed or row.status == "failed",
        )

    def close(self) -> None:
        """Pause what runs in this process."""
        self._hands.close()

    def _call(self, session: str, name: str, arguments: dict[str, Any]) -> None:
        hand = self._hands.of(session)
        hand.session.loop.find_tool(name).in_words(arguments)  # refuses what does not validate
        hand.settle(time.monotonic() + DEFAULT_WAIT_S, lambda: bool(self.questions(session)))  # it may have to go on
        hand.call(name, arguments)

    def _resume(self, session: str) -> None:
        try:
            self._hands.of(session)
        except BadInput:
            self.console.resume(session)

    def _say(self, session: str, text: str, question: str) -> None:
        """Say something that no person said: it consents to nothing.

        Raises:
            BadInput: it would approve an act, or order one.
        """
        row = self.memory.sessions.get(session)
        loop = self.console.loop_if_any(row.loop)
        value = loop.language.parse(text) if loop else None
        consents = isinstance(value, Approve | Instead) or (isinstance(value, Feedback) and value.order() is not None)
        if consents and not self._speaks_for_person:
            raise BadInput(
                f"{text!r} would consent to an act, which is a person's to do: in a form of this client, at the "
                "console, or with "
                f"`loopwright feedback {session} ...`. A server whose client passes on what a person types is started "
                "with `--speaks-for-person`."
            )
        self.console.say(session, f"{question}: {text}" if question else text, CLIENT)

    def _sessions(self) -> CallToolResult:
        found = [
            {"session": one.row.id, "loop": one.row.loop, "status": one.status, "about": one.about, "needs": one.needs}
            for one in self.console.sessions(limit=20)
        ]
        return CallToolResult(
            content=[TextContent(text=json.dumps(found, ensure_ascii=False))], structured_content={"sessions": found}
        )

    def _picture(self, ref: ImageRef) -> ImageContent:
        data = base64.b64encode(self.memory.blobs.read(ref)).decode()
        return ImageContent(data=data, mime_type=ref.media_type)


_OF_A_CALL = ("tool", "arguments", "status", "output", "rule", "reason", "error")


def _last(events: Sequence[Event], call: str) -> Event | None:
    """The newest event of a call of this tool."""
    of = (e for e in reversed(events) if e.kind in ("acted", "observed") and e.payload.get("tool") == call)
    return next(of, None) if call else None
