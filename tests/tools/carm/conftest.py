"""A small made-up patient, for tests that need a CT and not anatomy."""

import numpy as np
import pytest

from loopwright.tools.carm.case import Case
from loopwright.tools.carm.volume import Volume


def _block_patient() -> Volume:
    """A 150 x 90 x 180 mm body with a bone off centre, in 240 x 160 x 200 mm of air, with noise."""
    shape, voxel_mm = (30, 20, 25), 8.0
    hounsfield = np.full(shape, -1000, dtype=np.int16)
    hounsfield[6:25, 5:16, 1:24] = 40
    hounsfield[10:13, 8:11, 3:22] = 900
    noise = np.random.default_rng(0).integers(-20, 20, size=shape)
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    affine[:3, 3] = [-120.0, -70.0, -200.0]
    return Volume(hounsfield=(hounsfield + noise).astype(np.int16), affine_world=affine, name="block")


@pytest.fixture(scope="session")
def block_volume() -> Volume:
    """See `_block_patient`."""
    return _block_patient()


@pytest.fixture(scope="session")
def block_case(block_volume: Volume) -> Case:
    """The block patient with four landmarks."""
    points = {
        "Right humeral head": (80.0, 0.0, -30.0),
        "T1": (0.0, -30.0, -30.0),
        "Carina": (0.0, -10.0, -90.0),
        "T12": (10.0, -30.0, -170.0),
    }
    return Case(name="block", volume=block_volume, landmarks={n: np.array(p) for n, p in points.items()})
