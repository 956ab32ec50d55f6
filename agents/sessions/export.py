"""A session as a folder that outlives its database: `session.json` and the images, named by their content.

    FOLDER/session.json         the session, every event with its hashes, the ledger, the feedback, the seals
    FOLDER/images/SHA256.png    the pictures that the events refer to

The folder can be checked by itself (`verify_export`): the hash chain is computed again from the payloads, every row
from the seals, every image from its bytes. Whoever knows the head of the record from elsewhere can tell a forged folder
from the real one. Knows no loop.
"""

import hashlib
import mimetypes
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from loopwright.errors import BadInput
from loopwright.memory import Change, LedgerEntry, Memory, Seal, SessionRow, Verification
from loopwright.memory.sessions import UNSEALED
from loopwright.memory.verify import compare, found_in, head_in, unseal, verification
from loopwright.schema import GENESIS, BlobReader, Event, Frozen, ImageRef, Message, chain_hash
from loopwright.tools.files import disk_errors, partial_path, write_whole

FORMAT: Literal["loopwright-session-2"] = "loopwright-session-2"
"""Counts up when an older reader could not read the folder."""

MANIFEST = "session.json"


class SessionExport(Frozen):
    """What `session.json` holds. Its head is `session.seal_hash`."""

    format: Literal["loopwright-session-2"] = FORMAT
    session: SessionRow
    events: tuple[Event, ...]
    ledger: tuple[LedgerEntry, ...]
    feedback: tuple[Message, ...]
    seals: tuple[Seal, ...]


def export_session(memory: Memory, session_id: str, out_dir: Path) -> Path:
    """Write a session to `out_dir`, or bring an earlier export of it up to date; the same session gives the same bytes.

    The folder appears whole or not at all; in one that is there, `session.json` changes last and at once.

    Raises:
        BadInput: `out_dir` holds something else than an export of this session.
        UnknownName: there is no such session.
        IntegrityError: an image in the memory is not what was written.
        OperatorError: the folder cannot be written.
    """
    out_dir = out_dir.absolute()  # `.` has no name to build a hidden one from
    content = _collect(memory, session_id)
    with disk_errors(out_dir):
        if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
            _require_own(out_dir, session_id)
            _fill(out_dir, content, memory.blobs)
            return out_dir
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        staging = partial_path(out_dir)
        try:
            staging.mkdir()
            _fill(staging, content, memory.blobs)
            staging.replace(out_dir)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return out_dir


def verify_export(folder: Path, *, head: str = "") -> Verification:
    """Check an exported folder without its memory: the chain, the images, and every row that is in it.

    `broken_seq` is the first event whose link does not hold, or whose image is missing or changed.

    Args:
        folder: as `export_session` wrote it.
        head: of the record, as it was told elsewhere; see `Memory.verify`.

    Raises:
        BadInput: `folder` is no export.
    """
    content = read_export(folder)
    events = _verify_events(folder, content)
    session = content.session.model_dump()
    read = unseal(session, content.seals)
    changes = [*read.changes, *head_in(head, read)]
    found = {
        "sessions": [{name: value for name, value in session.items() if name not in UNSEALED}],
        "acts": [entry.model_dump(exclude={"session_id"}) for entry in content.ledger],
        "messages": [message.model_dump(exclude={"session_id"}) for message in content.feedback],
    }
    for table, rows in found.items() if not read.is_cut else ():
        changes += compare(table, read.rows[table], found_in(table, rows))
    if not events.ok:
        changes.insert(0, Change(table="events", row=str(events.broken_seq), what=events.reason))
    return verification(events, changes, n_rows=sum(map(len, found.values())), head=content.session.seal_hash)


def _verify_events(folder: Path, content: SessionExport) -> Verification:
    n, prev_hash = 0, GENESIS
    for event in content.events:
        reason = _fault(event, content.session.id, n + 1, prev_hash) or _image_fault(folder, event)
        if reason:
            return Verification(ok=False, n=n, broken_seq=n + 1, reason=reason)
        n, prev_hash = n + 1, event.hash
    if (n, prev_hash) != (content.session.n_events, content.session.head_hash):
        at = min(n, content.session.n_events) + 1
        reason = f"the session has {content.session.n_events} events on record, the folder {n}"
        return Verification(ok=False, n=n, broken_seq=at, reason=reason)
    return Verification(ok=True, n=n)


