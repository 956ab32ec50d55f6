"""Running the real command line in this process."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from loopwright import cli
from loopwright.settings import settings


@dataclass(frozen=True)
class Said:
    """What one command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> list[dict[str, Any]]:
        """stdout, one JSON object a line."""
        return [json.loads(line) for line in self.out.splitlines()]


Cli = Callable[..., Said]


@pytest.fixture
def loopwright(capsys: pytest.CaptureFixture[str]) -> Cli:
    """`loopwright("config", "show")` runs the command and returns exit code, stdout and stderr."""

    def run(*arguments: str) -> Said:
        settings.cache_clear()
        capsys.readouterr()
        code = cli.main(arguments)
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run
