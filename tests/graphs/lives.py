"""What a child process of the kill tests does. A module of its own, so that a fork server can load it once."""

from multiprocessing.synchronize import Event as Signal
from pathlib import Path

from loopwright.graphs.registry import get_loop
from loopwright.memory import open_memory


def live(url: str, devices: Path, session_id: str, begun: Signal) -> None:
    """Resume a session and run it to its end, unless killed before."""
    with open_memory(url) as memory:
        session = get_loop(memory.sessions.get(session_id).loop).resume(session_id, memory, devices=devices)
        begun.set()
        session.run()
