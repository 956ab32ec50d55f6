"""A chat about everything: it begins sessions of the loops, passes on what they ask, answers questions, and remembers.

A chat is a session itself: what was said and done is on record, it is stopped, resumed and verified like any other.
Nothing moves by a chat alone. The sessions that it runs ask a person before each act, and their guards hold.
"""

from typing import Any

from pydantic import Field

from loopwright.agents.feedback import is_query
from loopwright.errors import LoopwrightError, ToolError
from loopwright.graphs.chat.routing import Route, is_bye, route
from loopwright.graphs.chat.sessions import (
    TOOLS,
    as_settings,
    ask_session,
    begin_session,
    recall_sessions,
    run_session,
    tell_session,
)
from loopwright.graphs.loop.by_agent import Words
from loopwright.graphs.loop.config import Budget, RunConfig
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import Declaration, Role, State
from loopwright.graphs.loop.lines import Line
from loopwright.graphs.loop.loop import Loop
from loopwright.graphs.registry import LOOPS, get_loop
from loopwright.schema import Event, Frozen, Query, Unclear

ROUTER = "router"
GREETING, NEXT = "What shall we do?", "What next?"


class ChatRun(RunConfig):
    """One chat."""

    say: str = Field(default="", description="what to do at once; empty: ask")
    once: bool = Field(default=False, description="end after what was said first")
    model: str = Field(default="", description="card of a model that is asked what words mean that no rule reads")


class Restated(Frozen):
    """What somebody wants, in words that rules read."""

    loop: str = Field(max_length=40, description="name of the loop that can do it, or `none`")
    request: str = Field(max_length=200, description="the same request in a short plain sentence")


def listen(state: State, ctx: Context) -> None:
    """Hear what is wanted."""
    if state["next"]:
        text = state["next"]
    elif ctx.config.say and not state["turns"]:
        text = ctx.config.say
    elif ctx.config.once:
        ctx.end("succeeded", "that was all")
    else:
        heard = ctx.ask_human(NEXT if state["turns"] else GREETING, about="chat", until=lambda all_: len(all_) > 0)
        text = "\n".join(one.text for one in heard)
    state.update(text=text, turns=state["turns"] + 1, next="")


def serve(state: State, ctx: Context) -> None:
    """Do it, and say what came of it."""
    current, is_open = _current(state, ctx)
    found = route(state["text"], _loops(), current, is_open=is_open)
    if found.intent == "unknown" and ctx.config.model:
        found = _restated(state["text"], ctx)
    ctx.computed("understood", {"intent": found.intent, "loops": {name: dict(of) for name, of in found.loops.items()}})
    match found.intent:
        case "bye":
            ctx.end("succeeded", "goodbye")
        case "help":
            said = _help()
        case "recall":
            lines = ctx.observe(recall_sessions, text=state["text"])["lines"]
            said = "\n".join(lines) or "I find no earlier session about that."
        case "ask":
            said = "\n".join(ctx.observe(ask_session, session=state["session"], text=state["text"])["lines"])
        case "tell":
            said = _speak(state, ctx, state["text"])
        case "begin":
            ((name, settings),) = found.loops.items()
            said = _begin(state, ctx, name, settings)
        case "which":
            said = f"That may be for {' or '.join(found.loops)}. Say which, or say more."
        case _:
            said = f"I cannot do that, and nothing moves. {_help()}"
    ctx.computed("said", {"text": said})


def _begin(state: State, ctx: Context, name: str, settings: dict[str, Any]) -> str:
    try:
        begun = ctx.observe(begin_session, loop=name, settings=as_settings(settings))
    except ToolError as error:
        return f"I cannot begin that: {error}"
    state["session"] = begun["session"]
    ctx.computed("said", {"text": f"{name}: {begun['about']} (session {begun['session']})"})
    said = state["text"].casefold()
    if own := [
        f"{key} {value}" for key, value in settings.items() if isinstance(value, str) and value.casefold() not in said
    ]:
        ctx.computed("said", {"text": f"Not named, so chosen here: {', '.join(own)}."})
    return _go_on(state, ctx)


