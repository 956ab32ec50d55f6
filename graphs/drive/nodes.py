"""The nodes of the drive loop: perceive -> predict -> imagine -> think -> verify -> act -> perceive ..., each 0.5 s.

After VLA-World, with a verifier in code. What it rejects goes back to `think` with the reason, `repairs` times; then,
and wherever the present or the driver's answer cannot be read, the fallback drives: brake along the path.
"""

from collections.abc import Sequence
from typing import Any, NoReturn

from loopwright.agents.drive.driver import Thought, brake, brake_blindly, style_of, think_by_rule, way
from loopwright.agents.drive.feedback import Wishes
from loopwright.agents.sessions.gate import Heard
from loopwright.errors import ToolError
from loopwright.graphs.drive import turns
from loopwright.graphs.drive.frames import compare, is_due, pending
from loopwright.graphs.loop.acts import WITHDRAWN
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import State, node
from loopwright.tools.drive.experience import experience
from loopwright.tools.drive.futures import Foresee, Future, constant_velocity, keeping_pace
from loopwright.tools.drive.imagination import Imagination, imagine_road
from loopwright.tools.drive.planner import propose
from loopwright.tools.drive.scene import STEP_S, Point, Scene
from loopwright.tools.drive.tools import SeenRoad, drive, look_at_road
from loopwright.tools.drive.verify import verify as verdict_of

MAX_REFUSALS = 3
"""Trajectories of one moment that a human may turn down before the loop asks what to do."""
LATE_S = 0.2
"""A look that comes this much later or sooner than a step after the one before is a gap: speeds cannot be trusted."""
STATE: State = {
    "scene": {},
    "wishes": {},
    "aim_m": None,
    "blind": "",
    "expected": [],
    "imagined": [],
    "said": {},
    "thought": {},
    "rejected": [],
    "why": "",
    "refusals": 0,
    "last": [],
    "seen_s": None,
    "due": [],
    "counts": {"faults": 0, "unread": 0, "rejected": 0, "fallbacks": 0},
}
"""The moment with the route that is wished for; passengers' `Wishes` and the lane that they aim at; why nothing can be
planned now ("": it can); the short-term prediction; what is imagined, each with the waypoints it follows from; the
driver's answer; the `Thought`; trajectories rejected here, and why; refusals by a human; what was driven last, and when
that was seen; imagined frames that are still to come; and how often each of the bad things happened."""


@node(to=("act",))
def perceive(state: State, ctx: Context) -> None:
    """See the road; count what is wrong with what is seen; end where the drive is over."""
    state.update(blind="", expected=[], imagined=[], said={}, thought={}, rejected=[], why="", refusals=0)
    try:
        seen = SeenRoad.model_validate(ctx.observe(look_at_road))
    except ToolError as error:
        _fault(state, ctx, [f"the road cannot be looked at: {error}"])
        _fall_back(state, ctx, "the road cannot be looked at")
    _compare(state, ctx, seen)
    if seen.totals.ended:
        _end(state, ctx, seen)
    if ctx.visit.step >= ctx.config.steps:
        ctx.end("succeeded", f"{ctx.config.steps} steps are driven; {_so_far(state, seen)}")
    faults, is_late = list(seen.faults), _gap(state, seen)
    if is_late:
        faults.append(is_late)
    if faults:
        _fault(state, ctx, faults)
    _hear(state, ctx.feedback(), seen)
    if seen.scene is None or is_late or any("pose" in fault for fault in seen.faults):
        state["scene"] = {} if seen.scene is None else seen.scene.model_dump(mode="json")
        state["seen_s"] = None if seen.scene is None else seen.scene.time_s
        _fall_back(state, ctx, "; ".join(faults))
    state["seen_s"] = seen.scene.time_s
    _take_way(state, seen.scene)
    if _wishes(state).brakes:
        _fall_back(state, ctx, "a passenger said so")


def predict(state: State, ctx: Context) -> None:
    """Say where the ego will be, by its inertia and its command (the paper's equations 3 to 5)."""
    points = ctx.config.predictor.waypoints(_scene(state))
    state["expected"] = ctx.computed("predicted", {"waypoints": [_rounded(point) for point in points]})["waypoints"]


