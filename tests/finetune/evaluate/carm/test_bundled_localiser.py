"""The weights in the repository: small, calibrated, described, and able on phantoms that they have never seen."""

import numpy as np
import pytest
import yaml

from loopwright.finetune.data.carm.rendered import seeds_of
from loopwright.finetune.data.carm.views import centred_poses, render_views
from loopwright.finetune.evaluate.carm.localisation import evaluate_localisation
from loopwright.finetune.networks.carm.config import TrainConfig
from loopwright.models.conformal import COVERAGES
from loopwright.models.networks.carm import BUNDLED, CArmLocaliser, load_carm_network, weights_sha256
from loopwright.tools.carm.geometry import Optics
from loopwright.tools.carm.landmarks import LANDMARKS
from loopwright.tools.carm.phantom import make_phantom


@pytest.fixture(scope="module")
def localiser() -> CArmLocaliser:
    return load_carm_network()


def test_small_calibrated_and_described(localiser: CArmLocaliser) -> None:
    assert BUNDLED.stat().st_size < 12e6
    assert localiser.names == LANDMARKS
    assert localiser.calibration is not None and localiser.calibration.coverages == COVERAGES
    assert all(None not in row.values() for row in localiser.calibration.radius_factor.values())
    card = yaml.safe_load(BUNDLED.with_suffix(".card.yaml").read_text())
    assert card["weights_sha256"] == weights_sha256(BUNDLED)
    trained = TrainConfig.model_validate(card["config"])
    assert localiser.network.config == trained.network
    assert card["metrics"] and all(row["n"] > 0 for row in card["metrics"])


def test_it_finds_its_way_on_unseen_phantoms(localiser: CArmLocaliser) -> None:
    cases = (make_phantom(seed) for seed in seeds_of("test", 2))
    rows, _ = evaluate_localisation(localiser, cases, 25, world="phantom", size_px=128)
    by = {(r.what, r.model, r.variant): r.figures for r in rows}
    assert by["localisation", "network", "annotated"]["p1"] >= 0.9
    assert by["localisation", "network", "annotated"]["h2"] >= 0.8
    assert by["displacement", "network", "in view"]["median_mm"] <= 12.0
    assert by["conformal", "network", "body @ 0.95"]["set_coverage"] >= 0.85


def test_it_knows_left_from_right(localiser: CArmLocaliser) -> None:
    """A mirrored patient has the sides exchanged: a network that was trained with flips could not tell."""
    case = make_phantom(seeds_of("test", 3)[2], truncated=False)
    names = ("Right humeral head", "Left humeral head")
    poses = [centred_poses(case)[name] for name in names]
    images = render_views(case, poses, Optics(), 128).images
    mirrored = np.ascontiguousarray(images[:, :, ::-1])
    for as_seen, flipped, name, other in zip(images, mirrored, names, names[::-1], strict=True):
        assert localiser.localise(as_seen).ranking[0] == name
        assert localiser.localise(flipped).ranking[0] == other
