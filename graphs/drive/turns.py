"""What the driver, a model, is asked in a step: a frame to come, a trajectory, and another one after a rejection.

One model runs three ways: jointly (planner and imagination), as a VLA (planner alone, the imagination masked) and as a
world model (imagination alone, the trajectory searched for by rules).
"""

from collections.abc import Sequence
from typing import Any

from loopwright.agents.drive.driver import Thought
from loopwright.agents.drive.formats import DECISION, FRAME, MASKED, PARTS, DriveAnswer, Part, drive_form
from loopwright.agents.drive.perception import risk_of
from loopwright.agents.drive.prompts import VIEWS, Asked, Shown, again_messages, drive_messages, frame_messages
from loopwright.errors import NoAnswer
from loopwright.graphs.drive.run import DRIVER
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import State
from loopwright.tools.drive.expected import expected_pose, moved
from loopwright.tools.drive.futures import poses
from loopwright.tools.drive.imagination import N_CODES, decode_frame, image_tokenizer, imagine_road
from loopwright.tools.drive.scene import STEP_S, Pose, Scene
from loopwright.tools.drive.tools import SeenRoad
from loopwright.tools.drive.views import top_view

MOST_CHARS = 300
"""Of what is wrong with an answer, as it is recorded."""


def imagine(state: State, ctx: Context, ways: Sequence[Any]) -> None:
    """Have the model imagine what follows from each way; what it could not say stays as at constant velocity."""
    found = ctx.map(_imagined, ways)
    for one in found:
        if one["unread"]:
            unread(state, ctx, one["unread"])
    state["imagined"] = [{"waypoints": way, "frames": one["frames"]} for way, one in zip(ways, found, strict=True)]
    state["said"] = found[0]["said"]


def think(state: State, ctx: Context, scene: Scene) -> Thought | None:
    """The driver's trajectory; None where its answer cannot be read."""
    run = ctx.config
    is_joint = run.imagine == "model"
    if is_joint and not state["said"]:
        return None
    parts = PARTS if is_joint else MASKED
    try:
        messages = drive_messages(scene, shown(state, ctx), _asked(ctx, scene, _expected(ctx, scene)), parts)
        if state["said"] and state["why"]:
            messages = again_messages(messages, state["said"]["text"], state["why"])
            answer = ctx.ask(DRIVER, messages, drive_form(DECISION, N_CODES), may_fail=True)
        elif state["said"]:
            answer = DriveAnswer.model_validate(state["said"]["answer"])
        else:
            answer = ctx.ask(DRIVER, messages, drive_form(parts, N_CODES), may_fail=True)
            state["said"] = _kept(answer, parts)
    except NoAnswer as error:
        unread(state, ctx, str(error))
        return None
    assert answer.answer is not None
    assert answer.action is not None
    return Thought(by="model", think=answer.think or risk_of(scene), action=answer.action, waypoints=answer.answer)


def unread(state: State, ctx: Context, why: str) -> None:
    """Count an answer that could not be read."""
    state["counts"]["unread"] += 1
    ctx.computed("unread", {"why": why[:MOST_CHARS], "so_far": state["counts"]["unread"]})


def shown(state: State, ctx: Context) -> list[Shown]:
    """The pictures of the moment, as far as they came and the model is shown any."""
    if ctx.config.shown != "pictures":
        return []
    images = SeenRoad.model_validate(state["observation"]).images
    return [Shown(view=v, image=ref) for v in VIEWS if (ref := getattr(images, v)) is not None]


def _imagined(way: Any, ctx: Context) -> dict[str, Any]:
    """One item of the map: the frames that follow from a way, and what the driver said with them."""
    run, scene = ctx.config, Scene.model_validate(ctx.state["scene"])
    is_expected = way == ctx.state["expected"]
    pose = _expected(ctx, scene) if is_expected else poses(way)[round(run.horizon_s / STEP_S) - 1]
    drawn = ctx.observe(imagine_road, source="constant-velocity", waypoints=way, shown=run.shown_frame)
    asked, pictures = _asked(ctx, scene, pose), shown(ctx.state, ctx)
    parts = PARTS if run.planner == "model" else FRAME
    if run.planner == "model":
        messages = drive_messages(scene, pictures, asked, parts)
    else:
        messages = frame_messages(pictures, asked)
    try:
        answer = ctx.ask(DRIVER, messages, drive_form(parts, N_CODES), may_fail=True)
    except NoAnswer as error:
        return {"frames": drawn["frames"], "said": {}, "unread": str(error)}
    frame = ctx.observe(decode_frame, codes=list(answer.visual or ()), horizon_s=run.horizon_s, pose=pose._asdict())
    frames = [frame if one["horizon_s"] == run.horizon_s else one for one in drawn["frames"]]
    return {"frames": frames, "said": _kept(answer, parts), "unread": ""}


def _expected(ctx: Context, scene: Scene) -> Pose:
    return expected_pose(scene, ctx.config.horizon_s, ctx.config.predictor)


def _asked(ctx: Context, scene: Scene, pose: Pose) -> Asked:
    """What is said of the moment beside its pictures; `pose` is where the imagined frame is seen from."""
    run = ctx.config
    found: dict[str, Any] = {"moved": []}
    if run.shown == "tokens":
        found = ctx.external("encoded", lambda: _encoded(scene, pose, run.horizon_s), inputs=list(pose))
    return Asked(
        horizon_s=run.horizon_s,
        expected=(pose.x_m, pose.y_m),
        moved=found["moved"],
        is_told=run.told,
        words=ctx.state["wishes"].get("words", ""),
    )


def _encoded(scene: Scene, pose: Pose, horizon_s: float) -> dict[str, Any]:
    """Codes of what the moment becomes at constant velocity, as training rows have them."""
    tokenizer = image_tokenizer()
    return {"moved": tokenizer.encode(top_view(moved(scene, pose, horizon_s), tokenizer.size_px)[None])[0].tolist()}


def _kept(answer: DriveAnswer, parts: tuple[Part, ...]) -> dict[str, Any]:
    return {"answer": answer.model_dump(mode="json"), "text": drive_form(parts, N_CODES).render(answer)}
