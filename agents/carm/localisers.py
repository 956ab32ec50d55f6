"""Who says what a C-arm picture shows: the network, the vision-language model, or both; and how each is corrected.

Nothing here sees an event log: what a model says comes through an `Asker`, which keeps it.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

from loopwright.agents.asker import Asker
from loopwright.agents.carm.formats import Centred, correction_form
from loopwright.agents.carm.navigator import in_view
from loopwright.agents.carm.places import NEAREST, PLACE
from loopwright.agents.carm.prompts import Doubted, correction_messages, nearest_messages, place_messages, rejected
from loopwright.models.networks.localisation import Localisation
from loopwright.schema import ImageRef
from loopwright.tools.carm.landmarks import LANDMARKS

PLACE_SD_MM = (33.0, 62.0)
"""How much a model's places err along an axis, in the view and beyond it, where its card does not say: as those of
`small`, root mean square over 386 and 2,170 places of 20 validation phantoms (`loopwright eval carm --what fit`)."""

POOL_WEIGHT = 0.2
"""How much a model's posterior counts beside the network's, where its card does not say: the exponent of the pool,
likeliest on the same views."""

CORRECTED_SHARE = 0.6
"""How probable the corrected answer is taken to be. More than a half, so that it is the nearest."""

_LEAST = 1e-12
"""A probability that rounded to nothing; its logarithm is finite."""


class PictureFeedback(NamedTuple):
    """What the clinician said that one picture shows, or does not. `denied` are landmarks not in its middle."""

    words: str = ""
    is_rejected: bool = False
    denied: tuple[str, ...] = ()


class Localiser(Protocol):
    """Says what a picture shows, and says it anew when the clinician knows better."""

    def localise(self, image: ImageRef, asker: Asker) -> Localisation:
        """What the picture shows."""
        ...

    def revise(self, image: ImageRef, seen: Localisation, feedback: PictureFeedback, asker: Asker) -> Localisation:
        """`seen` in the light of `feedback` about the same picture; `seen` itself where that changes nothing."""
        ...


class NetworkLocaliser:
    """The network. It hears nothing: what the clinician says of its pictures is for the navigator."""

    def __init__(self, see: Callable[[ImageRef], Localisation]) -> None:
        self._see = see

    def localise(self, image: ImageRef, asker: Asker) -> Localisation:
        """See `Localiser`."""
        said = asker.external("measured", lambda: self._see(image).model_dump(mode="json"))
        return Localisation.model_validate(said)

    def revise(self, image: ImageRef, seen: Localisation, feedback: PictureFeedback, asker: Asker) -> Localisation:
        """See `Localiser`."""
        return seen


class VlmLocaliser:
    """The model alone: the nearest landmark scored, and each landmark's place asked for, all at the same time."""

    def __init__(
        self, *, field_of_view_mm: float, coverage: float | None, place_sd_mm: tuple[float, float] = PLACE_SD_MM
    ) -> None:
        """Ask for what a picture of `field_of_view_mm` shows.

        Args:
            field_of_view_mm: edge of the square that is seen.
            coverage: of the sets that its probabilities give, where they are calibrated; None: they are not.
            place_sd_mm: how much its places err along an axis, in the view and beyond it.
        """
        self._field_of_view_mm = field_of_view_mm
        self._sd_in_view_mm, self._sd_beyond_mm = place_sd_mm
        self._coverage = coverage

    def localise(self, image: ImageRef, asker: Asker) -> Localisation:
        """See `Localiser`."""
        nearest = _nearest(image, "", asker)

        def ask_place(name: str, each: Asker) -> tuple[float, float]:
            place = each.ask("localiser", place_messages(image, name), PLACE)
            return place.left_mm, place.down_mm

        offsets = dict(zip(LANDMARKS, asker.map(ask_place, LANDMARKS), strict=True))
        seen = {name: in_view(offset, self._field_of_view_mm) for name, offset in offsets.items()}
        return Localisation(
            nearest=nearest,
            offsets_mm=offsets,
            sigma_mm={name: self._sd_in_view_mm if seen[name] else self._sd_beyond_mm for name in LANDMARKS},
            coverage=self._coverage,
            nearest_set=None if self._coverage is None else credible_set(nearest, self._coverage),
        )

    def revise(self, image: ImageRef, seen: Localisation, feedback: PictureFeedback, asker: Asker) -> Localisation:
        """See `Localiser`."""
        return _revised(image, seen, feedback, asker)


