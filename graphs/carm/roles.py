"""Who sees and who steers in a run of the C-arm loop."""

from collections.abc import Callable
from typing import Literal

from loopwright.agents.carm.chat_navigator import ChatNavigator
from loopwright.agents.carm.formats import Ladder
from loopwright.agents.carm.localisers import (
    PLACE_SD_MM,
    POOL_WEIGHT,
    HybridLocaliser,
    Localiser,
    NetworkLocaliser,
    VlmLocaliser,
)
from loopwright.agents.carm.navigator import AtlasNavigator, Navigator
from loopwright.agents.consult import Advisor
from loopwright.errors import DeveloperError
from loopwright.models.networks.localisation import Localisation
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
    """The localiser of a run. `see` is the network's answer to a picture; what was fitted to a model, its card says."""
    if name == "network":
        return NetworkLocaliser(see)
    if advisor is None:
        raise DeveloperError(f"The localiser {name!r} asks a model, but this loop was opened without an `advisor`.")
    role, card = advisor.adapter or "", advisor.card
    if name == "hybrid":
        return HybridLocaliser(NetworkLocaliser(see, "measured"), weight=card.pool_weight.get(role, POOL_WEIGHT))
    return VlmLocaliser(
        field_of_view_mm=field_of_view_mm,
        coverage=coverage if role in card.choice_temperature else None,
        place_sd_mm=card.place_sd_mm.get(role, PLACE_SD_MM),
    )


def make_navigator(name: NavigatorName, ladder: Ladder) -> Navigator:
    """The navigator of a run. `ladder` are the steps of one that is a model."""
    return AtlasNavigator() if name == "atlas" else ChatNavigator(ladder=ladder, is_told=name == "vlm")
