"""FSDrive's rows both ways: what they hold, the round trip, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.errors import BadInput
from loopwright.finetune.data.drive.fsdrive import (
    points_of,
    read_fsdrive,
    row_of,
    sample_of,
    to_fsdrive,
    write_fsdrive,
)
from loopwright.finetune.data.rows import read_row
from loopwright.tools.drive.scene import CAMERAS, Camera, Point, Sample, Scene

coordinates = st.floats(-200, 200, allow_subnormal=False)
points = st.tuples(coordinates, coordinates)
samples = st.builds(
    lambda token, history, future, command: Sample(
        scene=Scene(source="x", token=token, speed_mps=1, history=(*history, (0.0, 0.0)), command=command),
        future=tuple(future),
        images={camera: f"samples/{camera}.jpg" for camera in CAMERAS},
    ),
    st.text("abc123-", min_size=1, max_size=8),
    st.lists(points, min_size=4, max_size=4),
    st.lists(points, min_size=6, max_size=6),
    st.sampled_from(["straight", "left", "right"]),
)


@given(sample=samples, tokens=st.lists(st.integers(0, 16383), max_size=5))
def test_round_trip_to_the_centimetre(sample: Sample, tokens: list[int]) -> None:
    row = row_of(sample, tokens)
    back, visual = sample_of(row)
    assert visual == tuple(tokens)
    assert (back.scene.token, back.scene.command, back.images) == (
        sample.scene.token,
        sample.scene.command,
        sample.images,
    )
    for one, other in zip((*back.future, *back.scene.history), (*sample.future, *sample.scene.history), strict=True):
        assert one == pytest.approx(other, abs=0.00501)
    assert row_of(back, visual) == row  # nothing more is lost
    assert read_row(row).images == tuple(row["images"])  # what `loopwright train sft` reads


def test_axes_and_order_are_fsdrives() -> None:
    assert to_fsdrive((10.0, 2.0)) == (-2.0, 10.0)  # forward 10, left 2: x is to the right
    sample = Sample(
        scene=Scene(
            source="x", token="t", speed_mps=1, history=tuple((5.0 * k, 0.1 * k) for k in range(-4, 1)), command="left"
        ),
        future=tuple((5.0 * k, 0.5 * k) for k in range(1, 7)),
        images={camera: f"{camera}.jpg" for camera in CAMERAS},
    )  # fmt: skip
    row = row_of(sample, [3, 141])
    asked, answer = (turn["value"] for turn in row["conversations"])
    assert row["images"] == ["F.jpg", "FL.jpg", "FR.jpg", "B.jpg", "BL.jpg", "BR.jpg"]
    assert "[(0.40,-20.00), (0.30,-15.00), (0.20,-10.00), (0.10,-5.00)]" in asked and "Mission Goal: LEFT" in asked
    assert answer.startswith("<|3|><|141|>[(-0.50,5.00), (-1.00,10.00)")
    assert "x to the right" in row["system"] and "metres" in row["system"]


def foreign(**changed: Any) -> dict[str, Any]:
    """A row in other words, as another exporter writes them."""
    asked = (
        "Six images: " + "<image>\n" * 6 + "You know: Historical Trajectory (last 2 seconds): [(0.02,-8.00), "
        "(0.01,-6.00), (-0.00,-4.00), (0.00,-2.00)]\nMission Goal: RIGHT\nTraffic Rules: none\n"
    )
    answer = "<|5|><|6|> These are visual tokens.\n[(0.00,2.00), (0.10,4.00), (0.20,6.00), (0.40,8.00), (0.70,10.00), "
    turns = [{"from": "human", "value": asked}, {"from": "gpt", "value": answer + "(1.10,12.00)] The end."}]
    return {"id": "t", "images": [f"{k}.jpg" for k in range(6)], "system": "Drive.", "conversations": turns} | changed


def test_rows_in_other_words_are_read(tmp_path: Path) -> None:
    write_fsdrive(tmp_path / "rows.json", [foreign()])
    ((sample, visual),) = read_fsdrive(tmp_path / "rows.json", media=Path("data"))
    assert visual == (5, 6) and sample.scene.command == "right"
    assert sample.scene.history[0] == (-8.0, -0.02) and sample.scene.speed_mps == 4.0
    assert sample.future[-1] == (12.0, -1.1)
    assert sample.images["FL"] == "data/1.jpg"


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("[(1,2), (3,4), (5,6), (7,8), (9,10), (11,12.5)]", (11, 12.5)),
        ("first [(0,0)], then [(0,0),(1,2),(3,4),(5,6),(7,8),(9,10),(11,12)]", (11, 12)),
        ("(1,2) (3,4) (5,6) (7,8) (9,10) (-11,+12)", (-11, 12)),
        ("[(1,2), (3,4)]", None),
        ("[(1,2), (3,4), (5,6), (7,8), (9,10), (nan,12)]", None),
        ("I cannot tell.", None),
    ],
)
def test_trajectories_are_found_in_answers(text: str, last: Point | None) -> None:
    found = points_of(text)
    assert (None if found is None else found[-1]) == last


def test_it_refuses_what_no_row_can_hold(tmp_path: Path) -> None:
    scene = Scene(source="x", token="t", speed_mps=1, history=((0.0, 0.0),) * 5)
    images: dict[Camera, str] = {camera: f"/elsewhere/{camera}.jpg" for camera in CAMERAS}
    whole = Sample(scene=scene, future=((1.0, 0.0),) * 6, images=images)
    with pytest.raises(BadInput, match="'t' has no picture of B, BR"):
        row_of(whole.model_copy(update={"images": {c: i for c, i in images.items() if c not in ("B", "BR")}}))
    with pytest.raises(BadInput, match="'t' knows 5 future points; a row needs 6"):
        row_of(whole.model_copy(update={"future": (*whole.future[:5], None)}))
    with pytest.raises(BadInput, match="is not below `/media`"):
        row_of(whole, media=Path("/media"))
    assert row_of(whole, media=Path("/elsewhere"))["images"][0] == "F.jpg"
    said = foreign()["conversations"]
    for turns, problem in (
        (
            [{"from": "human", "value": "<image>" * 6 + "Mission Goal: LEFT"}, said[1]],
            "no `Historical Trajectory` of 4",
        ),
        ([{"from": "human", "value": said[0]["value"].replace("RIGHT", "UP")}, said[1]], "expected one of FORWARD"),
        ([said[0], {"from": "gpt", "value": "No."}], "has no 6 points; it is 'No.'"),
        (said[:1], "is no ShareGPT row"),
    ):
        write_fsdrive(tmp_path / "rows.json", [foreign(), foreign(conversations=turns)])
        with pytest.raises(BadInput, match=f"entry 2: .*{problem}"):
            list(read_fsdrive(tmp_path / "rows.json"))
