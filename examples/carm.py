"""The C-arm loop from Python: a clinician wants to see something else first, and the course changes at once.

python examples/carm.py
"""

import tempfile
from pathlib import Path

import loopwright as lw
from loopwright.tools.carm.geometry import Pose, in_plane_offset_mm
from loopwright.tools.carm.sources import open_case


def main() -> None:
    """From the right shoulder blade to the carina and on to T12; on the way the clinician asks for T1 instead."""
    volume = "phantom:30000"
    with tempfile.TemporaryDirectory() as name, lw.open_memory(f"sqlite:///{name}/memory.sqlite") as memory:
        session = lw.loops.carm.start(
            memory,
            devices=Path(name),
            volume=volume,
            start="Right scapular inferior angle",
            target=("Carina", "T12"),
        )
        for event in session.stream():
            if event.lines:
                print(event)
            if event.kind == "observed" and event.step == 1:
                session.say("the target is T1")
        pose = Pose.model_validate(session.state["observation"]["pose"])
        offset_mm = in_plane_offset_mm(open_case(volume, None).landmarks["T12"], pose)
        print(f"{session.status}; T12 is truly {float((offset_mm**2).sum()) ** 0.5:.1f} mm off the central ray")
        print("replays the same:", lw.loops.carm.replay(session.id, memory).difference is None)
        print(f"report: {session.report(f'{name}/report.html').stat().st_size // 1024} KiB of HTML")


if __name__ == "__main__":
    main()
