"""One of our tools as LangChain's agents take it, whatever carries a call out."""

from collections.abc import Callable
from typing import Any, Protocol

from langchain_core.tools import StructuredTool, ToolException
from pydantic import BaseModel

from loopwright.tools.call import ToolReply


class Described(Protocol):
    """What has to be known of a tool."""

    @property
    def name(self) -> str:
        """What it is called by."""
        ...

    @property
    def description(self) -> str:
        """What a model reads."""
        ...

    @property
    def input_model(self) -> type[BaseModel]:
        """What its arguments have to be."""
        ...


class _Bound(StructuredTool):
    def _to_args_and_kwargs(
        self, tool_input: str | dict[str, Any], tool_call_id: str | None
    ) -> tuple[tuple[()], dict[str, Any]]:
        """Hand arguments on as they came: they are validated in one place, `Tool.run`."""
        return (), {"arguments": tool_input, "call_id": tool_call_id or ""}


def langchain_tool(tool: Described, call: Callable[[dict[str, Any], str], ToolReply]) -> StructuredTool:
    """`tool`, with calls (their arguments and ids) carried out by `call`.

    Its messages are `ToolReply.for_model`, its artifact is the output.
    """

    def run(arguments: dict[str, Any], call_id: str) -> tuple[str, dict[str, Any] | None]:
        reply = call(arguments, call_id)
        if reply.status != "ok":
            raise ToolException(reply.for_model)
        return reply.for_model, reply.output

    return _Bound(
        name=tool.name,
        description=tool.description,
        args_schema=tool.input_model,
        func=run,
        response_format="content_and_artifact",
        handle_tool_error=True,
    )
