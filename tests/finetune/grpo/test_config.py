"""Settings of a run of GRPO: the files that come with the package, and what is refused."""

import json
from pathlib import Path

import pytest
from tests.finetune.grpo.grpo_runs import config
from tests.finetune.sft.sft_runs import shared_rows

from loopwright.errors import BadInput, UnknownName
from loopwright.finetune.grpo.answers import answer_rows
from loopwright.finetune.grpo.config import GrpoConfig, RewardConfig
from loopwright.finetune.grpo.episode import Episode, Turn
from loopwright.finetune.grpo.recipe import ACTIONS, INGREDIENTS
from loopwright.finetune.grpo.rewards import Rewards
from loopwright.finetune.sft.config import SftConfig
from loopwright.graphs.resolve import resolve
from loopwright.models.answers import AnswerFormat

CONFIGS = Path(__file__).parents[3] / "finetune" / "configs"


@pytest.mark.parametrize(("name", "sft"), [("carm/grpo", "carm/sft"), ("recipe/grpo_actions", "recipe/sft_labels"),
                                           ("recipe/grpo_ingredients", "recipe/sft_labels")])  # fmt: skip
def test_the_configs_go_on_from_adapters_of_the_same_shape(name: str, sft: str, tmp_path: Path) -> None:
    run = GrpoConfig.load(CONFIGS / f"{name}.yaml")
    run.save(tmp_path / "again.yaml")
    assert GrpoConfig.load(tmp_path / "again.yaml") == run
    assert run.lora == SftConfig.load(CONFIGS / f"{sft}.yaml").lora
    source = run.rows or run.episodes
    assert source and Rewards(run.rewards, source.loop).names == tuple(run.rewards)
    if run.rows:
        assert run.rows.format and isinstance(resolve(run.rows.format), AnswerFormat)


def test_a_run_has_one_source_of_episodes(tmp_path: Path) -> None:
    both = config(tmp_path).model_dump() | {"rows": {"train": "rows.jsonl"}}
    with pytest.raises(ValueError, match="either `rows`"):
        GrpoConfig.model_validate(both)


def test_a_reward_can_be_left_out(tmp_path: Path) -> None:
    run = config(tmp_path, rewards={"format": RewardConfig(), "f1": RewardConfig()})
    assert list(run.without("f1").rewards) == ["format"]
    with pytest.raises(UnknownName, match="word"):
        run.without("word")
    with pytest.raises(BadInput, match="nothing would be rewarded"):
        run.without("f1").without("format")


def test_rows_are_those_whose_answer_begins_so() -> None:
    rows = answer_rows(shared_rows(), r"\[")
    assert len(rows) == 6 and all(row["answer"].startswith("[") for row in rows)
    assert rows[0]["images"] == ["pictures/1.png"] and rows[0]["turns"][0]["role"] == "user"
    with pytest.raises(BadInput, match=r"begins with `rows.only` = 'no'"):
        answer_rows(shared_rows(), "no")


def test_a_dishs_labels_are_rewarded_by_how_rare_they_are() -> None:
    """To julienne is rare, to chop is not: the bands are those of the training dishes."""
    rewards = Rewards({n: RewardConfig(settings={"labels": "actions"}) for n in ("label_f1", "label_word")}, "recipe")

    def earned(said: str, true: str) -> dict[str, list[float]]:
        row = {"answer": f"<think>so</think><answer>{true}</answer>"}
        text = f"<think>so</think><answer>{said}</answer>"
        return rewards.of(Episode(row=row, turns=(Turn(text=text, is_exact=True, n_tokens=9),)))

    common, rare = earned("chop", "chop"), earned("julienne", "julienne")
    assert (common["label_f1"], rare["label_f1"]) == ([1.0], [1.0])
    assert (common["label_word"], rare["label_word"]) == ([0.1], [1.5])
    assert ACTIONS.parse("<think>pan</think><answer>chop, julienne</answer>").actions == ("chop", "julienne")
    assert INGREDIENTS.parse("Ingredients: avocado") == ("avocado",)
    assert json.dumps(earned("", "julienne")["label_word"]) == "[-1.2]"
