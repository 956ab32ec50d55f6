"""Shared values: one canonical JSON, hashes that notice every change, and a cancel token that never loses a STOP."""

import json
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import loopwright.schema
from loopwright.errors import Paused, Stopped
from loopwright.schema import (
    GENESIS,
    Act,
    CancelToken,
    Event,
    Frozen,
    ImageRef,
    Note,
    Outcome,
    canonical_json,
    chain_hash,
    payload_hash,
    sha256_of,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def event(**changes: Any) -> Event:
    body = {"branch": 0, "step": 1, "kind": "moved", "payload": {"left_mm": 20.0}}
    values = {"session_id": "s", "seq": 1, "key": None, "created_at": NOW, "prev_hash": GENESIS, "hash": "0" * 64}
    return Event.model_validate(body | values | changes)


@given(JSON)
def test_canonical_json_is_json_and_stable(value: Any) -> None:
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text


@given(st.dictionaries(st.text(), JSON, min_size=2, max_size=5))
def test_the_order_of_keys_does_not_matter(value: dict[str, Any]) -> None:
    assert sha256_of(dict(reversed(value.items()))) == sha256_of(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"deep": [-float("inf")]}])
def test_what_json_cannot_hold_has_no_hash(value: Any) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        sha256_of(value)


@pytest.mark.parametrize("value", [b"pixels", {1, 2}, NOW])
def test_what_is_not_json_has_no_hash(value: Any) -> None:
    with pytest.raises(TypeError):
        sha256_of(value)


def test_an_acts_hash_is_its_exact_command() -> None:
    act = Act(tool="move_c_arm", arguments={"left_mm": 20.0, "caudal_mm": 0.0})
    assert act.sha256 == Act(tool="move_c_arm", arguments={"caudal_mm": 0.0, "left_mm": 20.0}).sha256
    assert act.sha256 != Act(tool="move_c_arm", arguments={"left_mm": 20.000001, "caudal_mm": 0.0}).sha256
    assert act.sha256 != Act(tool="take_exposure", arguments=act.arguments).sha256


def test_an_events_payload_hash_leaves_time_and_chain_out() -> None:
    assert event(seq=9, created_at=NOW.replace(year=2027), prev_hash="1" * 64).payload_hash == event().payload_hash


@pytest.mark.parametrize("change", [{"branch": 1}, {"step": 2}, {"kind": "seen"}, {"payload": {"left_mm": 20.5}}])
def test_an_events_payload_hash_notices(change: dict[str, Any]) -> None:
    assert event(**change).payload_hash != event().payload_hash


@pytest.mark.parametrize("i", range(6))
def test_the_chain_hash_notices_every_part(i: int) -> None:
    parts: list[Any] = [GENESIS, "s", 1, NOW, payload_hash(0, 1, "moved", {}), "key"]
    changed = [*parts]
    changed[i] = ["1" * 64, "t", 2, NOW.replace(microsecond=678902), "2" * 64, None][i]
    assert chain_hash(*changed) != chain_hash(*parts)


@pytest.mark.parametrize("sha256", ["", "0" * 63, "G" * 64, "A" * 64, "0" * 65])
def test_an_image_is_named_by_a_hash(sha256: str) -> None:
    with pytest.raises(ValidationError, match="sha256"):
        ImageRef(sha256=sha256, width_px=1, height_px=1)


def test_values_are_frozen_and_closed() -> None:
    note = Note(text="seen")
    with pytest.raises(ValidationError, match="frozen"):
        note.text = "unseen"  # type: ignore[misc]  # that mypy refuses it is the point
    with pytest.raises(ValidationError, match="Extra inputs"):
        Outcome.model_validate({"key": "k", "status": "done", "extra": 1})


def test_every_exported_value_is_frozen() -> None:
    exported = [getattr(loopwright.schema, name) for name in loopwright.schema.__all__]
    models = [value for value in exported if isinstance(value, type) and issubclass(value, Frozen)]
    assert len(models) > 8
    assert all(model.model_config.get("frozen") and model.model_config.get("extra") == "forbid" for model in models)


def test_a_stop_overrides_a_pause_and_no_pause_a_stop() -> None:
    token = CancelToken()
    token.raise_if_set()
    token.pause("Ctrl-C")
    with pytest.raises(Paused, match="Ctrl-C"):
        token.raise_if_set()
    token.stop("clinician said STOP")
    token.pause("Ctrl-C")
    with pytest.raises(Stopped, match="clinician said STOP"):
        token.raise_if_set()
    assert token.is_set


def test_a_token_wakes_who_waits() -> None:
    token = CancelToken()
    assert not token.wait(0.0)
    timer = threading.Timer(0.02, token.stop)
    timer.start()
    assert token.wait(30.0)
    timer.join()
