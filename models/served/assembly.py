"""Puts the pieces of a reply in order that servers send in many ways: whose piece it is, and characters cut in two.

Servers leave out the index of a tool call, or send the same for two; repeat names; number calls from 0 in every reply.
"""

from uuid import uuid4

from loopwright.models.characters import Characters
from loopwright.models.served.endpoint import Choice, Chunk, FunctionPart, ToolCallPart


class _Call:
    """A tool call as it comes in. `index` and `id` are the server's, as far as it sends some."""

    def __init__(self, part: ToolCallPart) -> None:
        self.index, self.id, self.name = part.index, part.id, part.function.name
        self.own_id = f"call_{uuid4().hex}"
        self.arguments = Characters()

    def goes_on_with(self, part: ToolCallPart, *, is_last: bool) -> bool:
        """Whether `part` belongs to this call."""
        if part.id and self.id and part.id != self.id:
            return False
        if part.index is not None and self.index is not None:
            return part.index == self.index
        if part.id:
            return part.id == self.id
        return is_last and not (part.function.name and self.name)


class Assembly:
    """The chunks of one reply, mended: every call with its own index and an id that no other call has."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._text = Characters()

    def mended(self, chunk: Chunk) -> Chunk:
        """`chunk`, with what was held back of those before it."""
        return chunk.model_copy(update={"choices": tuple(map(self._choice, chunk.choices))})

    def _choice(self, choice: Choice) -> Choice:
        is_end = choice.finish_reason is not None
        parts = [self._part(part) for part in choice.delta.tool_calls or ()]
        content = self._text.push(choice.delta.content or "", is_end=is_end)
        if is_end:
            halves = [(index, call.arguments.push("", is_end=True)) for index, call in enumerate(self._calls)]
            parts += [ToolCallPart(index=i, function=FunctionPart(arguments=half)) for i, half in halves if half]
        delta = choice.delta.model_copy(update={"content": content, "tool_calls": tuple(parts) or None})
        return choice.model_copy(update={"delta": delta})

    def _part(self, part: ToolCallPart) -> ToolCallPart:
        found = [
            index
            for index, call in enumerate(self._calls)
            if call.goes_on_with(part, is_last=index == len(self._calls) - 1)
        ]
        if found:
            index, name, own_id = found[-1], None, None
            call = self._calls[index]
            if call.name is None:
                name = call.name = part.function.name
        else:
            call = _Call(part)
            index, name, own_id = len(self._calls), call.name, call.own_id
            self._calls.append(call)
        arguments = call.arguments.push(part.function.arguments or "")
        return ToolCallPart(index=index, id=own_id, function=FunctionPart(name=name, arguments=arguments))
