import csv
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from nibabel.loadsave import save
from nibabel.nifti1 import Nifti1Image
from PIL import Image
from rich.progress import Progress

from loopwright.errors import BadInput
from loopwright.settings import CArmSettings
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.dataset import isocentres_world, retrieval_answer, write_dataset
from loopwright.tools.carm.geometry import Pose
from loopwright.tools.carm.landmarks import nearest
from loopwright.tools.carm.render import make_renderer, to_uint8
from loopwright.tools.carm.volume import Volume
from loopwright.tools.carm.world import optics_of

SMALL = CArmSettings(image_size_px=32)


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def test_names_rows_and_pictures_agree(block_case: Case, tmp_path: Path) -> None:
    table = write_dataset([block_case], tmp_path, n_per_case=12, settings=SMALL)
    rows = rows_of(table)
    assert list(rows[0]) == ["filename", "top3_landmarks", "case"]
    assert len({row["filename"] for row in rows}) == 12
    renderer = make_renderer("numba", block_case.volume, optics_of(SMALL))
    for row in rows:
        folder, x, y, z = row["filename"].removesuffix(".png").split("_")
        assert (folder, row["case"]) == ("block/block", "block")
        pose = Pose(x_mm=float(x), y_mm=float(y), z_mm=float(z))
        expected = to_uint8(renderer.render(pose, 32))
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / row["filename"])), expected)
        names = nearest(block_case.landmarks, pose.isocentre_world, 3)
        assert [part.split(": ")[1] for part in row["top3_landmarks"].strip("[]").split(", ")] == list(names)


def test_the_answer_is_in_the_seeds_grammar(block_case: Case) -> None:
    at_carina = np.array([0.0, -10.0, -85.0])
    assert retrieval_answer(block_case.landmarks, at_carina) == "[11: Carina, 10: T1, 14: T12]"


def test_isocentres_are_seeded_uniform_over_the_body_and_at_mid_coronal_depth(block_volume: Volume) -> None:
    points = isocentres_world(block_volume, 1024, seed=5)
    assert len(np.unique(points, axis=0)) == 1024
    np.testing.assert_array_equal(points, isocentres_world(block_volume, 1024, seed=5))
    assert (points != isocentres_world(block_volume, 1024, seed=6)).any()
    assert set(points[:, 1]) == {round(block_volume.mid_coronal_y_mm, 2)}
    body_mm = {0: (-76, 76), 2: (-196, -12)}
    for axis, (low, high) in body_mm.items():
        assert points[:, axis].min() >= low
        assert points[:, axis].max() <= high
        counts, _ = np.histogram(points[:, axis], bins=4, range=(low, high))
        assert (abs(counts - 256) < 5 * np.sqrt(256)).all()


def test_running_again_keeps_what_is_whole_and_repairs_what_is_not(block_case: Case, tmp_path: Path) -> None:
    table = write_dataset([block_case], tmp_path, n_per_case=6, settings=SMALL)
    first, second, third, *rest = (tmp_path / row["filename"] for row in rows_of(table))
    pictures = {p: p.read_bytes() for p in (first, second, third, *rest)}
    before = {p: p.stat().st_mtime_ns for p in rest}
    first.unlink()
    second.write_bytes(pictures[second][:-30])
    Image.new("L", (16, 16)).save(third)
    with Progress(disable=True) as bar:
        assert write_dataset([block_case], tmp_path, n_per_case=6, settings=SMALL, progress=bar) == table
        assert [(t.description, t.completed, t.total) for t in bar.tasks] == [("block", 6, 6)]
    assert {p: p.read_bytes() for p in pictures} == pictures
    assert {p: p.stat().st_mtime_ns for p in rest} == before


def test_cases_may_be_added_and_parameters_may_not_change(block_case: Case, tmp_path: Path) -> None:
    write_dataset([block_case], tmp_path, n_per_case=3, settings=SMALL)
    table = write_dataset([replace(block_case, name="other")], tmp_path, n_per_case=3, settings=SMALL)
    rows = rows_of(table)
    assert [row["case"] for row in rows] == ["block"] * 3 + ["other"] * 3
    assert rows[0]["filename"].split("_")[1:] != rows[3]["filename"].split("_")[1:], "a case's name is in its seed"
    for name, seed, size_px, n in (("seed", 1, 32, 3), ("size_px", 0, 64, 3), ("n_per_case", 0, 32, 4)):
        with pytest.raises(BadInput, match=f"`{name}` = .*, now"):
            write_dataset([block_case], tmp_path, n_per_case=n, size_px=size_px, seed=seed, settings=SMALL)
    with pytest.raises(BadInput, match="`detector_mm`"):
        write_dataset([block_case], tmp_path, n_per_case=3, settings=SMALL.model_copy(update={"detector_mm": 200.0}))


def test_a_case_without_three_landmarks_is_refused(block_case: Case, tmp_path: Path) -> None:
    few = replace(block_case, landmarks={"T1": block_case.landmarks["T1"]})
    with pytest.raises(BadInput, match="'block' has 1 landmarks; expected at least 3"):
        write_dataset([few], tmp_path, n_per_case=3, settings=SMALL)
    assert not (tmp_path / "dataset.csv").exists()


def test_a_writer_that_is_killed_goes_on_where_it_was(block_case: Case, tmp_path: Path) -> None:
    volume = tmp_path / "block.nii.gz"
    save(Nifti1Image(block_case.volume.hounsfield, block_case.volume.affine_world), volume)
    landmarks = tmp_path / "block.json"
    landmarks.write_text(json.dumps({name: point.tolist() for name, point in block_case.landmarks.items()}))
    out = tmp_path / "out"
    script = (
        "import sys; from pathlib import Path; from loopwright.settings import CArmSettings;"
        "from loopwright.tools.carm.sources import open_case; from loopwright.tools.carm.dataset import write_dataset;"
        "case = open_case(sys.argv[1], Path(sys.argv[2]));"
        "write_dataset([case], Path(sys.argv[3]), n_per_case=2000, settings=CArmSettings(image_size_px=32))"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(volume), str(landmarks), str(out)])
    while len(list(out.glob("block/*.png"))) < 20:
        assert child.poll() is None
        time.sleep(0.005)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    assert not (out / "dataset.csv").exists()
    (out / "parameters.json").write_text((out / "parameters.json").read_text().replace("2000", "40"))
    pictures = {p: p.stat().st_mtime_ns for p in out.glob("block/block_*.png")}
    table = write_dataset([block_case], out, n_per_case=40, settings=SMALL)
    rows = rows_of(table)
    assert all((out / row["filename"]).exists() for row in rows)
    kept = [out / row["filename"] for row in rows if pictures.get(out / row["filename"])]
    assert len(kept) >= 15
    assert all(p.stat().st_mtime_ns == pictures[p] for p in kept)
