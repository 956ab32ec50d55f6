"""A worker that serves like DeepDRR's, with a projector that needs no CUDA. Run as a script by test_render_deepdrr."""

import importlib.util
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PATH = Path(__file__).parents[4] / "tools/carm/render/deepdrr/worker.py"
_SPEC = importlib.util.spec_from_file_location("worker", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
worker = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(worker)


class SplatProjector:
    """Adds each voxel above air to the pixel it projects to, through the matrices of the request and nothing else."""

    def __init__(self, hounsfield: NDArray[np.int16], affine_world: NDArray[np.float64]) -> None:
        index = np.argwhere(hounsfield > -1000)
        self._density = hounsfield[tuple(index.T)].astype(float) + 1000
        self._points_world = index @ affine_world[:3, :3].T + affine_world[:3, 3]
        sys.stdout.write("a library that writes to stdout does not break the pipe\n")

    def __call__(self, request: dict[str, Any]) -> NDArray[np.float64]:
        size_px = request["size_px"]
        if size_px == 13:
            raise RuntimeError("CUDA out of memory")
        if size_px == 14:
            sys.stderr.write("the driver is gone\n")
            sys.stderr.flush()
            os._exit(9)
        if size_px == 15:
            time.sleep(60)
        focal_px = request["source_detector_mm"] / request["pixel_mm"]
        index_from_camera = np.array([[focal_px, 0, size_px / 2], [0, focal_px, size_px / 2], [0, 0, 1.0]])
        camera_from_world = np.array(request["camera_from_world"])
        camera = self._points_world @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
        u, v, w = index_from_camera @ camera.T
        image, _, _ = np.histogram2d(v / w, u / w, bins=size_px, range=[[0, size_px]] * 2, weights=self._density)
        return np.asarray(image, dtype=np.float64)


if __name__ == "__main__":
    worker.main(SplatProjector)
