"""The surgery loop."""

from loopwright.graphs.surgery.run import LOOP

__all__ = ["LOOP"]