def read_export(folder: Path) -> SessionExport:
    """The content of an exported folder, unchecked.

    Raises:
        BadInput: `folder` is no export that this version reads.
    """
    manifest = folder / MANIFEST
    try:
        return SessionExport.model_validate_json(manifest.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BadInput(f"`{folder}` is no exported session: it holds no `{MANIFEST}`.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadInput(
            f"`{manifest}` is no {FORMAT!r} file: {where}: {first['msg']}. Export the session again."
        ) from error


def image_refs(payload: Any) -> Iterator[ImageRef]:
    """Every image reference inside an event's payload, in order."""
    if isinstance(payload, dict):
        if payload.keys() == ImageRef.model_fields.keys():
            yield ImageRef.model_validate(payload)
            return
        payload = list(payload.values())
    if isinstance(payload, list):
        for value in payload:
            yield from image_refs(value)


def _collect(memory: Memory, session_id: str) -> SessionExport:
    """One moment of a session, though it may be running."""
    with memory.moment():
        return SessionExport(
            session=memory.sessions.get(session_id),
            events=tuple(memory.events.read(session_id)),
            ledger=tuple(memory.ledger.of(session_id)),
            feedback=tuple(memory.inbox.since(session_id, 0)),
            seals=tuple(memory.seals(session_id)),
        )


def _fill(folder: Path, content: SessionExport, blobs: BlobReader) -> None:
    """Add the images that are not there whole, then put `session.json` in its place; leave alone what is right."""
    for ref in _images(content.events):
        path = _image_path(folder, ref)
        if not _holds(path, ref.sha256):
            path.parent.mkdir(exist_ok=True)
            write_whole(path, blobs.read(ref))
    data = (content.model_dump_json(indent=1) + "\n").encode()
    manifest = folder / MANIFEST
    if not manifest.exists() or manifest.read_bytes() != data:
        write_whole(manifest, data)


def _require_own(folder: Path, session_id: str) -> None:
    repair = "Name a folder that does not exist yet, or the one of an earlier export of this session."
    if not (folder / MANIFEST).is_file():
        raise BadInput(f"`{folder}` is there and is no exported session; nothing was written. {repair}")
    found = read_export(folder).session.id
    if found != session_id:
        raise BadInput(f"`{folder}` holds session {found!r}, not {session_id!r}; nothing was written. {repair}")


def _images(events: Sequence[Event]) -> list[ImageRef]:
    """Each image once, in the order of the log."""
    return list({ref.sha256: ref for event in events for ref in image_refs(event.payload)}.values())


def _image_path(folder: Path, ref: ImageRef) -> Path:
    return folder / "images" / f"{ref.sha256}{mimetypes.guess_extension(ref.media_type) or '.bin'}"


def _holds(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _fault(event: Event, session_id: str, seq: int, prev_hash: str) -> str:
    """Why `event` is not the link that comes after `prev_hash`; empty where it is."""
    if (event.session_id, event.seq) != (session_id, seq):
        return f"event {event.seq} of {event.session_id!r} stands where event {seq} of {session_id!r} belongs"
    if event.prev_hash != prev_hash:
        return f"event {seq} does not follow the event before it"
    body_hash = event.payload_hash
    if chain_hash(prev_hash, session_id, seq, event.created_at, body_hash, event.key) != event.hash:
        return f"event {seq} was changed"
    return ""


def _image_fault(folder: Path, event: Event) -> str:
    for ref in image_refs(event.payload):
        path = _image_path(folder, ref)
        if not path.is_file():
            return f"`{path.name}`, which event {event.seq} refers to, is missing"
        if not _holds(path, ref.sha256):
            return f"`{path.name}`, which event {event.seq} refers to, was changed"
    return ""
