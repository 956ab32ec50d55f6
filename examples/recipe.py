"""The recipe loop from Python: a person takes an ingredient out before the text is written, and adds one afterwards.

python examples/recipe.py
"""

import tempfile
from pathlib import Path

import loopwright as lw


def main() -> None:
    """Write how a simulated dish is made, by rule, so that no model is loaded."""
    with tempfile.TemporaryDirectory() as name, lw.open_memory(f"sqlite:///{name}/memory.sqlite") as memory:
        session = lw.loops.recipe.start(memory, devices=Path(name), dish="simulated:2000007", writer="rule")
        for event in session.stream():
            if event.lines:
                print(event)
            if (event.kind, event.step) == ("predicted", 0):
                session.say("there is no salt in it")
            if (event.kind, event.step) == ("acted", 0) and event.payload["tool"] == "write_instructions":
                session.say("add basil")
        print("written:", " ".join(session.state["draft"]))
        print("replays the same:", lw.loops.recipe.replay(session.id, memory).difference is None)
        print(f"report: {session.report(f'{name}/report.html').stat().st_size // 1024} KiB of HTML")


if __name__ == "__main__":
    main()
