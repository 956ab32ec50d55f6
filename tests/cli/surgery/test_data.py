"""`loopwright data build surgery`: what it writes, what it says, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.tools.surgery.cholec_files import seconds_of, write_cholect45

Cli = Callable[..., Any]
VIDEO = "RRRDDDDRRRCCCRRRVVVVRRRDDDRRR"


@pytest.fixture
def cholect45(tmp_path: Path) -> Path:
    videos = {name: seconds_of(VIDEO) for name in ("VID79", "VID80", "VID31", "VID42", "VID12", "VID49")}
    return write_cholect45(tmp_path / "cholect45", videos | {"VID22": []})


def test_it_builds_and_prints_counts(loopwright: Cli, tmp_path: Path, cholect45: Path) -> None:
    command = ["data", "build", "surgery", "--out", str(tmp_path / "out"), "--cholect45", str(cholect45)]
    done = loopwright(*command, "--split", "fold1")
    assert done.code == 0
    assert "6 of 7 videos" in done.out and "skipped VID22: no frame is labelled" in done.out
    assert "too_short 0" in done.out and "samples" in done.out
    *files, last = loopwright(*command, "--split", "fold1", "--json").json
    rows = {Path(line["file"]).name: line["rows"] for line in files}
    assert rows == {"clips.jsonl": 54, "train.jsonl": 8, "validation.jsonl": 32, "test.jsonl": 8}
    assert last["counts"]["skipped"] == {"VID22": "no frame is labelled"}


def test_rules_come_from_a_file(loopwright: Cli, tmp_path: Path, cholect45: Path) -> None:
    (tmp_path / "rules.yaml").write_text("min_s: 4\n")
    command = ["data", "build", "surgery", "--out", str(tmp_path / "out"), "--cholect45", str(cholect45)]
    *_, last = loopwright(*command, "--split", "all", "--rules", str(tmp_path / "rules.yaml"), "--json").json
    assert last["counts"]["clips"]["Dissection"] == 6 and last["counts"]["frames"]["too_short"] > 0


def test_conversations_are_of_the_parts_that_may_be_learnt_from(
    loopwright: Cli, tmp_path: Path, cholect45: Path
) -> None:
    command = ["data", "build", "surgery", "--out", str(tmp_path / "out"), "--cholect45", str(cholect45)]
    *files, _ = loopwright(*command, "--split", "fold1", "--chat", "indir", "--task", "next", "--json").json
    assert {Path(line["file"]).relative_to(tmp_path / "out").as_posix(): line["rows"] for line in files[4:]} == {
        f"chat/indir/{part}.{form}.jsonl": rows
        for part, rows in (("train", 8), ("validation", 32))
        for form in ("messages", "sharegpt")
    }
    cases = json.loads((tmp_path / "out" / "chat" / "indir" / "cases.json").read_text())
    assert cases["train.messages.jsonl"] == ["VID80"] and "VID79" not in json.dumps(cases)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--simulated", "2"], "or `--chat KIND` with `--simulated N`"),
        (["--cholect45", "cholect45", "--simulated", "2"], "are about conversations: give `--chat`"),
        (["--cholect45", "cholect45", "--chat", "indir", "--task", "dream"], "Unknown task 'dream'"),
        (["--cholect45", "cholect45", "--chat", "indir", "--memory", "al"], "Did you mean `all`"),
        ([], "Give either `--cholect50 DIR` or `--cholect45 DIR`"),
        (["--cholect45", "a", "--cholect50", "b"], "Give either"),
        (["--cholect50", "nowhere"], "`nowhere` is no folder"),
        (["--cholect45", "cholect45", "--split", "fold9"], "Unknown split 'fold9'"),
        (["--cholect45", "cholect45", "--rules", "nowhere.yaml"], "`nowhere.yaml` cannot be read"),
        (["--cholect45", "cholect45", "--history", "0"], "'--history'"),
    ],
)
def test_it_refuses(
    loopwright: Cli,
    tmp_path: Path,
    cholect45: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(cholect45.parent)
    done = loopwright("data", "build", "surgery", "--out", "out", *arguments)
    assert done.code == 2 and said in done.err
    assert not (tmp_path / "out" / "clips.jsonl").exists()
