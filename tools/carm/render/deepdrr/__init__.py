"""DeepDRR behind a pipe: it wants CUDA and packages that cannot live beside ours, so it gets a process of its own."""

from loopwright.tools.carm.render.deepdrr.renderer import DeepDRRRenderer
from loopwright.tools.carm.render.deepdrr.setup import set_up

__all__ = ["DeepDRRRenderer", "set_up"]
