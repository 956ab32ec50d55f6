"""Starting, resuming, forking and replaying sessions: where a loop, a memory and a session meet."""

import io
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from loopwright.agents.journal import Journal, ReplayJournal
from loopwright.agents.replay import first_difference, run_again
from loopwright.agents.session import Session
from loopwright.agents.sessions.export import image_refs
from loopwright.graphs.registry import get_loop
from loopwright.graphs.report import write_report
from loopwright.graphs.state import Opening, RunConfig
from loopwright.memory import Memory, open_memory
from loopwright.schema import CancelToken, ImageRef


class Replay(NamedTuple):
    """`difference` is None where every replayed payload hashed equal; `n` counts the events of the record."""

    n: int
    difference: str | None


REDRAW_TOLERANCE = 1.0
"""Mean absolute grey-level difference (of 255) up to which a picture drawn again counts as the same."""


class Redrawn(NamedTuple):
    """`worst` is the largest mean absolute difference of `n` pictures, in grey levels of 255."""

    n: int
    worst: float
    within_tolerance: bool


def start_session(memory: Memory, loop_name: str, config: RunConfig, device_dir: Path) -> Session:
    """A new session of a loop, ready to be streamed.

    Raises:
        BadInput: the configuration does not fit the real inputs; no session is created.
    """
    loop = get_loop(loop_name)
    kept = loop.prepare(config)
    row = memory.sessions.create(loop_name, kept)
    return _open(memory, row.id, loop_name, kept, device_dir)


def resume_session(memory: Memory, session_id: str, device_dir: Path) -> Session:
    """An existing session, opened with the configuration it began with."""
    row = memory.sessions.get(session_id)
    return _open(memory, row.id, row.loop, row.config, device_dir)


def fork_session(memory: Memory, session_id: str, step: int, device_dir: Path) -> Session:
    """A new session that begins where `session_id` stood after observing `step`; the parent is left as it is."""
    parent = resume_session(memory, session_id, device_dir)
    values = parent.observed_at(step).values
    head = memory.events.head(session_id)
    row = memory.sessions.get(session_id)
    child = memory.sessions.create(row.loop, row.config, parent=session_id)
    session = _open(memory, child.id, row.loop, row.config, device_dir)
    with memory.sessions.acquire(child.id):
        _remember(memory, session_id, child.id, step, values)
        session.adopt({**values, "branch": 0, "visit": 0}, {"parent": session_id, "parent_head": head, "step": step})
    return session


def replay_session(memory: Memory, session_id: str) -> Replay:
    """Run a session's loop again from its log, without model, world or human, and compare every payload."""
    row = memory.sessions.get(session_id)
    record = memory.events.read(session_id)
    loop = get_loop(row.loop)
    with (
        tempfile.TemporaryDirectory(prefix="loopwright-replay-") as folder,
        open_memory(f"sqlite:///{Path(folder) / 'replay.sqlite'}") as scratch,
    ):
        again = scratch.sessions.create(row.loop, row.config)
        journal = ReplayJournal(scratch, again.id, record)
        runtime = loop.open(row.config, Opening(scratch, again.id, journal, CancelToken(), Path(folder)))
        with scratch.sessions.acquire(again.id):
            run_again(runtime, journal, again.id)
        return Replay(len(record), first_difference(record, scratch.events.read(again.id)))


def rerender_session(memory: Memory, session_id: str) -> Redrawn:
    """Draw every picture of a session again from its recorded pose, and compare."""
    row = memory.sessions.get(session_id)
    redraw = get_loop(row.loop).redraw(row.config)
    differences = []
    for event in memory.events.read(session_id):
        if event.kind == "observed" and event.payload["image"] is not None:
            kept = Image.open(io.BytesIO(memory.blobs.read(ImageRef.model_validate(event.payload["image"]))))
            again = redraw(event.payload)
            differences.append(float(np.abs(np.asarray(kept, dtype=np.float32) - again).mean()))
    worst = max(differences, default=0.0)
    return Redrawn(len(differences), worst, worst <= REDRAW_TOLERANCE)


def report_session(memory: Memory, session_id: str, out_file: Path) -> Path:
    """Write the session's HTML report, with its loop's own sections."""
    row = memory.sessions.get(session_id)
    sections = get_loop(row.loop).sections(row.config, memory.events.read(session_id), memory.blobs.read)
    return write_report(memory, session_id, out_file, sections=sections)


def _remember(memory: Memory, parent: str, child: str, step: int, values: dict[str, Any]) -> None:
    """Give a fork its parent's past before `step`, and every picture that it or its state refers to.

    They are counted for the child too, so that pruning the parent leaves it whole.
    """
    past = memory.steps.near_history(parent, step, before_step=step).steps
    for row in past:
        memory.steps.record(child, 0, row.step, label=row.label, signature=row.signature, detail=row.detail)
    for ref in image_refs([values, *(row.detail for row in past)]):
        memory.blobs.put(
            memory.blobs.read(ref), session_id=child, media_type=ref.media_type,
            width_px=ref.width_px, height_px=ref.height_px,
        )  # fmt: skip


def _open(memory: Memory, session_id: str, loop_name: str, kept: dict[str, Any], device_dir: Path) -> Session:
    journal = Journal(memory, session_id)
    opening = Opening(memory, session_id, journal, CancelToken(), device_dir)
    return Session(memory, session_id, get_loop(loop_name).open(kept, opening))
