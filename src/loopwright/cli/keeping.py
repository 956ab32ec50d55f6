"""What keeps a memory small and safe: `loopwright sessions prune`, `vacuum`, `backup` and `restore`."""

from pathlib import Path
from typing import Annotated

import typer

from loopwright.cli.output import json_line, stdout
from loopwright.cli.run_session import Json, opened_memory
from loopwright.errors import UnknownName
from loopwright.settings import settings

SESSION_HELP = "The session's id, the beginning of one, or `last` for the newest."


def prune(
    session: Annotated[str, typer.Argument(metavar="SESSION", help=SESSION_HELP)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a whole session, its devices, and the images that no other session refers to; frees their space.

    A prune that was killed is finished by another one.
    """
    from loopwright.graphs.loop.serve import default_devices
    from loopwright.tools.devices import device_files, prune_session

    with opened_memory() as memory:
        try:
            row = memory.sessions.get(memory.sessions.find(session))
            session = row.id
            what = f"session {row.id} ({row.loop}, {row.status})"
        except UnknownName:
            devices = device_files(default_devices(), session)
            if not devices:
                raise
            what = f"{len(devices)} device files of {session}, which is no session of this memory,"
        if not yes:
            typer.confirm(f"Delete {what} for good?", abort=True)
        freed = prune_session(memory, default_devices(), session)
    if as_json:
        json_line({"pruned": session, "freed_bytes": freed})
    else:
        stdout().print(f"Pruned {session}; {_megabytes(freed)} were freed.")


def vacuum(
    full: Annotated[
        bool,
        typer.Option("--full", help="PostgreSQL: write the tables anew (VACUUM FULL); sessions wait meanwhile."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Give the space of what was pruned back to the disk.

    SQLite writes its file anew, for which it needs as much room again, and no session may be writing. PostgreSQL makes
    the space ready for new rows, and gives it back with `--full`.
    """
    with opened_memory() as memory:
        freed = memory.retention.vacuum(full=full)
        total = memory.retention.size().total_bytes
    if as_json:
        json_line({"freed_bytes": freed, "total_bytes": total})
    else:
        stdout().print(f"{_megabytes(freed)} were freed; the memory takes {_megabytes(total)}.")


def backup(
    file: Annotated[Path, typer.Argument(help="The file to write; not one that is there.")],
    as_json: Json = False,
) -> None:
    """Write every session and its devices to one file, as they are at one moment; sessions may run meanwhile."""
    from loopwright.agents.sessions.backup import back_up
    from loopwright.graphs.loop.serve import default_devices

    with opened_memory() as memory:
        made = back_up(memory, default_devices(), file)
    if as_json:
        json_line(made.model_dump(mode="json"))
    else:
        stdout().print(f"{len(made.heads)} sessions and {made.n_devices} devices in {file}")


def restore(file: Annotated[Path, typer.Argument(help="What `sessions backup` wrote.")], as_json: Json = False) -> None:
    """Take a backup into an empty memory, of either database, and verify every session in it."""
    from loopwright.agents.sessions import backup as backups
    from loopwright.graphs.loop.serve import default_devices

    with opened_memory() as memory:
        made = backups.restore(memory, default_devices(), file)
    if as_json:
        json_line(made.model_dump(mode="json"))
    else:
        to = f"{settings().data_dir} and {memory.url}"
        stdout().print(f"{len(made.heads)} sessions and {made.n_devices} devices of {made.made_at:%Y-%m-%d %H:%M} UTC")
        stdout().print(f"are in {to}, every one as it was.")


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB"


COMMANDS = (prune, vacuum, backup, restore)