def imagine(state: State, ctx: Context) -> None:
    """Imagine the frames to come: one future along the expected trajectory, or one for each candidate."""
    run, scene = ctx.config, _scene(state)
    if run.imagine == "none":
        return
    ways: list[Any] = [state["expected"]]
    if run.candidates > 1:
        ways = [_as_json(one.waypoints) for one in propose(scene, _style(state, ctx))[: run.candidates]]
    if run.imagine == "model":
        turns.imagine(state, ctx, ways)
    else:
        found = ctx.map(_drawn, ways)
        state["imagined"] = [{"waypoints": way, **one} for way, one in zip(ways, found, strict=True)]
    state["due"] = [*state["due"], *pending(state["imagined"][:1], scene.time_s)]


@node(to=("act",))
def think(state: State, ctx: Context) -> None:
    """Weigh what is imagined, and settle on a trajectory; after a rejection, on another one."""
    scene = _scene(state)
    if ctx.config.planner == "model":
        thought = turns.think(state, ctx, scene)
        if thought is None:
            _fall_back(state, ctx, "the driver's answer cannot be read")
    else:
        rejected = [tuple(map(tuple, one)) for one in state["rejected"]]
        most = ctx.config.candidates if ctx.config.candidates > 1 else None
        thought = think_by_rule(scene, _foresee(state), _style(state, ctx), rejected, most)
    state["thought"] = ctx.computed("thought", thought.model_dump(mode="json"))


@node(to=("think",))
def verify(state: State, ctx: Context) -> None:
    """Check the trajectory against predicted road users, road and comfort; send it back, or fall back."""
    thought, scene = Thought.model_validate(state["thought"]), _scene(state)
    if thought.by == "fallback":
        return
    futures = constant_velocity(scene, thought.waypoints)
    if ctx.config.verifier == "imagined":
        futures = tuple(_foresee(state)(thought.waypoints))
    found = verdict_of(scene, thought.waypoints, futures)
    ctx.computed("verified", {**found.model_dump(mode="json"), "waypoints": state["thought"]["waypoints"]})
    if found.ok:
        return
    state["counts"]["rejected"] += 1
    state["rejected"] = [*state["rejected"], state["thought"]["waypoints"]]
    state["why"] = f"{found.rule}: {found.reason}".rstrip(".")
    if len(state["rejected"]) <= ctx.config.repairs:
        ctx.goto("think")
    _settle(state, ctx, brake(scene, state["why"]))


@node(to=("predict", "think", "act"))
def act(state: State, ctx: Context) -> None:
    """Hand the trajectory to the car, which follows it for half a second."""
    thought = Thought.model_validate(state["thought"])
    result = ctx.act(drive, because=_because(thought), waypoints=_as_json(thought.waypoints))
    if result.ok:
        state["last"] = _as_json(thought.waypoints)
        if state["scene"]:
            ended = result.output["ended"]
            ctx.remember(**experience(_scene(state), thought.waypoints, action=thought.action, outcome=ended))
        return
    if result.rule == WITHDRAWN or result.rule == "approval":  # says nothing of the trajectory
        _again(state, ctx, "")
    if result.rule == "human":
        state["refusals"] += 1
        heard = ctx.feedback()
        if state["refusals"] > MAX_REFUSALS:
            heard += ctx.ask_human(
                "You turned down all that I proposed. What shall I do?",
                options=("brake", "slower", "drive on", "stop"), about="refused",
            )  # fmt: skip
            state["refusals"] = 0
        _hear(state, heard, None)
        _again(state, ctx, result.reason)
    if thought.by == "fallback":
        ctx.end("failed", f"not even the fallback may be driven: {result.reason}")
    state["counts"]["rejected"] += 1
    if not state["scene"]:
        ctx.end("failed", f"nothing may be driven: {result.reason}")
    _settle(state, ctx, brake(_scene(state), f"{result.rule}: {result.reason}"))
    ctx.goto("act")


def _again(state: State, ctx: Context, why: str) -> NoReturn:
    """Think once more about the same moment."""
    if why and state["thought"]["by"] != "fallback":
        state["rejected"], state["why"] = [*state["rejected"], state["thought"]["waypoints"]], why
    if state["blind"]:
        ctx.goto("act")
    if _wishes(state).brakes:
        _settle(state, ctx, brake(_scene(state), "a passenger said so"))
        ctx.goto("act")
    ctx.goto("think" if state["expected"] else "predict")


def _fall_back(state: State, ctx: Context, why: str) -> NoReturn:
    """Brake along the path, as far as one is known, whatever was imagined."""
    state["blind"] = why
    if state["scene"]:
        _settle(state, ctx, brake(_scene(state), why))
    elif state["last"]:
        _settle(state, ctx, brake_blindly(state["last"], why))
    else:
        ctx.end("failed", f"nothing is known of the road: {why}")
    ctx.goto("act")