class HybridLocaliser:
    """The network's offsets and conformal set, and the pool of both posteriors."""

    def __init__(self, network: NetworkLocaliser, *, weight: float = POOL_WEIGHT) -> None:
        """`weight` is the model's in the pool; the network's is 1."""
        self._network = network
        self._weight = weight

    def localise(self, image: ImageRef, asker: Asker) -> Localisation:
        """See `Localiser`."""
        network = self._network.localise(image, asker)
        nearest = pool(network.nearest, _nearest(image, "", asker), self._weight)
        pooled = network.model_copy(update={"nearest": nearest})
        if not network.nearest_set:  # not calibrated, or too flat for any: what a model adds makes it no surer
            return pooled
        # The set was calibrated for the network. What the pool has first joins it, which can only add coverage.
        members = {pooled.ranking[0], *network.nearest_set}
        return pooled.model_copy(update={"nearest_set": tuple(n for n in pooled.ranking if n in members)})

    def revise(self, image: ImageRef, seen: Localisation, feedback: PictureFeedback, asker: Asker) -> Localisation:
        """See `Localiser`. The network hears nothing, so the model alone answers."""
        return _revised(image, seen, feedback, asker)


def pool(network: Mapping[str, float], model: Mapping[str, float], weight: float) -> dict[str, float]:
    """The logarithmic pool of two posteriors: proportional to network * model ** weight."""
    logs = {n: math.log(max(p, _LEAST)) + weight * math.log(max(model[n], _LEAST)) for n, p in network.items()}
    most = max(logs.values())
    return _normalised({name: math.exp(value - most) for name, value in logs.items()})


def credible_set(posterior: Mapping[str, float], coverage: float) -> tuple[str, ...]:
    """The fewest names that together have a probability of at least `coverage`, the likeliest first."""
    chosen: list[str] = []
    for name in sorted(posterior, key=posterior.__getitem__, reverse=True):
        if math.fsum(posterior[n] for n in chosen) >= coverage:
            break
        chosen.append(name)
    return tuple(chosen)


def _nearest(image: ImageRef, words: str, asker: Asker) -> dict[str, float]:
    return asker.score("localiser", nearest_messages(image, words), LANDMARKS, NEAREST)


def _revised(image: ImageRef, seen: Localisation, feedback: PictureFeedback, asker: Asker) -> Localisation:
    """`seen` with what the model says once it knows the feedback; without any, `seen` itself.

    No set is claimed: nothing was calibrated on pictures that somebody had to explain.
    """
    if feedback.is_rejected:
        nearest = _corrected(image, seen, feedback, asker)
    elif feedback.words:
        nearest = _nearest(image, feedback.words, asker)
    else:
        return seen
    return seen.model_copy(update={"nearest": nearest, "nearest_set": None})


def _corrected(image: ImageRef, seen: Localisation, feedback: PictureFeedback, asker: Asker) -> dict[str, float]:
    """The posterior with the corrector's answer as the nearest, and nothing left of what was denied."""
    first, second = seen.ranking[:2]
    doubted = [Doubted(answer=Centred(landmarks=(first, second)), objection="incorrect", words=feedback.words)]
    answer = asker.ask("corrector", correction_messages(image, doubted), correction_form(rejected(doubted)))
    nearest = next(name for name in (*answer.landmarks, *seen.ranking) if name not in feedback.denied)
    return _moved_to(nearest, seen.nearest, feedback.denied)


def _moved_to(name: str, posterior: Mapping[str, float], denied: Iterable[str]) -> dict[str, float]:
    left = dict(posterior) | dict.fromkeys(denied, 0.0)
    total = sum(left.values())
    share = CORRECTED_SHARE if total > 0 else 1.0
    moved = {n: (1 - share) * p / total if total > 0 else 0.0 for n, p in left.items()}
    return moved | {name: moved[name] + share}


def _normalised(weights: Mapping[str, float]) -> dict[str, float]:
    total = math.fsum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
