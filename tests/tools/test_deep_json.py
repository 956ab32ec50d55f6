"""JSON that is nested deeper than Python follows is bad input at every door, and no crash."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopwright.errors import BadInput
from loopwright.finetune.data.files import read_examples
from loopwright.finetune.evaluate.drive.predictions import read_predictions
from loopwright.finetune.grpo.rewards import bands_in
from loopwright.tools.drive.recorded.planning import read_planning
from loopwright.tools.drive.recorded.traffic import read_traffic
from loopwright.tools.recipe.loaders import read_recipes
from loopwright.tools.recipe.vocabulary import Vocabulary
from loopwright.tools.surgery.cholec import read_labels

DEEP = "[" * 100_000
READERS: dict[str, Callable[[Path], Any]] = {
    "rows": read_examples,
    "predictions": lambda path: read_predictions(path, ()),
    "bands": lambda path: bands_in(str(path)),
    "planning": lambda path: list(read_planning(path)),
    "traffic": lambda path: list(read_traffic(path)),
    "recipes": lambda path: list(read_recipes(path)),
    "vocabulary": Vocabulary.load,
}


@pytest.mark.parametrize("reader", READERS)
def test_a_deep_file_is_refused_with_its_name(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "deep.json"
    path.write_text(DEEP)
    with pytest.raises(BadInput, match=r"deep\.json"):
        READERS[reader](path)


def test_deep_labels_are_refused(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "VID01.json").write_text(DEEP)
    with pytest.raises(BadInput, match=r"VID01\.json` cannot be read \(nested too deep"):
        read_labels(tmp_path, "cholect50")
