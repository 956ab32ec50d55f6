"""`loopwright data`: rendering a data set through the command line, and refusing what does not fit."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

Cli = Callable[..., Any]


def test_render_writes_pictures_and_table_and_completes_what_was_begun(loopwright: Cli, tmp_path: Path) -> None:
    command = ["data", "render", "carm", "--volume", "phantom:7", "--out", str(tmp_path), "--size-px", "64", "--json"]
    (line,) = loopwright(*command, "--n", "3").json
    assert line["pictures"] == 3
    with Path(line["table"]).open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 and set(rows[0]) == {"filename", "top3_landmarks", "case"}
    pictures = [tmp_path / row["filename"] for row in rows]
    assert all(Image.open(picture).size == (64, 64) for picture in pictures)

    before = [picture.stat().st_mtime_ns for picture in pictures[1:]]
    pictures[0].unlink()
    assert loopwright(*command, "--n", "3").code == 0
    assert pictures[0].exists()
    assert [picture.stat().st_mtime_ns for picture in pictures[1:]] == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--volume", "scan.nii.gz"], "`--landmarks` was given 0 times"),
        (["--volume", "chest", "--landmarks", "points.json"], "given 1 times"),
        (["--volume", "phantom:7", "--n", "0"], "'--n'"),
    ],
)
def test_render_refuses(loopwright: Cli, tmp_path: Path, arguments: list[str], said: str) -> None:
    done = loopwright("data", "render", "carm", "--out", str(tmp_path / "out"), *arguments)
    assert done.code == 2
    assert said in done.err
    assert not (tmp_path / "out").exists()


def test_fetch_knows_what_it_can_fetch(loopwright: Cli) -> None:
    done = loopwright("data", "fetch", "chst")
    assert done.code == 2
    assert "Did you mean 'chest'?" in done.err


def test_fetch_leaves_alone_what_is_there(loopwright: Cli, chest_cache: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in (chest_cache / "chest").iterdir()}
    (line,) = loopwright("data", "fetch", "chest", "--json").json
    assert line == {"name": "chest", "path": str(chest_cache / "chest")}
    assert {path.name: path.stat().st_mtime_ns for path in (chest_cache / "chest").iterdir()} == before
