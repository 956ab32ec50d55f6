"""Who says what was done to a dish and what is in it: a model that is asked, or a small network that looks."""

from typing import TYPE_CHECKING, Any

from loopwright.agents.recipe.judge import LabelSet, Prediction
from loopwright.agents.recipe.predictor import predict_by_model
from loopwright.graphs.loop.context import Context
from loopwright.schema import ImageRef
from loopwright.tools.pictures import read_picture
from loopwright.tools.recipe.extract import Vocabularies
from loopwright.tools.recipe.vocabulary import Vocabulary

if TYPE_CHECKING:
    from loopwright.models.networks.recipe import DishRecogniser


def predict(what: LabelSet, image: ImageRef | None, ctx: Context) -> dict[str, Any]:
    """The `Prediction`, as JSON, of one set of labels, on record as `predicted`; only a recipe needs no picture."""
    match ctx.config.predictor:
        case "network":
            found = ctx.external("predicted", lambda: _told(what, _recognised(what, image, ctx)))
        case "recipe":
            found = ctx.computed("predicted", _told(what, Prediction(labels=ctx.prepared["truth"][what])))
        case _:
            found = ctx.computed(
                "predicted", _told(what, predict_by_model(what, image, getattr(known_of(ctx), what), ctx))
            )
    return {name: value for name, value in found.items() if name != "what"}


def _told(what: LabelSet, found: Prediction) -> dict[str, Any]:
    return {"what": what, **found.model_dump(mode="json")}


def known_of(ctx: Context) -> Vocabularies:
    """The labels that the run's dish may have."""
    return Vocabularies(*(Vocabulary.model_validate(ctx.prepared["known"][what]) for what in Vocabularies._fields))


def look_again(image: ImageRef, ctx: Context) -> dict[LabelSet, dict[str, float]]:
    """What the bundled network sees in turned views of the picture, on record as `looked_again`; {} of a photo
    and of a drawing that is unlike all that it learnt from.
    """

    def look() -> dict[str, Any]:
        found = _network().recognise(read_picture(ctx.runtime.memory.blobs, image), turned=True)
        is_drawn = ctx.prepared["is_drawn"]
        return {what: one.odds if one.is_familiar and is_drawn else {} for what, one in found.items()}

    found: dict[LabelSet, dict[str, float]] = ctx.external("looked_again", look)  # type: ignore[assignment]
    return found


def _recognised(what: LabelSet, image: ImageRef | None, ctx: Context) -> Prediction:
    """What the bundled network sees. It learnt from drawings alone, so that no photo is familiar to it."""
    assert image is not None, "without a picture there is nothing to recognise"
    found = _network().recognise(read_picture(ctx.runtime.memory.blobs, image))[what]
    is_familiar = found.is_familiar and ctx.prepared["is_drawn"]
    return Prediction(labels=found.labels, odds=found.odds, is_familiar=is_familiar)


def _network() -> "DishRecogniser":
    from loopwright.models.networks.recipe import bundled_network  # torch: seconds that only a run has to spend

    return bundled_network()
