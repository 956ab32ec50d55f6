"""Where exceptions end, and when time is up."""

import threading
import time

import pytest
from pydantic import Field, ValidationError

from loopwright.errors import (
    BadInput,
    DeveloperError,
    IntegrityError,
    LoopwrightError,
    Paused,
    Stopped,
    ToolError,
    ToolRefused,
    ToolRetry,
    UnknownName,
    UnsettledAct,
)
from loopwright.schema import CancelToken, Frozen
from loopwright.tools.call import answer, bad_arguments, within


class Seen(Frozen):
    depth_mm: float = Field(description="mm")


def raising(error: BaseException) -> Seen:
    raise error


def test_output_is_compact_json_for_the_model_and_one_line_for_the_human() -> None:
    reply = answer("look", {"deep": True}, lambda: Seen(depth_mm=2.5))
    assert (reply.status, reply.for_model, reply.output) == ("ok", '{"depth_mm":2.5}', {"depth_mm": 2.5})
    assert reply.for_human == 'look(deep=True) -> {"depth_mm":2.5}'


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ToolRetry("`x` is too deep"), "retry"),
        (BadInput("no such file"), "retry"),
        (UnknownName("landmark", "knee", ["Skull"]), "retry"),
        (ToolRefused("outside the envelope"), "refused"),
        (ToolError("the motor is hot"), "failed"),
    ],
)
def test_what_a_model_can_act_on_reaches_it(error: LoopwrightError, status: str) -> None:
    reply = answer("look", {"x_mm": 3}, lambda: raising(error))
    assert reply.status == status
    assert str(error) in reply.for_model
    assert str(error) in reply.for_human
    assert "look(x_mm=3)" in reply.for_human
    assert reply.output is None


@pytest.mark.parametrize(
    "error",
    [
        Stopped("STOP"),
        Paused("pause"),
        UnsettledAct("?"),
        IntegrityError("?"),
        DeveloperError("?"),
        ZeroDivisionError(),
    ],
    ids=lambda e: type(e).__name__,
)
def test_everything_else_crashes_and_names_the_call(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        answer("look", {"x_mm": 3}, lambda: raising(error))
    assert caught.value is error
    assert caught.value.__notes__ == ["In the tool call look(x_mm=3)."]


def test_a_tools_own_validation_error_is_not_blamed_on_the_model() -> None:
    with pytest.raises(ValidationError):
        answer("look", {}, lambda: Seen.model_validate({"depth_mm": "deep"}))


def test_bad_arguments_are_named_with_value_and_cut_to_what_fits() -> None:
    with pytest.raises(ValidationError) as caught:
        Seen.model_validate({"depth_mm": "x" * 1000, **{f"extra_{i}": i for i in range(9)}})
    text = str(bad_arguments("look", caught.value))
    assert "`depth_mm` = 'xxx" in text
    assert "and 5 more" in text
    assert len(text) < 800


def test_work_within_its_time_returns_or_raises_what_it_did() -> None:
    def overdue() -> int:
        raise AssertionError("there was time")

    assert within(5, CancelToken(), lambda _: 7, overdue) == 7
    with pytest.raises(ToolRetry, match="again"):
        within(5, CancelToken(), lambda _: raising(ToolRetry("again")), overdue)
    with pytest.raises(TimeoutError, match="its own"):
        within(5, CancelToken(), lambda _: raising(TimeoutError("its own")), overdue)


def test_overdue_work_is_cancelled_and_not_waited_for() -> None:
    cancelled = threading.Event()

    def work(cancel: CancelToken) -> str:
        if cancel.wait(30):
            cancelled.set()
        return "late"

    started = time.monotonic()
    assert within(0.1, CancelToken(), work, lambda: "overdue") == "overdue"
    assert time.monotonic() - started < 5
    assert cancelled.wait(5)


@pytest.mark.parametrize(("halt", "error"), [("stop", Stopped), ("pause", Paused)])
def test_a_halt_of_the_session_reaches_running_work(halt: str, error: type[Exception]) -> None:
    session = CancelToken()
    running = threading.Event()

    def work(cancel: CancelToken) -> str:
        running.set()
        cancel.wait(30)
        cancel.raise_if_set()
        return "never"

    def halt_soon() -> None:
        running.wait(5)
        getattr(session, halt)()

    threading.Thread(target=halt_soon).start()
    with pytest.raises(error):
        within(30, session, work, lambda: "overdue")
