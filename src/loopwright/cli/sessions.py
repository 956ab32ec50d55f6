"""`loopwright sessions ...` and `loopwright feedback`: everything that can be done to a session after it began."""

import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loopwright.cli.describe import describe
from loopwright.cli.keeping import COMMANDS, SESSION_HELP
from loopwright.cli.output import json_line, plain, stderr, stdout, table
from loopwright.cli.run_session import (
    Interactive,
    Json,
    ModelOf,
    listen_to_keyboard,
    models_of,
    opened_memory,
    run_to_rest,
)
from loopwright.errors import BadInput, UnknownName
from loopwright.graphs.registry import get_loop

if TYPE_CHECKING:
    from loopwright.graphs.loop.loop import Loop
    from loopwright.graphs.loop.session import Session
    from loopwright.memory import Memory

app = typer.Typer(
    help="List, show, resume, rewind, fork, replay, verify, export, report, prune, back up and restore sessions.",
    no_args_is_help=True,
)
for command in COMMANDS:
    app.command()(command)

SessionId = Annotated[str, typer.Argument(metavar="SESSION", help=SESSION_HELP)]
Step = Annotated[int, typer.Argument(min=0, metavar="STEP", help="Counted from 0.")]
LoopName = Annotated[
    str | None,
    typer.Option("--loop", metavar="WHERE", help="`module:attribute` or YAML file of a loop that is not installed."),
]


def _loop_of(memory: "Memory", session: str, named: str | None) -> "Loop":
    """The loop of a session.

    Raises:
        BadInput: it is not installed, or `named` is another one.
    """
    name = memory.sessions.get(session).loop
    try:
        loop = get_loop(named or name)
    except UnknownName as error:
        raise BadInput(
            f"Session {session} is of the loop {name!r}, which is not installed here. Install its package, or say "
            "where the loop is: `--loop module:attribute`."
        ) from error
    if loop.name != name:
        raise BadInput(f"`--loop` {named!r} is the loop {loop.name!r}; session {session} is of the loop {name!r}.")
    return loop


def _loop_if_installed(memory: "Memory", session: str, named: str | None) -> "Loop | None":
    """The loop of a session, None where it is not installed and not named: what holds for any loop has to do."""
    try:
        return _loop_of(memory, session, named)
    except BadInput as error:
        if named is not None:
            raise
        stderr().print(f"[yellow]Shown without its loop.[/yellow] {plain(str(error))}")
        return None


def _installed(name: str) -> "Loop | None":
    """The loop of this name, where it is installed."""
    try:
        return get_loop(name)
    except UnknownName:
        return None


@contextmanager
def _opened(session: str, named: str | None, model_of: list[str] | None = None) -> "Iterator[Session]":
    with opened_memory() as memory:
        session = memory.sessions.find(session)
        yield _loop_of(memory, session, named).resume(session, memory, models=models_of(model_of))


@app.command("list")
def list_sessions(
    last: Annotated[int | None, typer.Option(min=1, help="Only so many, the newest.")] = None, as_json: Json = False
) -> None:
    """All sessions, newest first. `interrupted` ones were killed; `sessions resume` goes on with them."""
    from loopwright.graphs.sessions import headline

    with opened_memory() as memory:
        interrupted = memory.sessions.interrupted()
        rows = memory.sessions.list()[:last]
    status = {row.id: "interrupted" if row.id in interrupted else row.status for row in rows}
    if as_json:
        for row in rows:
            json_line(row.model_dump(mode="json", exclude={"config"}) | {"status": status[row.id]})
        return
    shown = table("session", "status", "begun", "about")
    for row in rows:
        about = headline(_installed(row.loop), row)
        shown.add_row(plain(row.id), status[row.id], f"{row.created_at:%Y-%m-%d %H:%M} UTC", plain(about))
    stdout().print(shown if rows else "No sessions yet. Begin one with: loopwright run --help")


@app.command()
def show(session: SessionId, loop: LoopName = None, as_json: Json = False) -> None:
    """What happened in a session, event by event."""
    with opened_memory() as memory:
        session = memory.sessions.find(session)
        row = memory.sessions.get(session)
        status = "interrupted" if session in memory.sessions.interrupted() else row.status
        events = memory.events.read(session)
        if as_json:
            for event in events:
                json_line(event.model_dump(mode="json"))
            return
        described_by = _loop_if_installed(memory, session, loop)
    stdout().print(f"Session [bold]{plain(row.id)}[/bold]: {plain(row.loop)}, {status}, {len(events)} events")
    for event in events:
        for line in describe(event, described_by):
            stdout().print(line)


