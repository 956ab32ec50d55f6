"""Conversations about simulated drives: what a model is asked, what is right, and that nothing of it leaks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from loopwright.agents.drive.formats import FRAME, MASKED, PARTS, Part, drive_form
from loopwright.errors import BadInput
from loopwright.finetune.data.cases import cases_of
from loopwright.finetune.data.drive.build import PERCEPTION, REASONING, DriveRows, build
from loopwright.finetune.data.drive.manoeuvre import action_of
from loopwright.finetune.data.drive.moments import HORIZONS_S, futures, tracks
from loopwright.finetune.data.files import check_file
from loopwright.models.visual_tokens import codes_of
from loopwright.tools.drive.scene import Lane, Scene
from loopwright.tools.drive.views import occupancy_seen, top_view


class Brightness:
    """An image tokenizer of 64 codes: how bright each patch is."""

    size_px, n_tokens, n_codes = 128, 64, 64

    def encode(self, pictures: NDArray[np.uint8]) -> NDArray[np.int64]:
        return pictures.reshape(-1, 8, 16, 8, 16, 3).mean((2, 4, 5)).reshape(-1, 64).astype(np.int64) // 4

    def decode(self, codes: NDArray[np.int64]) -> NDArray[np.uint8]:
        grey = (codes.reshape(-1, 8, 8, 1) * 4).astype(np.uint8).repeat(3, axis=3)
        return grey.repeat(16, axis=1).repeat(16, axis=2)


def built(folder: Path, **settings: Any) -> list[dict[str, Any]]:
    rows = DriveRows(drives=2, validation=1, cameras=2, every=4, **settings)
    build(folder, rows, Brightness())
    lines = (folder / "train.messages.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def said(row: dict[str, Any]) -> tuple[str, str]:
    """What is asked, and the answer."""
    *_, asked, answer = ["".join(part.get("text", "<image>") for part in m["content"]) for m in row["messages"]]
    return asked, answer


def parts_of(answer: str) -> tuple[Part, ...]:
    return tuple(part for part in PARTS if f"<{part}>" in answer)


def test_pretraining_asks_for_one_frame_of_a_named_view(tmp_path: Path) -> None:
    rows = [said(row) for row in built(tmp_path, stage="pretrain", top=0.5)]
    assert len(rows) > 10
    views = [asked.partition("View ")[2].partition(" ")[0] for asked, _ in rows]
    assert "top" in views and len(set(views)) > 2
    for asked, answer in rows:
        frame = drive_form(FRAME, 64).parse(answer)
        moved = codes_of(asked.partition("Moved ")[2].partition(" Answer")[0])
        assert frame.visual is not None and len(moved) == len(frame.visual) == 64
    assert any(f"at +{horizon:.1f} s" in asked for asked, _ in rows for horizon in HORIZONS_S)
    assert check_file(tmp_path / "train.messages.jsonl").problems == ()
    assert cases_of(tmp_path / "validation.messages.jsonl") == ("simulated 1000000 to 1000000",)


def test_answers_have_all_parts_and_some_rows_ask_for_few(tmp_path: Path) -> None:
    mixed = [parts_of(said(row)[1]) for row in built(tmp_path / "mixed", stage="sft", mixed=0.8)]
    assert set(mixed) == {PARTS, FRAME, PERCEPTION, REASONING}
    plain = [said(row) for row in built(tmp_path / "plain", stage="sft", mixed=0.0)]
    assert {parts_of(answer) for _, answer in plain} == {PARTS}
    told = ["Road users: " in asked for asked, _ in plain]
    assert any(told) and not all(told)
    for _, text in plain:
        answer = drive_form(PARTS, 64).parse(text)
        assert answer.answer is not None and answer.answer[-1][0] > -1
    assert drive_form(MASKED, 64)  # the form of a model that does not imagine is another


def test_it_builds_the_same_again_and_pictures_where_they_are_wanted(tmp_path: Path) -> None:
    first = built(tmp_path / "one", stage="sft", shown=("top", "F"))
    assert first == built(tmp_path / "two", stage="sft", shown=("top", "F"))
    assert said(first[0])[0].startswith("top:<image>F:<image>")
    assert check_file(tmp_path / "one" / "train.messages.jsonl").problems == ()
    with pytest.raises(BadInput):
        built(tmp_path / "one", stage="sft", seed=1)


def test_a_future_is_seen_from_where_the_vehicle_went() -> None:
    track = tracks("highway", 3, cameras=1)[0]
    rng = np.random.default_rng(0)
    for future in list(futures(track, (1.5,), rng, planned=1.0))[:4]:
        then = next(k for k, scene in enumerate(track.scenes) if scene.token == future.then.token)
        assert np.array_equal(top_view(future.then), top_view(track.scenes[then]))  # its own view at that time
        assert future.driven[2] == pytest.approx((future.pose.x_m, future.pose.y_m), abs=0.01)
    expected = next(iter(futures(track, (0.5,), rng, planned=0.0)))
    moved, came = occupancy_seen(top_view(expected.moved)), occupancy_seen(top_view(expected.then))
    assert (moved & came).sum() > 0.5 * came.sum()


@pytest.mark.parametrize(
    ("speeds", "left_m", "action"),
    [
        ((10,) * 6, 0.0, "keep"),
        ((11, 12, 13, 13, 13, 13), 0.0, "faster"),
        ((9, 8, 7, 6, 5, 5), 0.0, "slower"),
        ((8, 6, 4, 2, 0, 0), 0.0, "stop"),
        ((10,) * 6, 4.0, "left"),
        ((12,) * 6, -4.0, "right"),
    ],
)
def test_a_trajectory_is_named_by_lane_and_speed(speeds: tuple[float, ...], left_m: float, action: str) -> None:
    lane = Lane(centre=((-50.0, 0.0), (100.0, 0.0)), is_route=True)
    scene = Scene(source="test", token="one", speed_mps=10, history=((0, 0),) * 5, lanes=(lane,))
    ahead = np.cumsum(speeds) / 2
    assert action_of(scene, [(float(x), left_m * (k + 1) / 6) for k, x in enumerate(ahead)]) == action
