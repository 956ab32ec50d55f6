"""Building a data set: parts by patient, pictures, counts, and statistics that only training patients decide."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image
from tests.tools.surgery.cholec_files import cholect50_json, seconds_of, write_cholect45, write_cholect50

from loopwright.errors import BadInput
from loopwright.tools.surgery.clips import ClipRules
from loopwright.tools.surgery.dataset import STATISTICS, SurgeryData, build, read_clips, read_samples, read_source
from loopwright.tools.surgery.splits import PARTS, split_of
from loopwright.tools.surgery.statistics import bundled_statistics, fit_statistics, read_statistics

DATA = SurgeryData(data_set="cholect45", split="fold1")
VIDEO = "RRRDDDDRRRCCCRRRVVVVRRRDDDRRR"


def some_videos(**others: str) -> dict[str, list[str]]:
    """Patients of every part of fold 1."""
    names = dict.fromkeys(("VID79", "VID02", "VID80", "VID31", "VID42", "VID29", "VID60", "VID27", "VID65"), VIDEO)
    return {name: seconds_of(letters) for name, letters in (names | others).items()}


def write_pictures(folder: Path, video: str, n: int, black: frozenset[int] = frozenset()) -> None:
    (folder / video).mkdir(parents=True)
    for i in range(n):
        Image.new("RGB", (16, 9), (0, 0, 0) if i in black else (160, i, 80)).save(folder / video / f"{i:06d}.png")


@pytest.mark.parametrize("split", ["rendezvous", "fold1", "fold2", "fold3", "fold4", "fold5"])
def test_no_patient_is_on_two_sides(tmp_path: Path, split: str) -> None:
    everybody = {f"VID{patient:02d}": VIDEO for patient in split_of("all").train}
    folder = write_cholect45(
        tmp_path / "45", {name: seconds_of(letters) for name, letters in everybody.items()}, packed=True
    )
    built = build(tmp_path / "out", folder, SurgeryData(data_set="cholect45", split=split))
    seen = {part: {sample.video for sample in read_samples(tmp_path / "out" / f"{part}.jsonl")} for part in PARTS}
    assert sum(map(len, seen.values())) == len(set.union(*seen.values())) == 50
    assert built.counts["parts"]["test"]["videos"] == len(seen["test"]) == 10


def test_a_build_says_what_it_did_and_can_be_read_back(tmp_path: Path) -> None:
    folder = write_cholect45(tmp_path / "45", some_videos(VID49="......", VID12="", VID99=VIDEO))
    told: list[str] = []
    built = build(tmp_path / "out", folder, DATA, on_progress=told.append)
    assert built.counts["skipped"] == {
        "VID12": "no frame is labelled",
        "VID49": "the rules leave no clip",
        "VID99": "the split 'fold1' does not know the patient",
    }
    assert (built.counts["videos"], built.counts["used"], built.counts["samples"]) == (12, 9, 9 * 8)
    assert built.counts["clips"]["Dissection"] == 9 * 2
    assert built.counts == json.loads((tmp_path / "out" / "counts.json").read_text())
    assert any("VID49: skipped" in line for line in told) and len(told) == 12
    clips = read_clips(tmp_path / "out")
    assert set(clips) == set(some_videos())
    samples = {part: read_samples(tmp_path / "out" / f"{part}.jsonl") for part in PARTS}
    assert {path.stem: n for path, n in built.rows.items() if path.stem in PARTS} == {
        p: len(s) for p, s in samples.items()
    }
    assert {sample.video for sample in samples["test"]} == {"VID79", "VID02"}
    for sample in (sample for part in PARTS for sample in samples[part]):
        assert sample.near[-1] == clips[sample.video][sample.index]
        assert sample.next == clips[sample.video][sample.index + 1].action
    assert read_source(tmp_path / "out") == {"labels": str(folder.resolve()), "frames": None}


def test_statistics_are_those_of_the_training_patients(tmp_path: Path) -> None:
    """What is fitted must not know the patients that it is measured on: their labels may say what they like."""
    build(tmp_path / "out", write_cholect45(tmp_path / "45", some_videos()), DATA)
    other = some_videos(VID79="AAACCCAAACCC", VID02="CCCAAACCC", VID65="AAACCCAAA")
    build(tmp_path / "other", write_cholect45(tmp_path / "45b", other), DATA)
    assert (tmp_path / "out" / STATISTICS).read_bytes() == (tmp_path / "other" / STATISTICS).read_bytes()
    fitted = read_statistics(tmp_path / "out" / STATISTICS)
    split = split_of("fold1", {79, 2, 80, 31, 42, 29, 60, 27, 65})
    clips = read_clips(tmp_path / "out")
    again = fit_statistics([clips[f"VID{patient:02d}"] for patient in sorted(split.train)])
    assert fitted.model_copy(update={"source": "", "licence": ""}) == again
    assert "fold1, train" in fitted.source and "Nwoye" in fitted.source


def test_building_again_writes_the_same_and_other_settings_are_refused(tmp_path: Path) -> None:
    folder = write_cholect45(tmp_path / "45", some_videos())
    build(tmp_path / "out", folder, DATA)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    build(tmp_path / "out", folder, DATA)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    with pytest.raises(BadInput, match=r"`split` = 'fold1', now 'fold2'"):
        build(tmp_path / "out", folder, DATA.model_copy(update={"split": "fold2"}))
    with pytest.raises(BadInput, match=r"`rules` = "):
        build(tmp_path / "out", folder, DATA.model_copy(update={"rules": ClipRules(min_s=4)}))


def test_clips_show_their_last_good_picture(tmp_path: Path) -> None:
    """Of RRRDDDDRRR: 2 is black, 6 is missing, 9 is damaged."""
    folder = write_cholect45(tmp_path / "45", {"VID79": seconds_of("RRRDDDDRRR"), "VID02": seconds_of("RRRDDD")})
    write_pictures(folder / "data", "VID79", 10, black=frozenset({2}))
    (folder / "data" / "VID79" / "000006.png").unlink()
    (folder / "data" / "VID79" / "000009.png").write_bytes(b"no picture")
    built = build(tmp_path / "out", folder, DATA)
    shown = [clip.frames for clip in read_clips(tmp_path / "out")["VID79"]]
    assert shown == [("VID79/000001.png",), ("VID79/000005.png",), ("VID79/000008.png",)]
    assert [clip.frames for clip in read_clips(tmp_path / "out")["VID02"]] == [(), ()]
    assert built.counts["pictures"] == {
        "shown": 3,
        "missing": 1 + 6,
        "black": 1,
        "unreadable": 1,
        "clips_without": 2,
    }


def test_more_pictures_are_spread_over_the_clip_and_all_black_is_none(tmp_path: Path) -> None:
    folder = write_cholect45(tmp_path / "45", {"VID79": seconds_of("RRRRRRRRRDDD")})
    write_pictures(tmp_path / "pictures", "VID79", 12, black=frozenset({9, 10, 11}))
    data = DATA.model_copy(update={"frames_per_clip": 3})
    built = build(tmp_path / "out", folder, data, frames=tmp_path / "pictures")
    retraction, dissection = read_clips(tmp_path / "out")["VID79"]
    assert retraction.frames == ("VID79/000002.png", "VID79/000005.png", "VID79/000008.png")
    assert dissection.frames == ()
    assert built.counts["pictures"]["black"] == 3 and built.counts["pictures"]["clips_without"] == 1


@pytest.mark.parametrize(
    ("file", "said"),
    [("VID79/late.png", "no frame's number"), ("VID79/000001.jpg", "same frame"), ("who/1.png", "no patient")],
)
def test_a_folder_that_is_not_of_frames_is_refused(tmp_path: Path, file: str, said: str) -> None:
    folder = write_cholect45(tmp_path / "45", some_videos())
    write_pictures(tmp_path / "pictures", "VID79", 3)
    (tmp_path / "pictures" / file).parent.mkdir(exist_ok=True)
    (tmp_path / "pictures" / file).touch()
    with pytest.raises(BadInput, match=said):
        build(tmp_path / "out", folder, DATA, frames=tmp_path / "pictures")
    with pytest.raises(BadInput, match="is no folder"):
        build(tmp_path / "out", folder, DATA, frames=tmp_path / "nowhere")


def number_pictures(folder: Path, numbers: Iterable[int]) -> None:
    folder.mkdir(parents=True)
    for number in numbers:
        Image.new("RGB", (8, 8), (160, 90, 80)).save(folder / f"{number:06d}.png")


@pytest.mark.parametrize(
    ("numbers", "per_second"),
    [
        (range(0, 750, 25), "24.2"),
        (range(750), "25"),
        (range(0, 60, 2), "1.97"),
        (range(15), "0.5"),
        (range(2), "0.06"),
    ],
    ids=["every 25th of 25 fps", "25 fps", "every 2nd of 2 fps", "0.5 fps", "2 of 30"],
)
@pytest.mark.parametrize("layout", ["cholect45", "cholect50"])
def test_pictures_numbered_at_another_rate_than_the_labels_are_refused(
    tmp_path: Path, numbers: range, per_second: str, layout: Literal["cholect45", "cholect50"]
) -> None:
    """With 25 numbers a second the clip of seconds 0 to 99 would show second 3."""
    seconds = seconds_of("RRRDDD" * 5)
    if layout == "cholect45":
        folder = write_cholect45(tmp_path / "set", {"VID79": seconds})
    else:
        content = cholect50_json({i: second.split("+") for i, second in enumerate(seconds)})
        folder = write_cholect50(tmp_path / "set", {"VID79": content})
    number_pictures(folder / "videos" / "VID79", numbers)
    data = SurgeryData(data_set=layout, split="all")
    said = rf"VID79` has pictures numbered to {numbers[-1]}, .* go to 29: about {per_second}\d* pictures .*000123\.png"
    with pytest.raises(BadInput, match=said):
        build(tmp_path / "out", folder, data)
    assert not (tmp_path / "out" / "clips.jsonl").exists()
    build(tmp_path / "blind", folder, data.model_copy(update={"frames_per_clip": 0}))


@pytest.mark.parametrize(
    "numbers", [range(30), range(1, 31), range(0, 30, 3), range(22), range(40), ()], ids=lambda n: str(n)
)
def test_missing_and_further_pictures_at_the_labels_rate_are_no_other_rate(
    tmp_path: Path, numbers: Iterable[int]
) -> None:
    folder = write_cholect45(tmp_path / "45", {"VID79": seconds_of("RRRDDD" * 5)})
    number_pictures(folder / "data" / "VID79", numbers)
    counts = build(tmp_path / "out", folder, DATA).counts["pictures"]
    assert counts["missing"] == len(set(range(30)) - set(numbers))


def test_nothing_but_empty_videos_is_refused(tmp_path: Path) -> None:
    folder = write_cholect45(tmp_path / "45", {"VID79": seconds_of("....")})
    with pytest.raises(BadInput, match=r"none of 1 videos has a clip. VID79: skipped, the rules leave no clip"):
        build(tmp_path / "out", folder, DATA)


def test_cholect50_brings_phases(tmp_path: Path) -> None:
    content = cholect50_json({i: second.split("+") for i, second in enumerate(seconds_of("RRRDDDRRR"))}, phase=3)
    folder = write_cholect50(tmp_path / "50", {"VID79": content})
    write_pictures(folder / "videos", "VID79", 9)
    build(tmp_path / "out", folder, SurgeryData(data_set="cholect50", split="all"))
    clips = read_clips(tmp_path / "out")["VID79"]
    assert [clip.phase for clip in clips] == ["gallbladder-dissection"] * 3
    assert clips[1].frames == ("VID79/000005.png",)
    assert np.asarray(Image.open(folder / "videos" / clips[1].frames[0]))[0, 0].tolist() == [160, 5, 80]


def test_damaged_files_are_refused_by_line(tmp_path: Path) -> None:
    build(tmp_path / "out", write_cholect45(tmp_path / "45", some_videos()), DATA)
    with (tmp_path / "out" / "clips.jsonl").open("a") as file:
        file.write('{"video": "VID01"}\n')
    with pytest.raises(BadInput, match=r"clips.jsonl`, line 82, is no Clip"):
        read_clips(tmp_path / "out")
    for read in (read_clips, read_source):
        with pytest.raises(BadInput, match="build it: `loopwright data build surgery`"):
            read(tmp_path / "nowhere")


def test_the_bundled_statistics_are_those_of_the_real_clips(tmp_path: Path, real_data: Path) -> None:
    built = build(tmp_path / "out", real_data / "surgery", SurgeryData(data_set="cholect45", split="all"))
    assert read_statistics(tmp_path / "out" / STATISTICS) == bundled_statistics()
    assert built.counts["clips"] == {
        "Aspiration": 127,
        "Coagulation": 176,
        "Dissection": 526,
        "Tissue Retraction": 752,
        "Vessel Clipping": 72,
    }
    assert built.counts["samples"] == 1619
