"""Whatever a model writes, each format reads it, or refuses it, within a second: also a megabyte made to be slow."""

import time
from typing import Any

import pytest

from loopwright.agents.carm.formats import CENTRED, CORRECTION, NAVIGATION, RETRIEVAL
from loopwright.agents.carm.places import NEAREST, PLACE
from loopwright.agents.surgery.formats import CAPTION, NEXT_ACTION, PLAN
from loopwright.errors import BadInput
from loopwright.models.answers import AnswerFormat, JsonFormat, ToolCall, ToolCallFormat, read
from loopwright.models.calling import MAX_REPLY_BYTES
from loopwright.models.local.tool_calls import parse
from loopwright.models.markup import json_object, tag_content, without_fences
from loopwright.tools.registry import TOOLS

FORMATS: tuple[AnswerFormat[Any], ...] = (
    *(RETRIEVAL, CENTRED, CORRECTION, NAVIGATION, PLACE, NEAREST, CAPTION, NEXT_ACTION, PLAN),
    *(JsonFormat(ToolCall), ToolCallFormat(TOOLS)),
)
AROUND = {
    "bare": ("", ""),
    "correction": ("<response><visual_reasoning>", "</visual_reasoning><landmarks>[1,2]</landmarks></response>"),
    "plan": ('{"progress":"', '","safety":"Look.","actions":[]}'),
    "fence": ("```", "\n```"),
}
REPEATED = (
    "```",
    "`",
    " ",
    "\n",
    "a ",
    "{",
    "[",
    '{"a":',
    "<response>",
    "<response ",
    "</response>",
    "<tool_call>{",
    '"',
)


def hostile(n_bytes: int, piece: str, around: str) -> str:
    before, after = AROUND[around]
    return before + piece * ((n_bytes - len(before) - len(after)) // len(piece)) + after


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("n_bytes", [MAX_REPLY_BYTES, 10**6])
def test_every_format_takes_linear_time(n_bytes: int, around: str) -> None:
    for text in (hostile(n_bytes, piece, around) for piece in REPEATED):
        for answer in FORMATS:
            began = time.perf_counter()
            try:
                read(text, answer)
            except BadInput as error:
                assert len(str(error)) < 3000  # it goes back to the model
            assert time.perf_counter() - began < 1, (answer.name, text[:80])


@pytest.mark.parametrize("piece", REPEATED)
def test_what_looks_for_marks_takes_linear_time(piece: str) -> None:
    text = hostile(10**6, piece, "bare")
    began = time.perf_counter()
    for look in (without_fences, json_object, lambda said: tag_content(said, "response"), parse):
        try:
            look(text)
        except ValueError:
            continue
    assert time.perf_counter() - began < 4


def test_what_is_too_long_is_not_read() -> None:
    with pytest.raises(BadInput, match=f"262147 bytes long, of which {MAX_REPLY_BYTES} at most are read"):
        read("```" + "é" * (MAX_REPLY_BYTES // 2), CAPTION)
