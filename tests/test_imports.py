"""What an import costs: heavy libraries are loaded by the code that needs them, when it needs them."""

import json
import pkgutil
import subprocess
import sys

import pytest

import loopwright

LOADED = "; import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh Python holds after `code`; whatever `code` prints is dropped."""
    done = subprocess.run([sys.executable, "-c", code + LOADED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_package_is_light() -> None:
    heavy = {"torch", "langgraph", "langchain_core", "numba", "sqlalchemy", "numpy", "pydantic", "rich", "typer"}
    assert not heavy & loaded_by("import loopwright")


def test_a_world_and_its_tools_are_written_without_the_kit() -> None:
    names = ("Act", "Feedback", "Frozen", "SimulatedWorld", "Verdict", "loops", "open_memory", "tool")
    loaded = loaded_by(f"import loopwright as lw; [getattr(lw, name) for name in {names}]")
    assert "pydantic" in loaded
    assert not {"torch", "langgraph", "numba"} & loaded


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["config", "show"], ["data", "--help"]], ids=lambda a: " ".join(a)
)
def test_the_command_line_starts_light(arguments: list[str]) -> None:
    loaded = loaded_by(f"import loopwright.cli; loopwright.cli.main({arguments!r})")
    assert "typer" in loaded
    assert not {"torch", "langgraph", "langchain_core", "numba", "sqlalchemy", "numpy", "nibabel"} & loaded


MAY_LOAD_TORCH = (
    "loopwright.models.",
    "loopwright.finetune.",
    "loopwright.tools.carm.render.nanodrr_renderer",
    "loopwright.memory.migrations",  # runs inside Alembic only
)
"""Where the networks are. This may only shrink."""


def test_no_other_module_loads_torch() -> None:
    names = [
        info.name
        for info in pkgutil.walk_packages(loopwright.__path__, "loopwright.")
        if not info.name.startswith(MAY_LOAD_TORCH)
    ]
    assert len(names) > 20
    assert "torch" not in loaded_by("import importlib; [importlib.import_module(n) for n in " + repr(names) + "]")