@app.command()
def resume(
    session: SessionId,
    interactive: Interactive = False,
    loop: LoopName = None,
    model_of: ModelOf = None,
    as_json: Json = False,
) -> int:
    """Go on where a session was paused, stopped, killed or left waiting. Its models are those that it began with."""
    with _opened(session, loop, model_of) as resumed:
        resumed.require_models()
        wait = listen_to_keyboard(resumed) if interactive else False
        return run_to_rest(resumed, wait=wait, as_json=as_json, named=loop)


@app.command()
def rewind(session: SessionId, step: Step, loop: LoopName = None) -> None:
    """Go back to the observation of a step. Nothing is deleted; `sessions resume` goes on from there."""
    with _opened(session, loop) as opened:
        opened.rewind(step)
    stdout().print(f"Rewound to step {step}. Go on with: loopwright sessions resume {opened.id}")


@app.command()
def fork(session: SessionId, step: Step, loop: LoopName = None) -> None:
    """A new session that begins where another stood at a step; the parent is left as it is."""
    with opened_memory() as memory:
        session = memory.sessions.find(session)
        of = _loop_of(memory, session, loop)
        child = of.fork(of.resume(session, memory), step)
    stdout().print(f"Forked into session {child.id}. Go on with: loopwright sessions resume {child.id}")


@app.command()
def replay(
    session: SessionId,
    rerender: Annotated[bool, typer.Option("--rerender", help="Also render every picture again and compare.")] = False,
    loop: LoopName = None,
    as_json: Json = False,
) -> int:
    """Run a session's loop again from its log, without model, world or human, and compare every payload."""
    from loopwright.graphs.sessions import redraw_session

    with opened_memory() as memory:
        session = memory.sessions.find(session)
        of = _loop_of(memory, session, loop)
        result = of.replay(session, memory)
        worst = redraw_session(memory, session, of) if rerender else None
    same = result.difference is None and (worst is None or worst.within_tolerance)
    if as_json:
        found = {"events": result.n, "same": same, "difference": result.difference}
        json_line(found | ({"pictures": worst._asdict()} if worst else {}))
        return 0 if same else 1
    stdout().print(f"{result.n} events replayed: {plain(result.difference or 'every payload hashes equal')}")
    if worst:
        stdout().print(f"{worst.n} pictures rendered again: mean absolute difference at most {worst.worst:.3f} of 255")
    return 0 if same else 1


@app.command()
def verify(
    session: Annotated[str, typer.Argument(metavar="SESSION", help=f"{SESSION_HELP[:-1]}; or an exported folder.")],
    head: Annotated[
        str,
        typer.Option(
            metavar="HASH",
            help="The head of the record, as the end of a run, a report or an export told it. It shows what nothing in "
            "one database can: a record that was written anew as a whole, or whose end was cut.",
        ),
    ] = "",
    loop: LoopName = None,
    as_json: Json = False,
) -> int:
    """Check that a session is as it was written: events, ledger, inbox, steps, checkpoints, images, devices."""
    from loopwright.agents.sessions.export import verify_export
    from loopwright.graphs.verify import verify_session

    if Path(session).exists():
        found = verify_export(Path(session), head=head)
    else:
        with opened_memory() as memory:
            session = memory.sessions.find(session)
            found = verify_session(memory, session, _loop_if_installed(memory, session, loop), head=head)
    if as_json:
        json_line(found.model_dump(mode="json"))
    elif found.ok:
        stdout().print(f"[green]Whole[/green]: {found.n} events and {found.n_rows} other rows as they were written.")
        stdout().print(f"Head: {found.head}")
    for change in () if as_json else found.changes:
        stdout().print(f"[red]Changed[/red]: {plain(str(change))}")
    return 0 if found.ok else 1


