"""Who sees and who steers in a run of the C-arm loop."""

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
from loopwright.graphs.carm.run import CArmRun, carm_network
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import Role
from loopwright.models.background import until_halted
from loopwright.models.networks.localisation import Localisation
from loopwright.schema import ImageRef
from loopwright.tools.pictures import read_picture

ADAPTER = "carm"
"""The one adapter that serves all of the C-arm's roles, where a card has it; else the base answers."""


def roles_of(run: CArmRun) -> dict[str, Role]:
    """The models that a run asks."""
    sees = ("localiser", "corrector") if run.localiser != "network" else ()
    steers = ("navigator",) if run.navigator != "atlas" else ()
    return dict.fromkeys((*sees, *steers), Role(card=run.model, adapter=ADAPTER))


def network_sees(ctx: Context, image: ImageRef) -> Localisation:
    """The network's answer to a picture."""
    network = until_halted(carm_network, ctx.runtime.cancel)  # it takes seconds to load
    return network.localise(read_picture(ctx.runtime.memory.blobs, image), ctx.config.coverage)


def make_localiser(ctx: Context) -> Localiser:
    """The localiser of a run. What was fitted to a model, its card says."""
    run: CArmRun = ctx.config
    network = NetworkLocaliser(lambda image: network_sees(ctx, image))
    if run.localiser == "network":
        return network
    model = ctx.runtime.model("localiser")
    card, role = model.card, model.facts["adapter"] or ""
    if run.localiser == "hybrid":
        return HybridLocaliser(network, weight=card.pool_weight.get(role, POOL_WEIGHT) if card else POOL_WEIGHT)
    return VlmLocaliser(
        field_of_view_mm=ctx.prepared["field_of_view_mm"],
        coverage=run.coverage if card and role in card.choice_temperature else None,
        place_sd_mm=card.place_sd_mm.get(role, PLACE_SD_MM) if card else PLACE_SD_MM,
    )


def make_navigator(run: CArmRun) -> Navigator:
    """The navigator of a run."""
    if run.navigator == "atlas":
        return AtlasNavigator()
    return ChatNavigator(ladder=Ladder.of(run.ladder), is_told=run.navigator == "vlm")
