"""A loop's world and tools in the hands of an agent, which calls one tool after another in the place of the nodes.

The agent is whoever answers in the role `agent`: a model, or a client of the MCP server. All that does not depend on
nodes holds as before: the world's guard, approval, ledger, record, STOP, budgets, rewind, replay. The loop's own guards
judge by what its nodes keep in the state, so they are left out.
"""

from typing import Any, Self

from pydantic import Field

from loopwright.agents.sessions.gate import Heard
from loopwright.errors import ToolError
from loopwright.graphs.loop.config import Budget
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import Declaration, Role, State
from loopwright.graphs.loop.loop import Loop
from loopwright.models.answers import ToolCall
from loopwright.schema import Feedback, Frozen, canonical_json
from loopwright.tools.contract import Tool, ToolContext, tool
from loopwright.tools.foreign import foreign_tools

AGENT = "agent"
MAX_CALLS = 500
"""Of a session."""
SHOWN_CALLS, SHOWN_CHARS = 8, 1000
"""Of what was called before, and of each result, in a prompt."""


class Words(Feedback):
    """What a person says that is none of the loop's own commands: for the agent to make sense of."""

    takes_questions = True
    examples = ("anything else, which the agent reads",)
    text: str = Field(max_length=2000)

    @classmethod
    def read(cls, text: str) -> Self:
        """Anything."""
        return cls(text=text)


class Telling(Frozen):
    """What to tell the person."""

    text: str = Field(min_length=1, max_length=2000, description="what to tell the person, who may then answer")


class Told(Frozen):
    """What the person answered."""

    answer: str = Field(max_length=4000)


class Finishing(Frozen):
    """How it went."""

    summary: str = Field(min_length=1, max_length=500, description="what was done, in one or two sentences")


class Finished(Frozen):
    """Nothing more is done."""


@tool(effect="read", timeout_s=5)
def tell(args: Telling, context: ToolContext) -> Told:
    """Tell the person something, or ask, and wait for what they say."""
    raise ToolError("`tell` is the kit's to do")


@tool(effect="read", timeout_s=5)
def finish(args: Finishing, context: ToolContext) -> Finished:
    """End the session: everything that was asked for is done, or cannot be done."""
    raise ToolError("`finish` is the kit's to do")


def by_agent(loop: Declaration, name: str) -> Loop:
    """The loop `name`: the world and tools of `loop`, and an agent that calls them."""

    tools = [*loop.tools, *foreign_tools().tools]

    def work(state: State, ctx: Context) -> None:
        """Hear what was said, do what the agent calls."""
        state["said"] += [_said(one) for one in ctx.feedback()]
        called = ctx.ask(AGENT, _prompt(loop, state), tools=[*tools, tell, finish])
        match called.name:
            case finish.name:
                ctx.end("succeeded", called.arguments["summary"])
            case tell.name:
                heard = ctx.ask_human(called.arguments["text"], about="chat", until=lambda all_: len(all_) > 0)
                answer = "\n".join(one.text for one in heard)
                done = {"status": "done", "text": answer}
            case _:
                done = _do(next(each for each in tools if each.name == called.name), called, ctx)
        state["calls"] = [*state["calls"], {"tool": called.name, "arguments": called.arguments, **done}][-SHOWN_CALLS:]

    return Loop(
        name,
        nodes=[work],
        world=loop.world,
        tools=[*tools, tell, finish],
        state={"said": [], "calls": []},
        roles={AGENT: Role()},
        feedback=[*loop.feedback, Words],
        budget=Budget(steps=MAX_CALLS),
        config=loop.config,
        prepare=loop.prepare,
        redraw=loop.redraw,
        summary=f"an agent calls the tools of `{loop.name}`",
        version=loop.version,
    )


def _do(wanted: Tool[Any, Any], called: ToolCall, ctx: Context) -> dict[str, Any]:
    """One call: what looks is an observation, what acts goes through guard, approval and ledger."""
    if wanted.effect == "actuate":
        result = ctx.act(called)
        return {"status": result.status, "text": result.text[:SHOWN_CHARS]}
    try:
        output = ctx.observe(wanted, **called.arguments)
    except ToolError as error:
        return {"status": "failed", "text": str(error)[:SHOWN_CHARS]}
    return {"status": "done", "text": canonical_json(output)[:SHOWN_CHARS]}


def _said(one: Heard) -> dict[str, str]:
    return {"author": one.author, "text": one.text}


def _prompt(loop: Declaration, state: State) -> str:
    """What the agent is asked: what people said, and what came of its last calls."""
    said = [f"{one['author']}: {one['text']}" for one in state["said"]]
    calls = [
        f"{one['tool']}({canonical_json(one['arguments'])}) {one['status']}: {one['text']}" for one in state["calls"]
    ]
    parts = [f"You work with the tools of a loop whose purpose is to {loop.summary}. Call one tool."]
    parts += ["What people said:", *said] if said else []
    parts += ["What you called, and what came of it:", *calls] if calls else []
    return "\n".join(parts)
