"""What is drawn over a view from above: the trajectory that is driven, and where the ego is expected."""

from collections.abc import Sequence

from markupsafe import Markup

from loopwright.tools.drive.scene import Point
from loopwright.tools.drive.views import TOP_FORWARD_M, TOP_M, TOP_PX

_PX_PER_M = TOP_PX / TOP_M


def pixel(point: Point) -> tuple[float, float]:
    """Where a point of the ego frame lies on the picture, px: u to the right, v down."""
    return (TOP_M / 2 - point[1]) * _PX_PER_M, (TOP_FORWARD_M - point[0]) * _PX_PER_M


def trajectory(waypoints: Sequence[Point], *, is_fallback: bool = False) -> Markup:
    """The waypoints as a line with a dot each; the fallback's is red."""
    colour = "#ff4d3d" if is_fallback else "#ffffff"
    at = [pixel(point) for point in ((0.0, 0.0), *waypoints)]
    line = " ".join(f"{u:.1f},{v:.1f}" for u, v in at)
    dots = Markup("").join(
        Markup('<circle cx="{:.1f}" cy="{:.1f}" r="1.4" fill="{}" stroke="none"/>').format(u, v, colour)
        for u, v in at[1:]
    )
    drawn = Markup('<polyline points="{}" fill="none" stroke="{}" stroke-width="1"/>').format(line, colour)
    return drawn + dots


def cross(point: Point) -> Markup:
    """A place, such as where the ego is expected."""
    u, v = pixel(point)
    path = f"M{u - 3:.1f} {v - 3:.1f}l6 6m0 -6l-6 6"
    return Markup('<path d="{}" fill="none" stroke="#00e5ff" stroke-width="1"/>').format(path)
