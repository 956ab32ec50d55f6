"""`loopwright sessions ...` and `loopwright feedback`: everything that can be done to a session after it began."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from loopwright.cli.describe import describe
from loopwright.cli.output import json_line, stdout, table
from loopwright.cli.run_session import drive, opened_memory
from loopwright.settings import settings

if TYPE_CHECKING:
    from loopwright.agents.session import Session
    from loopwright.memory import Memory

app = typer.Typer(
    help="List, show, resume, rewind, fork, replay, verify, export and prune sessions.", no_args_is_help=True
)

SessionId = Annotated[str, typer.Argument(metavar="SESSION", help="The session's id.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def _devices() -> Path:
    return settings().data_dir / "devices"


def _resume(memory: "Memory", session_id: str) -> "Session":
    from loopwright.graphs.sessions import resume_session

    return resume_session(memory, session_id, _devices())


@app.command("list")
def list_sessions(as_json: Json = False) -> None:
    """All sessions, newest first. `interrupted` ones were killed; `sessions resume` goes on with them."""
    with opened_memory() as memory:
        interrupted = memory.sessions.interrupted()
        rows = memory.sessions.list()
    status = {row.id: "interrupted" if row.id in interrupted else row.status for row in rows}
    if as_json:
        for row in rows:
            json_line(row.model_dump(mode="json", exclude={"config"}) | {"status": status[row.id]})
        return
    shown = table("session", "loop", "status", "begun")
    for row in rows:
        shown.add_row(row.id, row.loop, status[row.id], f"{row.created_at:%Y-%m-%d %H:%M:%S} UTC")
    stdout().print(shown if rows else "No sessions yet. Begin one with: loopwright run --help")


@app.command()
def show(session: SessionId, as_json: Json = False) -> None:
    """What happened in a session, event by event."""
    with opened_memory() as memory:
        row = memory.sessions.get(session)
        status = "interrupted" if session in memory.sessions.interrupted() else row.status
        events = memory.events.read(session)
    if as_json:
        for event in events:
            json_line(event.model_dump(mode="json"))
        return
    stdout().print(f"Session [bold]{row.id}[/bold]: {row.loop}, {status}, {len(events)} events")
    for event in events:
        for line in describe(event, row.loop):
            stdout().print(line)


@app.command()
def resume(
    session: SessionId,
    interactive: Annotated[bool, typer.Option("--interactive", help="Stay and answer questions.")] = False,
    as_json: Json = False,
) -> int:
    """Go on where a session was paused, stopped, killed or left waiting."""
    from loopwright.cli.run import listen_to_keyboard

    with opened_memory() as memory:
        resumed = _resume(memory, session)
        if interactive:
            listen_to_keyboard(resumed)
        return drive(resumed, wait=interactive, as_json=as_json)


@app.command()
def rewind(session: SessionId, step: Annotated[int, typer.Argument(min=0, help="The step to go back to.")]) -> None:
    """Go back to the observation of a step. Nothing is deleted; `sessions resume` goes on from there."""
    with opened_memory() as memory:
        _resume(memory, session).rewind(step)
    stdout().print(f"Rewound to step {step}. Go on with: loopwright sessions resume {session}")


@app.command()
def fork(session: SessionId, step: Annotated[int, typer.Argument(min=0, help="The step to fork from.")]) -> None:
    """A new session that begins where another stood at a step; the parent is left as it is."""
    from loopwright.graphs.sessions import fork_session

    with opened_memory() as memory:
        child = fork_session(memory, session, step, _devices())
        stdout().print(f"Forked into session {child.id}. Go on with: loopwright sessions resume {child.id}")


@app.command()
def replay(
    session: SessionId,
    rerender: Annotated[bool, typer.Option("--rerender", help="Also render every picture again and compare.")] = False,
    as_json: Json = False,
) -> int:
    """Run a session's loop again from its log, without model, world or human, and compare every payload."""
    from loopwright.graphs.sessions import replay_session, rerender_session

    with opened_memory() as memory:
        result = replay_session(memory, session)
        worst = rerender_session(memory, session) if rerender else None
    same = result.difference is None and (worst is None or worst.within_tolerance)
    if as_json:
        found = {"events": result.n, "same": same, "difference": result.difference}
        json_line(found | ({"pictures": worst._asdict()} if worst else {}))
        return 0 if same else 1
    stdout().print(f"{result.n} events replayed: {escape(result.difference or 'every payload hashes equal')}")
    if worst:
        stdout().print(f"{worst.n} pictures rendered again: mean absolute difference at most {worst.worst:.3f} of 255")
    return 0 if same else 1


