"""What the C-arm teaches the base: every answer is true of its picture, whatever the wording."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from loopwright.agents.carm.formats import CENTRED, CORRECTION, NAVIGATION, RETRIEVAL
from loopwright.agents.carm.places import NEAREST, PLACE, parse_place
from loopwright.errors import BadInput
from loopwright.finetune.data.carm.base_tasks import HALF_VIEW_MM, KINDS, CArmLessons
from loopwright.finetune.data.carm.rendered import cache_folder, load_split, seeds_of
from loopwright.finetune.data.corpus import Corpus, Prior, Turn, sample_turns
from loopwright.finetune.networks.carm.config import TrainConfig
from loopwright.models.answers import TextFormat
from loopwright.tools.carm.landmarks import LANDMARKS, canonical_name

FORMS: tuple[TextFormat[Any], ...] = (RETRIEVAL, CENTRED, CORRECTION, NAVIGATION, NEAREST, PLACE)
SHARES = {kind.name: kind.share for kind in KINDS}


@pytest.fixture(scope="module")
def corpus(tiny_config: TrainConfig, views_cache: Path) -> Corpus:
    return CArmLessons(data=tiny_config.data, turns=6, test_phantoms=1).open(views_cache, print)


def test_answers_are_true_of_the_view(corpus: Corpus, tiny_config: TrainConfig, views_cache: Path) -> None:
    """Re-derived from the cached truth, by other means than the corpus uses."""
    data = tiny_config.data
    split = load_split(cache_folder(views_cache, data), seeds_of("train", data.train_phantoms))
    rng, met = np.random.default_rng(0), set[str]()
    for index in [k for k in range(len(corpus)) for _ in range(12)]:
        lesson = corpus.lesson(index, rng)
        assert torch.equal(lesson.image[0], split.images[index])
        offsets = {name: split.offsets_mm[index, k].numpy() for k, name in enumerate(LANDMARKS)}
        distance = {name: split.distance_mm[index, k].item() for k, name in enumerate(LANDMARKS)}
        for turn in lesson.turns:
            met.add(turn.about[0])
            assert is_true(turn, offsets, {n: d for n, d in distance.items() if not np.isnan(d)}), (index, turn)
    assert met == SHARES.keys()


def is_true(turn: Turn, offsets: dict[str, np.ndarray], distance: dict[str, float]) -> bool:
    kind, *about = turn.about
    shown = {name for name in distance if np.all(np.abs(offsets[name]) < HALF_VIEW_MM)}
    ranked = sorted(distance, key=distance.__getitem__)
    if kind in ("where", "beyond"):
        place = parse_place(turn.answer)
        assert place is not None
        step = 5 if kind == "where" else 25
        return (about[0] in shown) == (kind == "where") and np.allclose(place, offsets[about[0]], atol=step / 2 + 1e-3)
    if kind == "at":
        place = parse_place(about[0])
        return place is not None and turn.answer == min(
            shown, key=lambda name: float(np.linalg.norm(offsets[name] - np.array(place)))
        )
    if kind == "number":
        number, name = (about[0], turn.answer) if about[0].isdigit() else (turn.answer, about[0])
        return LANDMARKS[int(number) - 1] == name
    if kind == "caption":
        return {name for name in LANDMARKS if f"{name}: " in turn.answer} == set(
            [name for name in ranked if name in shown][:3]
        )
    expected: dict[str, Callable[[], str]] = {
        "nearest": lambda: ranked[0],
        "three": lambda: ", ".join(ranked[:3]),
        "in view": lambda: "yes" if about[0] in shown else "no",
        "list": lambda: ", ".join(name for name in ranked if name in shown) or "none",
        "nearer": lambda: min(about, key=distance.__getitem__),
    }
    return turn.answer == expected[kind]()


def test_a_lesson_follows_its_generator_and_asks_nothing_twice(corpus: Corpus) -> None:
    one, two, other = (corpus.lesson(3, np.random.default_rng(seed)).turns for seed in (1, 1, 2))
    assert one == two != other
    assert len(one) == len({turn.about for turn in one}) == 6


def test_targets_are_the_offsets(corpus: Corpus, tiny_config: TrainConfig, views_cache: Path) -> None:
    folder = cache_folder(views_cache, tiny_config.data)
    split = load_split(folder, seeds_of("train", tiny_config.data.train_phantoms))
    lesson = corpus.lesson(5, np.random.default_rng(0))
    assert len(lesson.targets) == len(corpus.targets) == 2 * len(LANDMARKS)
    found = (lesson.targets.sinh() * 50).reshape(-1, 2)
    torch.testing.assert_close(found, split.offsets_mm[5], equal_nan=True, rtol=1e-4, atol=1e-3)
    shown = split.offsets_mm[5].abs().amax(-1) <= HALF_VIEW_MM
    assert corpus.spots == LANDMARKS and lesson.spots.isnan().any(-1).tolist() == (~shown).tolist()
    torch.testing.assert_close(lesson.spots[shown] * HALF_VIEW_MM, split.offsets_mm[5][shown])


def test_probes_are_always_the_same_and_show_no_training_case(corpus: Corpus) -> None:
    first, again = corpus.probes(4), corpus.probes(4)
    assert [probe.turn for probe in first] == [probe.turn for probe in again]
    assert {probe.group for probe in first} == {"phantom-10000"}
    kinds = [probe.kind for probe in first]
    assert {kind: kinds.count(kind) for kind in kinds} == dict.fromkeys(SHARES, 4)
    for probe in first:
        for name in probe.turn.about[1:]:
            if probe.kind not in ("at", "number"):
                assert canonical_name(name) == name


def test_the_prior_is_the_mode_and_the_median_of_training(corpus: Corpus) -> None:
    prior, turns = Prior(corpus, 200, seed=3), list(sample_turns(corpus, 200, seed=3))
    said = [turn.answer for turn in turns if turn.about == ("nearest",)]
    assert said.count(prior.answer(("nearest",))) == max(map(said.count, said))
    where = [parse_place(turn.answer) for turn in turns if turn.about == ("where", "T12")]
    places = [place for place in where if place is not None]
    assert prior.quantity(("where", "T12")) == pytest.approx(np.median(np.array(places), axis=0))
    assert prior.answer(("nearest", "never asked")) == prior.answer(("nearest",))


def test_writings_are_in_every_form_of_the_roles(corpus: Corpus) -> None:
    rng, met = np.random.default_rng(0), set[str]()
    for text in (corpus.writing(rng) for _ in range(300)):
        met.add(next(form.name for form in FORMS if parses(form, text)))
    assert met == {form.name for form in FORMS}


def test_readings_are_answered_by_their_own_text(corpus: Corpus) -> None:
    rng, met = np.random.default_rng(0), set[str]()
    for turn in (corpus.reading(rng) for _ in range(200)):
        (kind,) = turn.about
        met.add(kind)
        told = re.search(r"Estimate: x (LEFT|RIGHT|CENTER)[^.,]*, y (UP|DOWN|CENTER)", turn.question)
        assert told
        x, y = told.groups()
        if kind in ("target", "nearest", "previous"):
            assert turn.answer in turn.question
        elif kind == "step":
            step = NAVIGATION.parse(turn.answer)
            assert step.x in (x, "CENTER") and step.y in (y, "CENTER")
        else:
            said = {"across": x, "along": y}.get(kind)
            assert said is None or turn.answer.split()[0] in (said, "CENTER")
    assert met == {"step", "command", "across", "along", "target", "nearest", "previous"}


def parses(form: TextFormat[Any], text: str) -> bool:
    try:
        form.parse(text)
    except BadInput:
        return False
    return True
