"""The surgery loop from Python: a surgeon disagrees once, the plan changes at once, and the correction is kept.

python examples/surgery.py
"""

import tempfile
from pathlib import Path
from typing import Any

from loopwright.agents.surgery.feedback import Correction
from loopwright.graphs.sessions import report_session
from loopwright.graphs.surgery import LOOP
from loopwright.memory import open_memory


def main() -> None:
    """Go through ten clips of a simulated patient; at the eighth it bleeds, and the surgeon says so."""
    with tempfile.TemporaryDirectory() as name, open_memory(f"sqlite:///{name}/memory.sqlite") as memory:
        settings: dict[str, Any] = {"video": "simulated:2000038", "clips": 10, "perform": "asked"}
        session = LOOP.start(memory, devices=Path(name) / "devices", **settings)
        for event in session.stream():
            match event.kind:
                case "observed":
                    print(f"clip {event.step}: {event.payload['output']['action']}")
                    if event.step == 7:
                        session.say("No, it is bleeding, coagulate first!")
                case "planned":
                    ranking = [item["action"] for item in event.payload["plan"]["actions"]]
                    print(f"  planned {', '.join(ranking)}")
                case "scored":
                    print(f"  came    {event.payload['action']}, ranked {event.payload['rank']}")
        for event in memory.events.corrections("surgery"):
            learned = Correction.model_validate(event.payload)
            print(f"learned: after {[step.action for step in learned.steps]} comes {learned.action}")
        print("replays the same:", LOOP.replay(session.id, memory).difference is None)
        report = report_session(memory, session.id, Path(name) / "report.html", LOOP)
        print(f"report: {report.stat().st_size // 1024} KiB of HTML")


if __name__ == "__main__":
    main()