@app.command()
def verify(session: SessionId, as_json: Json = False) -> int:
    """Check a session's hash chain and every image that it refers to."""
    from loopwright.agents.sessions.export import image_refs

    with opened_memory() as memory:
        found = memory.events.verify(session)
        events = memory.events.read(session) if found.ok else []
        images = {ref.sha256: ref for event in events for ref in image_refs(event.payload)}
        for ref in images.values():
            memory.blobs.read(ref)  # re-hashes; a damaged one is an error of its own
    if as_json:
        json_line(found.model_dump(mode="json"))
    elif found.ok:
        stdout().print(
            f"[green]Whole[/green]: {found.n} events, every link holds; {len(images)} images as they were taken."
        )
    else:
        stdout().print(f"[red]Broken[/red] at event {found.broken_seq}: {escape(found.reason)}")
    return 0 if found.ok else 1


@app.command()
def export(
    session: SessionId, out: Annotated[Path | None, typer.Option(help="Folder to make; default: ./SESSION.")] = None
) -> None:
    """Write a session as JSON and images."""
    from loopwright.agents.sessions.export import export_session

    with opened_memory() as memory:
        folder = export_session(memory, session, out or Path(session))
    stdout().print(f"Exported to {folder}")


@app.command()
def report(
    session: SessionId, out: Annotated[Path | None, typer.Option(help="File; default: ./SESSION.html.")] = None
) -> None:
    """Write a session as one HTML page: every picture, overlay, decision, the path, the ledger and the events."""
    from loopwright.graphs.sessions import report_session

    with opened_memory() as memory:
        file = report_session(memory, session, out or Path(f"{session}.html"))
    stdout().print(f"Report: {file}")


@app.command()
def prune(session: SessionId, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Delete a whole session, and the images that no other session refers to."""
    with opened_memory() as memory:
        row = memory.sessions.get(session)
        if not yes:
            typer.confirm(f"Delete session {row.id} ({row.loop}, {row.status}) for good?", abort=True)
        memory.retention.prune(session)
        (_devices() / f"{session}.sqlite").unlink(missing_ok=True)
    stdout().print(f"Pruned {session}.")


def feedback(
    session: SessionId,
    message: Annotated[str, typer.Argument(help='For example "stop", "go 20 mm cranial", "that is the carina".')],
    author: Annotated[str, typer.Option(help="Who speaks.")] = "clinician",
    as_json: Json = False,
) -> int:
    """Say something to a session, running or not. STOP acts at once; anything else is heard between nodes."""
    from loopwright.agents.feedback import is_stop
    from loopwright.graphs.registry import get_loop

    with opened_memory() as memory:
        row = memory.sessions.get(session)
        memory.inbox.put(session, message, author=author, is_stop=is_stop(message))
    words = get_loop(row.loop).parse(message)  # after the message is on its way: a STOP does not wait for imports
    understood = words.model_dump(mode="json")
    if as_json:
        json_line({"session": session, "status": row.status, "understood": understood})
    elif understood["kind"] == "unclear":
        stdout().print(f"[yellow]Not understood:[/yellow] {escape(understood['question'])}")
    else:
        parts = ", ".join(f"{k} {v}" for k, v in understood.items() if k != "kind" and v not in ("", None, [], False))
        said = f"{understood['kind']} {parts}".strip()
        late = (
            "" if row.status in ("running", "waiting") else f" The session is {row.status}: it hears when it resumes."
        )
        stdout().print(f"Understood: {escape(said)}.{late}")
    return 2 if understood["kind"] == "unclear" else 0
