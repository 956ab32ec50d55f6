"""Compose your own loop: a model heats a room, code checks it, a human approves, and a kill in the middle does no harm.

python examples/compose.py
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pydantic import Field

import loopwright as lw

# The world and its tools: yours, whatever they are.


class Room(lw.SimulatedWorld[dict[str, Any], lw.Act]):
    """A room that is 2 degrees warmer after each act that leaves its heater on, and 1 degree colder after others."""

    def initial(self) -> dict[str, Any]:
        """Cold."""
        return {"room_c": 15.0, "heater_on": False}

    def act(self, state: dict[str, Any], act: lw.Act) -> tuple[dict[str, Any], dict[str, Any]]:
        """Switch the heater and wait."""
        on = act.arguments["on"]
        after = {"room_c": state["room_c"] + (2 if on else -1), "heater_on": on}
        return after, after

    def observe(self, state: dict[str, Any]) -> dict[str, Any]:
        """All of it can be seen."""
        return state


class Nothing(lw.Frozen):
    """No arguments."""


class Seen(lw.Frozen):
    """What the thermometer says."""

    room_c: float = Field(description="temperature, degrees C")
    heater_on: bool


class Switch(lw.Frozen):
    """Whether to heat."""

    on: bool


@lw.tool(effect="read", timeout_s=5)
def read_room(args: Nothing, context: lw.ToolContext) -> Seen:
    """Read the thermometer."""
    return Seen.model_validate(context.world.state)


@lw.tool(effect="actuate", timeout_s=5, words=lambda switch: f"switch the heater {'on' if switch.on else 'off'}")
def set_heater(args: Switch, context: lw.ToolContext) -> lw.Acting[Seen]:
    """Switch the heater and wait ten minutes."""
    outcome = yield lw.Act(tool="set_heater", arguments=args.model_dump())
    return Seen.model_validate(outcome.result)


# The loop: from here to the next line like this one.
class SetTarget(lw.Feedback):
    """Aim at another temperature."""

    patterns = (r"target (?P<target_c>[0-9.]+)",)
    examples = ("target 21",)
    target_c: float = Field(ge=5, le=30)


def observe(state: lw.State, ctx: lw.Context) -> None:
    """Read the thermometer."""
    ctx.observe(read_room)


def review(state: lw.State, ctx: lw.Context) -> None:
    """Hear the human; end where it is warm."""
    for said in ctx.feedback(SetTarget):
        state["target_c"] = said.target_c
    if abs(state["observation"]["room_c"] - state["target_c"]) < 1:
        ctx.end("succeeded", "it is warm enough")


def heat(state: lw.State, ctx: lw.Context) -> None:
    """Do what the model asks for: guard, approval, ledger, world."""
    ctx.act(ctx.ask("navigator", f"Room and target, degrees C: {state}", tools=[set_heater]))


thermostat = lw.Loop("thermostat", nodes=[observe, review, heat], world=Room, tools=[read_room, set_heater],
    state={"target_c": 23.0}, feedback=[SetTarget], roles={"navigator": lw.Role()}, budget=lw.Budget(steps=30),
    guard=lambda act, state: lw.Verdict(ok=state["observation"]["room_c"] < 25, rule="fuse", reason="hot"))  # fmt: skip
# That was the loop. What it gets for nothing: approval, STOP, kill and resume, replay, report, the command line.

MODEL = lw.ScriptedChatModel(replies=('{"name": "set_heater", "arguments": {"on": true}}',) * 10)
"""Any LangChain chat model would do."""


def begin(folder: str) -> None:
    """Begin a session, and be killed as soon as the heater was switched."""
    with lw.open_memory(f"sqlite:///{folder}/memory.sqlite") as memory:
        session = thermostat.start(memory, models={"navigator": MODEL}, devices=Path(folder), approval="human")
        for event in session.stream(wait=True):
            print(event)
            if event.kind == "asked":
                session.say("approve")
            if event.kind == "acted":
                sys.stdout.flush()
                os.kill(os.getpid(), signal.SIGKILL)


def go_on(folder: str) -> None:
    """Go on with the session that was killed: nothing is asked, said or done twice."""
    with lw.open_memory(f"sqlite:///{folder}/memory.sqlite") as memory:
        (row,) = memory.sessions.list()
        session = thermostat.resume(row.id, memory, models={"navigator": MODEL}, devices=Path(folder))
        session.say("target 19")
        for event in session.stream(wait=True):
            print(event)
            if event.kind == "asked":
                session.say("approve")
        print("replays the same:", thermostat.replay(row.id, memory).difference is None)
        print(f"report: {session.report(f'{folder}/report.html').stat().st_size // 1024} KiB of HTML")


def main() -> None:
    """Begin in a process that is killed, and go on in this one."""
    with tempfile.TemporaryDirectory() as folder:
        code = f"import runpy; runpy.run_path({__file__!r})['begin']({folder!r})"
        killed = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)
        print(killed.stdout + f"killed by signal {-killed.returncode}")
        go_on(folder)


if __name__ == "__main__":
    main()
