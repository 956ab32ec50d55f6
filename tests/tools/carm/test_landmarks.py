import json
from pathlib import Path

import numpy as np
import pytest

from loopwright.errors import BadInput, UnknownName
from loopwright.tools.carm.atlas import ATLAS_OFFSETS_MM, expected_offset_mm
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.landmarks import (
    LANDMARKS,
    SYNONYMS,
    canonical_name,
    landmark_id,
    load_landmarks,
    nearest,
)
from loopwright.tools.carm.volume import Volume


def test_there_are_fourteen_with_the_ids_of_the_data() -> None:
    assert len(LANDMARKS) == 14
    assert {n: landmark_id(n) for n in ("Skull", "Left humeral head", "T1", "Carina", "T12")} == {
        "Skull": 1,
        "Left humeral head": 3,
        "T1": 10,
        "Carina": 11,
        "T12": 14,
    }


def test_every_synonym_leads_to_its_landmark_and_none_to_two() -> None:
    aliases = [alias for synonyms in SYNONYMS.values() for alias in synonyms]
    assert len(set(aliases)) == len(aliases)
    for name in LANDMARKS:
        for alias in (name, *SYNONYMS[name]):
            for text in (alias, alias.upper(), alias.replace(" ", "_")):
                assert canonical_name(text) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("R elbow", "Right elbow"),
        ("wrist, left", "Left wrist"),
        ("Olecranon (right)", "Right elbow"),
        ("right scapula", "Right scapular inferior angle"),
        ("tip of the left shoulder blade", None),
        ("left shoulder blade tip", "Left scapular inferior angle"),
        ("elbow", None),
        ("left right wrist", None),
        ("", None),
    ],
)
def test_what_people_type(text: str, name: str | None) -> None:
    if name is None:
        with pytest.raises(UnknownName):
            canonical_name(text)
    else:
        assert canonical_name(text) == name


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean `Carina`"):
        canonical_name("karina")


def test_nearest_is_closest_first(block_case: Case) -> None:
    assert nearest(block_case.landmarks, [0, -10, -80], 3) == ("Carina", "T1", "T12")


POINTS = {"T1": [0.0, -30.0, -30.0], "Carina": [0.0, -10.0, -90.0]}


@pytest.mark.parametrize(
    "document",
    [
        {"frame": "RAS", "landmarks": {n: {"ras_mm": p, "how": "by hand"} for n, p in POINTS.items()}},
        {"landmarks": POINTS},
        {"first thoracic vertebra": POINTS["T1"], "Tracheal carina": POINTS["Carina"]},
    ],
)
def test_json_forms(tmp_path: Path, block_volume: Volume, document: object) -> None:
    (tmp_path / "l.json").write_text(json.dumps(document))
    loaded = load_landmarks(tmp_path / "l.json", block_volume)
    assert {n: p.tolist() for n, p in loaded.items()} == POINTS


def test_csv_of_the_seed_names_rows_or_orders_them(tmp_path: Path, block_volume: Volume) -> None:
    path = tmp_path / "l.csv"
    path.write_text("name,x_ct,y_ct,z_ct\nCarina, 0,-10,-90\nT1,0,-30,-30\nSkull,,,\n")
    assert {n: p.tolist() for n, p in load_landmarks(path, block_volume).items()} == POINTS
    rows = [f"{i},{-i},{-10 * i}" for i in range(1, 15)]
    path.write_text("\n".join(["x_ct,y_ct,z_ct", *rows]))
    loaded = load_landmarks(path, block_volume)
    assert tuple(loaded) == LANDMARKS
    assert loaded["T12"].tolist() == [14, -14, -140]
    path.write_text("\n".join(["x_ct,y_ct,z_ct", *rows[:-1]]))
    with pytest.raises(BadInput, match="13 rows and no `name` column"):
        load_landmarks(path, block_volume)


def test_voxel_indices_are_read_as_such_only_when_it_is_said(tmp_path: Path, block_volume: Volume) -> None:
    path = tmp_path / "l.json"
    path.write_text(json.dumps({"T1": [15, 5, 21]}))
    np.testing.assert_allclose(load_landmarks(path, block_volume, unit="voxel")["T1"], [0, -30, -32])
    with pytest.raises(BadInput, match=r"`T1` at \[15.0, 5.0, 21.0\] mm, outside.*'voxel'"):
        load_landmarks(path, block_volume)


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("l.json", "{", BadInput, "not JSON"),
        ("l.json", "[]", BadInput, "expected an object"),
        ("l.json", "{}", BadInput, "holds no landmark"),
        ("l.json", '{"T1": [0, 1]}', BadInput, "`T1`; expected three finite numbers"),
        ("l.json", '{"T1": [0, NaN, 1]}', BadInput, "three finite"),
        ("l.json", '{"T1": {"lps_mm": [0, 0, 0]}}', BadInput, "three finite"),
        ("l.json", '{"T1": [0, 0, -30], "T1 vertebral body": [0, 0, -30]}', BadInput, "`T1` twice"),
        ("l.json", '{"T13": [0, 0, -30]}', UnknownName, "T12"),
        ("l.csv", "a,b\n1,2\n", BadInput, "`x_ct`"),
        ("l.csv", "name,x_ct,y_ct,z_ct\nT1,left,0,0\n", BadInput, "three finite"),
        ("l.txt", "", BadInput, ".json or .csv"),
    ],
)
def test_bad_files_are_refused_by_name(
    tmp_path: Path, block_volume: Volume, name: str, content: str, error: type[BadInput], message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(error, match=message):
        load_landmarks(tmp_path / name, block_volume)
    with pytest.raises(BadInput, match="not a file"):
        load_landmarks(tmp_path / "nowhere.csv", block_volume)


def test_the_atlas_covers_all_and_agrees_with_a_real_patient(chest: Case) -> None:
    assert tuple(ATLAS_OFFSETS_MM) == LANDMARKS
    assert expected_offset_mm("T12", "first thoracic vertebra") == (1, -260)
    for name in ("Carina", "T12", "Left scapular inferior angle", "Right hemidiaphragm"):
        x, _, z = chest.landmarks[name] - chest.landmarks["T1"]
        left_mm, caudal_mm = expected_offset_mm("T1", name)
        assert abs(left_mm - -x) < 45
        assert abs(caudal_mm - -z) < 45


def test_deep_landmarks_are_refused(tmp_path: Path, block_volume: Volume) -> None:
    path = tmp_path / "deep.json"
    path.write_text("[" * 100_000)
    with pytest.raises(BadInput, match=r"deep\.json` is not JSON \(nested too deep"):
        load_landmarks(path, block_volume)


def test_names_that_are_no_landmark_are_skipped_beside_known_ones(tmp_path: Path, block_volume: Volume) -> None:
    path = tmp_path / "l.json"
    path.write_text('{"T1": [0, 0, -30], "femoral neck": [1, 2, 3]}')
    assert list(load_landmarks(path, block_volume)) == ["T1"]
