"""The other end of the pipe: serves pictures from DeepDRR. Runs in an environment that knows nothing of loopwright.

A message is a 4-byte big-endian length, that many bytes of JSON, and `bytes` (a key of the JSON) raw bytes.

    -> {"do": "open", "shape": [nx, ny, nz], "affine_world": 4x4, "bytes": ...} and int16 Hounsfield units, C order
    <- {}
    -> {"do": "render", "size_px", "pixel_mm", "source_detector_mm", "camera_from_world": 4x4, "bytes": 0}
    <- {"bytes": ...} and float32 (size_px, size_px) line integrals
    <- {"error": "..."} in either case; the worker lives on.

Any Python from 3.10 on, with numpy 1 or 2.
"""

import importlib
import json
import os
import struct
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

SPECTRUM = "90KV_AL40"
STEP_VOXELS = 0.1

Header = dict[str, Any]
Image = NDArray[np.floating[Any]]
Project = Callable[[Header], Image]
MakeProjector = Callable[[NDArray[np.int16], NDArray[np.float64]], Project]


def read_message(stream: BinaryIO) -> tuple[Header, bytes] | None:
    """One (header, payload); None where the stream ends before or within it."""
    prefix = stream.read(4)
    if len(prefix) < 4:
        return None
    (length,) = struct.unpack(">I", prefix)
    text = stream.read(length)
    if len(text) < length:
        return None
    header: Header = json.loads(text)
    payload = stream.read(header["bytes"])
    return (header, payload) if len(payload) == header["bytes"] else None


def write_message(stream: BinaryIO, header: Header, payload: bytes = b"") -> None:
    """Send `header` with its `bytes` filled in, and `payload`."""
    text = json.dumps({**header, "bytes": len(payload)}).encode()
    stream.write(struct.pack(">I", len(text)) + text)
    stream.write(payload)
    stream.flush()


def serve(make_projector: MakeProjector, requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer until `requests` ends.

    Args:
        make_projector: (hounsfield int16 (nx, ny, nz), affine_world (4, 4)) to a function from a render request to
            (N, N) line integrals.
        requests, replies: the two ends of the pipe.
    """
    project: Project | None = None
    while (message := read_message(requests)) is not None:
        request, payload = message
        answer = b""
        try:
            if request["do"] == "open":
                hounsfield = np.frombuffer(payload, dtype="<i2").reshape(request["shape"])
                project = make_projector(hounsfield, np.array(request["affine_world"], dtype=float))
            elif project is None:
                raise ValueError("`render` came before `open`")
            else:
                answer = np.ascontiguousarray(project(request), dtype="<f4").tobytes()
        except Exception as error:  # whatever DeepDRR, cupy or CUDA raise is told to the other end of the pipe
            write_message(replies, {"error": f"{type(error).__name__}: {error}"})
        else:
            write_message(replies, {}, answer)


class DeepDRRProjector:
    """DeepDRR on CUDA. Its `index` frame is our `_image`: pixel centres at + 0.5, u right, v down."""

    def __init__(self, hounsfield: NDArray[np.int16], affine_world: NDArray[np.float64]) -> None:
        """Densities and materials from `hounsfield`, as `deepdrr.Volume.from_nifti` makes them."""
        _repair_imports()
        self._deepdrr = deepdrr = importlib.import_module("deepdrr")
        hu = hounsfield.astype(np.float32)
        self._volume = deepdrr.Volume(
            deepdrr.Volume._convert_hounsfield_to_density(hu),
            deepdrr.Volume._segment_materials(hu, use_thresholding=True),
            anatomical_from_IJK=deepdrr.geo.FrameTransform(affine_world),
            anatomical_coordinate_system="RAS",
        )
        self._projectors: dict[tuple[Any, ...], tuple[Any, float]] = {}

    def __call__(self, request: Header) -> Image:
        """-log of the energy that reaches each pixel over what would without a patient."""
        projector, unattenuated = self._projector(request)
        reached = projector.project(self._camera(request)) / unattenuated
        return np.asarray(-np.log(np.maximum(reached, 1e-12)))

    def _projector(self, request: Header) -> tuple[Any, float]:
        key = request["size_px"], request["pixel_mm"], request["source_detector_mm"]
        if key not in self._projectors:
            device = self._deepdrr.CameraProjectionDevice(self._camera(request), pixel_size=request["pixel_mm"])
            projector = self._deepdrr.Projector(
                self._volume, device=device, step=STEP_VOXELS, spectrum=SPECTRUM, neglog=False
            )
            projector.initialize()
            far_away = np.eye(4)
            far_away[0, 3] = 1e6
            nothing = projector.project(self._camera({**request, "camera_from_world": far_away}))
            self._projectors[key] = projector, float(np.max(nothing))
        return self._projectors[key]

    def _camera(self, request: Header) -> Any:
        geo = self._deepdrr.geo
        intrinsic = geo.CameraIntrinsicTransform.from_sizes(
            request["size_px"], request["pixel_mm"], request["source_detector_mm"]
        )
        return geo.CameraProjection(intrinsic, geo.FrameTransform(np.array(request["camera_from_world"])))


def _repair_imports() -> None:
    """DeepDRR 1.2.2 was written for older companions: one module has moved, one argument has been renamed."""
    try:
        importlib.import_module("cuda.cudart")
    except ImportError:
        sys.modules["cuda.cudart"] = importlib.import_module("cuda.bindings.runtime")
    reshape: Any = np.reshape

    def reshape_by_old_name(a: Any, *args: Any, newshape: Any = None, **kwargs: Any) -> Any:
        return reshape(a, *args, **kwargs) if newshape is None else reshape(a, newshape, *args, **kwargs)

    np.__dict__["reshape"] = reshape_by_old_name


def main(make_projector: MakeProjector = DeepDRRProjector) -> None:
    """Serve on stdin and stdout; whatever else prints to stdout goes to stderr."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(make_projector, sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()
