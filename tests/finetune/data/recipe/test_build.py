"""Conversations about simulated dishes: the loop's own prompts, answers in its forms, pictures beside them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loopwright.agents.recipe.formats import INSTRUCTIONS, actions_form, ingredients_form
from loopwright.agents.recipe.verify import check
from loopwright.errors import BadInput
from loopwright.finetune.data.files import check_file
from loopwright.finetune.data.recipe.build import RecipeChat, build
from loopwright.finetune.data.recipe.tasks import TaskSettings, edited
from loopwright.tools.recipe.dish import SimulatedDish
from loopwright.tools.recipe.extract import kitchen_vocabularies

KNOWN = kitchen_vocabularies()
SMALL = RecipeChat(dishes=12, validation=4, drawn_px=32, asked=TaskSettings(label_every=2, one_share=1.0))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recipe")
    build(out, SMALL)
    return out


def rows(built: Path, part: str = "train") -> list[tuple[int, str, str]]:
    """Each row's dish, question and answer."""
    found = []
    for line in (built / f"{part}.messages.jsonl").read_text().splitlines():
        row: dict[str, Any] = json.loads(line)
        question, answer = (message["content"][-1]["text"] for message in row["messages"])
        found.append((int(Path(row["images"][0]).stem), question, answer))
    return found


def test_files_are_whole_and_disjoint(built: Path) -> None:
    for part in ("train", "validation"):
        for form in ("messages", "sharegpt"):
            assert check_file(built / f"{part}.{form}.jsonl").problems == ()
    assert {seed for seed, *_ in rows(built)} == set(range(12))
    assert {seed for seed, *_ in rows(built, "validation")} == set(range(1_000_000, 1_000_004))


def test_labels_are_those_of_the_dish_and_in_the_forms(built: Path) -> None:
    actions, ingredients = actions_form(KNOWN.actions.classes), ingredients_form(KNOWN.ingredients.classes)
    asked = [row for row in rows(built) if "Answer as" in row[1]]
    assert {seed for seed, *_ in asked} == set(range(0, 12, 2))
    for seed, question, answer in asked:
        labels = SimulatedDish(seed).labels
        if "actions" in question:
            assert set(actions.parse(answer).actions) == labels.actions
        else:
            assert set(ingredients.parse(answer)) == labels.ingredients


def test_the_surest_label_comes_first(built: Path) -> None:
    form = ingredients_form(KNOWN.ingredients.classes)
    for seed, question, answer in rows(built):
        if "Which ingredients" in question:
            odds = SimulatedDish(seed).posterior().ingredients
            listed = [odds[name] for name in form.parse(answer)]
            assert listed == sorted(listed, reverse=True)


def test_a_text_does_what_its_context_says(built: Path) -> None:
    contexts = [row for row in rows(built) if "Here are the cooking actions" in row[1]]
    assert contexts
    for _, question, answer in contexts:
        told = question.split("[")
        actions, ingredients = (part.partition("]")[0].split(", ") for part in told[1:3])
        sets = {"actions": actions, "ingredients": ingredients}
        names = {what: [n.replace(" ", "_") for n in named if n] for what, named in sets.items()}
        assert check(INSTRUCTIONS.parse(answer), names, KNOWN).ok, (question, answer)  # type: ignore[arg-type]


def test_some_contexts_are_not_the_pictures(built: Path) -> None:
    plan = SimulatedDish(3).plan
    changed = [edited(plan, SimulatedDish(4).plan, np.random.default_rng(n)) for n in range(10)]
    assert any(one.labels.ingredients != plan.labels.ingredients for one in changed)
    assert all(len(one.labels.ingredients) + 3 >= 3 and one.labels.ingredients for one in changed)


def test_it_is_the_same_again_and_refuses_other_settings(built: Path, tmp_path: Path) -> None:
    build(tmp_path, SMALL)
    for file in built.glob("*.jsonl"):
        assert (tmp_path / file.name).read_bytes() == file.read_bytes()
    with pytest.raises(BadInput, match="`dishes` = 12, now 13"):
        build(tmp_path, SMALL.model_copy(update={"dishes": 13}))
