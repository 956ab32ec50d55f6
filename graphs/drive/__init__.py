"""The drive loop: a car that imagines the frames to come before it acts (VLA-World), closed in a simulator."""

from loopwright.agents.drive.feedback import FEEDBACK
from loopwright.agents.drive.request import read_request
from loopwright.graphs.drive import nodes
from loopwright.graphs.drive.describe import describe
from loopwright.graphs.drive.report import drive_sections
from loopwright.graphs.drive.run import DriveRun, open_world, prepare, roles_of
from loopwright.graphs.drive.view import show
from loopwright.graphs.loop.loop import Loop
from loopwright.tools.drive.imagination import decode_frame, imagine_road
from loopwright.tools.drive.tools import drive, look_at_road, road_status

LOOP = Loop(
    "drive",
    nodes=[nodes.perceive, nodes.predict, nodes.imagine, nodes.think, nodes.verify, nodes.act],
    world=open_world,
    tools=[look_at_road, imagine_road, decode_frame, drive, road_status],
    state=nodes.STATE,
    roles=roles_of,
    feedback=FEEDBACK,
    config=DriveRun,
    prepare=prepare,
    summary="drive a car through simulated traffic, imagining the frames to come before each act",
    describe=describe,
    report=drive_sections,
    show=show,
    request=read_request,
)

__all__ = ["LOOP"]
