"""What the driver is asked: the views and the ego's state, for an answer of `loopwright.agents.drive.formats`.

After VLA-World (section B.1): a frame alone in pre-training, all six parts afterwards. Each function returns all
messages that precede the answer, for inference and for training rows alike; what is fixed comes first. Distances are
whole numbers of 0.1 m, as in the answers.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from loopwright.agents.drive.formats import DECISION, PARTS, Part, point_text, points_text, seen_text
from loopwright.agents.drive.perception import agents_seen
from loopwright.models.images import image_block
from loopwright.models.visual_tokens import visual_text
from loopwright.schema import Frozen, ImageRef
from loopwright.tools.drive.scene import Camera, Point, Scene

View = Literal["top", Camera]
"""The raster from above (forward is up), or one of the six cameras: front, back, and either side of both."""
VIEWS: tuple[View, ...] = get_args(View)

SYSTEM = "You drive. x forward, y left, in 0.1 m; gaps in m, speeds in m/s."
_TOLD: dict[Part, str] = {
    "perception": "where gap speed",
    "prediction": "x y",
    "visual": "view then",
    "think": "risk",
    "action": "keep, slower, faster, left, right or stop",
    "answer": "six x y",
}
"""What stands in each part, in few words: the small base spells most of them letter by letter."""


class Shown(Frozen):
    """One view of the present."""

    view: View
    image: ImageRef


class Asked(Frozen):
    """What is said of a moment beside its views and the ego's state; "" and () for what is not.

    Attributes:
        horizon_s: of the prediction and of the imagined frame.
        view: which view is imagined.
        expected: the short-term pose (`loopwright.tools.drive.predictor`), which conditions the imagined frame.
        seen: visual tokens of `view` at present, for a model that reads them better than pictures.
        moved: visual tokens of `view` as the road users' constant velocity and `expected` would have it.
        is_told: name the nearest road users in words, for a model without pictures.
        words: what a person said since the last step.
    """

    horizon_s: float = 0.5
    view: View = "top"
    expected: Point | None = None
    seen: tuple[int, ...] = ()
    moved: tuple[int, ...] = ()
    is_told: bool = False
    words: str = ""


def drive_messages(
    scene: Scene, shown: Sequence[Shown], asked: Asked, parts: Sequence[Part] = PARTS
) -> list[BaseMessage]:
    """Ask for a trajectory, and for what leads to it; the answer is in `formats.drive_form(parts)`."""
    said = [
        f"Speed {scene.speed_mps:.1f}, acceleration {scene.acceleration_mps2:.1f}. "
        f"Past {points_text(scene.history[:-1])}. Command {scene.command}.",
        *_conditions(asked),
    ]
    if asked.is_told:
        said.append(f"Road users: {seen_text(agents_seen(scene))}.")
    if words := " ".join(asked.words.split()):
        said.append(f'The passenger says: "{words}"')
    return [SystemMessage(SYSTEM), _with_pictures(shown, " ".join([*said, how(parts)]))]


def frame_messages(shown: Sequence[Shown], asked: Asked) -> list[BaseMessage]:
    """Ask for one future frame alone; the answer is in `formats.drive_form(formats.FRAME)`."""
    return [SystemMessage(SYSTEM), _with_pictures(shown, " ".join([*_conditions(asked), how(("visual",))]))]


def again_messages(
    messages: Sequence[BaseMessage], answer: str, why: str, parts: Sequence[Part] = DECISION
) -> list[BaseMessage]:
    """Ask once more after `answer` to `messages`, which the verifier rejected: `why`; in `drive_form(parts)`."""
    return [*messages, AIMessage(answer), HumanMessage(f"Rejected: {why}. {how(parts)}")]


def how(parts: Sequence[Part]) -> str:
    """What an answer of `parts` looks like."""
    return f"Answer as {''.join(f'<{part}>{_TOLD[part]}</{part}>' for part in parts)}"


def _conditions(asked: Asked) -> list[str]:
    """What the imagined frame depends on."""
    at = "" if asked.expected is None else f", expected at {point_text(asked.expected)}"
    said = [f"View {asked.view} at +{asked.horizon_s:.1f} s{at}."]
    said += [f"Now {visual_text(asked.seen)}"] if asked.seen else []
    return [*said, f"Moved {visual_text(asked.moved)}"] if asked.moved else said


def _with_pictures(shown: Sequence[Shown], text: str) -> HumanMessage:
    if not shown:
        return HumanMessage(text)
    blocks: list[str | dict[str, Any]] = []
    for one in shown:
        blocks += [{"type": "text", "text": f"{one.view}:"}, image_block(one.image)]
    return HumanMessage(content=[*blocks, {"type": "text", "text": text}])
