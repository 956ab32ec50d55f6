"""Sessions of the C-arm loop over a phantom, with a localiser that knows the truth."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.scenario import Begin, Patient, See, Use

from loopwright.graphs import carm_run
from loopwright.graphs.sessions import start_session
from loopwright.memory import Memory, open_memory
from loopwright.models.localisation import Localisation
from loopwright.settings import settings


@pytest.fixture(scope="session")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Patient:
    """One phantom for all tests of the loop."""
    return Patient(tmp_path_factory.mktemp("patient"))


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    """A memory of the test's own."""
    with open_memory(f"sqlite:///{tmp_path / 'memory.sqlite'}") as opened:
        yield opened


@pytest.fixture
def truth(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> Use:
    """Replace the network by a function of the pose; the perfect one until told otherwise."""

    def use(see: See) -> None:
        def localise(run: "carm_run._Patient", image: NDArray[np.uint8]) -> Localisation:
            assert image.dtype == np.uint8
            return see(run.world.pose)

        monkeypatch.setattr(carm_run._Patient, "localise", localise)

    use(patient.truth)
    return use


@pytest.fixture
def begin(memory: Memory, tmp_path: Path, truth: Use, monkeypatch: pytest.MonkeyPatch) -> Begin:
    """Start a session of the C-arm loop; small pictures, for these tests look at none."""
    monkeypatch.setenv("LOOPWRIGHT_CARM__IMAGE_SIZE_PX", "64")
    settings.cache_clear()
    return lambda run: start_session(memory, "carm", run, tmp_path / "devices")
