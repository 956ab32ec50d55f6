"""`loopwright doctor`: what works on this machine, and the command that adds what does not.

A check answers one question and changes nothing. Those marked `needed` make up the default path: the loops that come
with the package, on the CPU, with their records in the configured database. What a loop needs of its own, it checks.
"""

import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote

import typer

from loopwright.cli.output import json_line, plain_lines, stdout, table
from loopwright.cli.plugin import Check, all_commands
from loopwright.errors import LoopwrightError, UnknownName
from loopwright.settings import settings

GIB = 2**30
_NEEDED_DISK_GIB = 1.0
_NEEDED_MEMORY_GIB = 3.0  # torch and a loop over a volume at full resolution peak below this
_MARKS = {"ok": "[green]ok[/green]", "absent": "[dim]absent[/dim]", "broken": "[red]broken[/red]"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line; the last one sums up.")] = False,
    setup: Annotated[
        str | None, typer.Option(metavar="NAME", help="Make the environment of an external program, such as `deepdrr`.")
    ] = None,
) -> int:
    """Report what works here and what would add the rest. Exit code 0 when the default path works, else 1."""
    if setup is not None:
        return _set_up(setup)
    of_loops = [look for added in all_commands() for look in added.checks]
    checks = [check for look in (*CHECKS, *of_loops) for check in look()]
    works = all(check.status == "ok" for check in checks if check.needed)
    if as_json:
        for check in checks:
            json_line(asdict(check))
        json_line({"default_path_works": works})
    else:
        _print(checks, works)
    return 0 if works else 1


def _print(checks: list[Check], works: bool) -> None:
    rows = table("", "what", "found")
    for check in checks:
        name = f"[bold]{check.name}[/bold]" if check.needed else check.name
        repair = f"\n[cyan]{plain_lines(check.repair)}[/cyan]" if check.repair and check.status != "ok" else ""
        rows.add_row(_MARKS[check.status], name, plain_lines(check.found) + repair)
    stdout().print(rows)
    stdout().print("The default path works." if works else "[red]The default path does not work here yet.[/red]")


def _python() -> Iterator[Check]:
    fits = sys.version_info >= (3, 11)
    found = f"{platform.python_version()} ({sys.executable})"
    yield Check(name="python", status="ok" if fits else "broken", found=found, repair="install 3.11+", needed=True)


def _machine() -> Iterator[Check]:
    import psutil

    cores = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else os.cpu_count() or 1
    yield Check(name="cores", status="ok", found=f"{cores}, {platform.machine()}, {platform.system()}")
    memory = psutil.virtual_memory()
    enough = memory.total / GIB >= _NEEDED_MEMORY_GIB
    yield Check(
        name="memory",
        status="ok" if enough else "broken",
        found=f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free",
        repair=f"loops over large data want {_NEEDED_MEMORY_GIB:.0f} GiB; choose smaller data, or free some",
    )


def _disk() -> Iterator[Check]:
    for name, folder in (("data folder", settings().data_dir), ("cache folder", settings().cache_dir)):
        variable = f"LOOPWRIGHT_{name.split()[0].upper()}_DIR"
        there = _nearest(folder)
        if not (there.is_dir() and os.access(there, os.W_OK)):
            repair = f"make it writable, or choose another with {variable}"
            yield Check(name=name, status="broken", found=f"{folder} cannot be written", repair=repair, needed=True)
            continue
        free_gib = shutil.disk_usage(there).free / GIB
        yield Check(
            name=name,
            status="ok" if free_gib >= _NEEDED_DISK_GIB else "broken",
            found=f"{folder}, {free_gib:.1f} GiB free",
            repair=f"free {_NEEDED_DISK_GIB:.0f} GiB, or choose another folder with {variable}",
            needed=True,
        )


