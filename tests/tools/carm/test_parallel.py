"""Numba leaves torch's thread count alone: torch's last bits depend on it, so it must not depend on who drew first."""

import os
import subprocess
import sys

import pytest

RENDER_AND_COUNT = """
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import torch
from loopwright.tools.carm.geometry import Optics
from loopwright.tools.carm.phantom import make_phantom
from loopwright.tools.carm.render.numba_renderer import NumbaRenderer
from loopwright.tools.carm.volume import Volume

def draw():
    if {phantom}:
        make_phantom(0, arms="side", truncated=True, voxel_mm=12.0)
    else:
        air = np.full((8, 8, 8), -1000, np.int16)
        NumbaRenderer(Volume(hounsfield=air, affine_world=np.eye(4), name="air"), Optics())
    counts.append(torch.get_num_threads())

counts = []
for _ in range(2):
    with ThreadPoolExecutor(1) as threads:
        threads.submit(draw).result()
counts.append(torch.get_num_threads())
print(*counts)
"""


@pytest.mark.parametrize("phantom", [False, True])
def test_who_draws_first_keeps_torchs_thread_count(phantom: bool) -> None:
    threads = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2"}
    code = [sys.executable, "-c", RENDER_AND_COUNT.format(phantom=phantom)]
    counted = subprocess.run(code, env=os.environ | threads, check=True, capture_output=True, text=True)
    assert counted.stdout.split() == ["1", "1", "1"]
