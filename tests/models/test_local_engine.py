"""The engine: who is drawn with whom, STOP within one token, and faults that stay with whom they concern."""

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import torch
from langchain_core.messages import HumanMessage
from tests.models import tiny

from loopwright.errors import OperatorError, Paused, Stopped
from loopwright.models.cards import Decoding, ModelCard
from loopwright.models.local.chat import LocalChatModel
from loopwright.models.local.engine import Engine, Generation, Request, load_engine
from loopwright.models.local.loading import load_base
from loopwright.schema import CancelToken

LONG = Decoding(max_tokens=1500)


@pytest.fixture
def model() -> LocalChatModel:
    base = str(tiny.folder_of("llava"))  # random weights of this seed run on for the whole context
    return LocalChatModel(card=ModelCard(name="tiny", kind="local", base=base, decoding=Decoding(max_tokens=12)))


def request(model: LocalChatModel, words: str, decoding: Decoding, cancel: CancelToken | None = None) -> Request:
    return Request(inputs=model.prepare([HumanMessage(words)]), decoding=decoding, cancel=cancel)


@contextmanager
def busy(engine: Engine) -> Iterator[None]:
    """The engine's thread is held up by other work."""
    release = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(engine.run, lambda _: release.wait(60))
        try:
            yield
        finally:
            release.set()
            assert job.result()


def settle(engine: Engine) -> None:
    """Until the engine has done all that it was given so far."""
    engine.run(lambda _: None)


def test_stop_ends_a_reply_within_one_token_and_no_other(model: LocalChatModel) -> None:
    neighbour = Decoding(max_tokens=60)
    alone = list(model.engine.generate(request(model, "and you", neighbour)))
    cancel = CancelToken()
    with busy(model.engine):
        stopped = model.engine.generate(request(model, "go on", LONG, cancel))
        other = model.engine.generate(request(model, "and you", neighbour))
    tokens = iter(stopped)
    for _ in range(3):
        next(tokens)
    cancel.stop("hands off")
    n_then = len(stopped.tokens)
    with pytest.raises(Stopped, match="hands off"):
        list(tokens)
    assert list(other) == alone
    assert (stopped.batch_size, other.batch_size) == (2, 2)
    settle(model.engine)
    assert len(stopped.tokens) <= n_then + 1
    assert len(stopped.tokens) < len(other.tokens)


@pytest.mark.parametrize(("halt", "error"), [(CancelToken.stop, Stopped), (CancelToken.pause, Paused)])
def test_a_request_that_waits_is_halted_at_once(model: LocalChatModel, halt: object, error: type[Exception]) -> None:
    cancel = CancelToken()
    with busy(model.engine), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(model.invoke, "hello", cancel=cancel)
        time.sleep(0.1)
        assert not waiting.done()
        begun = time.perf_counter()
        assert callable(halt)
        halt(cancel)
        with pytest.raises(error):
            waiting.result(timeout=20)
        assert time.perf_counter() - begun < 5  # the engine is still busy; a tenth of a second on an idle machine
    settle(model.engine)


@pytest.mark.parametrize("is_halted_first", [True, False])
def test_choices_that_wait_to_be_scored_are_halted_at_once(model: LocalChatModel, is_halted_first: bool) -> None:
    cancel = CancelToken()
    if is_halted_first:
        cancel.stop("enough")
    with busy(model.engine), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(model.score_choices, [HumanMessage("Which?")], ["one", "two"], cancel=cancel)
        time.sleep(0 if is_halted_first else 0.1)
        begun = time.perf_counter()
        cancel.stop("enough")
        with pytest.raises(Stopped):
            waiting.result(timeout=20)
        assert time.perf_counter() - begun < 5  # the engine is still busy; a tenth of a second on an idle machine
    settle(model.engine)


def test_memory_that_runs_out_while_choices_are_scored_is_explained(model: LocalChatModel) -> None:
    def hungry(_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(OperatorError, match="ran out of memory"):
        model.engine.run(hungry)


def test_a_stream_that_nobody_reads_on_ends(model: LocalChatModel) -> None:
    generation = model.engine.generate(request(model, "go on", LONG))
    tokens = iter(generation)
    next(tokens)
    tokens.close()  # type: ignore[attr-defined]  # an iterator that is a generator
    settle(model.engine)
    assert len(generation.tokens) < LONG.max_tokens / 2


def test_rows_of_one_batch_keep_their_own_rules(model: LocalChatModel) -> None:
    decodings = [
        Decoding(max_tokens=9),
        Decoding(max_tokens=30, temperature=1.0, seed=1),
        Decoding(max_tokens=30, temperature=1.5, top_p=0.9, top_k=20, seed=2),
        Decoding(max_tokens=20, temperature=1.0, seed=1),
    ]
    words = ["one", "two words", "three words here", "two words"]

    def hand_in(i: int) -> Generation:
        return model.engine.generate(request(model, words[i], decodings[i]))

    alone = [list(hand_in(i)) for i in range(4)]
    with busy(model.engine):
        together = [hand_in(i) for i in range(4)]
    assert [list(generation) for generation in together] == alone
    assert {generation.batch_size for generation in together} == {4}
    assert alone[3] == alone[1][:20]
    assert [generation.finish for generation in together] == ["length"] * 4


def test_a_fault_reaches_the_caller_and_the_engine_goes_on(model: LocalChatModel) -> None:
    broken = dict(model.prepare([HumanMessage("hello")]))
    broken["input_ids"] = torch.full_like(broken["input_ids"], 10**6)
    with pytest.raises(IndexError):
        list(model.engine.generate(Request(inputs=broken)))
    with pytest.raises(ZeroDivisionError):
        model.engine.run(lambda _: 1 // 0)
    assert model.invoke("hello").text


def test_no_batch_is_larger_than_allowed(model: LocalChatModel) -> None:
    folder = tiny.folder_of("llava")
    engine = Engine(load_base(str(folder), folder=folder), max_batch=2)
    with busy(engine):
        generations = [engine.generate(request(model, "hello", Decoding(max_tokens=2))) for _ in range(5)]
    assert [len(list(generation)) for generation in generations] == [2] * 5
    assert [generation.batch_size for generation in generations] == [2, 2, 2, 2, 1]


def test_a_base_is_loaded_once_and_let_go(model: LocalChatModel) -> None:
    engine = load_engine(model.card)
    assert engine is model.engine
    other = load_engine(model.card.model_copy(update={"dtype": "bfloat16"}))
    assert other is not engine
    gone = weakref.ref(other)
    del other
    gc.collect()
    assert gone() is None
