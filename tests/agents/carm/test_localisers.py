"""Who says what a picture shows: pooled, taken at its word, and corrected."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agents.asking import Answering, ModelAsker

from loopwright.agents.carm.localisers import (
    PLACE_SD_MM,
    HybridLocaliser,
    NetworkLocaliser,
    PictureFeedback,
    VlmLocaliser,
    credible_set,
    pool,
)
from loopwright.models.networks.localisation import Localisation
from loopwright.schema import ImageRef
from loopwright.tools.carm.landmarks import LANDMARKS

IMAGE = ImageRef(sha256="a" * 64, width_px=128, height_px=128)
VIEW_MM = 154.8

posteriors = st.lists(st.floats(1e-9, 1), min_size=14, max_size=14).map(
    lambda weights: {n: w / math.fsum(weights) for n, w in zip(LANDMARKS, weights, strict=True)}
)


def network(sure_of: str = "T1", nearest_set: tuple[str, ...] | None = ("T1", "Carina")) -> NetworkLocaliser:
    posterior = {n: 0.87 if n == sure_of else 0.01 for n in LANDMARKS}
    seen = Localisation(
        nearest=posterior,
        offsets_mm=dict.fromkeys(LANDMARKS, (3.0, 4.0)),
        sigma_mm=dict.fromkeys(LANDMARKS, 5.0),
        coverage=0.95 if nearest_set else None,
        nearest_set=nearest_set,
    )
    return NetworkLocaliser(lambda image: seen)


@given(posteriors, posteriors, st.floats(0, 4))
def test_a_pool_is_a_posterior_that_both_have_a_say_in(
    one: dict[str, float], other: dict[str, float], weight: float
) -> None:
    pooled = pool(one, other, weight)
    assert math.fsum(pooled.values()) == pytest.approx(1)
    expected = {n: one[n] * other[n] ** weight for n in LANDMARKS}
    total = math.fsum(expected.values())
    assert pooled == pytest.approx({n: p / total for n, p in expected.items()}, abs=1e-6)
    assert pool(one, other, 0) == pytest.approx(one)


def test_certainty_against_certainty_is_no_division_by_zero() -> None:
    one, other = ({n: float(n == name) for n in LANDMARKS} for name in ("T1", "T12"))
    assert math.fsum(pool(one, other, 1).values()) == pytest.approx(1)


@given(posteriors, st.floats(0.01, 0.99))
def test_a_credible_set_covers_and_could_not_be_smaller(posterior: dict[str, float], coverage: float) -> None:
    chosen = credible_set(posterior, coverage)
    assert math.fsum(posterior[n] for n in chosen) >= coverage - 1e-9
    assert math.fsum(posterior[n] for n in chosen[:-1]) < coverage
    assert min(posterior[n] for n in chosen) >= max((posterior[n] for n in LANDMARKS if n not in chosen), default=0)


def answers(question: str) -> str:
    """Over T1, unless the clinician says something else."""
    if "Which landmark" in question:
        return "Carina" if "The clinician says" in question else "T1"
    if "<visual_reasoning>" in question:
        return "<response><visual_reasoning>Ribs.</visual_reasoning><landmarks>[10,14]</landmarks></response>"
    return "left 5 mm, up 10 mm" if "the T1?" in question else "down 200 mm"


def told_by_model() -> ModelAsker:
    return ModelAsker(Answering(answer=answers))


def vlm(coverage: float | None = None) -> VlmLocaliser:
    return VlmLocaliser(field_of_view_mm=VIEW_MM, coverage=coverage)


def hybrid() -> HybridLocaliser:
    return HybridLocaliser(network(), weight=1.0)


def test_the_model_alone_sees_places_and_says_how_well_it_does() -> None:
    asker = told_by_model()
    seen = vlm().localise(IMAGE, asker)
    assert seen.ranking[0] == "T1"
    assert seen.offsets_mm == {n: (5.0, -10.0) if n == "T1" else (0.0, 200.0) for n in LANDMARKS}
    assert seen.sigma_mm == {n: PLACE_SD_MM[0] if n == "T1" else PLACE_SD_MM[1] for n in LANDMARKS}
    assert (seen.coverage, seen.nearest_set, seen.radius_mm) == (None, None, None)
    assert asker.asked == ["localiser"] * 15


def test_calibrated_probabilities_give_sets() -> None:
    seen = vlm(0.75).localise(IMAGE, told_by_model())
    assert (seen.coverage, seen.nearest_set) == (0.75, ("T1",))


def test_the_hybrid_is_the_network_but_for_its_posterior() -> None:
    alone = network("Carina").localise(IMAGE, ModelAsker())
    both = HybridLocaliser(network("Carina", ("Carina",)), weight=4.0)
    asker = told_by_model()
    seen = both.localise(IMAGE, asker)
    assert (seen.offsets_mm, seen.sigma_mm, seen.coverage) == (alone.offsets_mm, alone.sigma_mm, 0.95)
    assert seen.ranking[0] == "T1" and seen.nearest_set == ("T1", "Carina")
    assert asker.asked == ["measured", "localiser"]
    uncalibrated = HybridLocaliser(network(nearest_set=None))
    assert uncalibrated.localise(IMAGE, told_by_model()).nearest_set is None


@pytest.mark.parametrize("localiser", [vlm(0.95), hybrid()], ids=["vlm", "hybrid"])
def test_what_the_clinician_says_reaches_the_model(localiser: VlmLocaliser | HybridLocaliser) -> None:
    asker = told_by_model()
    seen = localiser.localise(IMAGE, asker)
    n_asked = len(asker.asked)
    assert localiser.revise(IMAGE, seen, PictureFeedback(), asker) is seen and len(asker.asked) == n_asked
    told = localiser.revise(IMAGE, seen, PictureFeedback(words="that is the carina"), asker)
    assert (seen.ranking[0], told.ranking[0], told.nearest_set) == ("T1", "Carina", None)
    assert told.offsets_mm == seen.offsets_mm


@pytest.mark.parametrize("localiser", [vlm(0.95), hybrid()], ids=["vlm", "hybrid"])
def test_a_rejected_answer_leaves_nothing_behind(localiser: VlmLocaliser | HybridLocaliser) -> None:
    """The corrector says T1 first, which was denied, so its second guess counts."""
    asker = told_by_model()
    seen = localiser.localise(IMAGE, asker)
    told = localiser.revise(IMAGE, seen, PictureFeedback(is_rejected=True, denied=("T1",)), asker)
    assert told.nearest["T1"] == 0 and told.ranking[0] == "T12" and told.nearest["T12"] > 0.5
    assert math.fsum(told.nearest.values()) == pytest.approx(1)
    assert asker.asked[-1] == "corrector"


def test_the_network_hears_nothing() -> None:
    asker = ModelAsker()
    seen = network().localise(IMAGE, asker)
    assert (
        network().revise(IMAGE, seen, PictureFeedback("that is the T12", is_rejected=True, denied=("T1",)), asker)
        is seen
    )
    assert asker.asked == ["measured"]
