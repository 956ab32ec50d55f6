"""The surgery loop from Python: a surgeon disagrees once, the plan changes at once, and the correction is kept.

python examples/surgery.py
"""

import tempfile
from pathlib import Path

import loopwright as lw
from loopwright.agents.surgery.feedback import Correction


def main() -> None:
    """Go through ten clips of a simulated patient; at the eighth it bleeds, and the surgeon says so."""
    with tempfile.TemporaryDirectory() as name, lw.open_memory(f"sqlite:///{name}/memory.sqlite") as memory:
        session = lw.loops.surgery.start(
            memory, devices=Path(name), video="simulated:2000038", clips=10, perform="asked"
        )
        for event in session.stream():
            if event.lines:
                print(event)
            if event.kind == "observed" and event.step == 7:
                session.say("No, it is bleeding, coagulate first!")
        for event in memory.events.corrections("surgery"):
            learned = Correction.model_validate(event.payload)
            print(f"learned: after {[step.action for step in learned.steps]} comes {learned.action}")
        print("replays the same:", lw.loops.surgery.replay(session.id, memory).difference is None)
        print(f"report: {session.report(f'{name}/report.html').stat().st_size // 1024} KiB of HTML")


if __name__ == "__main__":
    main()
