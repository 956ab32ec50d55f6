"""Reading CholecT50 and CholecT45: every way of writing the same labels, and what is wrong with damaged ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tools.surgery.cholec_files import cholect50_json, write_cholect45, write_cholect50

from loopwright.errors import BadInput
from loopwright.tools.surgery.cholec import UNKNOWN_PHASE, FrameLabels, read_labels
from loopwright.tools.surgery.vocabulary import PHASES, VERBS


def same(one: FrameLabels, other: FrameLabels) -> bool:
    names = ("frames", "instruments", "verbs", "targets", "phases")
    return one.video == other.video and all(np.array_equal(getattr(one, n), getattr(other, n)) for n in names)


@given(st.lists(st.sampled_from(["", "retract", "retract+dissect", "clip", "aspirate+coagulate"]), max_size=30))
def test_text_and_packed_arrays_say_the_same(tmp_path_factory: pytest.TempPathFactory, seconds: list[str]) -> None:
    folder = tmp_path_factory.mktemp("cholec")
    videos = {"VID07": seconds, "VID12": seconds[::-1]}
    (text, late), (packed, _) = (
        read_labels(write_cholect45(folder / str(is_packed), videos, packed=is_packed), "cholect45")
        for is_packed in (False, True)
    )
    assert same(text, packed)
    assert (text.video, late.video) == ("VID07", "VID12")
    verbs = ["+".join(sorted(VERBS[i] for i in np.flatnonzero(row))) for row in text.verbs]
    assert verbs == ["+".join(sorted(filter(None, second.split("+")))) for second in seconds]
    assert set(text.phases) <= {UNKNOWN_PHASE}


def test_version_1_and_version_2_of_cholect50_say_the_same(tmp_path: Path) -> None:
    """Version 1 writes the video and the rate as text, words with hyphens, one with a slip, and key frames only."""
    complete = cholect50_json({16: ["retract", "dissect"], 23: [], 24: ["clip"]})
    older = json.loads(json.dumps(complete)) | {"video": "68", "fps": "1"}
    for known in older["categories"].values():
        for number, word in known.items():
            known[number] = word.replace("_", "-").replace("calot", "carlot")
    (one,) = read_labels(write_cholect50(tmp_path / "1", {"VID68": older}), "cholect50")
    (two,) = read_labels(write_cholect50(tmp_path / "2", {"VID68": complete}), "cholect50")
    assert same(one, two)
    assert one.frames.tolist() == [16, 23, 24]
    assert [VERBS[i] for i in np.flatnonzero(one.verbs[0])] == ["retract", "dissect"]
    assert not one.verbs[1].any() and not one.instruments[1].any(), "-1 is nothing"
    assert {PHASES[i] for i in one.phases} == {"calot-triangle-dissection"}


def test_numbers_mean_what_the_file_says_they_mean(tmp_path: Path) -> None:
    content = cholect50_json({0: ["clip"]})
    verbs = content["categories"]["verb"]
    verbs["4"], verbs["2"] = verbs["2"], verbs["4"]
    (labels,) = read_labels(write_cholect50(tmp_path, {"VID01": content}), "cholect50")
    assert [VERBS[i] for i in np.flatnonzero(labels.verbs[0])] == ["dissect"]


def test_a_video_without_a_labelled_frame_is_read(tmp_path: Path) -> None:
    (of_json,) = read_labels(write_cholect50(tmp_path / "50", {"VID01": cholect50_json({})}), "cholect50")
    (of_text,) = read_labels(write_cholect45(tmp_path / "45", {"VID01": []}), "cholect45")
    assert len(of_json.frames) == len(of_text.frames) == 0


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    content = cholect50_json({3: ["retract"], 4: ["dissect"]})
    change(content)
    return content


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (changed(lambda c: c["annotations"]["3"][0].__setitem__(7, 10)), "frame 3: verb 10 is not in"),
        (changed(lambda c: c["annotations"]["3"][0].__setitem__(1, "hook")), "instrument 'hook' is not in"),
        (changed(lambda c: c["categories"]["verb"].update({"9": "sing"})), "'sing' is no verb"),
        (changed(lambda c: c["annotations"]["4"][0].pop()), "frame 4: [0, 2,"),
        (changed(lambda c: c["annotations"].update({"4": None})), "frame 4: None is no list of triplets"),
        (changed(lambda c: c["annotations"]["4"].append([-1] * 14 + [2])), "frame 4: more than one phase"),
        (changed(lambda c: c["annotations"].update({"late": []})), "no whole number"),
        (changed(lambda c: c.pop("annotations")), "has no `annotations`"),
        (changed(lambda c: c.update(fps=25)), "`fps` = 25"),
    ],
)
def test_a_wrong_json_is_refused_by_name(tmp_path: Path, content: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_labels(write_cholect50(tmp_path, {"VID01": content}), "cholect50")
    assert said in str(refused.value) and "VID01.json" in str(refused.value)


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    write_cholect50(tmp_path, {"VID01": {}})
    (tmp_path / "labels" / "VID01.json").write_text("{")
    with pytest.raises(BadInput, match="expected JSON labels"):
        read_labels(tmp_path, "cholect50")


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("verb/VID01.txt", "0,0,1\n", "expected a frame and 10 times 0 or 1"),
        ("verb/VID01.txt", "0" + ",2" * 10, "expected a frame and 10 times 0 or 1"),
        ("verb/VID01.txt", "0" + ",x" * 10, "expected lines of whole numbers"),
        ("verb/VID01.txt", "\n".join(f"{i}" + ",0" * 10 for i in (1, 1)), "frame 1 follows 1"),
        ("target/VID01.txt", "7" + ",0" * 15, "do not label the same frames"),
    ],
)
def test_wrong_text_is_refused_by_name(tmp_path: Path, file: str, text: str, said: str) -> None:
    write_cholect45(tmp_path, {"VID01": ["retract", "dissect"]})
    (tmp_path / file).write_text(text)
    with pytest.raises(BadInput) as refused:
        read_labels(tmp_path, "cholect45")
    assert said in str(refused.value) and "VID01.txt" in str(refused.value)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"VID01/verb": np.zeros((4, 2), np.int64)}, "is int64 (4, 2); expected uint8 (frames, 2)"),
        ({"VID01/verb": np.zeros((4, 2), np.uint8)}, "`VID01/target` is nothing"),
        ({"VID01/verb": np.full((4, 2), 255, np.uint8)}, "bits beyond its 10 columns"),
        ({"VID01/verb": np.zeros((3, 2), np.uint8), "VID01/target": np.zeros((4, 2), np.uint8)}, "different numbers"),
    ],
)
def test_wrong_arrays_are_refused_by_name(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"VID01/instrument": np.zeros((4, 1), np.uint8)} | arrays
    np.savez(tmp_path / "labels.npz", **given)
    with pytest.raises(BadInput) as refused:
        read_labels(tmp_path, "cholect45")
    assert said in str(refused.value) and "VID01" in str(refused.value)


def test_a_folder_that_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is no folder; expected the folder of cholect45"):
        read_labels(tmp_path / "none", "cholect45")
    with pytest.raises(BadInput, match=r"nor one `.npz`; expected the folder of CholecT45"):
        read_labels(tmp_path, "cholect45")
    with pytest.raises(BadInput, match="expected the folder of CholecT50"):
        read_labels(tmp_path, "cholect50")


def test_one_patient_cannot_come_twice(tmp_path: Path) -> None:
    folder = write_cholect45(tmp_path, {"VID01": ["clip"], "video1": ["clip"]})
    with pytest.raises(BadInput, match="two videos of the patient VID01"):
        read_labels(folder, "cholect45")
