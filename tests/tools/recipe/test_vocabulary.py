"""Clusters, versions, look-ups, mentions, and head, mid and tail."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.errors import BadInput
from loopwright.tools.recipe.labels import BandRules, Labels, bands, f1, only_common
from loopwright.tools.recipe.vocabulary import ClusterRules, Vocabulary, cluster, frequent, plain_vocabulary

COUNTS = {
    "onion": 40, "onions": 30, "red_onion": 4, "tomato": 20, "tomatoes": 25, "tomato_paste": 6, "olive_oil": 30,
    "oil": 12, "cherry_tomatoes": 3, "saffron": 1,
}  # fmt: skip
names = st.dictionaries(
    st.from_regex(r"[a-d]{1,3}(_[a-d]{1,3}){0,3}s?", fullmatch=True), st.integers(1, 9), max_size=12
)


def test_plurals_and_compounds_join_what_they_are_a_kind_of() -> None:
    found = cluster(COUNTS, ClusterRules(min_count=2))
    assert found.counts == {"onion": 74, "tomato": 54, "oil": 42}
    assert found.members["cherry_tomatoes"] == "tomato"
    assert found.classes == ("onion", "tomato", "oil")
    assert "saffron" not in found.members, "too rare"


def test_frequent_names_can_keep_a_class_of_their_own() -> None:
    found = cluster(COUNTS, ClusterRules(min_count=2, own_count=30))
    assert found.counts["olive_oil"] == 30
    assert found.members["tomato_paste"] == "tomato"


@given(names)
def test_nothing_is_lost_and_no_class_is_of_another(counts: dict[str, int]) -> None:
    found = cluster(counts, ClusterRules(min_count=1))
    assert sum(found.counts.values()) == sum(counts.values())
    assert found.members.keys() == counts.keys()
    for name in found.classes:
        assert found.members.get(name, name) == name


@given(names)
def test_equal_counts_have_equal_versions(counts: dict[str, int]) -> None:
    backwards = dict(reversed(counts.items()))
    assert cluster(counts).version == cluster(backwards).version


def test_a_vocabulary_comes_back_and_one_that_was_changed_does_not(tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    found = cluster(COUNTS)
    found.save(path)
    assert Vocabulary.load(path) == found
    content = json.loads(path.read_text())
    content["counts"]["onion"] += 1
    path.write_text(json.dumps(content))
    with pytest.raises(BadInput, match="Build it again"):
        Vocabulary.load(path)
    with pytest.raises(BadInput, match="no vocabulary"):
        Vocabulary.load(tmp_path / "none.json")


def test_unknown_names_are_looked_up_by_the_same_rules() -> None:
    found = cluster(COUNTS)
    assert found.class_of("yellow_onions") == "onion"
    assert found.class_of("sesame_oil") == "oil"
    assert found.class_of("rice") is None


def test_longer_names_are_found_before_shorter_ones_and_plurals_count() -> None:
    known = plain_vocabulary("ingredients", ["potato", "sweet_potato", "bell_pepper"])
    text = "Roast the sweet potatoes and a potato; Bell peppers too."
    found = known.mentions(text)
    assert [mention.name for mention in found] == ["sweet_potato", "potato", "bell_pepper"]
    assert text[found[0].start : found[0].end] == "sweet potatoes"


def test_bands_are_by_share_of_occurrences() -> None:
    counts = {"stir": 60, "mix": 25, "bake": 8, "poach": 4, "flambe": 3}
    assert bands(counts) == {"stir": "head", "mix": "mid", "bake": "mid", "poach": "tail", "flambe": "tail"}
    assert bands(counts, BandRules(head_share=0.9, tail_share=0)) == dict.fromkeys(("stir", "mix", "bake"), "head") | {
        "poach": "mid",
        "flambe": "mid",
    }
    with pytest.raises(ValueError, match="more than 1"):
        BandRules(head_share=0.8, tail_share=0.3)


def test_samples_of_common_labels_alone_are_told() -> None:
    counts = frequent({"stir": 60, "mix": 25, "poach": 4, "flambe": 1}, min_count=2).counts
    assert only_common({"stir", "mix"}, counts, top=2)
    assert not only_common({"stir", "poach"}, counts, top=2)
    assert "flambe" not in counts


@pytest.mark.parametrize(
    ("predicted", "true", "score"),
    [("ab", "ab", 1.0), ("ab", "bc", 0.5), ("", "", 1.0), ("a", "", 0.0), ("", "a", 0.0)],
)
def test_f1_of_a_sample(predicted: str, true: str, score: float) -> None:
    assert f1(set(predicted), set(true)) == score
    assert Labels().actions == frozenset()
