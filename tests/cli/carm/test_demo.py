"""`loopwright demo`: the model steers, the human corrects it once, and one page shows it all."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Said

Run = Callable[..., Said]


def test_the_model_steers_the_c_arm_and_is_corrected_once(
    loopwright: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a name it is the first loop's; without the chest CT a phantom takes its place."""
    monkeypatch.chdir(tmp_path)
    said = loopwright("demo")
    assert said.code == 0, said
    assert "A phantom takes its place" in " ".join(said.out.split())
    assert "navigator" in said.out and "go 40 mm right" in said.out
    page = (tmp_path / "runs" / "demo-carm.html").read_text(encoding="utf-8")
    assert "small with the adapter carm" in page and "go 40 mm right" in page
