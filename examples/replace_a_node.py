"""A second opinion in the C-arm loop: one more node, and all that a loop has (guard, record, replay) holds for it too.

python examples/replace_a_node.py
"""

import tempfile
from pathlib import Path

import loopwright as lw
from loopwright.tools.carm.atlas import expected_offset_mm

FAR_MM = 60.0
"""Further than this from where the atlas expects it, a landmark is doubted."""


def second_opinion(state: lw.State, ctx: lw.Context) -> None:
    """Doubt every landmark that lies far from where the atlas has it, seen from the nearest one."""
    seen = state["localisation"]
    nearest = max(seen["nearest"], key=seen["nearest"].get)
    x_mm, y_mm = seen["offsets_mm"][nearest]
    doubted = []
    for name, (left_mm, down_mm) in seen["offsets_mm"].items():
        left_expected, down_expected = expected_offset_mm(nearest, name)
        if abs(x_mm + left_expected - left_mm) + abs(y_mm + down_expected - down_mm) > FAR_MM:
            seen["sigma_mm"][name] *= 2
            doubted.append(name)
    ctx.computed("second_opinion", {"nearest": nearest, "doubted": doubted})


careful = lw.loops.carm.insert_after("localise", second_opinion).varied(name="careful-carm")


def main() -> None:
    """From the right shoulder blade to T12, with the second opinion after each look."""
    print(" -> ".join(careful.all_nodes))
    with tempfile.TemporaryDirectory() as name, lw.open_memory(f"sqlite:///{name}/memory.sqlite") as memory:
        session = careful.start(
            memory, devices=Path(name), volume="phantom:30000", start="Right scapular inferior angle", target="T12"
        )
        for event in session.stream():
            if event.kind == "second_opinion":
                print(f"step {event.step}: over {event.payload['nearest']}, {len(event.payload['doubted'])} doubted")
        print(f"{session.status}: {session.state['reason']}")
        print("replays the same:", careful.replay(session.id, memory).difference is None)


if __name__ == "__main__":
    main()
