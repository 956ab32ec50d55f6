"""Who is compared, and the environment that each gets for itself: their requirements cannot live together."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

WORKERS = Path(__file__).with_name("workers")
TORCH = "torch==2.13.0"
"""Named first and alone, so that pip does not trade it for a build with CUDA."""


class NotInstalled(Exception):
    """An environment could not be made; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Competitor:
    """A renderer, its worker script, and the pip commands that fill its environment (none: ours)."""

    name: str
    worker: str
    installs: tuple[tuple[str, ...], ...] = ()
    options: tuple[str, ...] = ()

    def command(self, folder: Path) -> list[str]:
        """What starts the worker, its environment made in `folder` if it is not there.

        Raises:
            NotInstalled: pip said no.
        """
        python = Path(sys.executable) if not self.installs else self._environment(folder / self.worker)
        return [str(python), str(WORKERS / f"{self.worker}_worker.py"), *self.options]

    def _environment(self, folder: Path) -> Path:
        python, done = folder / "bin" / "python", folder / "installed.txt"
        wanted = repr(self.installs)
        if done.is_file() and done.read_text() == wanted:
            return python
        print(f"making the environment of {self.worker} in {folder}", flush=True)
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            *[[str(python), "-m", "pip", "install", "--quiet", *install] for install in self.installs],
        ):
            finished = subprocess.run(command, capture_output=True, text=True)
            if finished.returncode:
                raise NotInstalled(f"`{' '.join(command[2:])}`: {finished.stderr.strip().splitlines()[-1:]}")
        done.write_text(wanted)
        return python


OURS = Competitor(name="loopwright numba", worker="loopwright")
COMPETITORS = (
    Competitor(name="RTK Joseph", worker="rtk", installs=(("itk-rtk==2.7.0.post1", "numpy"),)),
    Competitor(
        name="nanodrr, 500 samples",
        worker="nanodrr",
        installs=((TORCH,), ("nanodrr==0.1.7",)),
        options=("500",),
    ),
    Competitor(
        name="DiffDRR trilinear, 500 samples",
        worker="diffdrr",
        installs=((TORCH, "numpy"), ("--no-deps", "diffdrr==0.6.1")),
        options=("500",),
    ),
)
