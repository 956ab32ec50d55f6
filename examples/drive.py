"""The drive loop from Python: a passenger speaks, a sensor fails on the way, and what was imagined meets what came.

python examples/drive.py
"""

import tempfile
from pathlib import Path

import loopwright as lw


def main() -> None:
    """Drive six seconds of a simulated highway by rules, each moment imagined before it is driven."""
    with tempfile.TemporaryDirectory() as name, lw.open_memory(f"sqlite:///{name}/memory.sqlite") as memory:
        session = lw.loops.drive.start(
            memory, devices=Path(name), scenario="highway", seed=2_000_003, steps=12, faults=("ego@8",)
        )
        for event in session.stream():
            if event.lines:
                print(event)
            if (event.kind, event.step) == ("observed", 2):
                session.say("slower, please")
        came = [event.payload for event in session.events if event.kind == "came"]
        print(f"imagined and came: N = {len(came)}, mean SSIM {sum(one['ssim'] for one in came) / len(came):.2f}")
        print("replays the same:", lw.loops.drive.replay(session.id, memory).difference is None)
        print(f"report: {session.report(f'{name}/report.html').stat().st_size // 1024} KiB of HTML")


if __name__ == "__main__":
    main()
