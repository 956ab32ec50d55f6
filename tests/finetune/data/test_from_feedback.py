"""What a person approved and rejected in a real session becomes rows to learn from, with where they come from."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.graphs.loop.small import ON, always_on
from tests.loops.bench import Bench
from tests.loops.cases import Answering
from tests.loops.thermostat import thermostat

from loopwright.errors import BadInput
from loopwright.finetune.data.files import check_file, read_examples
from loopwright.finetune.data.from_feedback import PREFERENCES, PROVENANCE, TRAIN, write_feedback

OFF = '{"name": "set_heater", "arguments": {"on": false}}'


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_corrections_and_consents_become_rows(bench: Bench, tmp_path: Path) -> None:
    said = iter([OFF, ON, ON, ON, ON, ON])
    model = Answering(answer=lambda _: next(said))
    session = bench.start(thermostat, {"navigator": model}, approval="human")
    session.run()
    session.say("reject: it is cold", author="Ann")
    while session.run() == "waiting":
        session.say("approve", author="Ann")
    written = write_feedback(bench.memory, [session.id], tmp_path)
    assert written == (4, 1)
    examples = read_examples(tmp_path / TRAIN)
    assert not check_file(tmp_path / TRAIN).problems
    assert {example.turns[-1].text for example in examples} == {ON}
    (preference,) = lines(tmp_path / PREFERENCES)
    assert (preference["chosen"][0]["content"], preference["rejected"][0]["content"]) == (ON, OFF)
    first = lines(tmp_path / PROVENANCE)[0]
    assert first["corrected"] and first["said"][0] == {"author": "Ann", "text": "reject: it is cold"}


def test_where_nobody_decided_there_is_nothing_to_learn(bench: Bench, tmp_path: Path) -> None:
    session = bench.start(thermostat, always_on())
    session.run()
    with pytest.raises(BadInput, match="nobody consented"):
        write_feedback(bench.memory, [session.id], tmp_path)
