"""Drawing a loop's graph: every node has its box, every edge an arrow from box to box, and nothing lies on another."""

from itertools import combinations

import pytest
from tests.loops.kiln import kiln, nested
from tests.loops.thermostat import thermostat

from loopwright.graphs.drawing import BOX_PX, Drawing, as_svg, lay_out
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import State
from loopwright.graphs.loop.loop import Loop


def drawn(loop: Loop) -> Drawing:
    return lay_out(loop.graph.get_graph())


@pytest.mark.parametrize("loop", [thermostat, kiln, nested], ids=lambda loop: loop.name)
def test_boxes_and_arrows(loop: Loop) -> None:
    graph, drawing = loop.graph.get_graph(), drawn(loop)
    assert {box.name for box in drawing.boxes} == {"start", "end", *loop.all_nodes}
    assert len(drawing.arrows) == len({(edge.source, edge.target) for edge in graph.edges})
    for one, other in combinations(drawing.boxes, 2):
        apart_x = abs(one.x - other.x) - (one.width + other.width) / 2
        assert apart_x > 0 or abs(one.y - other.y) > BOX_PX
    for arrow in drawing.arrows:
        for x, y in (arrow.points[0], arrow.points[-1]):
            assert any(
                abs(x - box.x) <= box.width / 2 + 0.01 and abs(y - box.y) <= BOX_PX / 2 + 0.01 for box in drawing.boxes
            )
        assert all(0 < x < drawing.width and 0 < y < drawing.height for x, y in arrow.points)


def test_nodes_that_run_at_once_lie_side_by_side() -> None:
    at = {box.name: box for box in drawn(kiln).boxes}
    assert at["guess"].y == at["dream"].y < at["decide"].y


def test_what_an_author_wrote_is_escaped() -> None:
    def odd(state: State, ctx: Context) -> None:
        """Is <b>bold</b>."""
        ctx.end("succeeded", "")

    assert b"&lt;b&gt;" in as_svg(drawn(Loop("odd", nodes=[odd])))
