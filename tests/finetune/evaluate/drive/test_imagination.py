"""Imagined frames: a model is measured beside copying, constant velocity and what came, and counted where unread."""

from typing import Any

from tests.finetune.data.drive.test_build import Brightness

from loopwright.agents.drive.formats import FRAME, DriveAnswer, drive_form
from loopwright.finetune.evaluate.drive.imagination import (
    COPY,
    DRAWN,
    MODEL,
    TRUTH,
    VELOCITY,
    bars_of,
    evaluate,
    moments,
)
from loopwright.finetune.measure.rows import CHANGE
from loopwright.models.scripted import ScriptedChatModel


def test_each_way_to_know_the_future_has_its_row() -> None:
    tokenizer: Any = Brightness()
    found = moments(6, tokenizer, (1.5,))
    rows = {row.model: row for row in evaluate(found, tokenizer)}
    assert list(rows) == [COPY, VELOCITY, DRAWN, TRUTH]
    assert all((row.n, row.variant) == (6, "1.5 s") for row in rows.values())
    assert rows[DRAWN].figures["car_iou"] > 0.2 and rows[TRUTH].figures["psnr_db"] > 10
    assert bars_of(list(rows.values())) == []


def test_a_model_is_compared_with_both_baselines_moment_by_moment() -> None:
    tokenizer: Any = Brightness()
    grey = drive_form(FRAME, tokenizer.n_codes).render(DriveAnswer(visual=(20,) * 64))
    rows = evaluate(moments(4, tokenizer, (0.5, 3.0)), tokenizer, ScriptedChatModel(replies=(grey,) * 8))
    first = rows[0]
    assert (first.model, first.figures["unread"], first.figures["found_2m"]) == (MODEL, 0.0, 0.0)
    pairs = [row.variant for row in rows if row.model == CHANGE]
    assert pairs == [f"{horizon}, {MODEL} - {other}" for horizon in ("0.5 s", "3 s") for other in (VELOCITY, COPY)]
    assert [bar.name.split(", lower")[0] for bar in bars_of(rows)] == [
        f"car IoU at 0.5 s, {MODEL} - {COPY}",
        f"car IoU at 3 s, {MODEL} - {VELOCITY}",
    ]


def test_an_answer_that_cannot_be_read_is_counted() -> None:
    tokenizer: Any = Brightness()
    model = ScriptedChatModel(replies=("<visual>a road</visual>",) * 40)
    rows = evaluate(moments(2, tokenizer, (0.5,)), tokenizer, model)
    assert rows[0].figures["unread"] == 2
