"""Everything that can be done in the console, for the API and the pages alike. Blocking; safe for threads."""

import json
import tempfile
import threading
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from loopwright.agents.feedback import is_query, is_stop
from loopwright.agents.sessions.gate import APPROVAL
from loopwright.agents.sessions.language import FeedbackLanguage
from loopwright.errors import LoopwrightError, UnknownName
from loopwright.graphs.answering import answer
from loopwright.graphs.loop.by_agent import by_agent
from loopwright.graphs.loop.declare import Declaration
from loopwright.graphs.loop.delivery import deliver, stop_at_rest
from loopwright.graphs.loop.describe import describe, describe_in, understood
from loopwright.graphs.loop.lines import Line
from loopwright.graphs.loop.loop import Loop
from loopwright.graphs.loop.starting import configured
from loopwright.graphs.registry import CHAT, SUFFIX, get_loop, loop_names
from loopwright.graphs.sessions import headline, report_session
from loopwright.graphs.step_view import Pointed, StepView, pointed_at, step_view, thumbnail
from loopwright.graphs.steps import SessionStep, read_steps_as
from loopwright.memory import Memory, SessionRow
from loopwright.memory.values import MAX_AUTHOR, check_text
from loopwright.schema import Event, ImageRef, Query
from loopwright.tools.contract import Tool
from loopwright.web.pausing import ask_for_pause
from loopwright.web.reading import Asked, Logs, open_questions
from loopwright.web.refusal import Refusal
from loopwright.web.tokens import read_tokens
from loopwright.web.worker import Order
from loopwright.web.workers import Workers

MAX_UNREAD = 100
"""Messages that may wait to be read by one session; more are refused, a STOP never is."""

AnswerKind = Literal["approve", "reject", "instead", "text"]


class Overview(NamedTuple):
    """One session as a list shows it. `status` is `interrupted` where it says `running` and nobody runs it."""

    row: SessionRow
    status: str
    about: str
    picture: ImageRef | None
    questions: list[Asked]
    needs: str


class SessionView(NamedTuple):
    """One session as its page shows it. `is_held`: a live process runs it."""

    row: SessionRow
    status: str
    is_held: bool
    loop: Loop | None
    events: list[Event]
    questions: list[Asked]
    speaking: str


class Meant(NamedTuple):
    """A message that pointing may mean, and how the session will understand it."""

    text: str
    understood: str


def find_tool(loop: Declaration, name: str) -> Tool[Any, Any]:
    """A tool of a loop, or of one nested in it."""
    for each in (loop, *loop.nested.values()):
        if any(tool.name == name for tool in each.tools):
            return each.find_tool(name)
    return loop.find_tool(name)


