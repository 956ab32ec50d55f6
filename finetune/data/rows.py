"""One training conversation, and the two ways in which the world writes it down.

`messages` is what TRL reads: `{"messages": [{"role", "content": [{"type": "image"}, {"type": "text", "text"}]}],
"images"}`. `sharegpt` is what LLaMA-Factory reads: `{"conversations": [{"from", "value"}], "system", "images"}`, with
`<image>` in the text. Either is read whatever its tags are called. Knows no file and no task.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple, Self

from langchain_core.messages import BaseMessage
from pydantic import Field, field_validator, model_validator

from loopwright.models.images import ref_of
from loopwright.schema import Frozen

IMAGE = "<image>"
FormatName = Literal["messages", "sharegpt"]
Role = Literal["system", "user", "assistant"]

_ROLES: dict[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}
_LANGCHAIN_ROLES: dict[str, Role] = {"system": "system", "human": "user", "ai": "assistant"}


class Turn(Frozen):
    """What one side says. `<image>` stands where a picture is shown."""

    role: Role
    text: str

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.text.strip():
            raise ValueError(f"the {self.role}'s text is empty")
        if self.role != "user" and IMAGE in self.text:
            raise ValueError(f"the {self.role} shows an {IMAGE}; only the user can")
        return self


class Example(Frozen):
    """A conversation that ends with the answer to learn. `images` are relative POSIX paths, in the order shown."""

    turns: tuple[Turn, ...]
    images: tuple[str, ...] = Field(default=())

    @field_validator("images")
    @classmethod
    def _relative(cls, images: tuple[str, ...]) -> tuple[str, ...]:
        for image in images:
            path = PurePosixPath(image)
            if path.is_absolute() or ".." in path.parts or not image.strip():
                raise ValueError(f"{image!r} is no path below the data set's folder")
        return images

    @model_validator(mode="after")
    def _is_a_conversation(self) -> Self:
        roles = [turn.role for turn in self.turns]
        spoken = roles[1:] if roles[:1] == ["system"] else roles
        if not spoken or len(spoken) % 2 or spoken != ["user", "assistant"] * (len(spoken) // 2):
            said = ", ".join(roles) or "nobody"
            raise ValueError(f"user and assistant must take turns, from the user to the assistant; here speak {said}")
        shown = sum(turn.text.count(IMAGE) for turn in self.turns)
        if shown != len(self.images):
            raise ValueError(f"{IMAGE} stands there {shown} times, but there are {len(self.images)} images")
        return self


def example_of(prompt: Sequence[BaseMessage], answer: str, path_of: Mapping[str, str]) -> Example:
    """The example that a prompt as inference builds it, and the right answer to it, make.

    Args:
        prompt: messages with images by reference.
        answer: the text to learn.
        path_of: an image's SHA-256 to its path in the data set.
    """
    turns, images = [], []
    for message in prompt:
        parts = [message.content] if isinstance(message.content, str) else message.content
        text = ""
        for part in parts:
            if isinstance(part, dict) and part["type"] == "image":
                images.append(path_of[ref_of(part).sha256])
                text += IMAGE
            else:
                text += part if isinstance(part, str) else part["text"]
        turns.append(Turn(role=_LANGCHAIN_ROLES[message.type], text=text))
    return Example(turns=(*turns, Turn(role="assistant", text=answer)), images=tuple(images))


class Format(NamedTuple):
    """One way of writing an example as a JSON object. `read` raises ValueError, which says what is wrong."""

    marker: str
    """The key by which a row of this format is known."""
    write: Callable[[Example], dict[str, Any]]
    read: Callable[[Mapping[str, Any]], Example]


def read_row(row: object) -> Example:
    """A row in whichever format it is. Raises ValueError, which says what is wrong."""
    if not isinstance(row, dict):
        raise ValueError(f"a JSON object is expected, not {type(row).__name__}")
    for form in FORMATS.values():
        if form.marker in row:
            return form.read(row)
    keys = ", ".join(f"`{key}`" for key in row) or "no key"
    raise ValueError(f"the row has {keys}; expected {' or '.join(f'`{form.marker}`' for form in FORMATS.values())}")


def _to_messages(example: Example) -> dict[str, Any]:
    messages = []
    for turn in example.turns:
        pieces = [piece for piece in re.split(f"({IMAGE})", turn.text) if piece]
        parts = [{"type": "image"} if piece == IMAGE else {"type": "text", "text": piece} for piece in pieces]
        messages.append({"role": turn.role, "content": parts})
    return {"messages": messages, "images": list(example.images)}


def _from_messages(row: Mapping[str, Any]) -> Example:
    _refuse_unknown(row, ("messages", "images"))
    turns = [_turn(said, "role", "content") for said in _list_of(row, "messages")]
    return Example(turns=tuple(turns), images=row.get("images") or ())


def _to_sharegpt(example: Example) -> dict[str, Any]:
    tags = {"user": "human", "assistant": "gpt"}
    spoken = [{"from": tags[turn.role], "value": turn.text} for turn in example.turns if turn.role != "system"]
    first = example.turns[0]
    system = {"system": first.text} if first.role == "system" else {}
    return {"conversations": spoken, **system, "images": list(example.images)}


def _from_sharegpt(row: Mapping[str, Any]) -> Example:
    _refuse_unknown(row, ("conversations", "system", "images", "id"))
    turns = [_turn(said, "from", "value") for said in _list_of(row, "conversations")]
    system = [Turn(role="system", text=row["system"])] if row.get("system") else []
    return Example(turns=(*system, *turns), images=row.get("images") or ())


def _turn(said: object, role_key: str, text_key: str) -> Turn:
    if not isinstance(said, dict) or not {role_key, text_key} <= set(said):
        raise ValueError(f"{said!r:.100} is no turn; expected `{role_key}` and `{text_key}`")
    if said[role_key] not in _ROLES:
        raise ValueError(f"`{role_key}` = {said[role_key]!r}; expected one of {', '.join(_ROLES)}")
    return Turn(role=_ROLES[said[role_key]], text=_text_of(said[text_key]))


def _text_of(content: object) -> str:
    """A turn's text, written plainly or in parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise ValueError(f"{content!r:.100} is neither text nor a list of parts")
    return "".join(map(_part_text, content))


def _part_text(part: object) -> str:
    match part:
        case {"type": "image"}:
            return IMAGE
        case {"type": "text", "text": str(text)} if IMAGE not in text:
            return text
        case _:
            raise ValueError(f"{part!r:.100} is neither an image part nor a text part without {IMAGE}")


def _list_of(row: Mapping[str, Any], key: str) -> list[Any]:
    if not isinstance(row[key], list):
        raise ValueError(f"`{key}` = {row[key]!r:.100}; expected a list of turns")
    return list(row[key])


def _refuse_unknown(row: Mapping[str, Any], known: Sequence[str]) -> None:
    unknown = [key for key in row if key not in known]
    if unknown:
        raise ValueError(f"the key `{unknown[0]}` is unknown; expected {', '.join(f'`{key}`' for key in known)}")


FORMATS: Mapping[FormatName, Format] = {
    "messages": Format("messages", _to_messages, _from_messages),
    "sharegpt": Format("conversations", _to_sharegpt, _from_sharegpt),
}
