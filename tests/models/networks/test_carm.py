"""The localiser: its size, what it takes, how it is stored, and that bad files are refused by name."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from loopwright.errors import BadInput, IntegrityError
from loopwright.models.conformal import calibrate
from loopwright.models.networks.carm import (
    INPUT_PX,
    LAPLACE_SD,
    LOG_SIGMA_RANGE,
    RESNET34,
    SCALE_MM,
    CArmLocaliser,
    CArmNetwork,
    NetworkConfig,
    calibration_path,
    load_carm_network,
    local_contrast,
    prepare,
    save_carm_network,
)
from loopwright.models.networks.localisation import Localisation

NAMES = ("Skull", "T1", "Carina")
TINY = NetworkConfig(widths=(8, 8, 16), blocks=(1, 1, 1), neck=8, n_landmarks=3)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    save_carm_network(path, CArmNetwork(TINY), NAMES, {"steps": "0"})
    return path


@pytest.fixture
def picture() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (200, 200)).astype(np.uint8)


def n_parameters(config: NetworkConfig | None) -> int:
    return sum(p.numel() for p in CArmNetwork(config).parameters())


def test_the_seeds_size_is_one_configuration_and_the_default_is_small() -> None:
    assert 21_000_000 <= n_parameters(RESNET34) < 22_000_000
    assert 1_500_000 <= n_parameters(None) <= 4_000_000


def test_unequal_stages_are_refused() -> None:
    with pytest.raises(BadInput, match=r"`widths`.*`blocks`"):
        CArmNetwork(NetworkConfig(widths=(8, 8, 8), blocks=(1, 1, 1, 1)))


@given(st.integers(16, 400), st.integers(0, 255))
@settings(max_examples=30, deadline=None)
def test_any_size_is_resized_by_area(size: int, grey: int) -> None:
    tensor = prepare(np.full((size, size), grey, dtype=np.uint8))
    assert tensor.shape == (1, 1, INPUT_PX, INPUT_PX)
    assert torch.allclose(tensor, torch.tensor(grey / 255.0))


def test_local_contrast_shows_faint_edges_and_forgets_brightness() -> None:
    faint = torch.zeros(1, 1, 64, 64)
    faint[..., 32:] = 0.1
    flat = local_contrast(torch.full((1, 1, 64, 64), 0.7))
    torch.testing.assert_close(flat, torch.zeros_like(flat), atol=1e-5, rtol=0)
    torch.testing.assert_close(local_contrast(faint + 0.6), local_contrast(faint), atol=1e-4, rtol=0)
    weak, strong = local_contrast(faint).amax(), local_contrast(8 * faint).amax()
    assert weak > 0.6 * strong


def test_halving_averages_two_by_two(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    large = np.random.default_rng(1).integers(0, 256, (256, 256)).astype(np.uint8)
    expected = large.reshape(128, 2, 128, 2).mean((1, 3)) / 255.0
    np.testing.assert_allclose(prepare(large)[0, 0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    "image",
    [np.zeros((64, 64), np.float32), np.zeros((64, 32), np.uint8), np.zeros((8, 8), np.uint8), np.zeros(64, np.uint8)],
)
def test_what_is_no_radiograph_is_refused(image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    with pytest.raises(BadInput, match="expected square uint8 radiographs"):
        prepare(image)


def test_a_localisation_is_complete_json_and_round_trips(
    weights: Path, picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
) -> None:
    found = load_carm_network(weights).localise(picture)
    assert Localisation.model_validate_json(found.model_dump_json()) == found
    assert set(found.nearest) == set(found.offsets_mm) == set(found.sigma_mm) == set(NAMES)
    assert sum(found.nearest.values()) == pytest.approx(1.0, abs=1e-5)
    low, high = (SCALE_MM * LAPLACE_SD * np.exp(bound) for bound in LOG_SIGMA_RANGE)
    assert all(low * 0.999 <= s <= high * 1.001 for s in found.sigma_mm.values())
    assert found.nearest_set is None and found.radius_mm is None and found.coverage is None
    assert found.ranking[0] == max(found.nearest, key=lambda n: found.nearest[n])


def test_candidates_renormalise_the_posterior() -> None:
    found = Localisation(nearest={"a": 0.7, "b": 0.2, "c": 0.1, "d": 0.0}, offsets_mm={}, sigma_mm={})
    assert found.among(("b", "c")) == pytest.approx({"b": 2 / 3, "c": 1 / 3})
    assert found.among(("d",)) == {"d": 1.0}


def test_one_picture_and_a_batch_agree(weights: Path, picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    localiser = load_carm_network(weights)
    alone, both = localiser.estimate(picture), localiser.estimate(np.stack([picture, picture[::-1]]))
    np.testing.assert_allclose(alone.offsets_mm[0], both.offsets_mm[0], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(alone.posterior[0], both.posterior[0], atol=1e-5)


def test_saving_rounds_matrices_to_half_precision_only(weights: Path) -> None:
    torch.manual_seed(0)
    fresh = CArmNetwork(TINY).state_dict()
    for key, value in load_carm_network(weights).network.state_dict().items():
        assert value.dtype == fresh[key].dtype
        torch.testing.assert_close(value, fresh[key], rtol=1e-3, atol=1e-4)


def test_a_calibration_beside_the_weights_gives_sets_and_radii(
    weights: Path, picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
) -> None:
    sha = save_carm_network(weights, CArmNetwork(TINY), NAMES, {})
    rng = np.random.default_rng(0)
    found = calibrate(sha, NAMES, rng.uniform(size=80), rng.exponential(size=(80, 3)), np.arange(80))
    found.save(calibration_path(weights))
    localisation = load_carm_network(weights).localise(picture, coverage=0.9)
    assert localisation.coverage == 0.9 and localisation.nearest_set and localisation.radius_mm
    assert localisation.radius_mm["T1"] == found.radius_mm("T1", localisation.sigma_mm["T1"], 0.9)
    save_carm_network(weights, CArmNetwork(TINY), NAMES, {"other": "weights"})
    with pytest.raises(IntegrityError, match="calibrated for weights"):
        load_carm_network(weights)


def test_missing_weights_name_the_repair(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="train carm-network"):
        load_carm_network(tmp_path / "none.safetensors")


def test_pickled_weights_are_never_loaded(tmp_path: Path) -> None:
    path, proof = tmp_path / "evil.safetensors", tmp_path / "proof"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (proof,)  # type: ignore[return-value]

    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(BadInput, match="Pickled weights are never loaded"):
        load_carm_network(path)
    assert not proof.exists()


def test_weights_cut_short_are_named(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(BadInput, match=r"is no safetensors file"):
        load_carm_network(weights)


def test_weights_of_another_shape_are_named(tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    localiser = CArmLocaliser(CArmNetwork(TINY), NAMES)
    metadata = {
        "format": "loopwright.carm_network.v1",
        "config": NetworkConfig(widths=(8, 8, 32), blocks=(1, 1, 1), neck=8, n_landmarks=3).model_dump_json(),
        "landmarks": '["Skull", "T1", "Carina"]',
    }
    save_file({k: v.contiguous() for k, v in localiser.network.state_dict().items()}, path, metadata=metadata)
    with pytest.raises(BadInput, match=r"size mismatch"):
        load_carm_network(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(BadInput, match="has format None"):
        load_carm_network(path)
