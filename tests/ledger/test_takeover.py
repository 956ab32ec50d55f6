"""A process suspended at a boundary of the ledger, overtaken, and woken: it moves nothing and writes nothing (rule 4).

The suspended process is a real one, at SIGSTOP, on a real database and the real device file.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from tests.forking import Processes
from tests.ledger.conftest import Act
from tests.ledger.process import KEY, c_arm

from loopwright.memory import open_memory
from loopwright.memory.values import STALE_S
from loopwright.schema import CancelToken
from loopwright.tools.actuate import Actuator


def suspended(act_in_process: Act, url: str, session_id: str, boundary: str) -> int:
    """A process that holds the session and has stopped at `boundary`; its lease has run out meanwhile."""
    said = act_in_process(session_id, f"stop:{boundary}")
    assert said is not None and said.keys() == {"suspended"}
    old = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=STALE_S + 1)
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE leases SET heartbeat_at = '{old.isoformat(' ', 'microseconds')}'"))
    engine.dispose()
    return int(said["suspended"])


@pytest.mark.parametrize(
    "boundary", ["after:intend", "after:authorise", "before:apply", "after:apply", "before:settle"]
)
def test_what_wakes_after_a_takeover_and_a_stop_changes_nothing(
    url: str, device: Path, boundary: str, act_in_process: Act, acting: Processes
) -> None:
    was_sent = boundary in ("after:apply", "before:settle")
    with open_memory(url) as memory:
        session_id = memory.sessions.create("carm", {}).id
        process = suspended(act_in_process, url, session_id, boundary)
        with memory.sessions.acquire(session_id) as lease:
            memory.inbox.put(session_id, "STOP", is_stop=True)
            world = c_arm(device)
            sent = Actuator(world, memory.ledger, session_id, CancelToken()).take_over(lease.token, refuse="STOP")
            assert [outcome.key for outcome in sent] == ([KEY] if was_sent else [])
            left = memory.ledger.get(KEY), world.state, world.last_key()
            assert left[1]["pose"]["x_mm"] == (50 if was_sent else 70)

            said = acting.wake(process)

            assert said is not None and "SessionBusy" in said and "token 2" in said["SessionBusy"]
            assert (memory.ledger.get(KEY), world.state, world.last_key()) == left
            assert left[0] is not None
            assert left[0].status == ("settled" if was_sent else "refused")


def test_what_wakes_after_the_other_has_let_go_is_still_overtaken(
    url: str, device: Path, act_in_process: Act, acting: Processes
) -> None:
    with open_memory(url) as memory:
        session_id = memory.sessions.create("carm", {}).id
        process = suspended(act_in_process, url, session_id, "before:apply")
        with memory.sessions.acquire(session_id) as lease:
            Actuator(c_arm(device), memory.ledger, session_id, CancelToken()).take_over(lease.token)
        said = acting.wake(process)
        assert said is not None and "SessionBusy" in said
        assert c_arm(device).last_key() is None
