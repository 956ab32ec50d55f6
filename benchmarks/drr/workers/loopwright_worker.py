"""Ours."""

from serving import serve

from loopwright.tools.carm.geometry import Optics, Pose
from loopwright.tools.carm.render import make_renderer
from loopwright.tools.carm.volume import Volume


def prepare(volume):
    """Through the public door, pose and all."""
    ct = Volume(hounsfield=volume["hounsfield"], affine_world=volume["affine_world"], name="benchmark")
    renderer = make_renderer("numba", ct, Optics())
    return lambda view: renderer.render(Pose(**view["pose"]), view["size_px"])


serve(prepare)
