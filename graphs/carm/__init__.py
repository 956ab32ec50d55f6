"""The C-arm loop."""

from loopwright.graphs.carm.run import LOOP

__all__ = ["LOOP"]
