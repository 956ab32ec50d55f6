"""A small patient on disk, a memory, and a localiser that knows the truth: what tests of the loop itself need."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from loopwright.agents.session import Session
from loopwright.graphs import carm_run
from loopwright.graphs.carm_run import CArmRun
from loopwright.graphs.sessions import start_session
from loopwright.memory import Memory, open_memory
from loopwright.models.localisation import Localisation
from loopwright.settings import settings
from loopwright.tools.carm.geometry import Pose, in_plane_offset_mm
from loopwright.tools.carm.landmarks import LANDMARKS
from loopwright.tools.carm.phantom import make_phantom

Truth = Callable[[Pose], Localisation]


class Patient:
    """A phantom saved as a NIfTI file, with its landmarks beside it."""

    def __init__(self, folder: Path) -> None:
        case = make_phantom(7, truncated=False, voxel_mm=4.0)
        self.volume, self.landmarks_file = folder / "patient.nii.gz", folder / "patient.json"
        nib.save(nib.Nifti1Image(case.volume.hounsfield, case.volume.affine_world), self.volume)
        self.landmarks = {name: np.asarray(point) for name, point in case.landmarks.items()}
        self.landmarks_file.write_text(json.dumps({n: p.tolist() for n, p in self.landmarks.items()}))

    def run(self, start: str = "Carina", target: tuple[str, ...] = ("T12",), **options: object) -> CArmRun:
        """A run of the C-arm loop over this patient."""
        return CArmRun.model_validate(
            {"volume": str(self.volume), "landmarks": self.landmarks_file, "start": start, "target": target, **options}
        )

    def distance_mm(self, landmark: str, pose: Pose) -> float:
        """True distance from a landmark to the central ray."""
        return float(np.linalg.norm(in_plane_offset_mm(self.landmarks[landmark], pose)))

    def truth(self, pose: Pose) -> Localisation:
        """What a perfect localiser says at `pose`."""
        offsets = {n: in_plane_offset_mm(self.landmarks[n], pose) for n in LANDMARKS}
        closeness = {n: float(np.exp(-np.linalg.norm(o) / 20)) for n, o in offsets.items()}
        total = sum(closeness.values())
        return Localisation(
            nearest={n: c / total for n, c in closeness.items()},
            offsets_mm={n: (float(o[0]), float(o[1])) for n, o in offsets.items()},
            sigma_mm=dict.fromkeys(LANDMARKS, 3.0),
            coverage=0.95,
            nearest_set=(max(closeness, key=closeness.__getitem__),),
            radius_mm=dict.fromkeys(LANDMARKS, 8.0),
        )


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
def truth(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> Callable[[Truth], None]:
    """Replace the network by a function of the pose; the perfect one until told otherwise."""

    def use(see: Truth) -> None:
        def localise(run: "carm_run._Patient", image: NDArray[np.uint8]) -> Localisation:
            assert image.dtype == np.uint8
            return see(run.world.pose)

        monkeypatch.setattr(carm_run._Patient, "localise", localise)

    use(patient.truth)
    return use


@pytest.fixture
def begin(
    memory: Memory, tmp_path: Path, truth: Callable[[Truth], None], monkeypatch: pytest.MonkeyPatch
) -> Callable[[CArmRun], Session]:
    """Start a session of the C-arm loop; small pictures, for these tests look at none."""
    monkeypatch.setenv("LOOPWRIGHT_CARM__IMAGE_SIZE_PX", "64")
    settings.cache_clear()
    return lambda run: start_session(memory, "carm", run, tmp_path / "devices")
