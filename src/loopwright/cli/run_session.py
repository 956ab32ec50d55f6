"""Driving a session from a terminal: print each event as it happens, pause cleanly on Ctrl-C, say how to go on."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from loopwright.cli.describe import describe
from loopwright.cli.output import json_line, plain, stderr, stdout
from loopwright.errors import BadInput
from loopwright.graphs.registry import is_location
from loopwright.settings import settings

if TYPE_CHECKING:
    from loopwright.agents.sessions.gate import Question
    from loopwright.graphs.loop.session import Session
    from loopwright.memory import Memory
    from loopwright.schema import Event

EXIT_BY_STATUS = {"succeeded": 0, "failed": 1, "not_found": 7, "stopped": 5, "paused": 130, "waiting": 6}

Interactive = Annotated[
    bool,
    typer.Option(
        "--interactive",
        help="Answer questions and speak at any moment, until the input ends (Ctrl-D). In a new session it means "
        "--approval human --on-uncertain ask unless they are set.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
ModelOf = Annotated[
    list[str] | None,
    typer.Option(
        "--model-of",
        metavar="ROLE=CARD",
        help="The model in a role, by its card's name or path, in place of the loop's. May be given several times.",
    ),
]


def models_of(given: list[str] | None) -> dict[str, str]:
    """What was given by `--model-of`: a card's name or path by role."""
    pairs = [each.partition("=") for each in given or ()]
    for role, _, card in pairs:
        if not (role and card):
            raise BadInput(f"`--model-of` {role!r}: expected ROLE=CARD, such as `--model-of navigator=small`.")
    return {role: card for role, _, card in pairs}


@contextmanager
def opened_memory() -> "Iterator[Memory]":
    """The configured memory."""
    from loopwright.memory import open_memory

    with open_memory(settings().memory_url, busy_timeout_s=settings().memory.busy_timeout_s) as memory:
        yield memory


def run_to_rest(
    session: "Session",
    *,
    wait: "bool | Callable[[], bool]",
    as_json: bool,
    named: str | None = None,
    on_event: "Callable[[Event], None]" = lambda event: None,
) -> int:
    """Stream a session to its rest and return the exit code of the state that it came to rest in.

    Args:
        session: begun or resumed.
        wait: stay when the loop asks something; a function: as long as it says so.
        as_json: print events as JSON.
        named: how the user named the loop, for the command that goes on.
        on_event: called with each event.
    """
    console, loop = stdout(), session.loop
    option = f" --loop {named}" if named and is_location(named) else ""
    still_open = session.questions if wait else []  # no event tells them again
    with _ctrl_c_pauses(session):
        for n, event in enumerate(session.stream(wait=wait)):
            if n == 0 and not as_json:  # not before: a session that has ended, or that runs elsewhere, is refused
                to_speak = plain(f'loopwright feedback {session.id}{option} "..."')
                console.print(f"Session [bold]{plain(session.id)}[/bold]. Speak to it with: {to_speak}")
                for each in still_open:
                    console.print(f"Still open: {_shown(each)}")
            if as_json:
                json_line(event.model_dump(mode="json"))
            else:
                for line in describe(event, loop):
                    console.print(line)
            on_event(event)
    status = session.status
    questions = session.questions if status == "waiting" else []
    if as_json:
        asked = {"questions": [each.model_dump(mode="json") for each in questions]} if questions else {}
        json_line({"session": session.id, "status": status, "head": session.head, **asked})
    else:
        console.print(_how_to_go_on(f"{plain(session.id)}{plain(option)}", status, questions))
        console.print(f"Head of its record: {session.head}")
    return EXIT_BY_STATUS[status]


def listen_to_keyboard(session: "Session") -> "Callable[[], bool]":
    """Every line that is typed goes into the session's inbox, whatever the loop is doing.

    Returns a function that says whether more may come: after the end of the input (Ctrl-D, or a file that is read to
    its end) nobody is there to answer.
    """

    def listen() -> None:
        for line in sys.stdin:
            if line.strip():
                try:
                    session.say(line.strip())
                except BadInput as error:  # it has ended meanwhile
                    stderr().print(plain(str(error)))

    thread = threading.Thread(target=listen, name="keyboard", daemon=True)
    thread.start()
    return thread.is_alive


def _how_to_go_on(session: str, status: str, questions: "Sequence[Question]") -> str:
    match status:
        case "succeeded" | "failed" | "not_found":
            return f"Session {status}. Report: loopwright sessions report {session}"
        case "waiting":
            asked = [f"  {_shown(each)}" for each in questions]
            answer = f'loopwright feedback {session} "..."'
            go_on = f"Give it: {answer} and go on with: loopwright sessions resume {session}"
            return "\n".join(("The session waits for an answer:", *asked, go_on))
        case _:
            return f"Session {status}; nothing is lost. Go on with: loopwright sessions resume {session}"


def _shown(question: "Question") -> str:
    options = f" ({', '.join(question.options)})" if question.options else ""
    return plain(f"{question.id}: {question.text}{options}")


@contextmanager
def _ctrl_c_pauses(session: "Session") -> Iterator[None]:
    """The first Ctrl-C pauses after the running node; a second one interrupts at once (the session stays whole)."""

    def pause(_signal: int, _frame: FrameType | None) -> None:
        stderr().print(f"Pausing after this step (Ctrl-C again to leave at once). Session {plain(session.id)}.")
        session.pause()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, pause)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
