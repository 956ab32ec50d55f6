"""Episodes that are single answers: a prompt and its pictures from a file of conversations, one reply each."""

import hashlib
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from loopwright.errors import BadInput, OperatorError
from loopwright.finetune.data.files import read_examples
from loopwright.finetune.data.rows import IMAGE, Turn
from loopwright.finetune.grpo.config import DrawingConfig, RowsConfig
from loopwright.finetune.grpo.episode import Episode
from loopwright.finetune.grpo.episode import Turn as Reply
from loopwright.finetune.grpo.policy import make_policy
from loopwright.finetune.grpo.sessions import Draw, Played
from loopwright.finetune.sft.config import BaseModelConfig
from loopwright.graphs.resolve import resolve
from loopwright.models.answers import AnswerFormat
from loopwright.models.asking import ask
from loopwright.models.images import image_block
from loopwright.models.local.engine import Engine
from loopwright.models.pixels import open_picture
from loopwright.schema import ImageRef

_MESSAGES: dict[str, type[BaseMessage]] = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}


class Folder:
    """A `BlobReader` over the pictures beside a file of conversations."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[str, Path] = {}

    def ref(self, name: str) -> ImageRef:
        """The reference to the picture called `name`."""
        path = self._folder / name
        data = path.read_bytes()
        picture = open_picture(data, f"Image `{path}`")
        sha256 = hashlib.sha256(data).hexdigest()
        self._found[sha256] = path
        return ImageRef(sha256=sha256, width_px=picture.width, height_px=picture.height)

    def read(self, ref: ImageRef) -> bytes:
        """See `BlobReader`."""
        return self._found[ref.sha256].read_bytes()


class Answers:
    """Asks for single answers. A row is `{"turns", "images", "answer"}`; `answer` is the file's, for the rewards."""

    def __init__(self, rows: RowsConfig, model: BaseModelConfig, drawing: DrawingConfig, engine: Engine) -> None:
        self._model, self._drawing, self._engine = model, drawing, engine
        self._format: AnswerFormat[Any] | None = None if rows.format is None else _format(rows.format)
        self._folder = Folder(rows.train.parent)

    def play(self, draws: Iterable[Draw]) -> list[Played]:
        """All answers, in the order of `draws`, drawn together."""
        with ThreadPoolExecutor(self._drawing.at_once, "loopwright-answer") as threads:
            return list(threads.map(self._play, draws))

    def _play(self, draw: Draw) -> Played:
        policy = make_policy(self._engine, self._model, self._drawing, self._folder, draw.seed)
        is_exact = True
        try:
            is_exact = ask(policy, self._messages(draw.row), self._format).is_exact
        except OperatorError as error:
            if type(error) is not OperatorError:
                raise
            is_exact = False
        ((_, generation),) = policy.drawn
        reply = Reply(text=policy.decode(generation.tokens), is_exact=is_exact, n_tokens=len(generation.trace))
        return Played(Episode(row=draw.row, turns=(reply,)), [generation])

    def _messages(self, row: dict[str, Any]) -> list[BaseMessage]:
        shown = iter(row["images"])
        return [_message(Turn.model_validate(turn), self._folder, shown) for turn in row["turns"]]


def answer_rows(path: Path, only: str = "") -> list[dict[str, Any]]:
    """The rows of a file of conversations whose last answer begins with the pattern `only`, that answer apart.

    Raises:
        BadInput: no such file, a wrong row, a picture that is not there, or no row left.
    """
    rows = []
    for k, example in enumerate(read_examples(path), start=1):
        *turns, last = example.turns
        if not re.match(only, last.text):
            continue
        for image in example.images:
            if not (path.parent / image).is_file():
                raise BadInput(f"`{path}`, row {k}, shows image {image!r}, which is not there.")
        asked = [turn.model_dump(mode="json") for turn in turns]
        rows.append({"turns": asked, "images": list(example.images), "answer": last.text})
    if not rows:
        raise BadInput(f"`{path}` holds no answer that begins with `rows.only` = {only!r}.")
    return rows


def _message(turn: Turn, folder: Folder, shown: Iterable[str]) -> BaseMessage:
    """A turn as the loop would have asked it: pictures by reference, where their marks stand."""
    if IMAGE not in turn.text:
        return _MESSAGES[turn.role](turn.text)
    first, *others = turn.text.split(IMAGE)
    blocks: list[Any] = [{"type": "text", "text": first}] if first else []
    for text, name in zip(others, shown, strict=False):
        blocks.append(image_block(folder.ref(name)))
        blocks += [{"type": "text", "text": text}] if text else []
    return _MESSAGES[turn.role](blocks)


def _format(where: str) -> AnswerFormat[Any]:
    found = resolve(where)
    if not isinstance(found, AnswerFormat):
        raise BadInput(f"`rows.format` = {where!r} is {found!r:.100}; expected an `AnswerFormat`.")
    return found