def _settle(state: State, ctx: Context, thought: Thought) -> None:
    state["counts"]["fallbacks"] += 1
    state["thought"] = ctx.computed("thought", thought.model_dump(mode="json"))


def _fault(state: State, ctx: Context, faults: Sequence[str]) -> None:
    state["counts"]["faults"] += len(faults)
    ctx.computed("faulty", {"faults": list(faults), "so_far": state["counts"]["faults"]})


def _gap(state: State, seen: SeenRoad) -> str:
    """What is wrong with the time since the last look; "" where nothing is."""
    if seen.scene is None or state["seen_s"] is None:
        return ""
    passed_s = seen.scene.time_s - state["seen_s"]
    return "" if abs(passed_s - STEP_S) <= LATE_S else f"{passed_s:.1f} s passed since the last look, not {STEP_S:g}"


def _hear(state: State, heard: Sequence[Heard], seen: SeenRoad | None) -> None:
    """Take in what people said."""
    scene = seen.scene if seen is not None else None
    time_s = scene.time_s if scene is not None else state["seen_s"] or 0.0
    before = _wishes(state)
    after = before.heard([(one.words, one.text) for one in heard], time_s)
    if after.command != before.command:
        state["aim_m"] = None
    state["wishes"] = after.model_dump(mode="json")


def _take_way(state: State, scene: Scene) -> None:
    """Keep the moment, its route where a passenger wants it; a wish that is fulfilled is forgotten."""
    wishes = _wishes(state)
    found = way(scene, wishes.command, state["aim_m"])
    state.update(scene=found.scene.model_dump(mode="json"), aim_m=found.aim_m)
    if found.is_there:
        state.update(wishes=wishes.model_copy(update={"command": None}).model_dump(mode="json"), aim_m=None)


def _compare(state: State, ctx: Context, seen: SeenRoad) -> None:
    """Hold frames that were imagined for this moment against what came."""
    if seen.scene is None:
        return
    due, state["due"] = is_due(state["due"], seen.scene.time_s)
    top, blobs = seen.images.top, ctx.runtime.memory.blobs
    for frame in due if top is not None else ():
        ctx.external("came", lambda frame=frame: compare(blobs, frame, top), inputs=frame)  # type: ignore[misc]


def _drawn(way: Any, ctx: Context) -> dict[str, Any]:
    return ctx.observe(
        imagine_road, into="said", source=ctx.config.imagine, waypoints=way, shown=ctx.config.shown_frame
    )


def _foresee(state: State) -> Foresee:
    """What follows from a trajectory, as it was imagined; without imagination the present stays around the ego."""
    scene = _scene(state)
    found = [(one["waypoints"], Imagination(frames=one["frames"]).futures()) for one in state["imagined"]]

    def foresee(waypoints: Sequence[Point]) -> Sequence[Future]:
        if not found:
            return keeping_pace(scene, waypoints)
        wanted = _as_json(waypoints)
        return next((futures for way, futures in found if way == wanted), found[0][1])

    return foresee


def _end(state: State, ctx: Context, seen: SeenRoad) -> NoReturn:
    how = {
        "crashed": ("failed", "the car crashed"),
        "off_road": ("failed", "the car left the road"),
        "arrived": ("succeeded", "the car arrived"),
        "time": ("succeeded", "the drive's time is over"),
    }
    status, what = how[seen.totals.ended]
    ctx.end(status, f"{what}; {_so_far(state, seen)}")  # type: ignore[arg-type]


def _so_far(state: State, seen: SeenRoad) -> str:
    totals, counts = seen.totals, state["counts"]
    told = f"{totals.progress_m:.0f} m in {totals.time_s:g} s at {totals.mean_speed_mps:.1f} m/s"
    worse = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
    return f"{told}, {totals.uncomfortable_steps} uncomfortable steps{f'; {worse}' if worse else ''}"


def _because(thought: Thought) -> str:
    return f"{thought.action}: {thought.think}"


def _style(state: State, ctx: Context) -> Any:
    return style_of(ctx.prepared["cruise_mps"], _wishes(state), state["seen_s"] or 0.0)


def _scene(state: State) -> Scene:
    return Scene.model_validate(state["scene"])


def _wishes(state: State) -> Wishes:
    return Wishes.model_validate(state["wishes"])


def _as_json(waypoints: Sequence[Sequence[float]]) -> list[list[float]]:
    return [list(point) for point in waypoints]


def _rounded(point: Point) -> list[float]:
    return [round(value, 3) for value in point]
