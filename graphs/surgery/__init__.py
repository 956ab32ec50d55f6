"""The surgery loop: what comes next, clip by clip of a video, foreseen with reasons and checked against what came.

After LLM-SAP (Xu et al. 2025, section 2): a near-history focus memory, a plan of three ranked actions with progress,
safety and reasons. Beside it a surgeon who may speak at any moment, rules that annotate and never reorder, and a score
of every plan against what really came next.
"""

from loopwright.agents.surgery.feedback import FEEDBACK
from loopwright.agents.surgery.request import read_request
from loopwright.graphs.loop.config import Budget
from loopwright.graphs.loop.loop import Loop
from loopwright.graphs.surgery import nodes
from loopwright.graphs.surgery.describe import describe
from loopwright.graphs.surgery.report import show, surgery_sections
from loopwright.graphs.surgery.run import SurgeryRun, prepare, redraw, roles_of
from loopwright.tools.surgery.tools import MAX_CLIPS, next_clip, record_plan, show_clip
from loopwright.tools.surgery.world import SurgicalVideoWorld

LOOP = Loop(
    "surgery",
    nodes=[nodes.observe, nodes.recall, nodes.caption, nodes.plan, nodes.validate, nodes.review, nodes.record],
    world=SurgicalVideoWorld,
    tools=[show_clip, record_plan, next_clip],
    state=nodes.STATE,
    roles=roles_of,
    feedback=FEEDBACK,
    guard=nodes.spare_unsafe,
    budget=Budget(steps=MAX_CLIPS),
    config=SurgeryRun,
    prepare=prepare,
    initial=lambda config, prepared: {"goal": prepared["goal"]},
    summary="foresee what a surgeon does next, clip by clip of a video, and say why",
    describe=describe,
    report=surgery_sections,
    redraw=redraw,
    show=show,
    request=read_request,
)

__all__ = ["LOOP"]