@app.command()
def export(
    session: SessionId, out: Annotated[Path | None, typer.Option(help="Folder to make; default: ./SESSION.")] = None
) -> None:
    """Write a session as JSON and images."""
    from loopwright.agents.sessions.export import export_session, read_export

    with opened_memory() as memory:
        session = memory.sessions.find(session)
        folder = export_session(memory, session, out or Path(session))
    stdout().print(f"Exported to {folder}")
    stdout().print(f"Head: {read_export(folder).session.seal_hash}")


@app.command()
def report(
    session: SessionId,
    out: Annotated[Path | None, typer.Option(help="File; default: ./SESSION.html.")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    loop: LoopName = None,
) -> None:
    """Write a session as one HTML page: what its loop shows of it, what was said, the ledger and the events."""
    from loopwright.graphs.sessions import report_session

    with opened_memory() as memory:
        session = memory.sessions.find(session)
        of = _loop_if_installed(memory, session, loop)
        file = report_session(memory, session, out or Path(f"{session}.html"), of)
    stdout().print(f"Report: {file}")
    if open_:
        webbrowser.open(file.resolve().as_uri())


@app.command()
def note(session: SessionId, loop: LoopName = None, as_json: Json = False) -> None:
    """What was done, said and refused in a session, in sentences that each name the events they rest on."""
    from loopwright.graphs.note import note_of

    with opened_memory() as memory:
        session = memory.sessions.find(session)
        sentences = note_of(memory, session, _loop_of(memory, session, loop))
    for one in sentences:
        if as_json:
            json_line({"text": one.text, "events": one.events})
        else:
            stdout().print(plain(str(one)))


def feedback(
    session: SessionId,
    message: Annotated[str, typer.Argument(help='For example "stop", "approve", "note: the patient moved".')],
    author: Annotated[str, typer.Option(help="Who speaks.")] = "clinician",
    loop: LoopName = None,
    as_json: Json = False,
) -> int:
    """Say something to a session, running or not. STOP acts at once; anything else is heard between nodes.

    A question, such as "where are you?", is answered from the record: see `loopwright ask`.
    """
    from loopwright.agents.feedback import is_query, is_stop

    with opened_memory() as memory:
        session = memory.sessions.find(session)
        row = memory.sessions.get(session)
        if row.has_ended and is_query(message):
            return _ask(memory, session, message, loop, as_json)
        row.require_going_on()
        if is_stop(message):
            memory.inbox.put(session, message, author=author, is_stop=True)  # before the imports: a STOP does not wait
            from loopwright.graphs.loop.delivery import stop_at_rest

            stop_at_rest(memory, session, lambda: _loop_of(memory, session, loop))
            words: dict[str, Any] = {"kind": "stop"}
        else:
            from loopwright.graphs.loop.delivery import deliver

            language = _loop_of(memory, session, loop).language
            words = language.dump(language.parse(message))
            deliver(memory, session, message, author=author)
            if words["kind"] == "query":
                return _ask(memory, session, message, loop, as_json)
        status = memory.sessions.get(session).status
    if as_json:
        json_line({"session": session, "status": status, "understood": words})
    else:
        stdout().print(_answer(words, status))
    return 2 if words["kind"] == "unclear" else 0


def ask(
    session: SessionId,
    question: Annotated[str, typer.Argument(help='For example "where are you?", "why did you stop?", "help".')],
    loop: LoopName = None,
    as_json: Json = False,
) -> int:
    """Answer a question about a session of any status from its record; tells nobody and changes nothing."""
    with opened_memory() as memory:
        return _ask(memory, memory.sessions.find(session), question, loop, as_json)


def _ask(memory: "Memory", session: str, question: str, loop: str | None, as_json: bool) -> int:
    from loopwright.graphs.answering import answer

    said = answer(memory, session, question, _loop_of(memory, session, loop))
    if as_json:
        json_line({"session": session, "answer": said.text, "events": said.events})
    else:
        stdout().print(plain(str(said)))
    return 0


def _answer(words: dict[str, Any], status: str) -> str:
    from loopwright.graphs.loop.describe import understood

    if words["kind"] == "unclear":
        return f"[yellow]Not understood:[/yellow] {plain(words['question'])}"
    said = f"Understood: {plain(understood(words))}."
    if status in ("running", "waiting"):
        return said
    return f"{said} The session is {status}{'' if words['kind'] == 'stop' else ': it hears when it resumes'}."
