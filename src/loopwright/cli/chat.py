"""`loopwright chat`: talk about everything."""

from typing import Annotated

import typer

from loopwright.cli.run_session import Json, listen_to_keyboard, opened_memory, run_to_rest


def chat(
    say: Annotated[
        str, typer.Argument(help='What to do, in plain words; "help" says what there is. Default: ask.')
    ] = "",
    model: Annotated[
        str, typer.Option(help="Card of a model that is asked what words mean that no rule reads, such as `smol`.")
    ] = "",
    session: Annotated[str, typer.Option(help="Go on with this chat: its id, the beginning of one, or `last`.")] = "",
    once: Annotated[bool, typer.Option("--once", help="End after what was said.")] = False,
    as_json: Json = False,
) -> int:
    """Talk: begin sessions of the loops in plain words, answer what they ask, ask about what happened.

    A person consents to every act. `stop` or Ctrl-C stops at once, `bye` ends it. A chat is on record as any session.
    """
    from loopwright.graphs.registry import CHAT, get_loop

    loop = get_loop(CHAT)
    with opened_memory() as memory:
        if session:
            begun = loop.resume(memory.sessions.find(session), memory)
        else:
            begun = loop.start(memory, say=say, once=once, model=model)
        return run_to_rest(begun, wait=listen_to_keyboard(begun), as_json=as_json)
