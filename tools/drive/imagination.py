"""Frames that are yet to come, as they are imagined: drawn from the present, or decoded from a model's visual tokens.

A frame is a picture from above in the ego frame of its moment, and the occupancy grid that is read from it. One way to
read serves all: drawn at constant velocity, told by the simulator (an oracle), or generated. Its tools are the drive
loop's own, for they keep pictures that may be kept already. Knows no planner.
"""

import base64
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat

from loopwright.errors import ToolError
from loopwright.schema import Frozen, ImageRef
from loopwright.tools.contract import ToolContext, tool
from loopwright.tools.drive.expected import moved
from loopwright.tools.drive.futures import HORIZONS_S, Future, poses
from loopwright.tools.drive.road import road_of
from loopwright.tools.drive.scene import FUTURE_STEPS, STEP_S, Point, Pose, Scene
from loopwright.tools.drive.sensing import sensed
from loopwright.tools.drive.views import TOP_FORWARD_M, TOP_M, occupancy_seen, top_view
from loopwright.tools.drive.world import REACH_M

if TYPE_CHECKING:
    from loopwright.models.networks.drive import ImageTokenizer

N_TOKENS, N_CODES = 64, 512
"""Of the bundled image tokenizer: codes of a picture, and size of its codebook."""
Code = Annotated[int, Field(ge=0, lt=N_CODES, description="an index into the codebook, a number")]
Near = Annotated[tuple[Annotated[float, Field(ge=-REACH_M, le=REACH_M)], ...], Field(min_length=2, max_length=2)]
Source = Literal["constant-velocity", "oracle"]
Picture = NDArray[np.uint8]
CELLS = 128
"""An edge of a frame's grid."""


class FramePose(Frozen):
    """Where a frame's ego is, in the ego frame of the present."""

    x_m: FiniteFloat = Field(description="forward, m")
    y_m: FiniteFloat = Field(description="to the left, m")
    yaw_rad: FiniteFloat = Field(description="to the left, rad")


class Frame(Frozen):
    """One moment to come."""

    horizon_s: float = Field(description="from now, s")
    pose: FramePose
    occupied: str = Field(max_length=8000, description="which cells hold a road user: packed bits, zlib, base64")
    image: ImageRef | None = Field(default=None, description="from above; null where none was kept")

    @classmethod
    def of(cls, picture: Picture, pose: Pose, horizon_s: float, image: ImageRef | None = None) -> Self:
        """As it is read from its picture, (N, N, 3) uint8 drawn as `top_view` does."""
        bits = np.packbits(occupancy_seen(picture, min(CELLS, picture.shape[0])))
        packed = base64.b64encode(zlib.compress(bits.tobytes(), 9)).decode()
        return cls(horizon_s=horizon_s, pose=FramePose(**pose._asdict()), occupied=packed, image=image)

    def future(self) -> Future:
        """As a planner takes it."""
        bits = np.unpackbits(np.frombuffer(zlib.decompress(base64.b64decode(self.occupied)), dtype=np.uint8))
        size = round(bits.size**0.5)
        pose = Pose(self.pose.x_m, self.pose.y_m, self.pose.yaw_rad)
        return Future(self.horizon_s, pose, bits.reshape(size, size).astype(bool), TOP_M, TOP_FORWARD_M)


class Imagination(Frozen):
    """Moments to come, in the order of their horizons."""

    frames: tuple[Frame, ...] = Field(max_length=FUTURE_STEPS)

    def futures(self) -> tuple[Future, ...]:
        """As a planner takes them."""
        return tuple(frame.future() for frame in self.frames)


class Imagine(Frozen):
    """What `imagine_road` is given."""

    source: Source = Field(description="how the others move: at their present velocity, or as the simulator knows")
    waypoints: tuple[Near, ...] = Field(
        min_length=FUTURE_STEPS, max_length=FUTURE_STEPS, description="the ego at 0.5, 1.0, ... 3.0 s: x and y, m"
    )
    shown: int = Field(default=3, ge=1, le=FUTURE_STEPS, description="number of the frame whose picture is kept")


class _Moment(NamedTuple):
    scene: Scene
    pose: Pose


@tool(effect="write", timeout_s=60)
def imagine_road(args: Imagine, context: ToolContext) -> Imagination:
    """Draw the road as it will be if the ego follows waypoints: six frames, 0.5 s apart, without driving."""
    points: tuple[Point, ...] = tuple((x, y) for x, y in args.waypoints)
    world = road_of(context)
    moments: Sequence[_Moment]
    if args.source == "oracle":
        moments = [_Moment(*moment) for moment in world.simulation.futures(points)]
    else:
        scene = sensed(world.scene).scene
        if scene is None:
            raise ToolError("The ego's own motion is not known, so that nothing can be imagined.")
        moments = [_Moment(moved(scene, at, s), at) for s, at in zip(HORIZONS_S, poses(points), strict=True)]
    frames = []
    for horizon_s, moment in zip(HORIZONS_S, moments, strict=True):
        picture = top_view(moment.scene)
        image = context.keep(picture) if horizon_s == HORIZONS_S[args.shown - 1] else None
        frames.append(Frame.of(picture, moment.pose, horizon_s, image))
    return Imagination(frames=tuple(frames))


class Decode(Frozen):
    """What `decode_frame` is given."""

    codes: tuple[Code, ...] = Field(
        min_length=N_TOKENS, max_length=N_TOKENS, description="of the image tokenizer, row by row"
    )
    horizon_s: float = Field(ge=STEP_S, le=HORIZONS_S[-1], description="of the frame, from now, s")
    pose: FramePose = Field(description="where the frame's ego is, in the ego frame of the present")


@tool(effect="write", timeout_s=60)
def decode_frame(args: Decode, context: ToolContext) -> Frame:
    """Make the picture of a frame that was imagined as codes, and keep it."""
    picture = image_tokenizer().decode(np.array([args.codes], dtype=np.int64))[0]
    pose = Pose(args.pose.x_m, args.pose.y_m, args.pose.yaw_rad)
    return Frame.of(picture, pose, args.horizon_s, context.keep(picture))


def image_tokenizer() -> "ImageTokenizer":
    """The bundled one."""
    from loopwright.models.networks.drive import bundled_tokenizer  # torch: seconds that only it has to spend

    return bundled_tokenizer()
