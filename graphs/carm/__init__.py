"""The C-arm loop."""

from loopwright.agents.carm.feedback import FEEDBACK
from loopwright.agents.carm.request import read_request
from loopwright.graphs.carm.describe import describe
from loopwright.graphs.carm.nodes import check_way, decide, localise, move, render, review
from loopwright.graphs.carm.report import carm_sections
from loopwright.graphs.carm.roles import roles_of
from loopwright.graphs.carm.run import CArmRun, initial, open_world, prepare, redraw
from loopwright.graphs.carm.view import pointed, show
from loopwright.graphs.loop.loop import Loop
from loopwright.tools.carm.guard import Track
from loopwright.tools.carm.tools import c_arm_status, move_c_arm, take_exposure

LOOP = Loop(
    "carm",
    summary="steer a C-arm over a CT to the anatomy that was asked for",
    nodes=[render, localise, review, decide, move],
    world=open_world,
    tools=[take_exposure, move_c_arm, c_arm_status],
    state={
        "goals": [],
        "reached": [],
        "localisation": {},
        "anchors": [],
        "denied": [],
        "sightings": [],
        "last_seen": [],
        "unknown": 0,
        "words": "",
        "directive": None,
        "decision": {},
        "previous": None,
        "refusals": [],
        "track": Track().model_dump(mode="json"),
        "limits": {},
    },
    roles=roles_of,
    feedback=FEEDBACK,
    guard=check_way,
    config=CArmRun,
    prepare=prepare,
    initial=initial,
    describe=describe,
    report=carm_sections,
    redraw=redraw,
    show=show,
    pointed=pointed,
    request=read_request,
)

__all__ = ["LOOP"]
