"""Pictures of dishes: the same bytes everywhere, every look and cue its own, and labels that pixels really show."""

import hashlib
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from loopwright.errors import BadInput
from loopwright.tools.recipe.kitchen.drawing import draw
from loopwright.tools.recipe.kitchen.pantry import Appearance, Sight, bundled_kitchen
from loopwright.tools.recipe.kitchen.plan import Evidence, Plan, plan_dish

DIGESTS = {
    0: "2895680c3960a77e",
    3: "9fe09f223aab4da5",
    7: "37ee29e2589678b6",
    11: "b4de593c15bd60b1",
    2_000_000: "9d1640e934ace904",
}
LEAST_DIFFERENCE = 120
"""Colour differences summed over the pixels of two pictures, in units of one channel from black to white."""


def picture(plan: Plan, seed: int, size_px: int = 128) -> NDArray[np.uint8]:
    return draw(bundled_kitchen(), plan.evidence, seed, size_px=size_px)


@pytest.mark.parametrize(("seed", "digest"), DIGESTS.items())
def test_a_dish_has_these_very_bytes(seed: int, digest: str) -> None:
    image = picture(plan_dish(bundled_kitchen(), seed), seed)
    assert image.shape == (128, 128, 3) and image.dtype == np.uint8
    assert hashlib.sha256(image.tobytes()).hexdigest()[:16] == digest


def test_a_picture_depends_on_what_is_to_be_seen_and_on_chance_alone() -> None:
    """Two dishes with one evidence have one picture, whatever else is in them."""
    plan = plan_dish(bundled_kitchen(), 5)
    hidden = plan._replace(kind="soup", used=tuple(used for used in plan.used if used.is_seen))
    assert hidden.evidence == plan.evidence
    assert (picture(plan, 5) == picture(hidden, 5)).all()
    assert (picture(plan, 5) != picture(plan, 6)).any()


@pytest.mark.parametrize("size_px", [32, 64, 200, 300])
def test_pictures_of_any_size(size_px: int) -> None:
    assert picture(plan_dish(bundled_kitchen(), 1), 1, size_px).shape == (size_px, size_px, 3)


@pytest.mark.parametrize("size_px", [0, 31, 4096])
def test_sizes_that_show_nothing_or_fill_the_memory_are_refused(size_px: int) -> None:
    with pytest.raises(BadInput, match="expected 32 to 1024"):
        picture(plan_dish(bundled_kitchen(), 1), 1, size_px)


def shown(*sights: Sight) -> NDArray[np.int64]:
    return draw(bundled_kitchen(), Evidence("plate", frozenset(sights)), 3).astype(np.int64)


def appearances(field: str) -> list[Appearance]:
    """One ingredient with every cue of a field."""
    sights = [way.sight for item in bundled_kitchen().items for way in item.ways]
    cues = {getattr(sight, field) for sight in sights if isinstance(sight, Appearance)}
    return [Appearance("carrot_orange")._replace(**{field: cue}) for cue in sorted(cues)]


@pytest.mark.parametrize(
    "sights",
    [
        [Appearance(look) for look in bundled_kitchen().looks],
        appearances("cut"),
        appearances("heat"),
        appearances("coat"),
        sorted({way.sight for item in bundled_kitchen().items for way in item.ways if isinstance(way.sight, str)}),
    ],
    ids=["looks", "cuts", "heats", "coats", "finishes"],
)
def test_no_two_sights_look_alike(sights: list[Sight]) -> None:
    """So whoever reads pictures perfectly knows the evidence, and the posterior is what can be reached."""
    drawn = {
        sight: shown(sight) if isinstance(sight, Appearance) else shown(sight, Appearance("rice_white"))
        for sight in sights
    }
    different = {pair: int(abs(drawn[pair[0]] - drawn[pair[1]]).sum()) // 255 for pair in combinations(sights, 2)}
    closest = min(different, key=lambda pair: different[pair])
    assert different[closest] > LEAST_DIFFERENCE, closest


def features(plan: Plan, seed: int) -> NDArray[np.float64]:
    """How much of a picture has each of 1,000 colours, and of 64 strengths and directions of edges."""
    image = picture(plan, seed).astype(np.int64)
    tens = np.minimum(image // 26, 9)
    colours = np.bincount((tens @ np.array([100, 10, 1])).ravel(), minlength=1000)
    grey = image.sum(2)
    down, right = np.diff(grey, axis=0)[:, :-1], np.diff(grey, axis=1)[:-1]
    edges = np.bincount(
        (np.clip((down + 400) // 100, 0, 7) * 8 + np.clip((right + 400) // 100, 0, 7)).ravel(), minlength=64
    )
    return np.asarray(np.sqrt(np.concatenate([colours, edges])), dtype=np.float64)


def area_under_curve(score: NDArray[np.float64], is_true: NDArray[np.bool_]) -> float:
    wins = score[is_true][:, None] - score[~is_true][None]
    return float(((wins > 0) + 0.5 * (wins == 0)).mean())


@pytest.mark.parametrize(
    ("train", "test"), [(180, 90), pytest.param(1000, 500, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_a_simple_classifier_reads_labels_off_the_pixels(train: int, test: int) -> None:
    """Ridge regression on histograms of pictures, tried on others: mean AUC over labels that 6 or more of them have."""
    plans = [plan_dish(bundled_kitchen(), seed) for seed in range(train + test)]
    x = np.stack([features(plan, seed) for seed, plan in enumerate(plans)])
    x = (x - x[:train].mean(0)) / (x[:train].std(0) + 1e-3 * x.std())
    kernel = x @ x.T
    inverse = np.linalg.inv(kernel[:train, :train] + 0.3 * np.trace(kernel) / len(x) * np.eye(train))
    for names, field, least in (
        (bundled_kitchen().ingredients, "ingredients", 0.7),
        (bundled_kitchen().actions, "actions", 0.65),
    ):
        truth = np.array([[name in getattr(plan.labels, field) for name in names] for plan in plans])
        scores = kernel[train:, :train] @ inverse @ (truth[:train] - truth[:train].mean(0))
        common = [i for i in range(len(names)) if 6 <= truth[train:, i].sum() <= test - 6]
        areas = [area_under_curve(scores[:, i], truth[train:, i]) for i in common]
        shuffled = [area_under_curve(scores[::-1, i], truth[train:, i]) for i in common]
        assert len(common) >= 20
        assert np.mean(areas) > least, (field, np.mean(areas))
        assert 0.42 < np.mean(shuffled) < 0.58
