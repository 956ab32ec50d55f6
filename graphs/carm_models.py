"""Who sees and who steers in a run of the C-arm loop."""

from collections.abc import Callable
from typing import Literal

from loopwright.agents.carm_localisers import HybridLocaliser, Localiser, NetworkLocaliser, VlmLocaliser
from loopwright.agents.carm_navigator import ChatNavigator
from loopwright.agents.consult import Advisor
from loopwright.agents.navigator import AtlasNavigator, Navigator
from loopwright.models.localisation import Localisation
from loopwright.schema import ImageRef

LocaliserName = Literal["network", "vlm", "hybrid"]
NavigatorName = Literal["atlas", "vlm", "vlm-unaided"]

ADAPTER = "carm"
"""The one adapter that serves all of the C-arm's roles, where a card has it; else the base answers."""


def make_localiser(
    name: LocaliserName,
    see: Callable[[ImageRef], Localisation],
    *,
    field_of_view_mm: float,
    coverage: float,
    advisor: Advisor | None,
) -> Localiser:
    """The localiser of a run. `see` is the network's answer to a picture."""
    match name:
        case "network":
            return NetworkLocaliser(see)
        case "hybrid":
            return HybridLocaliser(NetworkLocaliser(see, "measured"))
        case "vlm":
            is_calibrated = advisor is not None and (advisor.adapter or "") in advisor.card.choice_temperature
            return VlmLocaliser(field_of_view_mm=field_of_view_mm, coverage=coverage if is_calibrated else None)


def make_navigator(name: NavigatorName) -> Navigator:
    """The navigator of a run."""
    return AtlasNavigator() if name == "atlas" else ChatNavigator(is_told=name == "vlm")
