"""Each reward beside a table of good and bad completions, with a reason for each row; hacks among them."""

import json
from pathlib import Path

import pytest

from loopwright.errors import BadInput, UnknownName
from loopwright.finetune.grpo.config import RewardConfig
from loopwright.finetune.grpo.episode import Episode, Turn
from loopwright.finetune.grpo.rewards import Rewards, f1_reward, format_reward, length_reward, word_reward

TRUE = "<think>pan, cubes</think><answer>chop, boil, flambe</answer>"
BANDS = {"chop": "head", "boil": "mid", "flambe": "tail", "mix": "head"}


def said(text: str, *, is_exact: bool = True, n_tokens: int = 10) -> Episode:
    return Episode(row={"answer": TRUE}, turns=(Turn(text=text, is_exact=is_exact, n_tokens=n_tokens),))


def answer(*labels: str) -> str:
    return f"<think>so</think><answer>{', '.join(labels)}</answer>"


@pytest.fixture
def bands(tmp_path: Path) -> str:
    (tmp_path / "bands.json").write_text(json.dumps(BANDS), encoding="utf-8")
    return str(tmp_path / "bands.json")


@pytest.mark.parametrize(
    ("text", "f1", "word", "why"),
    [
        (answer("chop", "boil", "flambe"), 1.0, 2.1, "all right"),
        (answer("flambe", "chop", "boil"), 1.0, 2.1, "order means nothing"),
        (answer("chop", "boil"), 0.8, -0.6, "the rare one is missed"),
        (answer("flambe"), 0.5, 1.15, "the rare one alone"),
        (answer("chop", "boil", "flambe", "mix"), 6 / 7, 1.9, "one is invented"),
        (answer("mix"), 0.0, -1.75, "all wrong"),
        (answer("chop", "chop", "chop", "boil", "flambe"), 0.75, 1.7, "hack: a label again and again"),
        (answer("chop", "boil", "flambe", *(f"x{k}" for k in range(380))), 6 / 386, -73.9, "hack: all labels"),
        (answer(), 0.0, -1.55, "hack: no label"),
        ("", 0.0, -1.55, "hack: nothing at all"),
        ("chop, boil, flambe", 0.0, -1.55, "right, in no form"),
        ("<answer>chop, boil, flambe</answer><answer>mix</answer>", 1.0, 2.1, "hack: two answers; the first counts"),
        ("<think>a\nb</think>\n<answer>chop,\nboil, flambe</answer>", 1.0, 2.1, "lines break where they like"),
    ],
)
def test_labels(text: str, f1: float, word: float, why: str, bands: str) -> None:
    assert f1_reward(said(text)) == [pytest.approx(f1)], why
    assert word_reward(said(text), bands=bands) == [pytest.approx(word)], why


def test_ingredients_are_read_from_their_template() -> None:
    row = {"answer": "Ingredients: rice, olive oil"}
    episode = Episode(row=row, turns=(Turn(text="Ingredients: olive oil, salt", is_exact=True, n_tokens=9),))
    assert f1_reward(episode, answer="Ingredients: (.*)") == [0.5]


def test_format_is_the_share_of_replies_that_keep_it() -> None:
    good, bad = (Turn(text="", is_exact=is_exact, n_tokens=1) for is_exact in (True, False))
    assert sum(format_reward(Episode(row={}, turns=(good, good)))) == 1.0
    assert format_reward(Episode(row={}, turns=(good, bad))) == [0.5, 0.0]


@pytest.mark.parametrize(("n_tokens", "reward"), [(1, 0.0), (100, 0.0), (150, -0.5), (1000, -9.0)])
def test_length_costs_beyond_a_limit(n_tokens: int, reward: float) -> None:
    assert length_reward(said("", n_tokens=n_tokens), most=100) == [reward]


def test_components_are_weighted_and_kept_apart(bands: str) -> None:
    chosen = {
        "f1": RewardConfig(weight=0.1),
        "format": RewardConfig(),
        "word": RewardConfig(weight=2.0, settings={"bands": bands}),
    }
    rewards = Rewards(chosen)
    parts = rewards.of(said(answer("flambe"), is_exact=False))
    assert parts == {"f1": [0.5], "format": [0.0], "word": [pytest.approx(1.15)]}
    assert rewards.weighted(parts) == [pytest.approx(0.05 + 2.3)]
    assert rewards.weighted(rewards.of(Episode(row={}, turns=()))) == []


def test_what_is_no_reward_or_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="formt"):
        Rewards({"formt": RewardConfig()})
    with pytest.raises(UnknownName, match="mots"):
        Rewards({"length": RewardConfig(settings={"mots": 3})})
    with pytest.raises(BadInput, match=r"`rewards.word.settings` lacks `bands`"):
        Rewards({"word": RewardConfig()})
    with pytest.raises(UnknownName, match="target_reached"):
        Rewards({"target_reached": RewardConfig()})  # another loop's
    assert Rewards({"target_reached": RewardConfig()}, loop="carm").names == ("target_reached",)
    (tmp_path / "bands.json").write_text('{"chop": "often"}', encoding="utf-8")
    with pytest.raises(BadInput, match="holds no bands"):
        word_reward(said(""), bands=str(tmp_path / "bands.json"))
