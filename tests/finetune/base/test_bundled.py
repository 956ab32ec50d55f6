"""The base that comes with the package: it is what its card says, and it says what pictures show."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from loopwright import models
from loopwright.finetune.base.config import BaseConfig
from loopwright.finetune.base.evaluate import answer, score
from loopwright.finetune.data.surgery.base_tasks import SurgeryCorpus, SurgeryLessons
from loopwright.models.local.loading import load_base

FOLDER = Path(models.__file__).parent / "weights" / "base"


@pytest.fixture(scope="module")
def card() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(FOLDER.with_name("base.card.yaml").read_text(encoding="utf-8"))
    return read


def test_the_card_is_of_these_weights(card: dict[str, Any]) -> None:
    weights = (FOLDER / "model.safetensors").read_bytes()
    assert card["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert len(weights) < card["bytes"] < 12e6


def test_it_says_what_pictures_of_unseen_patients_show(card: dict[str, Any]) -> None:
    lessons = BaseConfig.model_validate(card["config"]).worlds["surgery"]
    assert isinstance(lessons, SurgeryLessons)
    corpus = SurgeryCorpus(lessons)
    probes = corpus.probes(6, test=True)
    base = load_base(str(FOLDER), folder=FOLDER, device="cpu", dtype="float32")
    looking = score(answer(base.model, base.processor, probes), probes, corpus).exact.mean()
    others = [*(probe.image for probe in probes[1:]), probes[0].image]
    elsewhere = score(answer(base.model, base.processor, probes, images=others), probes, corpus).exact.mean()
    assert looking >= 0.8 and elsewhere <= looking - 0.3
