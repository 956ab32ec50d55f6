"""`loopwright plan surgery`: chains to a goal with their odds, what the video shows instead, and what is refused."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.models.tiny import make_qwen25vl

from loopwright.tools.surgery.procedure import bundled_procedure
from loopwright.tools.surgery.simulator import simulate
from loopwright.tools.surgery.vocabulary import ACTIONS

Cli = Callable[..., Any]
GOAL = "go on until the vessels are clipped"
SIMULATED = ("plan", "surgery", "--goal", GOAL, "--video", "simulated:2000001")


def test_it_shows_chains_with_odds_and_what_came(loopwright: Cli) -> None:
    done = loopwright(*SIMULATED, "--clips", "6")
    assert done.code == 0, done.err
    head, *lines = done.out.splitlines()
    assert head == "simulated-2000001, after 6 clips, the last one Dissection. Goal: the vessels are clipped."
    assert sum("reaches the goal in" in line for line in lines) == 3
    assert any(line.split() == ["91%", "Tissue", "Retraction"] for line in lines)
    assert "In the video came: Tissue Retraction, Vessel Clipping, Tissue Retraction, Coagulation" in lines[-1]


@pytest.mark.parametrize("planner", ["ngram", "bayes"])
@pytest.mark.parametrize("search", ["likeliest", "typical"])
def test_json_is_a_line_a_chain_and_a_summary(loopwright: Cli, planner: str, search: str) -> None:
    options = (*SIMULATED, "--planner", planner, "--search", search, "--width", "2", "--draws", "24", "--json")
    done = loopwright(*options)
    *chains, last = done.json
    assert done.code == 0 and len(chains) == 2 and done.out == loopwright(*options).out
    for rank, chain in enumerate(chains, 1):
        assert chain["rank"] == rank and chain["reaches_goal"]
        assert chain["log_probability"] == pytest.approx(sum(math.log(step["probability"]) for step in chain["steps"]))
        assert [step["action"] for step in chain["steps"]].count("Vessel Clipping") == 2
    moments = list(simulate(bundled_procedure(), 2_000_001))[5:]
    assert last["came"] == [moment.clip.action for moment in moments[: len(last["came"])]]
    assert last["goal"] == "the vessels are clipped" and 0 < last["edit"] < 1
    assert (last["reached_of_drawn"] is None) == (search == "likeliest")


def test_safety_rules_annotate_the_next_action_by_the_truth_and_later_ones_by_the_past(loopwright: Cli) -> None:
    done = loopwright("plan", "surgery", "--goal", "the first clipping", "--video", "simulated:2000001", "--clips", "1",
                      "--horizon", "1", "--width", "1", "--json")  # fmt: skip
    chain, _ = done.json
    (step,) = chain["steps"]
    assert step["action"] == "Vessel Clipping" and len(step["notes"]) == 2
    assert "nothing was dissected before" in step["notes"][0] and "not both seen" in step["notes"][1]


def test_a_goal_that_is_not_reached_is_told_by_the_exit_code(loopwright: Cli) -> None:
    done = loopwright(*SIMULATED, "--horizon", "2")
    assert done.code == 1 and "does not reach the goal in 2 actions" in done.out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built folder of one recorded video, which clips once."""
    where = tmp_path_factory.mktemp("built")
    moments = simulate(bundled_procedure(), 3)
    clips = [moment.clip.model_copy(update={"video": "VID07", "phase": None}) for moment in moments]
    first = next(i for i, clip in enumerate(clips) if clip.action == "Vessel Clipping")
    lines = [clip.model_dump_json() + "\n" for clip in clips[: first + 2]]
    (where / "clips.jsonl").write_text("".join(lines), encoding="utf-8")
    (where / "source.json").write_text(json.dumps({"labels": "labels", "frames": None}), encoding="utf-8")
    return where


def test_a_recorded_video_may_not_come_to_the_goal(loopwright: Cli, folder: Path) -> None:
    done = loopwright("plan", "surgery", "--goal", "both vessels are clipped", "--video", f"{folder}:VID07")
    assert done.code == 0 and "The video does not come to the goal." in done.out


def test_a_local_models_own_odds_are_rolled(loopwright: Cli, tmp_path: Path) -> None:
    make_qwen25vl(tmp_path / "base")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"kind": "local", "base": str(tmp_path / "base")}))
    options = ("--planner", "model", "--model", str(tmp_path / "mine.yaml"), "--horizon", "3", "--width", "400")
    done = loopwright(*SIMULATED, *options, "--json")
    *chains, _ = done.json
    assert done.code in (0, 1)
    assert sum(math.exp(chain["log_probability"]) for chain in chains) == pytest.approx(1)
    assert {chain["steps"][0]["action"] for chain in chains} == set(ACTIONS) - {"Tissue Retraction"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["--goal", "the duct is cut"], "Unknown goal 'the duct is cut'. Did you mean `the duct is clipped`"),
        (["--clips", "900"], "`--clips` is 900, and simulated-2000001 has"),
        (["--video", "simulated:x"], "has the seed 'x'"),
        (["--planner", "bayes", "--statistics", "s.json"], "the planner is 'bayes'"),
        (["--statistics", "nowhere.json"], "holds no statistics"),
        (["--planner", "model", "--model", "nobody"], "Unknown model card 'nobody'"),
    ],
)
def test_wrong_input_is_told_with_its_repair(loopwright: Cli, changes: list[str], said: str) -> None:
    done = loopwright(*SIMULATED, *changes)
    assert done.code == 2 and said in done.err


def test_the_exact_odds_of_a_recorded_video_are_nobodys(loopwright: Cli, folder: Path) -> None:
    done = loopwright("plan", "surgery", "--goal", GOAL, "--video", f"{folder}:VID07", "--planner", "bayes")
    assert done.code == 2 and "only a simulated patient" in done.err
