"""`loopwright config`: where every value came from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


def test_show_names_value_and_origin(loopwright: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text("[carm]\nmax_exposures = 7\n")
    monkeypatch.setenv("LOOPWRIGHT_CONFIG", str(file))
    monkeypatch.setenv("LOOPWRIGHT_LOG__LEVEL", "info")
    rows = {line["name"]: (line["value"], line["origin"]) for line in loopwright("config", "show", "--json").json}
    assert rows["carm.max_exposures"] == (7, str(file))
    assert rows["log.level"] == ("info", "LOOPWRIGHT_LOG__LEVEL")
    assert rows["carm.renderer"] == ("numba", "default")
    said = loopwright("config", "show").out
    for name, (_, origin) in rows.items():
        assert name in said and origin in said


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_show_keeps_passwords_to_itself(loopwright: Cli, monkeypatch: pytest.MonkeyPatch, flags: list[str]) -> None:
    monkeypatch.setenv("LOOPWRIGHT_MEMORY__URL", "postgresql+psycopg://user:hunter2@host/loops")
    said = loopwright("config", "show", *flags).out
    assert "postgresql+psycopg://user:***@host/loops" in said
    assert "hunter2" not in said


def test_path_prints_the_file_in_force(loopwright: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "loopwright.toml"
    file.touch()
    monkeypatch.setenv("LOOPWRIGHT_CONFIG", str(file))
    assert loopwright("config", "path").out == f"{file}\n"
    monkeypatch.delenv("LOOPWRIGHT_CONFIG")
    monkeypatch.setattr("loopwright.settings.user_config_path", lambda name: tmp_path / "nowhere" / name)
    monkeypatch.chdir(tmp_path)
    assert loopwright("config", "path").out == f"{file}\n"
    file.unlink()
    done = loopwright("config", "path")
    assert (done.code, done.out) == (1, "")