class Console:
    """The console over one memory. `locations` are loops that are not installed, `module:attribute` or YAML files."""

    def __init__(self, memory: Memory, folder: Path, locations: Sequence[str] = ()) -> None:
        self.memory, self.folder = memory, folder
        self._logs = Logs(memory)
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._located = {get_loop(where).name: where for where in locations}
        self._workers = Workers(folder, (*loop_names(), CHAT, *locations))
        self._overview = lru_cache(maxsize=500)(self._overview_at)

    def warm_up(self) -> None:
        """Get ready to run sessions, which takes seconds the first time."""
        self._workers.warm_up()

    # Loops

    @cached_property
    def loops(self) -> dict[str, Loop | str]:
        """Every loop by name; why not, of one that cannot be loaded."""
        found: dict[str, Loop | str] = {}
        for name in (*loop_names(), CHAT, *self._located):
            try:
                found[name] = get_loop(self._located.get(name, name))
            except LoopwrightError as error:  # one package's mistake hides no other loop
                found[name] = str(error)
        return found

    def loop(self, name: str) -> Loop:
        """A loop by name.

        Raises:
            UnknownName: there is none.
            Refusal: it cannot be loaded.
        """
        if name.endswith(SUFFIX):
            return by_agent(self.loop(name.removesuffix(SUFFIX)), name)
        if name not in self.loops:
            raise UnknownName("loop", name, self.loops)
        found = self.loops[name]
        if isinstance(found, str):
            raise Refusal(f"The loop {name!r} cannot be loaded: {found}", 503)
        return found

    def loop_if_any(self, name: str) -> Loop | None:
        """A loop by name, None where it is not here: what holds for any loop has to do."""
        try:
            return self.loop(name)
        except LoopwrightError:
            return None

    def language(self, row: SessionRow) -> FeedbackLanguage:
        """What can be said to a session."""
        loop = self.loop_if_any(row.loop)
        return loop.language if loop else FeedbackLanguage()

    # Reading

    def sessions(self, *, limit: int = 50, offset: int = 0) -> list[Overview]:
        """Sessions, the newest first."""
        interrupted, held = self.memory.sessions.interrupted(), self.memory.sessions.held()
        rows = self.memory.sessions.list()[offset : offset + limit]
        return [self._with_status(row, interrupted, held) for row in rows]

    def inbox(self) -> list[Overview]:
        """Every session that waits for a person, the longest first."""
        interrupted, held = self.memory.sessions.interrupted(), self.memory.sessions.held()
        open_ = [row for row in self.memory.sessions.list() if row.status in ("waiting", "running", "paused")]
        found = [self._with_status(row, interrupted, held) for row in open_]
        return sorted((each for each in found if each.needs), key=lambda each: each.row.updated_at)

    def view(self, session_id: str) -> SessionView:
        """A session, as it stands."""
        row = self.memory.sessions.get(session_id)
        is_held = session_id in self.memory.sessions.held()
        events = self._logs.read(session_id)
        status = "interrupted" if row.status == "running" and not is_held else row.status
        return SessionView(
            row,
            status,
            is_held,
            self.loop_if_any(row.loop),
            events,
            open_questions(self.memory, row, events, self.language(row)),
            read_tokens(self.folder, session_id) if status == "running" else "",
        )

    def row(self, session_id: str) -> SessionRow:
        """A session's row."""
        return self.memory.sessions.get(session_id)

    def events(self, session_id: str, after: int = 0) -> list[Event]:
        """The events with `seq` above `after`."""
        self.memory.sessions.get(session_id)
        return self._logs.read(session_id)[after:]

    def lines(self, event: Event, loop: Loop | None) -> list[Line]:
        """What an event tells a person."""
        return describe(event) if loop is None else describe_in(loop, event)

    def steps(self, session_id: str) -> list[SessionStep]:
        """The steps of a session, in the order in which they began."""
        return read_steps_as(SessionStep, self._logs.read(session_id))

    def step_view(self, row: SessionRow, step: SessionStep) -> StepView:
        """How a step looks."""
        return step_view(self.loop_if_any(row.loop), row, step)

    def image(self, session_id: str, sha256: str) -> tuple[ImageRef, bytes]:
        """A picture of a session.

        Raises:
            Refusal: the session has none of this name.
        """
        self.memory.sessions.get(session_id)
        ref = next((ref for ref in self.memory.blobs.of(session_id) if ref.sha256 == sha256), None)
        if ref is None:
            raise Refusal(f"Session {session_id} has no picture {sha256!r}.", 404)
        return ref, self.memory.blobs.read(ref)

    def report(self, session_id: str) -> bytes:
        """A session as one HTML page that needs nothing else."""
        row = self.memory.sessions.get(session_id)
        with tempfile.TemporaryDirectory(prefix="loopwright-report-") as folder:
            file = Path(folder) / "report.html"
            return report_session(self.memory, session_id, file, self.loop_if_any(row.loop)).read_bytes()

    # Speaking

    def say(self, session_id: str, text: str, author: str) -> dict[str, Any]:
        """Put a message into a session's inbox; returns what it is understood as, and a question's `answer`.

        Raises:
            Refusal: the session has ended, or too much waits to be read.
            BadInput: empty or too long.
        """
        row = self.memory.sessions.get(session_id)
        if is_stop(text):
            return self.stop(session_id, author, text)
        language = self.language(row)
        if row.has_ended and is_query(text):
            return {**language.dump(Query(text=text)), "status": row.status, "answer": self.ask(session_id, text)}
        self._require_hearing(row)
        if len(self.memory.inbox.unread(session_id)) >= MAX_UNREAD:
            raise Refusal(
                f"{MAX_UNREAD} messages wait to be read by session {session_id}. Let it read them first; a STOP is "
                "always taken.",
                429,
            )
        deliver(self.memory, session_id, text, author=author)
        self._wake(row)
        found = {**language.dump(language.parse(text)), "status": self.row(session_id).status}
        return found | ({"answer": self.ask(session_id, text)} if found["kind"] == "query" else {})

    def ask(self, session_id: str, question: str) -> str:
        """The answer to a question about a session of any status, from its record."""
        row = self.memory.sessions.get(session_id)
        return str(answer(self.memory, session_id, question, self.loop(row.loop)))

    def stop(self, session_id: str, author: str, text: str = "STOP") -> dict[str, Any]:
        """Let nothing further be sent, whatever the session is doing."""
        row = self.memory.sessions.get(session_id)
        self._require_hearing(row)
        self.memory.inbox.put(session_id, text, author=author, is_stop=True)
        stop_at_rest(self.memory, session_id, lambda: self.loop(row.loop))
        return {"kind": "stop", "status": self.row(session_id).status}

    def pause(self, session_id: str, author: str) -> dict[str, Any]:
        """Have a session that runs come to rest after what it is doing; what it asked stays asked.

        Raises:
            Refusal: nobody runs it, or a process that the console did not start.
        """
        row = self.memory.sessions.get(session_id)
        self._require_hearing(row)
        if session_id not in self.memory.sessions.held():
            raise Refusal(f"Nobody runs session {session_id}, so there is nothing to pause.", 409)
        ask_for_pause(self.folder, session_id, check_text("author", author, max_length=MAX_AUTHOR))
        return {"status": self.row(session_id).status}

    def answer(
        self, session_id: str, question_id: str, kind: AnswerKind, author: str, *, text: str = "", arguments: Any = None
    ) -> dict[str, Any]:
        """Answer an open question. Of several who answer it, the first is heard.

        Args:
            session_id: of the session.
            question_id: q1, q2, ...
            kind: a yes, a no with `text` as its reason, the same act with other `arguments`, or words.
            author: who answers.
            text: the reason, or the words.
            arguments: of the edited act, checked against the tool's schema.

        Raises:
            Refusal: it is not open, was answered, or is not about an act.
        """
        with self._locks[session_id]:
            row = self.memory.sessions.get(session_id)
            self._require_hearing(row)
            questions = open_questions(self.memory, row, self._logs.read(session_id), self.language(row))
            asked = next((each for each in questions if each.question.id == question_id), None)
            if asked is None:
                raise Refusal(f"The question {question_id!r} is not open: it was answered, or withdrawn.", 409)
            if asked.answer is not None:
                raise Refusal(
                    f"{asked.answer.author} has answered {question_id} already: “{asked.answer.text}”. The first "
                    "answer counts.",
                    409,
                )
            said = self._answer_text(row, asked, kind, text, arguments)
            named = said if asked.question.about == "unclear" else f"{question_id}: {said}"
            return self.say(session_id, named, author)

    def _answer_text(self, row: SessionRow, asked: Asked, kind: AnswerKind, text: str, arguments: Any) -> str:
        if kind == "instead":
            if asked.question.about != APPROVAL or asked.act is None:
                raise Refusal(f"The question {asked.question.id!r} is about no act, so there is none to edit.", 409)
            find_tool(self.loop(row.loop), asked.act["tool"]).in_words(arguments)  # refuses what does not validate
            return f"instead: {json.dumps(arguments)}"
        if kind == "reject":
            return f"reject: {text}" if text.strip() else "reject"
        return "approve" if kind == "approve" else text

    def point(self, session_id: str, branch: int, step: int, pointed: Pointed) -> list[Meant]:
        """What pointing at the picture of a step may mean, as messages that can be sent.

        Raises:
            Refusal: there is no such step.
            BadInput: the loop cannot be pointed at, or the place is outside the picture.
        """
        row = self.memory.sessions.get(session_id)
        loop = self.loop(row.loop)
        of = next((one for one in self.steps(session_id) if (one.branch, one.step) == (branch, step)), None)
        if of is None:
            raise Refusal(f"Session {session_id} has no step {step} on branch {branch}.", 404)
        texts = pointed_at(loop, row, of, pointed)
        return [Meant(text, understood(loop.language.dump(loop.language.parse(text)))) for text in texts]

    # Running

    def start(self, loop: str, config: dict[str, Any], models: dict[str, str]) -> str:
        """Begin a session and have it run; returns its id."""
        configured(self.loop(loop), config)  # a setting that will not do is said at once
        return self._obey("start", loop, config=config, models=models)

    def resume(self, session_id: str, models: dict[str, str] | None = None) -> str:
        """Go on with a session that nobody runs."""
        row = self.memory.sessions.get(session_id)
        if row.has_ended:
            raise Refusal(f"Session {session_id} has {row.status}. Go back to one of its steps, or fork it.", 409)
        return self._obey("resume", row.loop, session=session_id, models=models or {})

    def rewind(self, session_id: str, step: int) -> str:
        """Go back to a step; the session then rests."""
        return self._obey("rewind", self.row(session_id).loop, session=session_id, step=step)

    def fork(self, session_id: str, step: int) -> str:
        """A new session that begins at a step of another; returns its id."""
        return self._obey("fork", self.row(session_id).loop, session=session_id, step=step)

    def _obey(self, do: Literal["start", "resume", "rewind", "fork"], loop: str, **how: Any) -> str:
        self.loop(loop)
        return self._workers.obey(Order(do=do, loop=self._located.get(loop, loop), folder=self.folder, **how))

    def _wake(self, row: SessionRow) -> None:
        """An answer to a session that waits, and whose process has gone, is heard by a new one."""
        if row.status == "waiting" and row.id not in self.memory.sessions.held():
            self.resume(row.id)

    def _require_hearing(self, row: SessionRow) -> None:
        if row.has_ended:
            raise Refusal(
                f"Session {row.id} has {row.status}; it hears nothing any more. Go back to one of its steps, or begin "
                "a new one.",
                409,
            )

    def _with_status(self, row: SessionRow, interrupted: frozenset[str], held: frozenset[str]) -> Overview:
        overview = self._overview(row.id, row.n_events, row.status)
        status = "interrupted" if row.id in interrupted else row.status
        needs = overview.needs
        if status == "interrupted":
            needs = "its process has ended: go on with it"
        return overview._replace(row=row, status=status, needs=needs)

    def _overview_at(self, session_id: str, n_events: int, status: str) -> Overview:
        """Kept as long as the session says nothing new."""
        row, events = self.memory.sessions.get(session_id), self.memory.events.read(session_id)
        loop = self.loop_if_any(row.loop)
        steps = [one for one in read_steps_as(SessionStep, events) if not one.is_left_behind]
        picture = next(filter(None, map(thumbnail, reversed(steps))), None)
        questions = open_questions(self.memory, row, events, self.language(row))
        needs = questions[0].question.text if questions else ""
        if not needs and events and events[-1].kind == "error":
            needs = f"an error: {events[-1].payload['text']}"
        return Overview(row, status, headline(loop, row), picture, questions, needs)
