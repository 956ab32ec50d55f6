"""Texts under measurement: writers that keep to their labels, that do not, and recipes with swapped labels."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.loops.cases import Answering, cook, write_as_told

from loopwright.finetune.evaluate.pictures import PngStore
from loopwright.finetune.evaluate.recipe.bars import bars_of, headline
from loopwright.finetune.evaluate.recipe.cases import Case, Roles, simulated_cases
from loopwright.finetune.evaluate.recipe.lexical import TextMeasure
from loopwright.finetune.evaluate.recipe.recorded import evaluate_photos, evaluate_recorded, photographed, read_cases
from loopwright.finetune.evaluate.recipe.simulated import Setup, evaluate_labels, evaluate_selection, evaluate_texts
from loopwright.finetune.evaluate.recipe.swaps import swap_rows, swapped
from loopwright.finetune.evaluate.recipe.tables import markdown
from loopwright.finetune.evaluate.recipe.texts import Scorer, model_writer, simulated_scorer, written
from loopwright.finetune.measure.rows import Row
from loopwright.models.networks.recipe import load_network
from loopwright.tools.recipe.extract import labels_of_text

STORE = PngStore()


@pytest.fixture(scope="module")
def cases() -> Sequence[Case]:
    return simulated_cases("test", 8, STORE)


@pytest.fixture(scope="module")
def scorer(cases: Sequence[Case]) -> Scorer:
    return simulated_scorer(cases, TextMeasure(None))


def row_of(scorer: Scorer, answer: Callable[[str], str], repairs: int = 0) -> Row:
    """A writer that is told the true labels."""
    asker = Roles({"generator": Answering(answer=answer)}, STORE)
    told = [{"actions": sorted(c.true("actions")), "ingredients": sorted(c.true("ingredients"))} for c in scorer.cases]
    texts = written(model_writer(asker), scorer.cases, told, repairs)  # type: ignore[arg-type]
    return scorer.row("model", "both", texts, told, asker.formats)  # type: ignore[arg-type]


def test_a_writer_that_keeps_to_its_labels_has_them_all(scorer: Scorer) -> None:
    found = row_of(scorer, write_as_told).figures
    assert (found["actions_f1"], found["ingredients_f1"], found["agree"]) == (1, 1, 1)
    assert (found["strict_format"], found["unread"]) == (1, 0)
    assert 0 < found["bleu"] < 60


def test_a_text_that_cannot_be_read_is_a_failure_and_counted(scorer: Scorer) -> None:
    found = row_of(scorer, lambda _: "").figures
    assert (found["unread"], found["strict_format"]) == (len(scorer.cases), 0)
    assert (found["actions_f1"], found["bleu"], found["agree"]) == (0, 0, 0)


def test_a_text_is_redone_where_it_contradicts_its_labels(scorer: Scorer) -> None:
    def forgetful(prompt: str) -> str:
        return write_as_told(prompt) if "Do mention" in prompt else "Boil it."

    assert row_of(scorer, forgetful).figures["agree"] == 0
    assert row_of(scorer, forgetful, repairs=1).figures["agree"] == 1


def test_lexical_scores_pass_over_swapped_labels_and_label_scores_do_not(scorer: Scorer) -> None:
    by = {row.variant: row.figures for row in swap_rows(scorer)}
    assert by["nothing swapped"]["bleu"] == pytest.approx(100)
    assert by["nothing swapped"]["actions_f1"] == by["nothing swapped"]["ingredients_f1"] == 1
    for swapped_set, kept in (("actions", "ingredients"), ("ingredients", "actions")):
        found = by[f"{swapped_set} swapped"]
        assert found[f"{swapped_set}_f1"] < 0.05 < 0.99 < found[f"{kept}_f1"]
        assert found["bleu"] > 30 and found["rouge_l"] > 60


def test_swapped_words_keep_their_form(cases: Sequence[Case]) -> None:
    case = cases[0]
    text = swapped(case, ("actions",), np.random.default_rng(0))
    assert len(text) == len(case.dish.recipe.instructions)
    assert all(step[0].isupper() for step in text)
    named = labels_of_text(text, case.dish.known)
    assert named.ingredients == case.true("ingredients")
    assert not named.actions & case.true("actions")


def test_all_tables_of_simulated_dishes(cases: Sequence[Case]) -> None:
    model = Answering(answer=cook)
    setup = Setup(cases[:3], STORE, load_network(), {"model": model, "rft": model}, lambda _: None)
    measure = TextMeasure(None)
    rows = [*evaluate_labels(setup), *evaluate_texts(setup, "network", measure)]
    variants = {(row.model, row.variant) for row in rows if row.what == "text"}
    for context in ("actions", "ingredients", "both"):
        for labels in ("as predicted", "SCSR by counts", "SCSR by model"):
            assert {("rule", f"{context}, {labels}"), ("model", f"{context}, {labels}")} <= variants
    assert ("nearest recipe", "of 4,000") in variants and ("model", "both, SCSR by counts, repaired") in variants
    names = {bar.name for bar in bars_of(rows)}
    assert "rft: F1 of tail actions gained" in names and "answers in their form" in names
    assert headline(rows)["n"] == 3
    assert "Instructions (Tables 1 and 4), simulated, N = 3" in markdown(rows, bars_of(rows))


def test_the_judge_that_is_a_model_is_one_of_two(cases: Sequence[Case]) -> None:
    setup = Setup(cases[:2], STORE, load_network(), {"model": Answering(answer=cook)}, lambda _: None)
    rows = evaluate_selection(setup, "model")
    assert {row.variant for row in rows if row.what == "selection"} >= {
        "actions, off", "actions, SCSR by counts, n = 3", "actions, SCSR by model, n = 3"
    }  # fmt: skip


def test_recipes_that_people_wrote(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "soup.png")
    entries = [
        {"id": str(n), "title": f"Soup {n}", "ingredients": ["2 tomatoes", "1 onion", "salt"][: 2 + n % 2],
         "instructions": ["Chop the onion.", "Boil the tomatoes.", "Season with salt."], "image": "soup.png"}
        for n in range(6)
    ]  # fmt: skip
    path = tmp_path / "recipes.json"
    path.write_text(json.dumps(entries))
    cases = read_cases(path, None, lambda _: None)
    model = Answering(answer=cook)
    rows = evaluate_recorded(cases, TextMeasure(None), model, lambda _: None)
    by = {(row.model, row.variant): row.figures for row in rows}
    assert by["the recipe itself", ""]["actions_f1"] == 1
    assert by["rule", "both, true labels"]["ingredients_f1"] == 1
    assert by["model", "actions, true labels"]["actions_f1"] == 1
    photos = evaluate_photos(photographed(path, lambda _: None), PngStore(), model)
    assert {row.model for row in photos} == {"model", "frequency", "chance"}
    assert all(row.n == 6 for row in photos)
