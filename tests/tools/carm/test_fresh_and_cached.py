"""A process that compiles the renderer and one that finds it compiled draw the same picture to the last bit."""

import os
import subprocess
import sys
from pathlib import Path

DRAW = """
import hashlib
import numpy as np
from loopwright.tools.carm.geometry import Optics, Pose
from loopwright.tools.carm.render import joseph, make_renderer
from loopwright.tools.carm.volume import Volume

dense = np.random.default_rng(0).normal(0, 400, size=(24, 24, 24)).clip(-1000, 2000).astype(np.int16)
volume = Volume(hounsfield=dense, affine_world=np.diag([5.0, 5.0, 5.0, 1.0]), name="noise")
drawn = make_renderer("numba", volume, Optics()).render(Pose(x_mm=60.3, y_mm=58.0, z_mm=57.1), 64)
print("compiled" if joseph.cast.stats.cache_misses else "loaded", hashlib.sha256(drawn.tobytes()).hexdigest())
"""


def test_a_fresh_kernel_draws_what_a_cached_one_draws(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", DRAW]
    (first, one), (second, other) = (
        subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()
        for _ in range(2)
    )
    assert (first, second) == ("compiled", "loaded") and one == other
