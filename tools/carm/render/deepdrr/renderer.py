"""The CUDA renderer: DeepDRR, polychromatic, in a worker process with a Python of its own. Imports nothing of it.

The camera goes over as matrices, not as MobileCArm angles: those tilt in another order than ours (their beta turns
about the patient's left-right axis whatever alpha is), are clipped silently, and would need a turn about the central
ray besides.
"""

import os
import subprocess
import threading
import weakref
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from loopwright.errors import MissingDependency, OperatorError
from loopwright.tools.carm.geometry import Array, Optics, Pose, source_world, view_axes
from loopwright.tools.carm.render.deepdrr.worker import read_message, write_message
from loopwright.tools.carm.volume import Volume

WORKER = Path(__file__).with_name("worker.py")
REPAIR = "Make its environment on a machine with an NVIDIA GPU: loopwright doctor --setup deepdrr."


def camera_from_world(pose: Pose, optics: Optics) -> Array:
    """(4, 4) rigid transform from `_world` mm to camera mm: x right, y down, z from the source to the detector."""
    axes = view_axes(pose)
    camera = np.eye(4)
    camera[:3, :3] = np.stack([axes.u, axes.v, axes.forward])
    camera[:3, 3] = -camera[:3, :3] @ source_world(pose, optics)
    return camera


class DeepDRRRenderer:
    """Draws with DeepDRR 1.2.2: 90KV_AL40 spectrum, materials by threshold, no noise, no scatter.

    Its line integrals are effective ones over a spectrum, so bone reads a few per cent lower behind thick tissue than
    with the other renderers.
    """

    def __init__(
        self, volume: Volume, optics: Optics, python: Path | None, worker: Path = WORKER, timeout_s: float = 300.0
    ) -> None:
        """Start the worker and hand it `volume`.

        Args:
            volume, optics: as for every renderer.
            python: of the environment that holds DeepDRR, the setting `carm.deepdrr_python`.
            worker: the script that it runs.
            timeout_s: how long one answer may take; the first picture compiles CUDA code.

        Raises:
            MissingDependency: no such environment, or DeepDRR does not work in it.
        """
        if python is None or not python.is_file():
            named = "no environment" if python is None else f"`{python}`, which is not there"
            raise MissingDependency(f"The renderer `deepdrr` has {named} (`carm.deepdrr_python`). {REPAIR}")
        self.volume = volume
        self.optics = optics
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        resources = ExitStack()
        self._stderr = os.memfd_create("deepdrr-stderr")
        resources.callback(os.close, self._stderr)
        self._process = resources.enter_context(
            subprocess.Popen([python, worker], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr)
        )
        resources.callback(_end, self._process)
        self.close = weakref.finalize(self, resources.close)
        """Ends the worker; also called when the renderer is collected and when Python exits."""
        opening = {"do": "open", "shape": volume.shape, "affine_world": volume.affine_world.tolist()}
        try:
            self._ask(opening, np.ascontiguousarray(volume.hounsfield, dtype="<i2").tobytes())
        except OperatorError as error:
            self.close()
            raise MissingDependency(f"The renderer `deepdrr` does not work here: {error} {REPAIR}") from error

    def render(self, pose: Pose, size_px: int) -> NDArray[np.float32]:
        """See `Renderer.render`.

        Raises:
            OperatorError: the worker died, did not answer in time, or reported an error.
        """
        request = {
            "do": "render",
            "size_px": size_px,
            "pixel_mm": self.optics.pixel_mm(size_px),
            "source_detector_mm": self.optics.source_detector_mm,
            "camera_from_world": camera_from_world(pose, self.optics).tolist(),
        }
        picture = np.frombuffer(self._ask(request), dtype="<f4")
        return picture.reshape(size_px, size_px).astype(np.float32)

    def _ask(self, request: dict[str, Any], payload: bytes = b"") -> bytes:
        with self._lock:
            alarm = threading.Timer(self._timeout_s, self._process.kill)
            alarm.start()
            message = None
            try:
                with suppress(BrokenPipeError):
                    write_message(cast(BinaryIO, self._process.stdin), request, payload)
                    message = read_message(cast(BinaryIO, self._process.stdout))
            finally:
                alarm.cancel()
        if message is None:
            raise OperatorError(f"The DeepDRR worker ended or said nothing for {self._timeout_s:g} s: {self._said()}.")
        reply, answer = message
        if "error" in reply:
            raise OperatorError(f"The DeepDRR worker reported {reply['error']!r}.")
        return bytes(answer)

    def _said(self) -> str:
        """The end of what the worker wrote to stderr."""
        size = os.fstat(self._stderr).st_size
        lines = os.pread(self._stderr, 2000, max(0, size - 2000)).decode(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:]) or "no message"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let the worker finish by ending its input; kill it if it does not."""
    with suppress(BrokenPipeError):
        if process.stdin:
            process.stdin.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
