"""What a durable step costs: a loop with one 200 KiB image a step, ours beside LangGraph with the image in its state.

    python benchmarks/sessions.py [--steps 100] [--repeats 5]

Three ways, interleaved in one run, each with a SQLite file of its own that is durable after every step:

- `loopwright`: the image is a blob in the memory, the state carries its reference, a step is two chained events.
- `langgraph, last image`: the state holds the image itself; each checkpoint carries the present one.
- `langgraph, messages`: images are appended to a message list, as agents commonly keep them.

LangGraph's own saver is no dependency of loopwright: `pip install langgraph-checkpoint-sqlite` first.
"""

import argparse
import json
import operator
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

import numpy as np
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

from loopwright.agents.journal import Journal, Moment
from loopwright.memory import open_memory

IMAGE_BYTES = 200 * 1024


def image(step: int) -> bytes:
    """200 KiB that do not compress, another one every step."""
    return np.random.default_rng(step).bytes(IMAGE_BYTES)


class Referenced(TypedDict):
    """Ours: a reference."""

    step: int
    image: dict[str, Any]


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


def loopwright(folder: Path, steps: int) -> None:
    """The journal, the blob store and the memory's own checkpointer."""
    with open_memory(f"sqlite:///{folder / 'memory.sqlite'}") as memory:
        session = memory.sessions.create("benchmark", {})
        with memory.sessions.acquire(session.id):
            journal = Journal(memory, session.id)

            def node(state: Referenced) -> dict[str, Any]:
                at = Moment(0, state["step"])
                ref = memory.blobs.put(
                    image(at.step), session_id=session.id, media_type="image/png", width_px=640, height_px=640
                )
                seen = journal.outside(at, "observed", lambda: {"image": ref.model_dump(mode="json")})
                journal.derived(at, "decided", {"motion": [1.0, 2.0]})
                return {"step": at.step + 1, **seen}

            graph = looped(Referenced, node, steps).compile(checkpointer=memory.checkpointer())
            graph.invoke({"step": 0, "image": {}}, _config(session.id, steps), durability="sync")


def last_image(folder: Path, steps: int) -> None:
    """LangGraph's own checkpointer, the picture in the state."""
    _vanilla(folder, looped(Inline, lambda s: {"step": s["step"] + 1, "image": image(s["step"])}, steps), steps)


def messages(folder: Path, steps: int) -> None:
    """LangGraph's own checkpointer, all pictures in the state."""
    _vanilla(folder, looped(Messages, lambda s: {"step": s["step"] + 1, "images": [image(s["step"])]}, steps), steps)


def _vanilla(folder: Path, graph: "StateGraph[Any]", steps: int) -> None:
    with SqliteSaver.from_conn_string(str(folder / "checkpoints.sqlite")) as saver:
        start = {"step": 0, "image": b"", "images": []}
        graph.compile(checkpointer=saver).invoke(start, _config("1", steps), durability="sync")


def _config(thread: str, steps: int) -> Any:
    return {"configurable": {"thread_id": thread}, "recursion_limit": steps + 10}


def main() -> None:
    """Interleave the three and print medians, ratios and bytes a step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    ways = {"loopwright": loopwright, "langgraph, last image": last_image, "langgraph, messages": messages}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    size: dict[str, int] = {}
    for _ in range(options.repeats):
        for name, way in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                begin = time.perf_counter()
                way(Path(folder), options.steps)
                seconds[name].append(time.perf_counter() - begin)
                size[name] = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())
    for name in ways:
        ratios = [theirs / ours for theirs, ours in zip(seconds[name], seconds["loopwright"], strict=True)]
        row = {
            "way": name,
            "steps": options.steps,
            "repeats": options.repeats,
            "steps_per_s": round(options.steps / statistics.median(seconds[name]), 1),
            "bytes_per_step": size[name] // options.steps,
            "median_time_ratio_to_loopwright": round(statistics.median(ratios), 2),
        }
        print(json.dumps(row))


if __name__ == "__main__":
    main()
