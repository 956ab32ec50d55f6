"""What a durable step costs: a loop with one 200 KiB image a step, ours beside LangGraph with the image in its state.

    python benchmarks/sessions.py [--steps 100] [--repeats 5] [--way carm]

Several ways, interleaved in one run, each with a SQLite file of its own that is durable after every step:

- `loopwright`: a loop of the kit; the image is a blob in the memory, the state carries its reference.
- `langgraph, last image`: the state holds the image itself; each checkpoint carries the present one.
- `langgraph, messages`: images are appended to a message list, as agents commonly keep them.
- `carm`: the C-arm loop itself over a phantom, with a perfect localiser; a step is an exposure and a motion.

LangGraph's own saver is no dependency of loopwright: `pip install langgraph-checkpoint-sqlite` first.
"""

import argparse
import json
import operator
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

import numpy as np
from langgraph.graph import END, START, StateGraph

from loopwright.graphs.carm import LOOP, roles
from loopwright.graphs.carm.run import opened_case
from loopwright.graphs.loop.config import Budget
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.loop import Loop
from loopwright.memory import open_memory
from loopwright.models.networks.localisation import Localisation
from loopwright.schema import ImageRef
from loopwright.tools.carm.geometry import Pose, in_plane_offset_mm

PATIENT = "phantom:30000"
WAY = ("T12", "T1", "Left humeral head", "T12", "Right humeral head", "Carina", "Skull")
IMAGE_BYTES = 200 * 1024


def image(step: int) -> bytes:
    """200 KiB that do not compress, another one every step."""
    return np.random.default_rng(step).bytes(IMAGE_BYTES)


class Inline(TypedDict):
    """The picture itself."""

    step: int
    image: bytes


class Messages(TypedDict):
    """Every picture so far."""

    step: int
    images: Annotated[list[bytes], operator.add]


def looped(state_type: type, node: Callable[[Any], dict[str, Any]], steps: int) -> "StateGraph[Any]":
    """One node that goes round `steps` times."""
    graph = StateGraph(state_type)
    graph.add_node("observe", node)
    graph.add_edge(START, "observe")
    graph.add_conditional_edges("observe", lambda s: END if s["step"] >= steps else "observe")
    return graph


def loopwright(folder: Path, steps: int) -> int:
    """A loop of the kit: one node, two entries of the record, a blob."""

    def observe(state: dict[str, Any], ctx: Context) -> None:
        memory, session_id = ctx.runtime.memory, ctx.runtime.session_id

        def look() -> dict[str, Any]:
            data = image(ctx.visit.step)
            ref = memory.blobs.put(data, session_id=session_id, media_type="image/png", width_px=640, height_px=640)
            return {"image": ref.model_dump(mode="json")}

        state["image"] = ctx.external("observed", look)["image"]
        ctx.computed("decided", {"motion": [1.0, 2.0]})

    loop = Loop("benchmark", nodes=[observe], state={"image": {}}, budget=Budget(steps=steps))
    with open_memory(f"sqlite:///{folder / 'memory.sqlite'}") as memory:
        loop.start(memory, devices=folder).run()
    return steps


def carm(folder: Path, steps: int) -> int:
    """The C-arm loop from landmark to landmark of a phantom, small pictures, and a localiser that knows the truth."""
    with open_memory(f"sqlite:///{folder / 'memory.sqlite'}") as memory:
        session = LOOP.start(memory, devices=folder, volume=PATIENT, start="Carina", target=WAY)
        session.run()
        return int(session.state["observation"]["exposures"])


def truth(ctx: Context, image: ImageRef) -> Localisation:
    """What a perfect localiser says of the picture just taken."""
    pose = Pose.model_validate(ctx.state["observation"]["pose"])
    offsets = {n: in_plane_offset_mm(point, pose) for n, point in opened_case(PATIENT, None).landmarks.items()}
    weights = {n: 1 / (1 + float(np.hypot(*o))) for n, o in offsets.items()}
    return Localisation(
        nearest={n: w / sum(weights.values()) for n, w in weights.items()},
        offsets_mm={n: (float(o[0]), float(o[1])) for n, o in offsets.items()},
        sigma_mm=dict.fromkeys(offsets, 3.0),
    )


def last_image(folder: Path, steps: int) -> int:
    """LangGraph's own checkpointer, the picture in the state."""
    return _vanilla(folder, looped(Inline, lambda s: {"step": s["step"] + 1, "image": image(s["step"])}, steps), steps)


def messages(folder: Path, steps: int) -> int:
    """LangGraph's own checkpointer, all pictures in the state."""
    graph = looped(Messages, lambda s: {"step": s["step"] + 1, "images": [image(s["step"])]}, steps)
    return _vanilla(folder, graph, steps)


def _vanilla(folder: Path, graph: "StateGraph[Any]", steps: int) -> int:
    from langgraph.checkpoint.sqlite import SqliteSaver

    with SqliteSaver.from_conn_string(str(folder / "checkpoints.sqlite")) as saver:
        start = {"step": 0, "image": b"", "images": []}
        graph.compile(checkpointer=saver).invoke(start, _config("1", steps), durability="sync")
    return steps


def _config(thread: str, steps: int) -> Any:
    return {"configurable": {"thread_id": thread}, "recursion_limit": steps + 10}


def main() -> None:
    """Interleave the ways and print medians, ratios and bytes a step."""
    ways = {
        "loopwright": loopwright,
        "langgraph, last image": last_image,
        "langgraph, messages": messages,
        "carm": carm,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--way", action="append", choices=ways, help="only this one; may be given several times")
    options = parser.parse_args()
    chosen = options.way or list(ways)
    os.environ["LOOPWRIGHT_CARM__IMAGE_SIZE_PX"] = "64"
    roles.network_sees = truth
    if "carm" in chosen:
        with tempfile.TemporaryDirectory() as folder:
            carm(Path(folder), 0)  # opens the phantom and compiles the renderer
    took: dict[str, list[float]] = {name: [] for name in chosen}
    computed: dict[str, list[float]] = {name: [] for name in chosen}
    size: dict[str, int] = {}
    for _ in range(options.repeats):
        for name in chosen:
            with tempfile.TemporaryDirectory() as folder:
                begin, cpu_begin = time.perf_counter(), time.process_time()
                steps = ways[name](Path(folder), options.steps)
                took[name].append((time.perf_counter() - begin) / steps)
                computed[name].append((time.process_time() - cpu_begin) / steps)
                size[name] = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file()) // steps
    for name in chosen:
        ratios = [theirs / ours for theirs, ours in zip(took[name], took[chosen[0]], strict=True)]
        row = {
            "way": name,
            "repeats": options.repeats,
            "steps_per_s": round(1 / statistics.median(took[name]), 1),
            "cpu_ms_per_step": round(1e3 * statistics.median(computed[name]), 1),
            "bytes_per_step": size[name],
            f"median_time_ratio_to_{chosen[0]}": round(statistics.median(ratios), 2),
        }
        print(json.dumps(row))


if __name__ == "__main__":
    main()
