"""A graph as a picture, drawn here: boxes in layers from top to bottom, as SVG or PNG. No web service, no browser.

Edges to the next layer are straight. Those that skip layers run down a lane on the left, those that go back up one on
the right; all that lead to one node share a lane.
"""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from loopwright.errors import BadInput
from loopwright.tools.files import disk_errors, write_whole

if TYPE_CHECKING:
    from langchain_core.runnables.graph import Graph

ROW_PX, BOX_PX, GAP_PX, LANE_PX, MARGIN_PX = 76, 36, 28, 18, 24
FONT_PX, CHAR_PX, ARROW_PX = 14, 8.2, 6
INK, SOFT, PAPER, FILL = "#1c2024", "#7a8591", "#ffffff", "#e8f1fa"
PNG_SCALE = 2

Point = tuple[float, float]


class Box(NamedTuple):
    """A node; `x`, `y` is its middle. Start and end are round."""

    name: str
    about: str
    x: float
    y: float
    width: float
    is_round: bool


class Arrow(NamedTuple):
    """An edge along `points`; its head is at the last one."""

    points: tuple[Point, ...]
    is_straight: bool


class Drawing(NamedTuple):
    """Shapes in px."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def write_picture(graph: "Graph", out_file: Path) -> Path:
    """Draw `graph` into `out_file`, an `.svg` or a `.png`.

    Raises:
        BadInput: the file has another ending.
        OperatorError: it cannot be written.
    """
    draw = {".svg": as_svg, ".png": as_png}.get(out_file.suffix.lower())
    if draw is None:
        raise BadInput(f"`{out_file}`: expected a file that ends in `.svg` or `.png`.")
    with disk_errors(out_file):
        out_file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out_file, draw(lay_out(graph)))
    return out_file


def lay_out(graph: "Graph") -> Drawing:
    """Where everything goes."""
    edges = list(dict.fromkeys((edge.source, edge.target) for edge in graph.edges))
    rows = _rows(list(graph.nodes), edges)
    row_of = {name: n for n, row in enumerate(rows) for name in row}
    left, right = _lanes(edges, row_of, down=True), _lanes(edges, row_of, down=False)
    inner = max(sum(_width(name) for name in row) + GAP_PX * (len(row) - 1) for row in rows)
    left_px, right_px = MARGIN_PX + LANE_PX * (len(left) + 1), MARGIN_PX + LANE_PX * (len(right) + 1)
    boxes: dict[str, Box] = {}
    for n, row in enumerate(rows):
        x = left_px + (inner - sum(map(_width, row)) - GAP_PX * (len(row) - 1)) / 2
        for name in row:
            metadata = graph.nodes[name].metadata or {}
            y = MARGIN_PX + BOX_PX / 2 + n * ROW_PX
            is_round = name.startswith("__")
            boxes[name] = Box(_label(name), metadata.get("about", ""), x + _width(name) / 2, y, _width(name), is_round)
            x += _width(name) + GAP_PX
    lane_x: dict[tuple[str, str], float] = {("left", name): left_px - LANE_PX * (n + 1) for n, name in enumerate(left)}
    lane_x |= {("right", name): left_px + inner + LANE_PX * (n + 1) for n, name in enumerate(right)}
    arrows = tuple(_arrow(boxes[a], boxes[b], row_of[b] - row_of[a], b, lane_x) for a, b in edges)
    height = 2 * MARGIN_PX + BOX_PX + ROW_PX * (len(rows) - 1)
    return Drawing(left_px + inner + right_px, height, tuple(boxes.values()), arrows)


def as_svg(drawing: Drawing) -> bytes:
    """The drawing as an SVG file."""
    return "\n".join(_svg(drawing)).encode()


def as_png(drawing: Drawing) -> bytes:
    """The drawing as a PNG file, two pixels a px."""
    import io

    from PIL import Image, ImageDraw, ImageFont

    def scaled(points: Iterable[Point]) -> list[Point]:
        return [(x * PNG_SCALE, y * PNG_SCALE) for x, y in points]

    size = round(drawing.width * PNG_SCALE), round(drawing.height * PNG_SCALE)
    image = Image.new("RGB", size, PAPER)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(FONT_PX * PNG_SCALE)
    for arrow in drawing.arrows:
        colour = INK if arrow.is_straight else SOFT
        pen.line(scaled(arrow.points), fill=colour, width=round(1.4 * PNG_SCALE), joint="curve")
        pen.polygon(scaled(_head(arrow)), fill=colour)
    for box in drawing.boxes:
        corners = scaled([(box.x - box.width / 2, box.y - BOX_PX / 2), (box.x + box.width / 2, box.y + BOX_PX / 2)])
        radius = (BOX_PX / 2 if box.is_round else 6) * PNG_SCALE
        pen.rounded_rectangle([*corners[0], *corners[1]], radius, PAPER if box.is_round else FILL, INK, PNG_SCALE)
        pen.text((box.x * PNG_SCALE, box.y * PNG_SCALE), box.name, fill=INK, font=font, anchor="mm")
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


def _svg(drawing: Drawing) -> Iterator[str]:
    width, height = f"{drawing.width:g}", f"{drawing.height:g}"
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="{FONT_PX}">'
    )
    yield f'<rect width="{width}" height="{height}" fill="{PAPER}"/>'
    for arrow in drawing.arrows:
        colour = INK if arrow.is_straight else SOFT
        yield f'<polyline points="{_written(arrow.points)}" fill="none" stroke="{colour}" stroke-width="1.4"/>'
        yield f'<polygon points="{_written(_head(arrow))}" fill="{colour}"/>'
    for box in drawing.boxes:
        title = f"<title>{escape(box.about)}</title>" if box.about else ""
        yield (
            f'<g>{title}<rect x="{box.x - box.width / 2:g}" y="{box.y - BOX_PX / 2:g}" width="{box.width:g}" '
            f'height="{BOX_PX}" rx="{BOX_PX / 2 if box.is_round else 6:g}" fill="{PAPER if box.is_round else FILL}" '
            f'stroke="{INK}"/><text x="{box.x:g}" y="{box.y:g}" fill="{INK}" text-anchor="middle" '
            f'dominant-baseline="central">{escape(box.name)}</text></g>'
        )
    yield "</svg>\n"


def _rows(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Nodes by the longest way to them along edges that lead to a later node."""
    order = {name: n for n, name in enumerate(names)}
    row: dict[str, int] = {}
    for name in names:
        before = [row[a] for a, b in edges if b == name and order[a] < order[b]]
        row[name] = max(before, default=-1) + 1
    return [[name for name in names if row[name] == n] for n in range(max(row.values()) + 1)]


