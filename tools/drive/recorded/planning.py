"""Reads planning samples that were cut before: JSON, one sample a line, plain or gzipped.

    {"source", "log", "token", "speed_mps", "history_2s": 5 points, "future_3s_gt": 6 points or null, "command",
     "ego_lw": [length, width], "agents": [{"id", "cat", "pos": [x, y], "yaw", "lw": [length, width], "vel": [x, y],
     "future": 6 of [x, y, yaw] or null}]}

in the ego frame of the moment; `command`, `ego_lw` and `agents` may be missing. Radar points are left out.
"""

import gzip
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from loopwright.errors import BadInput
from loopwright.schema.json_text import parse_json
from loopwright.tools.drive.recorded.recording import OnProblem, command_of, raise_problem
from loopwright.tools.drive.scene import FUTURE_STEPS, HISTORY_STEPS, STEP_S, Agent, Box, Point, Sample, Scene


def read_planning(path: Path, *, on_problem: OnProblem = raise_problem) -> Iterator[Sample]:
    """The samples of a file, in its order.

    Raises:
        BadInput: no such file, no JSON, or a sample is wrong and `on_problem` raises; with the row.
    """
    try:
        with _opened(path) as file:
            for row, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    yield _sample(parse_json(line))
                except (ValueError, KeyError, TypeError, LookupError) as error:
                    on_problem(f"`{path}`, row {row}: {_said(error)}. Correct or remove the row.")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise BadInput(f"`{path}` cannot be read as JSON lines: {error}. Fetch the file again.") from error


def _opened(path: Path) -> IO[str]:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8-sig")


def _said(error: Exception) -> str:
    match error:
        case ValidationError():
            first = error.errors(include_url=False)[0]
            return f"`{'.'.join(map(str, first['loc']))}`: {first['msg']}, not {first['input']!r:.60}"
        case KeyError():
            return f"has no `{error.args[0]}`"
        case _:
            return str(error)


def _sample(row: Mapping[str, Any]) -> Sample:
    history = [_point("history_2s", each) for each in _listed(row, "history_2s", HISTORY_STEPS + 1)]
    future = [None if p is None else _point("future_3s_gt", p) for p in _listed(row, "future_3s_gt", FUTURE_STEPS)]
    others = [(_agent(each), _boxes(each)) for each in row.get("agents") or ()]
    length_m, width_m = row.get("ego_lw") or (4.6, 1.85)
    log = str(row["log"])
    scene = Scene(
        source=str(row["source"]),
        token=f"{log}/{row['token']}",
        speed_mps=row["speed_mps"],
        acceleration_mps2=_acceleration(history),
        history=tuple(history),
        command=row.get("command") or command_of(future),
        length_m=length_m,
        width_m=width_m,
        agents=tuple(agent for agent, _ in others),
    )
    return Sample(
        scene=scene, future=tuple(future), agent_futures={agent.id: boxes for agent, boxes in others}, log=log
    )


def _listed(row: Mapping[str, Any], key: str, n: int) -> Sequence[Any]:
    found: Sequence[Any] = row[key]
    if len(found) != n:
        raise ValueError(f"`{key}` has {len(found)} points; expected {n}, {STEP_S:g} s apart")
    return found


def _point(key: str, value: Any) -> Point:
    x_m, y_m = map(float, value)
    if not math.isfinite(x_m + y_m):
        raise ValueError(f"`{key}` has the point {value!r}; expected finite numbers")
    return x_m, y_m


def _acceleration(history: Sequence[Point]) -> float:
    """Of the last two steps, along the way, m/s^2."""
    (ax, ay), (bx, by), (cx, cy) = history[-3:]
    return (math.hypot(cx - bx, cy - by) - math.hypot(bx - ax, by - ay)) / STEP_S**2


def _agent(row: Mapping[str, Any]) -> Agent:
    (x_m, y_m), (length_m, width_m), (vx, vy) = row["pos"], row["lw"], row.get("vel") or (0.0, 0.0)
    box = Box(x_m=x_m, y_m=y_m, yaw_rad=row["yaw"], length_m=length_m, width_m=width_m)
    return Agent(id=str(row["id"]), kind=str(row.get("cat") or "car"), box=box, vx_mps=vx, vy_mps=vy)


def _boxes(row: Mapping[str, Any]) -> tuple[Box | None, ...]:
    length_m, width_m = row["lw"]
    return tuple(
        None if seen is None else Box(x_m=seen[0], y_m=seen[1], yaw_rad=seen[2], length_m=length_m, width_m=width_m)
        for seen in _listed(row, "future", FUTURE_STEPS)
    )
