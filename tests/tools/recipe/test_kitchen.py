"""Simulated dishes: what may be in them, their instructions, and the exact posterior of their labels."""

from collections import Counter
from collections.abc import Iterator
from itertools import product
from typing import Any, cast

import numpy as np
import pytest

from loopwright.errors import BadInput
from loopwright.tools.recipe.extract import kitchen_vocabularies, labels_of_recipe, labels_of_text
from loopwright.tools.recipe.kitchen.draws import Draws
from loopwright.tools.recipe.kitchen.instructions import write_recipe
from loopwright.tools.recipe.kitchen.pantry import Appearance, Kitchen, bundled_kitchen, kitchen_of
from loopwright.tools.recipe.kitchen.plan import Evidence, Plan, Used, plan_dish, seeds_of
from loopwright.tools.recipe.kitchen.posterior import Reader, bundled_reader

N_PLANS = 2000
SMALL: dict[str, Any] = {
    "counts": {"min": 1, "max": 2, "mean": 1.5},
    "zipf": 0.5,
    "kinds": {
        "salad": {
            "vessel": "bowl",
            "clarity": 0.9,
            "likes": {"green": 3},
            "finishes": {"dust": 0.3},
            "layouts": {"": 1},
        },
        "soup": {
            "vessel": "bowl",
            "clarity": 0.5,
            "likes": {},
            "finishes": {"sift": 0.4},
            "layouts": {"": 1, "toss": 2},
        },
        "toast": {"vessel": "board", "clarity": 1.0, "likes": {}, "finishes": {}, "layouts": {"": 1}},
    },
    "actions": {
        "cut": {"dice": "cubes", "cube": "cubes"},
        "heat": {"boil": "bubbles"},
        "coat": {},
        "finish": {"dust": "powder", "sift": "powder"},
        "layout": {"toss": "scattered"},
    },
    "families": {"green": {"": 1, "dice boil": 2}, "other": {"cube": 1, "boil": 1}},
    "ingredients": {"kale": ["green", "leaf", 0.9], "chard": ["other", "leaf", 0.6], "salt": ["other", "white", 0.3]},
    "looks": {name: ["102030", "405060", "plain", "leaf"] for name in ("leaf", "white")},
    "countable": [],
}


@pytest.fixture(scope="module")
def plans() -> list[Plan]:
    return [plan_dish(bundled_kitchen(), seed) for seed in range(N_PLANS)]


def test_the_kitchen_is_as_large_as_it_has_to_be() -> None:
    kitchen = bundled_kitchen()
    assert len(kitchen.ingredients) >= 60
    assert len(kitchen.actions) >= 40
    assert {item.ways[0].sight.look for item in kitchen.items if isinstance(item.ways[0].sight, Appearance)} == set(
        kitchen.looks
    )


def test_a_seed_is_a_dish_for_ever() -> None:
    labels = plan_dish(bundled_kitchen(), 7).labels
    assert labels == plan_dish(bundled_kitchen(), 7).labels
    assert sorted(labels.ingredients) == ["butter", "cheddar", "cream", "egg", "lemon", "onion", "shallot"]
    assert [Draws(3, 0).below(1000), Draws(3, 1).below(1000)] == [85, 253]


