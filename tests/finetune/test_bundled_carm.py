"""The C-arm's adapter that comes with the package: it fits the base, and it steers."""

from pathlib import Path

from loopwright.finetune.evaluate.navigation import STEERINGS, navigate
from loopwright.finetune.sft.config import BaseModelConfig
from loopwright.finetune.sft.record import identify
from loopwright.finetune.sft.release import open_adapter
from loopwright.models.cards import load_card

PATIENT = "phantom:10050"
"""Neither the adapter nor the network was trained on it."""
WAYS = [
    ("Right humeral head", "T12"),
    ("T12", "Carina"),
    ("Left hemidiaphragm", "T1"),
    ("Skull", "Right hemidiaphragm"),
    ("Carina", "Left humeral head"),
    ("T1", "Left scapular inferior angle"),
]


def test_it_was_trained_on_the_base_beside_it() -> None:
    card = load_card("small")
    record = open_adapter(Path(card.adapters["carm"])).record
    assert record and record.run.base.same_weights(identify(BaseModelConfig(base=card.base)))
    assert record.run.base.sha256


def test_it_steers_an_unseen_patient_in_strict_format() -> None:
    runs = navigate([(PATIENT, *way) for way in WAYS], lambda _: None, steering=STEERINGS["network+vlm"])
    assert sum(run.success for run in runs) >= len(WAYS) - 1
    assert all(run.strict == 1 and not run.unanswered for run in runs)
