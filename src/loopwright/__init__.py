"""Loopwright: closed perception-action loops run by agents."""

from importlib.metadata import version

__version__ = version("loopwright")
__all__ = ["__version__"]
