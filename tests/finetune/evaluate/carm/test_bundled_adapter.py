"""The C-arm's adapter that comes with the package: it fits the base, it steers, and it can be told better."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.scenario import payloads, saying

from loopwright.finetune.data.carm.views import centred_poses, render_views
from loopwright.finetune.evaluate.carm.navigation import STEERINGS, navigate
from loopwright.finetune.evaluate.carm.vlm import open_vlms
from loopwright.finetune.evaluate.pictures import PngStore
from loopwright.finetune.sft.config import BaseModelConfig
from loopwright.finetune.sft.record import identify
from loopwright.finetune.sft.release import open_adapter
from loopwright.graphs.carm import LOOP
from loopwright.memory import open_memory
from loopwright.models.cards import load_card
from loopwright.settings import settings
from loopwright.tools.carm.geometry import Optics, Pose
from loopwright.tools.carm.landmarks import LANDMARKS
from loopwright.tools.carm.phantom import make_phantom

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


def test_one_message_puts_right_what_it_took_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the model by itself takes the middle of the picture for another landmark; each view also left alone."""
    monkeypatch.setenv("LOOPWRIGHT_CARM__MAX_EXPOSURES", "1")
    settings.cache_clear()
    mistaken = _mistaken_views()[:3]
    assert len(mistaken) == 3
    righted = 0
    with open_memory(f"sqlite:///{tmp_path / 'memory.sqlite'}") as memory:
        for pose, landmark in mistaken:
            place = f"{pose.x_mm},{pose.y_mm},{pose.z_mm}"
            run: dict[str, Any] = {"volume": PATIENT, "start": place, "target": "Skull", "localiser": "vlm"}
            alone = list(LOOP.start(memory, devices=tmp_path, **run).stream())
            told = saying(LOOP.start(memory, devices=tmp_path, **run), {("localised", 0): f"that is the {landmark}"})
            assert not payloads(alone, "relocalised")
            for events in (alone, told):
                assert _likeliest(payloads(events, "localised")[0]["nearest"]) != landmark
            righted += _likeliest(payloads(told, "relocalised")[0]["nearest"]) == landmark
    assert righted >= 2


def _mistaken_views() -> list[tuple[Pose, str]]:
    """Views near a landmark each in which the model is wrong about which is nearest, and which one it is."""
    *_, tuned = open_vlms(load_card("small"), PngStore())
    case, rng = make_phantom(int(PATIENT.partition(":")[2])), np.random.default_rng(0)
    shifts_mm = rng.normal(0, 25, size=(3, len(case.landmarks), 2)).round(1)
    poses = [
        Pose(x_mm=round(pose.x_mm + x_mm, 1), y_mm=round(pose.y_mm, 1), z_mm=round(pose.z_mm + z_mm, 1))
        for shifted in shifts_mm
        for pose, (x_mm, z_mm) in zip(centred_poses(case).values(), shifted.tolist(), strict=True)
    ]
    views = render_views(case, poses, Optics(), settings().carm.image_size_px)
    said = tuned.score_nearest(tuned.show(views.images)).probabilities.argmax(axis=1)
    truth = np.nanargmin(views.distance_mm, axis=1)
    return [(pose, LANDMARKS[t]) for pose, s, t in zip(poses, said, truth, strict=True) if s != t]


def _likeliest(nearest: dict[str, float]) -> str:
    return max(nearest, key=nearest.__getitem__)
