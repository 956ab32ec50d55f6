"""What the driver, a model, is asked in a step: a frame to come, a trajectory, and another one after a rejection."""

from collections.abc import Sequence
from typing import Any

from loopwright.agents.drive.driver import Thought
from loopwright.agents.drive.formats import DECISION, FRAME, MASKED, PARTS, DriveAnswer, Part, drive_form
from loopwright.agents.drive.perception import risk_of
from loopwright.agents.drive.prompts import Asked, Shown, again_messages, drive_messages, frame_messages
from loopwright.errors import NoAnswer
from loopwright.graphs.drive.run import DRIVER
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import State
from loopwright.tools.drive.futures import HORIZONS_S, poses
from loopwright.tools.drive.scene import STEP_S, Point, Pose, Scene
from loopwright.tools.drive.tools import SeenRoad

MOST_CHARS = 300
"""Of what is wrong with an answer, as it is recorded."""


def think(state: State, ctx: Context, scene: Scene) -> Thought | None:
    """The driver's trajectory; None where its answer cannot be read."""
    parts = PARTS if ctx.config.imagine == "model" else MASKED
    messages = drive_messages(scene, _shown(state, ctx), asked(state, ctx), parts)
    said = state["said"]
    try:
        if said and state["why"]:
            messages = again_messages(messages, said["text"], state["why"])
            answer = ctx.ask(DRIVER, messages, drive_form(DECISION), may_fail=True)
        elif said:
            answer = DriveAnswer.model_validate(said["answer"])
        else:
            answer = ctx.ask(DRIVER, messages, drive_form(parts), may_fail=True)
            state["said"] = _kept(answer, parts)
    except NoAnswer as error:
        state["counts"]["unread"] += 1
        ctx.computed("unread", {"why": str(error)[:MOST_CHARS], "so_far": state["counts"]["unread"]})
        return None
    assert answer.answer is not None
    assert answer.action is not None
    think = answer.think or risk_of(scene)
    return Thought(by="model", think=think, action=answer.action, waypoints=answer.answer)


def asked(state: State, ctx: Context, way: Sequence[Point] | None = None) -> Asked:
    """What is said of the moment beside its views; `way` is what the imagined frame follows from."""
    expected = (way or state["expected"])[round(ctx.config.horizon_s / STEP_S) - 1]
    return Asked(
        horizon_s=ctx.config.horizon_s,
        expected=tuple(expected),
        is_told=ctx.config.text_only,
        words=state["wishes"].get("words", ""),
    )


def _shown(state: State, ctx: Context) -> list[Shown]:
    """The pictures of the moment, as far as they came and the model is shown any."""
    if ctx.config.text_only:
        return []
    images = SeenRoad.model_validate(state["observation"]).images
    return [Shown(view=v, image=ref) for v in type(images).model_fields if (ref := getattr(images, v)) is not None]


def _kept(answer: DriveAnswer, parts: tuple[Part, ...]) -> dict[str, Any]:
    return {"answer": answer.model_dump(mode="json"), "text": drive_form(parts).render(answer)}


def imagine(state: State, ctx: Context, scene: Scene, ways: Sequence[Any]) -> None:
    """Have the model imagine. Needs the image tokenizer."""
    raise NotImplementedError


_ = (FRAME, frame_messages, HORIZONS_S, poses, Pose)
