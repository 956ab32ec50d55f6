"""Where a tool's exceptions end: what the model sees, what the human sees, and what crashes. And when its time is up.

| raised by the tool                          | the model sees            | the session                     |
|---------------------------------------------|---------------------------|---------------------------------|
| arguments that do not validate, `BadInput`  | what to correct (`retry`) | goes on                         |
| `ToolRetry`                                 | the message (`retry`)     | goes on                         |
| `ToolRefused`                               | the message (`refused`)   | goes on                         |
| any other `ToolError`                       | the message (`failed`)    | goes on                         |
| `Halted`, `OperatorError`, `DeveloperError` | nothing                   | ends with that error            |
| anything else                               | nothing                   | crashes, naming tool and input  |

Knows no tool and no world.
"""

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import wait
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from loopwright.errors import BadInput, Paused, Stopped, ToolError, ToolRefused, ToolRetry
from loopwright.models.background import on_daemon_thread
from loopwright.schema import CancelToken, Frozen

T = TypeVar("T")
POLL_S = 0.05
"""How soon a halt of the session reaches a running call, s."""
SHOWN_PROBLEMS = 5
SHOWN_CHARS = 120


class ToolReply(Frozen):
    """How a call ended. `output` is the tool's output as JSON, None unless the status is `ok`."""

    status: Literal["ok", "retry", "refused", "failed"]
    for_model: str
    for_human: str
    output: dict[str, Any] | None = None


def answer(name: str, arguments: object, work: Callable[[], BaseModel]) -> ToolReply:
    """Do `work`, a call of the tool `name`, and say how it ended.

    Raises:
        Exception: whatever is not for the model to see (table above), with a note naming the tool and its arguments.
    """
    named = arguments if isinstance(arguments, Mapping) else {"arguments": arguments}
    called = f"{name}({', '.join(f'{k}={_short(v)}' for k, v in named.items())})"
    try:
        output = work().model_dump(mode="json")
    except (ToolRetry, BadInput) as error:
        return ToolReply(status="retry", for_model=str(error), for_human=f"{called} was called wrongly: {error}")
    except ToolRefused as error:
        return ToolReply(status="refused", for_model=f"Refused: {error}", for_human=f"{called} was refused: {error}")
    except ToolError as error:
        return ToolReply(status="failed", for_model=f"Failed: {error}", for_human=f"{called} failed: {error}")
    except Exception as error:
        error.add_note(f"In the tool call {called}.")
        raise
    text = json.dumps(output, ensure_ascii=False, separators=(",", ":"))
    return ToolReply(status="ok", for_model=text, for_human=f"{called} -> {text}", output=output)


def bad_arguments(name: str, error: ValidationError) -> ToolRetry:
    """What a model is told of arguments that do not validate: one line a problem, the first few."""
    problems = error.errors(include_url=False, include_context=False)
    lines = [f"`{'.'.join(map(str, p['loc'])) or name}` = {_short(p['input'])}: {p['msg']}" for p in problems]
    more = [f"and {len(lines) - SHOWN_PROBLEMS} more"] if len(lines) > SHOWN_PROBLEMS else []
    return ToolRetry(f"Arguments of `{name}` are wrong: " + "; ".join(lines[:SHOWN_PROBLEMS] + more))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 3] + "..."


def within(timeout_s: float, halt: CancelToken, work: Callable[[CancelToken], T], overdue: Callable[[], T]) -> T:
    """Do `work` on a thread of its own, for at most `timeout_s` seconds.

    `work` is given a token of its own, which is set when `halt` is, or when the time is up; then `overdue` says what
    comes instead. Work that does not look at its token is left behind on its (daemon) thread: Python cannot end it.
    """
    token = CancelToken()
    done = on_daemon_thread(lambda: work(token))
    deadline = time.monotonic() + timeout_s
    while not wait([done], timeout=max(0.0, min(POLL_S, deadline - time.monotonic()))).done:
        _pass_on(halt, token)
        if time.monotonic() >= deadline:
            token.stop(f"{timeout_s:g} s are over")
            return overdue()
    return done.result()


def _pass_on(halt: CancelToken, token: CancelToken) -> None:
    try:
        halt.raise_if_set()
    except Stopped as stopped:
        token.stop(str(stopped))
    except Paused as paused:
        token.pause(str(paused))
