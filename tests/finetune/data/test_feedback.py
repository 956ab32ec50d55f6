"""Paraphrases of feedback: each stands for a value of the loop's own types, and none is one that is evaluated on."""

import random
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from loopwright.agents.sessions.interpreting import Interpreter
from loopwright.cli.plugin import all_commands
from loopwright.errors import BadInput
from loopwright.finetune.data.feedback import build, examples
from loopwright.finetune.data.files import check_file
from loopwright.finetune.evaluate.feedback import Phrasings
from loopwright.graphs.registry import LOOPS, get_loop
from loopwright.graphs.resolve import resolve
from loopwright.models.answers import AnswerFormat

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("loop", LOOPS)
def test_answers_are_in_the_interpreters_format(loop: str) -> None:
    asked: list[AnswerFormat[Any]] = []
    Interpreter(get_loop(loop).language, lambda prompt, form: asked.append(form)).propose("hello there")
    for example in examples(loop, 60, random.Random(3)):
        assert asked[0].parse(example.turns[-1].text)["kind"]


@pytest.mark.parametrize("loop", LOOPS)
def test_none_is_evaluated_on(loop: str) -> None:
    said = yaml.safe_load((ROOT / "finetune" / "data" / loop / "paraphrases.yaml").read_text(encoding="utf-8"))
    taught = {each["say"] for each in said["says"]} | {*said["none"]}
    where = {name: found for each in all_commands() for name, found in each.phrasings.items()}.get(loop)
    asked = {one.template for one in cast(Phrasings, resolve(where))(400, 0)} if where else set()
    assert not taught & asked


def test_it_writes_files_that_are_good(tmp_path: Path) -> None:
    written = build(tmp_path, ("recipe",), 20, formats=("messages",))
    assert sorted(written.values()) == [2, 18]
    for path in written:
        assert not check_file(path).problems
    with pytest.raises(BadInput, match="was built with"):
        build(tmp_path, ("recipe",), 30)
    with pytest.raises(BadInput, match=r"no `paraphrases\.yaml`"):
        build(tmp_path / "other", ("chat",), 20)
