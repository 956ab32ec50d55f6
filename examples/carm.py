"""The C-arm loop from Python: a clinician wants to see something else first, and the course changes at once.

python examples/carm.py
"""

import tempfile
from pathlib import Path

from loopwright.graphs.carm import LOOP
from loopwright.graphs.carm.run import opened_case
from loopwright.graphs.sessions import report_session
from loopwright.memory import open_memory
from loopwright.tools.carm.geometry import Pose, in_plane_offset_mm

PATIENT = "phantom:30000"


def main() -> None:
    """From the right shoulder blade to the carina and on to T12; on the way the clinician asks for T1 instead."""
    with tempfile.TemporaryDirectory() as name, open_memory(f"sqlite:///{name}/memory.sqlite") as memory:
        start, target = "Right scapular inferior angle", ("Carina", "T12")
        session = LOOP.start(memory, devices=Path(name), volume=PATIENT, start=start, target=target)
        for event in session.stream():
            match event.kind:
                case "observed":
                    print(f"exposure {event.payload['output']['exposures']}")
                    if event.step == 1:
                        session.say("the target is T1")
                case "heard" | "node":
                    for message in event.payload["messages"]:
                        print(f"  heard   {message['text']!r}")
                case "decided":
                    print(f"  decided {event.payload['rationale']}")
                case "reached":
                    print(f"  reached {event.payload['target']}")
        pose = Pose.model_validate(session.state["observation"]["pose"])
        offset_mm = in_plane_offset_mm(opened_case(PATIENT, None).landmarks["T12"], pose)
        print(f"{session.status}; T12 is truly {float((offset_mm**2).sum()) ** 0.5:.1f} mm off the central ray")
        print("replays the same:", LOOP.replay(session.id, memory).difference is None)
        report = report_session(memory, session.id, Path(name) / "report.html", LOOP)
        print(f"report: {report.stat().st_size // 1024} KiB of HTML")


if __name__ == "__main__":
    main()