def _torch_and_gpu() -> Iterator[Check]:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: its shared libraries do not load
        yield Check(name="torch", status="broken", found=str(error), repair=_pip('"torch>=2.6,<2.14"'), needed=True)
        yield _gpu_without_torch()
        return
    yield Check(name="torch", status="ok", found=f"{torch.__version__}, {torch.get_num_threads()} threads", needed=True)
    if torch.cuda.is_available():
        device = torch.cuda.get_device_properties(0)
        size = f"{device.total_memory / GIB:.0f} GiB, CUDA {torch.version.cuda}"
        yield Check(name="gpu", status="ok", found=f"{torch.cuda.device_count()} x {device.name}, {size}")
    else:
        yield _gpu_without_torch()


def _gpu_without_torch() -> Check:
    """What the driver says where torch sees no CUDA device."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return Check(name="gpu", status="absent", found="no NVIDIA driver; nothing in the default path needs one")
    repair = _pip("--force-reinstall --index-url https://download.pytorch.org/whl/cu126 'torch>=2.6,<2.14'")
    return Check(name="gpu", status="absent", found=f"{said}, but this torch is built without CUDA", repair=repair)


def _databases() -> Iterator[Check]:
    settled = settings().memory_url
    found = f"SQLite {sqlite3.sqlite_version}, write-ahead log"
    try:
        with (
            tempfile.TemporaryDirectory(dir=_nearest(settings().data_dir)) as folder,
            closing(sqlite3.connect(Path(folder) / "probe.sqlite")) as connection,
        ):
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            connection.execute("CREATE TABLE probe (x)")
        works = mode == "wal"
    except (OSError, sqlite3.Error) as error:
        works, found = False, str(error)
    repair = "put the data folder on a local disk (LOOPWRIGHT_DATA_DIR); network file systems cannot share a WAL file"
    is_sqlite = settled.startswith("sqlite")
    yield Check(name="sqlite", status="ok" if works else "broken", found=found, repair=repair, needed=is_sqlite)
    yield _postgres(needed=not is_sqlite)


def _postgres(*, needed: bool) -> Check:
    """The driver; whether the server answers is what `_sessions` finds."""
    try:
        found = f"psycopg {version('psycopg')}"
    except PackageNotFoundError as error:
        status: Literal["absent", "broken"] = "broken" if needed else "absent"
        repair = _pip("'loopwright[postgres]'")
        return Check(name="postgresql", status=status, found=f"no `{error.name}`", repair=repair, needed=needed)
    return Check(name="postgresql", status="ok", found=found, needed=needed)


def _sessions() -> Iterator[Check]:
    """The configured memory, where it exists: opened as a session would open it."""
    from loopwright.memory import open_memory

    url = settings().memory_url
    file = unquote(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:///") and not Path(file).exists():
        yield Check(name="sessions", status="ok", found=f"{file} is made by the first session", needed=True)
        return
    try:
        with open_memory(url) as memory:
            ids = {row.id for row in memory.sessions.list()}
    except LoopwrightError as error:
        yield Check(name="sessions", status="broken", found=str(error), needed=True)
    else:
        yield Check(name="sessions", status="ok", found=f"{len(ids)} sessions", needed=True)
        yield from _devices(ids)


def _devices(session_ids: set[str]) -> Iterator[Check]:
    """Device files that no session of the configured memory has: a prune that was killed leaves them."""
    from loopwright.tools.devices import strangers

    folder = settings().data_dir / "devices"
    if found := strangers(folder, session_ids):
        named = f"{len(found)} files in {folder} of no session of this memory, such as {found[0].name}"
        repair = f"loopwright sessions prune {found[0].stem}, unless they are of another memory"
        yield Check(name="devices", status="absent", found=named, repair=repair)


def _set_up(name: str) -> int:
    known = {known: set_up for added in all_commands() for known, set_up in added.environments.items()}
    if name not in known:
        raise UnknownName("environment to set up", name, known)
    return known[name]()


def _pip(what: str) -> str:
    return f"{sys.executable} -m pip install {what}"


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest of its parents that is there: what a session would make it in."""
    return next(parent for parent in (folder, *folder.parents) if parent.exists())


CHECKS: tuple[Callable[[], Iterator[Check]], ...] = (
    _python,
    _machine,
    _disk,
    _torch_and_gpu,
    _databases,
    _sessions,
)
