"""Who says what a picture shows: pooled, taken at its word, and corrected."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agents.desk import Answering, Desk

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
    return NetworkLocaliser(lambda image: seen, "measured")


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


def vlm(coverage: float | None = None) -> VlmLocaliser:
    return VlmLocaliser(field_of_view_mm=VIEW_MM, coverage=coverage)


def hybrid() -> HybridLocaliser:
    return HybridLocaliser(network(), weight=1.0)


def test_the_model_alone_sees_places_and_says_how_well_it_does(desk: Desk) -> None:
    seen = vlm().localise(IMAGE, desk.asking(Answering(answer=answers)))
    assert seen.ranking[0] == "T1"
    assert seen.offsets_mm == {n: (5.0, -10.0) if n == "T1" else (0.0, 200.0) for n in LANDMARKS}
    assert seen.sigma_mm == {n: PLACE_SD_MM[0] if n == "T1" else PLACE_SD_MM[1] for n in LANDMARKS}
    assert (seen.coverage, seen.nearest_set, seen.radius_mm) == (None, None, None)
    assert [event.kind for event in desk.events] == ["consulted"] * 15


def test_calibrated_probabilities_give_sets(desk: Desk) -> None:
    seen = vlm(0.75).localise(IMAGE, desk.asking(Answering(answer=answers)))
    assert (seen.coverage, seen.nearest_set) == (0.75, ("T1",))


def test_the_hybrid_is_the_network_but_for_its_posterior(desk: Desk) -> None:
    alone = network("Carina").localise(IMAGE, desk.asking(None, step=1))
    both = HybridLocaliser(network("Carina", ("Carina",)), weight=4.0)
    seen = both.localise(IMAGE, desk.asking(Answering(answer=answers)))
    assert (seen.offsets_mm, seen.sigma_mm, seen.coverage) == (alone.offsets_mm, alone.sigma_mm, 0.95)
    assert seen.ranking[0] == "T1" and seen.nearest_set == ("T1", "Carina")
    assert [event.kind for event in desk.events] == ["measured", "measured", "consulted"]
    uncalibrated = HybridLocaliser(network(nearest_set=None))
    assert uncalibrated.localise(IMAGE, desk.asking(Answering(answer=answers), step=2)).nearest_set is None


@pytest.mark.parametrize("localiser", [vlm(0.95), hybrid()], ids=["vlm", "hybrid"])
def test_what_the_clinician_says_reaches_the_model(desk: Desk, localiser: VlmLocaliser | HybridLocaliser) -> None:
    consult = desk.asking(Answering(answer=answers))
    seen = localiser.localise(IMAGE, consult)
    n_events = len(desk.events)
    assert localiser.revise(IMAGE, seen, PictureFeedback(), consult) is seen and len(desk.events) == n_events
    told = localiser.revise(IMAGE, seen, PictureFeedback(words="that is the carina"), consult)
    assert (seen.ranking[0], told.ranking[0], told.nearest_set) == ("T1", "Carina", None)
    assert told.offsets_mm == seen.offsets_mm


@pytest.mark.parametrize("localiser", [vlm(0.95), hybrid()], ids=["vlm", "hybrid"])
def test_a_rejected_answer_leaves_nothing_behind(desk: Desk, localiser: VlmLocaliser | HybridLocaliser) -> None:
    """The corrector says T1 first, which was denied, so its second guess counts."""
    consult = desk.asking(Answering(answer=answers))
    seen = localiser.localise(IMAGE, consult)
    told = localiser.revise(IMAGE, seen, PictureFeedback(is_rejected=True, denied=("T1",)), consult)
    assert told.nearest["T1"] == 0 and told.ranking[0] == "T12" and told.nearest["T12"] > 0.5
    assert math.fsum(told.nearest.values()) == pytest.approx(1)
    assert desk.events[-1].payload["role"] == "corrector"


def test_the_network_hears_nothing(desk: Desk) -> None:
    consult = desk.asking(None)
    seen = network().localise(IMAGE, consult)
    assert (
        network().revise(IMAGE, seen, PictureFeedback("that is the T12", is_rejected=True, denied=("T1",)), consult)
        is seen
    )
    assert [event.kind for event in desk.events] == ["measured"]