def _lanes(edges: Sequence[tuple[str, str]], row_of: dict[str, int], *, down: bool) -> list[str]:
    """The targets of edges that skip layers (`down`), or go back."""
    far = [b for a, b in edges if (row_of[b] - row_of[a] > 1 if down else row_of[b] <= row_of[a])]
    return list(dict.fromkeys(far))


def _arrow(source: Box, target: Box, rows: int, name: str, lane_x: dict[tuple[str, str], float]) -> Arrow:
    half = BOX_PX / 2
    if rows == 1:
        return Arrow(((source.x, source.y + half), (target.x, target.y - half)), is_straight=True)
    side = -1 if rows > 1 else 1
    lane = lane_x["left" if rows > 1 else "right", name]
    y, edge = target.y - 8 * side * (1 if rows else -1), target.x + side * target.width / 2
    leave = source.x + side * source.width / 2
    return Arrow(((leave, source.y), (lane, source.y), (lane, y), (edge, y)), is_straight=False)


def _head(arrow: Arrow) -> tuple[Point, Point, Point]:
    (x0, y0), (x, y) = arrow.points[-2:]
    length = max(1e-6, ((x - x0) ** 2 + (y - y0) ** 2) ** 0.5)
    ux, uy = (x - x0) / length * ARROW_PX, (y - y0) / length * ARROW_PX
    return (
        (x, y),
        (x - 1.6 * ux - 0.7 * uy, y - 1.6 * uy + 0.7 * ux),
        (x - 1.6 * ux + 0.7 * uy, y - 1.6 * uy - 0.7 * ux),
    )


def _width(name: str) -> float:
    return max(64.0, len(_label(name)) * CHAR_PX + 24)


def _label(name: str) -> str:
    return {"__start__": "start", "__end__": "end"}.get(name, name)


def _written(points: Iterable[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