def test_labels_have_a_long_tail_and_go_together(plans: list[Plan]) -> None:
    counts = Counter(name for plan in plans for name in plan.labels.ingredients)
    ordered = [count for _, count in counts.most_common()]
    assert counts.keys() == set(bundled_kitchen().ingredients)
    assert ordered[0] > 8 * ordered[len(ordered) // 2] and ordered[0] > 20 * ordered[-1]
    with_spaghetti = [plan for plan in plans if "spaghetti" in plan.labels.ingredients]
    cheesy = [bool({"cheddar", "mozzarella", "gouda"} & plan.labels.ingredients) for plan in plans]
    together = [bool({"cheddar", "mozzarella", "gouda"} & plan.labels.ingredients) for plan in with_spaghetti]
    assert np.mean(together) > 1.3 * np.mean(cheesy)
    assert {len(plan.labels.ingredients) for plan in plans} == set(range(3, 10))


def test_parts_share_no_dish_and_are_not_endless() -> None:
    assert not set(seeds_of("train", 10)) & set(seeds_of("test", 10))
    with pytest.raises(BadInput, match="1000000"):
        seeds_of("train", 1_000_001)


def test_instructions_say_every_label_and_no_other(plans: list[Plan]) -> None:
    """Labels to text to labels, by the extractors that read real recipes: exact, N = 2,000."""
    known = kitchen_vocabularies()
    for seed, plan in enumerate(plans):
        recipe = write_recipe(bundled_kitchen(), plan, seed)
        assert labels_of_text(recipe.instructions, known) == plan.labels, recipe
        assert labels_of_recipe(recipe, known) == plan.labels, recipe
        assert len(recipe.instructions) >= 2


def all_plans(kitchen: Kitchen) -> Iterator[tuple[Plan, float]]:
    """Every dish of a small kitchen, and its probability up to a factor for each kind."""
    for kind, name in enumerate(kitchen.kinds):
        choices = [
            [None, *product(item.ways, item.weights[kind], (False, True))] if item.odds[kind] else [None]
            for item in kitchen.items
        ]
        found: list[tuple[Plan, float]] = []
        for state in product(*choices):
            weight = 1.0
            used: list[Any] = []
            for item, choice in zip(kitchen.items, state, strict=True):
                if choice is None:
                    weight *= 1 - item.odds[kind]
                    continue
                way, share, is_seen = cast(tuple[Any, float, bool], choice)
                if share != item.weights[kind][item.ways.index(way)]:
                    weight = 0.0
                weight *= item.odds[kind] * share * (item.seen[kind] if is_seen else 1 - item.seen[kind])
                used.append(Used(item, way, is_seen))
            n_ingredients = sum(one.item.is_ingredient for one in used)
            if weight and kitchen.fewest <= n_ingredients <= kitchen.most:
                found.append((Plan(name, kitchen.vessels[kind], tuple(used)), weight))
        total = sum(weight for _, weight in found)
        yield from ((plan, kitchen.kind_odds[kind] * weight / total) for plan, weight in found)


def test_the_posterior_is_what_counting_every_dish_gives() -> None:
    """For every evidence of a small kitchen, to 12 digits; with look-alikes, hidden items and bounded counts."""
    pantry = SMALL | {"families": {"green": {"": 1, "dice boil": 2}, "other": {"cube": 1, "boil": 3}}}
    kitchen = kitchen_of(pantry)
    reader = Reader(kitchen)
    by_evidence: dict[Evidence, list[tuple[Plan, float]]] = {}
    for plan, odds in all_plans(kitchen):
        by_evidence.setdefault(plan.evidence, []).append((plan, odds))
    assert sum(odds for found in by_evidence.values() for _, odds in found) == pytest.approx(1)
    for evidence, found in by_evidence.items():
        posterior = reader.read(evidence)
        total = sum(odds for _, odds in found)
        assert posterior.evidence == pytest.approx(total, rel=1e-12)
        for name, odds in posterior.ingredients.items():
            assert odds == pytest.approx(sum(o for p, o in found if name in p.labels.ingredients) / total, abs=1e-12)
        for name, odds in posterior.actions.items():
            assert odds == pytest.approx(sum(o for p, o in found if name in p.labels.actions) / total, abs=1e-12)
        for name, odds in posterior.kinds.items():
            assert odds == pytest.approx(sum(o for p, o in found if name == p.kind) / total, abs=1e-12)


@pytest.mark.parametrize("n_dishes", [150, pytest.param(2000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_the_posterior_of_the_bundled_kitchen_is_calibrated(plans: list[Plan], n_dishes: int) -> None:
    """145 probabilities a dish: in each tenth, labels are true as often as was said, within 4 standard errors."""
    said: list[float] = []
    true: list[bool] = []
    for plan in plans[:n_dishes]:
        posterior = bundled_reader().read(plan.evidence)
        for odds, labels in (
            (posterior.actions, plan.labels.actions),
            (posterior.ingredients, plan.labels.ingredients),
        ):
            said += odds.values()
            true += [name in labels for name in odds]
    p, y = np.array(said), np.array(true)
    assert len(p) == n_dishes * (len(bundled_kitchen().actions) + len(bundled_kitchen().ingredients))
    assert y[p == 0].sum() == 0 and y[p > 1 - 1e-9].all()
    for tenth in range(10):
        inside = (p >= tenth / 10) & (p < (tenth + 1) / 10)
        error = np.sqrt((p * (1 - p))[inside].sum())
        assert abs(y[inside].sum() - p[inside].sum()) < 4 * error, tenth
    assert ((y - p) ** 2).mean() < 0.5 * ((y - y.mean()) ** 2).mean(), "the picture tells much"


def test_look_alikes_are_told_by_what_is_with_them() -> None:
    """White crystals are salt or sugar: in a tin with flour rather sugar, in a bowl with stock rather salt."""
    crystals = Appearance("white_crystals")
    cake = bundled_reader().read(Evidence("tin", frozenset({crystals, Appearance("white_powder"), "rosettes"})))
    soup = bundled_reader().read(Evidence("bowl", frozenset({crystals, Appearance("broth", heat="bubbles")})))
    assert cake.ingredients["sugar"] > 0.8 > 0.4 > soup.ingredients["sugar"]
    assert soup.ingredients["salt"] > 0.8
    assert soup.ingredients["garlic"] > 0.02, "what is not seen may still be there"


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence("bucket", frozenset()),
        Evidence("plate", frozenset({Appearance("plutonium")})),
        Evidence("plate", frozenset({"rosettes"})),
    ],
)
def test_what_no_dish_shows_is_refused(evidence: Evidence) -> None:
    with pytest.raises(BadInput, match="cannot come from a dish"):
        bundled_reader().read(evidence)
