"""LangChain messages as the turns that a model's chat template takes, pictures in their places."""

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from PIL import Image

from loopwright.errors import BadInput
from loopwright.models.images import ref_of
from loopwright.models.local import tool_calls
from loopwright.schema import ImageRef

Turn = dict[str, Any]
_BESIDE = frozenset({"tool_use", "tool_call", "invalid_tool_call", "function_call", "thinking", "reasoning"})


def turns(
    messages: Sequence[BaseMessage],
    open_image: Callable[[ImageRef], Image.Image],
    tools: Sequence[dict[str, Any]] = (),
    *,
    template_knows_tools: bool = False,
) -> list[Turn]:
    """What `processor.apply_chat_template` takes. Where the template knows no tools, they are written out as text.

    Raises:
        BadInput: a message or a content block of a kind that a model cannot be shown.
    """
    written = [_turn(message, open_image, as_text=not template_knows_tools) for message in messages]
    if tools and not template_knows_tools:
        _add_instructions(written, tool_calls.instructions(tools))
    return written


def without_system(conversation: Sequence[Turn]) -> list[Turn]:
    """The same with what the system turn says at the beginning of the user's first, for templates that refuse it."""
    system, *others = conversation
    if not others or others[0]["role"] != "user":
        return [system | {"role": "user"}, *others]
    return [others[0] | {"content": [*system["content"], _text("\n\n"), *others[0]["content"]]}, *others[1:]]


def with_plain_text(conversation: Sequence[Turn]) -> list[Turn]:
    """The same with each content as one string, which is what templates of text-only models take."""
    return [turn | {"content": "".join(part["text"] for part in turn["content"])} for turn in conversation]


def _turn(message: BaseMessage, open_image: Callable[[ImageRef], Image.Image], *, as_text: bool) -> Turn:
    parts = _parts(message, open_image)
    match message:
        case SystemMessage():
            return {"role": "system", "content": parts}
        case HumanMessage():
            return {"role": "user", "content": parts}
        case AIMessage():
            return _assistant(message, parts, as_text=as_text)
        case ToolMessage() if as_text:
            opening, closing = tool_calls.response_text("\0").split("\0")
            return {"role": "user", "content": [_text(opening), *parts, _text(closing)]}
        case ToolMessage():
            return {"role": "tool", "name": message.name, "content": parts}
        case _:
            raise BadInput(
                f"A message of type {message.type!r} has no place in a chat; expected system, human, ai or tool."
            )


def _assistant(message: AIMessage, parts: list[dict[str, Any]], *, as_text: bool) -> Turn:
    if as_text:
        return {"role": "assistant", "content": [*parts, *(_text(tool_calls.call_text(c)) for c in message.tool_calls)]}
    turn: Turn = {"role": "assistant", "content": parts}
    if message.tool_calls:
        called = [{"name": call["name"], "arguments": call["args"]} for call in message.tool_calls]
        turn["tool_calls"] = [{"type": "function", "function": function} for function in called]
    return turn


def _parts(message: BaseMessage, open_image: Callable[[ImageRef], Image.Image]) -> list[dict[str, Any]]:
    blocks = [message.content] if isinstance(message.content, str) else message.content
    shown = [block for block in blocks if isinstance(block, str) or not _is_beside(message, block)]
    return [_part(block, open_image) for block in shown if block]


def _is_beside(message: BaseMessage, block: dict[str, Any]) -> bool:
    """Whether a model's own block is no part of what it said: a call, which `tool_calls` holds too, or its thoughts."""
    return isinstance(message, AIMessage) and block.get("type") in _BESIDE


def _part(block: str | dict[str, Any], open_image: Callable[[ImageRef], Image.Image]) -> dict[str, Any]:
    match block:
        case str():
            return _text(block)
        case {"type": "text", "text": str(text)}:
            return _text(text)
        case {"type": "image"}:
            return {"type": "image", "image": open_image(ref_of(block))}
        case _:
            raise BadInput(f"A content block of type {block.get('type')!r} cannot be shown; expected text or image.")


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _add_instructions(written: list[Turn], instructions: str) -> None:
    """Put the tools at the end of the system turn, or into one of their own."""
    if written and written[0]["role"] == "system":
        written[0]["content"].append(_text("\n\n" + instructions))
    else:
        written.insert(0, {"role": "system", "content": [_text(instructions)]})
