"""The C-arm loop from Python: a clinician wants to see something else first, and the course changes at once.

python examples/carm.py
"""

import tempfile
from pathlib import Path

from loopwright.graphs.carm.run import CArmRun, opened_case
from loopwright.graphs.sessions import replay_session, report_session, start_session
from loopwright.memory import open_memory
from loopwright.tools.carm.geometry import Pose, in_plane_offset_mm


def main() -> None:
    """From the right shoulder blade to the carina and on to T12; on the way the clinician asks for T1 instead."""
    with tempfile.TemporaryDirectory() as name, open_memory(f"sqlite:///{name}/memory.sqlite") as memory:
        run = CArmRun(volume="phantom:30000", start="Right scapular inferior angle", target=("Carina", "T12"))
        session = start_session(memory, "carm", run, Path(name) / "devices")
        for event in session.stream():
            match event.kind:
                case "observed":
                    print(f"exposure {event.payload['exposures']}")
                    if event.step == 1:
                        session.say("the target is T1")
                case "heard":
                    print(f"  heard   {event.payload['text']!r}")
                case "decided":
                    print(f"  decided {event.payload['rationale']}")
                case "reached":
                    print(f"  reached {event.payload['target']}")
        pose = Pose.model_validate(session.state["observation"]["pose"])
        offset_mm = in_plane_offset_mm(opened_case(run.volume, None).landmarks["T12"], pose)
        print(f"{session.status}; T12 is truly {float((offset_mm**2).sum()) ** 0.5:.1f} mm off the central ray")
        print("replays the same:", replay_session(memory, session.id).difference is None)
        report = report_session(memory, session.id, Path(name) / "report.html")
        print(f"report: {report.stat().st_size // 1024} KiB of HTML")


if __name__ == "__main__":
    main()
