"""Images by the SHA-256 of their bytes, stored once however many sessions refer to them. Knows no image format."""

import hashlib

from sqlalchemy import bindparam, select

from loopwright.errors import BadInput, IntegrityError
from loopwright.memory.sessions import lock_held
from loopwright.memory.store import Store
from loopwright.memory.tables import Base, BlobRefTable, BlobTable
from loopwright.schema import ImageRef

_BLOBS = Base.metadata.tables[BlobTable.__tablename__]
_REFS = Base.metadata.tables[BlobRefTable.__tablename__]
_REF_COLUMNS = tuple(_BLOBS.c[name] for name in ImageRef.model_fields)
_KNOWN = select(*_REF_COLUMNS).where(_BLOBS.c.sha256 == bindparam("sha256")).with_for_update(read=True, key_share=True)
"""Built once. Locks the row against a prune that would find it without a reference."""


class Blobs:
    """The blobs of one memory; a `loopwright.schema.BlobReader`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._put = store.insert(_BLOBS).on_conflict_do_nothing()
        self._refer = store.insert(_REFS).on_conflict_do_nothing()

    def put(self, data: bytes, *, session_id: str, media_type: str, width_px: int, height_px: int) -> ImageRef:
        """Store encoded image bytes for a session; the same bytes again cost nothing.

        They are on the disk with the next event, see `Store.write` on `late`: none that is there lacks its image.

        Raises:
            BadInput: the same bytes are known under another media type or size.
            SessionBusy: this process does not hold the session.
            UnknownName: there is no such session.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        ref = ImageRef(sha256=sha256, media_type=media_type, width_px=width_px, height_px=height_px)
        with self._store.write(late=True) as connection:
            session = lock_held(self._store, connection, session_id)
            known = connection.execute(_KNOWN, {"sha256": sha256}).one_or_none()
            if known is None:
                connection.execute(self._put, {**ref.model_dump(), "n_bytes": len(data), "data": data})
            elif ImageRef(**known._mapping) != ref:
                raise BadInput(f"Image `{sha256}` is known as {ImageRef(**known._mapping)!r}, not as {ref!r}.")
            if connection.execute(self._refer, {"session_id": session_id, "sha256": sha256}).rowcount:
                session.wrote(BlobRefTable, [sha256], {})
                session.wrote(BlobTable, [sha256], {**ref.model_dump(exclude={"sha256"}), "n_bytes": len(data)})
        return ref

    def read(self, ref: ImageRef) -> bytes:
        """The bytes of `ref`, hashed again.

        Raises:
            IntegrityError: they are not there, or are not what was written.
        """
        with self._store.read() as connection:
            data = connection.scalars(select(BlobTable.data).where(BlobTable.sha256 == ref.sha256)).one_or_none()
        where = f"Image `{ref.sha256}` of memory `{self._store.url}`"
        if data is None:
            raise IntegrityError(f"{where} is not there: its session was pruned, or it belongs to another memory.")
        found = hashlib.sha256(data).hexdigest()
        if found != ref.sha256:
            raise IntegrityError(f"{where} reads back as {found!r}: it was changed. Restore the database's backup.")
        return data

    def of(self, session_id: str) -> list[ImageRef]:
        """Every image that a session refers to."""
        query = select(*_REF_COLUMNS).join(BlobRefTable, BlobRefTable.sha256 == BlobTable.sha256)
        query = query.where(BlobRefTable.session_id == session_id).order_by(BlobTable.sha256)
        with self._store.read() as connection:
            return [ImageRef(**row._mapping) for row in connection.execute(query)]
