"""Makes the environment in which DeepDRR lives: `loopwright doctor --setup deepdrr`."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from loopwright.errors import MissingDependency
from loopwright.tools.carm.geometry import Optics, Pose
from loopwright.tools.carm.render.deepdrr.renderer import DeepDRRRenderer
from loopwright.tools.carm.volume import Volume

REQUIREMENTS = Path(__file__).with_name("requirements-deepdrr.txt")
_NEEDED = {"nvidia-smi": "an NVIDIA GPU and its driver", "nvcc": "the CUDA toolkit, which compiles DeepDRR's kernel"}


def set_up(folder: Path, say: Callable[[str], None]) -> Path:
    """Make the environment in `folder`, or bring it up to date, and draw a picture with it.

    Args:
        folder: of the environment; about 8 GB.
        say: told each line of progress.

    Returns:
        Its Python, the value of the setting `carm.deepdrr_python`.

    Raises:
        MissingDependency: no NVIDIA GPU or CUDA toolkit (nothing is downloaded then), an installation that failed, or
            a picture that could not be drawn.
    """
    for program, what in _NEEDED.items():
        if shutil.which(program) is None:
            raise MissingDependency(
                f"DeepDRR needs {what}, but `{program}` is not on the PATH. Install it, or use the renderer `numba`."
            )
    python = folder / "bin" / "python"
    _run([sys.executable, "-m", "venv", str(folder)], say)
    _run([str(python), "-m", "pip", "install", "--progress-bar", "off", "-r", str(REQUIREMENTS)], say)
    say("drawing a picture with DeepDRR; the first one compiles")
    bone = Volume(
        hounsfield=np.full((16, 16, 16), 1000, dtype=np.int16), affine_world=np.eye(4), name="a block of bone"
    )
    renderer = DeepDRRRenderer(bone, Optics(), python)
    try:
        centre = renderer.render(Pose(x_mm=7.5, y_mm=7.5, z_mm=7.5), 32)[16, 16]
    finally:
        renderer.close()
    if not 0.1 < centre < 2.0:
        raise MissingDependency(f"DeepDRR drew {centre:.3g} for 16 mm of bone in `{folder}`; expected 0.1 to 2.")
    return python


def _run(command: list[str], say: Callable[[str], None]) -> None:
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        lines = []
        for line in process.stdout or ():
            lines.append(line.rstrip())
            say(lines[-1])
    if process.returncode:
        raise MissingDependency(
            f"`{' '.join(command)}` failed with exit code {process.returncode}: {' | '.join(lines[-3:])}. "
            "Repair what it names and run the command again; it goes on where it stopped."
        )
