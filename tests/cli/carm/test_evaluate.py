"""`loopwright eval carm` as a user types it."""

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Cli

from loopwright.cli.carm import evaluate


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPWRIGHT_CARM__IMAGE_SIZE_PX", "64")
    monkeypatch.setattr(evaluate, "MODEL", "absent")


SHORT = ("--world", "phantom", "--volumes", "1", "--n", "2")


def test_localisation_without_a_model_says_so_and_goes_on(loopwright: Cli, tmp_path: Path) -> None:
    said = loopwright("eval", "carm", "--what", "localisation", *SHORT, "--json", "--out", str(tmp_path))
    assert said.code in (0, 1) and "Rows of models are left out. Unknown model card 'absent'" in said.err
    *rows, last = said.json
    assert {row["model"] for row in rows} == {
        "chance",
        "prior-frequency",
        "network",
        "network, by place",
        "image-centre",
    }
    assert {bar["name"] for bar in last["bars"]} == {f"phantom network {name}" for name in ("p1", "p3", "h1", "h2")}
    kept = json.loads((tmp_path / "localisation.json").read_text(encoding="utf-8"))
    assert kept["rows"] == rows and kept["bars"] == last["bars"] and kept["asked"]["n"] == 2
    assert "| P@1 |" in (tmp_path / "localisation.md").read_text(encoding="utf-8")
    assert (tmp_path / "confusion-phantom.png").is_file()


@pytest.mark.parametrize(
    ("options", "what_is_wrong"),
    [
        (("localisation", "--rows", "vlm-sft"), "Unknown model card 'absent'"),
        (("localisation", "--model", "nowhere.yaml"), "There is no model card `nowhere.yaml`"),
        (("localisation", "--rows", "vlm"), "Unknown row of localisation 'vlm'. Did you mean `vlm-sft`"),
        (("navigation", "--rows", "network+vlm"), "Unknown model card 'absent'"),
        (("navigation", "--rows", "atlas"), "Unknown row of navigation 'atlas'. Did you mean"),
        (("preservation",), "Unknown model card 'absent'"),
        (("fit",), "Unknown model card 'absent'"),
    ],
)
def test_models_that_were_asked_for_must_be_there(
    loopwright: Cli, options: tuple[str, ...], what_is_wrong: str
) -> None:
    said = loopwright("eval", "carm", "--what", *options, *SHORT)
    assert said.code == 2 and what_is_wrong in said.err


@pytest.mark.parametrize(
    ("options", "what_is_wrong"),
    [
        (("fit", "--world", "chest"), "`--what fit` does not read `--world`"),
        (("fit", "--out", "tables"), "`--what fit` does not read `--out`"),
        (("localisation", "--lm-eval", "mmlu_pro"), "`--what localisation` does not read `--lm-eval`"),
        (("preservation", "--rows", "hybrid"), "`--what preservation` does not read `--rows`"),
        (("strangers", "--rows", "hybrid"), "`--what strangers` does not read `--rows`"),
    ],
)
def test_an_option_that_nothing_would_read_is_refused(
    loopwright: Cli, options: tuple[str, ...], what_is_wrong: str
) -> None:
    said = loopwright("eval", "carm", "--what", *options)
    assert said.code == 2 and what_is_wrong in said.err


def test_what_would_fail_at_the_end_is_said_first(
    loopwright: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").write_text("mine")
    command = ("eval", "carm", "--what", "localisation", "--rows", "network")
    said = loopwright(*command, *SHORT, "--out", str(tmp_path / "taken"))
    assert said.code == 2 and "where a folder is expected" in said.err and "views" not in said.err
    monkeypatch.setenv("LOOPWRIGHT_CACHE_DIR", str(tmp_path / "empty"))
    said = loopwright(*command, "--volumes", "1", "--n", "2")
    assert said.code == 2 and "loopwright data fetch chest" in said.err and "phantom" not in said.err


def test_rows_that_a_card_cannot_have_are_refused(loopwright: Cli, tmp_path: Path) -> None:
    card = tmp_path / "served.yaml"
    card.write_text("kind: served\nbase: m\nbase_url: http://127.0.0.1:9/v1\n", encoding="utf-8")
    said = loopwright("eval", "carm", "--what", "localisation", *SHORT, "--model", str(card), "--rows", "hybrid")
    assert said.code == 2 and "There can be no row 'hybrid'" in said.err