def _speak(state: State, ctx: Context, text: str) -> str:
    try:
        asked = ctx.observe(tell_session, session=state["session"], text=text)["lines"]
    except ToolError as error:
        return str(error)
    return asked[0] if asked else _go_on(state, ctx)


def _go_on(state: State, ctx: Context) -> str:
    """Run the session to its end, passing on what it asks."""
    while True:
        try:
            rest = ctx.observe(run_session, session=state["session"])
        except ToolError as error:
            return f"It cannot go on: {error}"
        if rest["status"] != "waiting":
            return "\n".join([*rest["happened"], f"The session {state['session']} has {rest['status']}."])
        if rest["happened"]:
            ctx.computed("said", {"text": "\n".join(rest["happened"])})
        heard = ctx.ask_human(rest["question"], about="chat", until=lambda all_: len(all_) > 0)
        for one in heard:
            if is_bye(one.text):
                ctx.end("succeeded", f"goodbye; the session {state['session']} waits for an answer")
            if _asks_for_another(state, ctx, one.text):
                state["next"] = one.text
                return f"The session {state['session']} waits for an answer."
            _pass_on(state, ctx, one.text, rest["question_id"])


def _asks_for_another(state: State, ctx: Context, text: str) -> bool:
    """Whether it is for no ear of the session that asks something, and begins another one."""
    current, _ = _current(state, ctx)
    assert current is not None
    is_heard = not isinstance(current.language.parse(text), Unclear | Query)
    return not is_heard and route(text, _loops(), current).intent == "begin"


def _pass_on(state: State, ctx: Context, text: str, question: str) -> None:
    """What a person says while a session asks something: a question is answered, all else is for the session."""
    if is_query(text):
        lines = ctx.observe(ask_session, session=state["session"], text=text)["lines"]
    else:
        try:
            lines = ctx.observe(tell_session, session=state["session"], text=f"{question}: {text}")["lines"]
        except ToolError as error:
            lines = [str(error)]
    for line in lines:
        ctx.computed("said", {"text": line})


def _restated(text: str, ctx: Context) -> Route:
    """What a model makes of words that no rule reads: read by the same rules, in its words."""
    said = ctx.ask(ROUTER, f"{_help()}\nSomebody says: {text!r}. Which loop is meant? Say it plainly.", Restated)
    asked = _loops().get(said.loop)
    settings = asked.request(said.request) if asked is not None and asked.request else None
    return Route("unknown") if settings is None else Route("begin", {said.loop: settings})


def _current(state: State, ctx: Context) -> tuple[Declaration | None, bool]:
    """The loop of the session that the chat is about, and whether that goes on."""
    if not state["session"]:
        return None, False
    sessions = ctx.runtime.memory.sessions

    def look() -> dict[str, Any]:
        row = sessions.get(state["session"])
        return {"loop": row.loop, "is_open": not row.has_ended}

    found = ctx.external("current", look)
    return get_loop(found["loop"]), found["is_open"]


def _loops() -> dict[str, Declaration]:
    found: dict[str, Declaration] = {}
    for name in LOOPS:
        try:
            found[name] = get_loop(name)
        except LoopwrightError:  # an extra that is not installed
            continue
    return found


def _help() -> str:
    can = "; ".join(f"{name}: {loop.summary}" for name, loop in _loops().items() if loop.request)
    return f"I can begin, by name or in plain words: {can}. Ask about what happened, or say `bye`."


def describe(event: Event) -> Line | list[Line] | None:
    """How a chat reads."""
    match event.kind:
        case "said":
            return [Line("chat", line, tone="model") for line in event.payload["text"].splitlines()]
        case "observed" | "understood" | "current":
            return []
    return None


LOOP = Loop(
    "chat",
    nodes=[listen, serve],
    tools=TOOLS,
    state={"text": "", "next": "", "session": "", "turns": 0},
    feedback=[Words],
    roles=lambda run: {ROUTER: Role(card=run.model)} if run.model else {},
    config=ChatRun,
    budget=Budget(steps=10_000),
    summary="talk about everything: begin sessions of the loops, answer what they ask, ask about what happened",
    describe=describe,
)

__all__ = ["LOOP"]
