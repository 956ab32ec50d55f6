"""What a model is saying, as it says it: a small file beside the memory, written by a worker and read by the server.

It holds the reply so far of one call of the session, and is empty between calls: what was said in the end is an event.
"""

import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler

MAX_SHOWN_BYTES = 20_000


def session_file(folder: Path, session_id: str) -> Path:
    """A session's file in a folder; ids are anybody's text, so the name is a hash of it."""
    return folder / f"{hashlib.sha256(session_id.encode()).hexdigest()[:32]}.txt"


def token_file(folder: Path, session_id: str) -> Path:
    """Where a session's model is overheard."""
    return session_file(folder / "speaking", session_id)


def read_tokens(folder: Path, session_id: str) -> str:
    """What a model of the session is saying now; empty where none speaks."""
    try:
        with token_file(folder, session_id).open("rb") as file:
            return file.read(MAX_SHOWN_BYTES).decode(errors="ignore")
    except FileNotFoundError:
        return ""


class TokenWriter(BaseCallbackHandler):
    """Hears the models of one session. Of several that speak at once, the one that began first is written down."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file.open("wb", buffering=0)
        self._speaker: UUID | None = None

    def tap_output_iter(self, _: UUID, output: Iterator[Any]) -> Iterator[Any]:
        """Passes output on. That this is here has LangChain stream the models that can (`BaseChatModel`)."""
        return output

    def tap_output_aiter(self, _: UUID, output: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """See `tap_output_iter`."""
        return output

    def on_chat_model_start(self, *_: Any, run_id: UUID, **__: Any) -> None:
        """A call begins."""
        self._speaker = self._speaker or run_id

    def on_llm_new_token(self, token: Any, *, run_id: UUID, **_: Any) -> None:
        """A token comes."""
        if run_id == self._speaker:
            self._file.write(str(token).encode())

    def on_llm_end(self, *_: Any, run_id: UUID, **__: Any) -> None:
        """A call ends; what it said is recorded next."""
        if run_id == self._speaker:
            self._speaker = None
            self._file.truncate(0)
            self._file.seek(0)

    def on_llm_error(self, *_: Any, run_id: UUID, **__: Any) -> None:
        """A call fails."""
        self.on_llm_end(run_id=run_id)
