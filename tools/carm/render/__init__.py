"""Digitally reconstructed radiographs: one protocol, several renderers, the same pose giving the same picture."""

from collections.abc import Callable

from loopwright.errors import UnknownName
from loopwright.tools.carm.geometry import Optics
from loopwright.tools.carm.render.attenuation import attenuation_per_mm
from loopwright.tools.carm.render.base import Renderer
from loopwright.tools.carm.render.picture import to_uint8
from loopwright.tools.carm.volume import Volume

__all__ = ["RENDERERS", "Renderer", "attenuation_per_mm", "make_renderer", "to_uint8"]


def _numba(volume: Volume, optics: Optics) -> Renderer:
    from loopwright.tools.carm.render.numba_renderer import NumbaRenderer

    return NumbaRenderer(volume, optics)


def _nanodrr(volume: Volume, optics: Optics) -> Renderer:
    from loopwright.tools.carm.render.nanodrr_renderer import NanodrrRenderer

    return NanodrrRenderer(volume, optics)


def _deepdrr(volume: Volume, optics: Optics) -> Renderer:
    from loopwright.settings import settings
    from loopwright.tools.carm.render.deepdrr import DeepDRRRenderer

    return DeepDRRRenderer(volume, optics, settings().carm.deepdrr_python)


RENDERERS: dict[str, Callable[[Volume, Optics], Renderer]] = {
    "numba": _numba,
    "nanodrr": _nanodrr,
    "deepdrr": _deepdrr,
}
"""How each renderer is made; what it needs is imported only then."""


def make_renderer(name: str, volume: Volume, optics: Optics) -> Renderer:
    """The renderer called `name`, ready to draw `volume`.

    Raises:
        UnknownName: not one of RENDERERS.
        MissingDependency: what it needs is not here; the message holds the command that adds it.
    """
    if name not in RENDERERS:
        raise UnknownName("renderer", name, RENDERERS)
    return RENDERERS[name](volume, optics)
