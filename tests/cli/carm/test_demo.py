"""`loopwright demo`: the model steers, the human corrects it once, and one page shows it all."""

from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Said

Run = Callable[..., Said]


def test_the_model_steers_the_c_arm_and_is_corrected_once(loopwright: Run, tmp_path: Path) -> None:
    said = loopwright("demo", "carm", "--volume", "phantom:30000", "--out", str(tmp_path / "demo.html"))
    assert said.code == 0, said
    assert "navigator" in said.out and "go 40 mm right" in said.out
    page = (tmp_path / "demo.html").read_text(encoding="utf-8")
    assert "small with the adapter carm" in page and "go 40 mm right" in page
