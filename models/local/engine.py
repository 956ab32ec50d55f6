"""One base with its adapters, used by one thread: requests that wait for the same adapter are drawn together.

Sessions hand in prepared prompts and read token ids as they come. The thread collects what is waiting, and for some
milliseconds what is known to be on its way, runs one batch through transformers' `generate`, and goes on with the next.
Everything else that needs the model (scoring, loading an adapter) is a job of the same thread, so nothing here needs a
lock around the model. Knows nothing of messages or text.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import torch
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel, StoppingCriteriaList

from loopwright.errors import BadInput
from loopwright.models.cards import Decoding, ModelCard
from loopwright.models.grammar import Matcher
from loopwright.models.load_lock import MODEL_LOAD_LOCK
from loopwright.models.local.adapters import Adapters
from loopwright.models.local.batch import Inputs, collate, fits, layout
from loopwright.models.local.loading import Base, load_base, out_of_memory
from loopwright.models.local.sampling import Drawn, Finish, Row, RowSampler, RowsFinished
from loopwright.models.local.vocabulary import Processor, visual_tokens_of, with_visual_tokens
from loopwright.schema import CancelToken

T = TypeVar("T")

POLL_S = 0.02
"""How often a session that waits for the model looks at its cancel token."""
_ADVICE = "Show smaller pictures (`image_size_px`), lower `max_tokens`, or set `quantisation: nf4`."


@dataclass(frozen=True, kw_only=True)
class Request:
    """One reply to draw. `inputs` is one prompt as the processor made it, tensors with a leading 1."""

    inputs: Inputs
    decoding: Decoding = field(default_factory=Decoding)
    adapter: Path | None = None
    matcher: Matcher | None = None
    cancel: CancelToken | None = None


class Generation:
    """A reply on its way. Iterate it for token ids as they are drawn, or `wait` for all; figures are known then."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.layout = layout(request.inputs)
        self.handed_in = time.perf_counter()
        self.begun = self.first_token = self.ended = self.handed_in
        self.batch_size = 0
        self.tokens: list[int] = []
        self.trace: list[Drawn] = []
        self.finish: Finish | BaseException | None = None
        self._abandoned = False
        self._ended = threading.Event()
        self._news: SimpleQueue[int | None] = SimpleQueue()

    def __iter__(self) -> Iterator[int]:
        """Token ids, without the one that ends the reply. Leaving early ends the drawing within one token.

        Raises:
            Halted: the cancel token's `Stopped` or `Paused`, at once, also while the request still waits.
            OperatorError: out of memory.
        """
        try:
            while True:
                self._raise_if_halted()
                with suppress(Empty):
                    token_id = self._news.get(timeout=POLL_S)
                    if token_id is None:
                        break
                    yield token_id
            self._raise_if_failed()
        finally:
            self._abandoned = True

    def wait(self) -> list[int]:
        """All token ids. Cheaper than iterating: nothing wakes up for each token. Raises what iterating raises."""
        try:
            while not self._ended.wait(POLL_S):
                self._raise_if_halted()
            self._raise_if_failed()
            return self.tokens
        finally:
            self._abandoned = True

    @property
    def unwanted(self) -> bool:
        """Whether nobody waits for it any more."""
        cancel = self.request.cancel
        return self._abandoned or (cancel is not None and cancel.is_set)

    def begin(self, batch_size: int) -> None:
        """The engine takes it up, as one row of so many."""
        self.begun, self.batch_size = time.perf_counter(), batch_size

    def emit(self, token_id: int) -> None:
        """One more token was drawn."""
        if not self.tokens:
            self.first_token = time.perf_counter()
        self.tokens.append(token_id)
        self._news.put(token_id)

    def end(self, how: Finish | BaseException) -> None:
        """Nothing more will come. Of several endings the first counts."""
        if self.finish is None:
            self.finish, self.ended = how, time.perf_counter()
            self._news.put(None)
            self._ended.set()

    def _raise_if_halted(self) -> None:
        if self.request.cancel is not None:
            self.request.cancel.raise_if_set()

    def _raise_if_failed(self) -> None:
        self._raise_if_halted()
        if isinstance(self.finish, BaseException):
            raise self.finish


class Engine:
    """Runs one base for any number of sessions.

    Args:
        base: the model and its processor.
        max_batch: most replies that are drawn together.
        window_s: how long the first request of a batch waits for any company, s.
        expected_s: how long it waits for requests that are being prepared, s.
        traced: whether each `Generation` keeps what was drawn, for training (`trace`).
    """

    def __init__(
        self,
        base: Base,
        *,
        max_batch: int = 16,
        window_s: float = 0.002,
        expected_s: float = 0.25,
        traced: bool = False,
    ) -> None:
        self.processor = base.processor
        self.tokenizer = base.tokenizer
        self.takes_images = base.takes_images
        self.eos_token_ids = base.eos_token_ids
        self._model = base.model
        self._pad_token_id: Any = self.tokenizer.pad_token_id
        self._adapters = Adapters(base.model, len(base.tokenizer))
        self._processors: dict[Path, Processor] = {}
        self._max_batch, self._window_s, self._expected_s = max_batch, window_s, expected_s
        self._traced = traced
        self._n_expected = 0
        self._waiting: deque[Generation] = deque()
        self._arrival = threading.Condition()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loopwright-engine")

    @property
    def n_context(self) -> int | None:
        """Longest prompt and reply together, tokens; None where the model names no limit."""
        return getattr(self._model.config.get_text_config(), "max_position_embeddings", None)

    def processor_of(self, adapter: Path | None) -> Processor:
        """The base's, with the visual tokens of the adapter in a folder where that has any."""
        if adapter is None:
            return self.processor
        if adapter not in self._processors:
            count = visual_tokens_of(adapter)
            self._processors[adapter] = with_visual_tokens(self.processor, count) if count else self.processor
        return self._processors[adapter]

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """Within, the caller prepares a request and hands it in; a batch that forms waits for it a little."""
        with self._arrival:
            self._n_expected += 1
        try:
            yield
        finally:
            with self._arrival:
                self._n_expected -= 1
                self._arrival.notify_all()

    def generate(self, request: Request) -> Generation:
        """Hand in a request; iterate what is returned.

        Raises:
            BadInput: prompt and reply may be longer than the model's context.
        """
        n_prompt = request.inputs["input_ids"].shape[1]
        if self.n_context is not None and n_prompt + request.decoding.max_tokens > self.n_context:
            raise BadInput(
                f"A prompt of {n_prompt} tokens with `max_tokens` = {request.decoding.max_tokens} may exceed the "
                f"model's context of {self.n_context} tokens. Shorten the prompt, lower `max_tokens`, or show smaller "
                "pictures (`image_size_px`)."
            )
        if request.adapter is not None:
            self.load_adapter(request.adapter)
        generation = Generation(request)
        with self._arrival:
            self._waiting.append(generation)
            self._arrival.notify_all()
        self._thread.submit(self._serve)
        return generation

    def run(
        self, job: Callable[[PreTrainedModel], T], adapter: Path | None = None, *, cancel: CancelToken | None = None
    ) -> T:
        """`job` on the model with `adapter`, when its turn comes; what it returns or raises.

        Raises:
            Halted: the cancel token's `Stopped` or `Paused`, at once, whether the job waits or runs.
            OperatorError: out of memory.
        """
        if cancel is not None:
            cancel.raise_if_set()
        if adapter is not None:
            self.load_adapter(adapter)

        def with_adapter() -> T:
            with self._adapters.active(adapter), torch.inference_mode(), out_of_memory("The model", _ADVICE):
                return job(self._model)

        coming = self._thread.submit(with_adapter)
        while not wait([coming], POLL_S).done:
            if cancel is not None and cancel.is_set:
                coming.cancel()
                cancel.raise_if_set()
        return coming.result()

    def load_adapter(self, folder: Path) -> None:
        """Put the LoRA adapter in `folder` on the base; sessions without it are not affected.

        Raises:
            BadInput: no adapter, pickled weights, or an adapter of another base.
        """
        if folder not in self._adapters.folders:
            self._thread.submit(self._adapters.load, folder).result()

    def unload_adapter(self, folder: Path) -> None:
        """Take it off again. The next request that names it loads it anew.

        Raises:
            BadInput: it is not loaded.
        """
        self._thread.submit(self._adapters.unload, folder).result()
        self._processors.pop(folder, None)

    def _serve(self) -> None:
        """One batch, if a batch before has not already taken everything that waited."""
        batch = self._collect()
        try:
            if batch:
                self._draw(batch)
        except BaseException as error:
            for generation in batch:
                generation.end(error)
            raise

    def _collect(self) -> list[Generation]:
        """The request that has waited longest and all that can be drawn with it, off the queue."""
        with self._arrival:
            while self._waiting and self._waiting[0].unwanted:
                self._waiting.popleft()
            if not self._waiting:
                return []
            begun = self._waiting[0].handed_in
            while len(batch := self._company()) < self._max_batch:
                until = begun + (self._expected_s if self._n_expected else self._window_s)
                if (left := until - time.perf_counter()) <= 0:
                    break
                self._arrival.wait(left)
            for generation in batch:
                self._waiting.remove(generation)
            return batch

    def _company(self) -> list[Generation]:
        first, shapes = self._waiting[0], dict(self._waiting[0].layout)
        batch: list[Generation] = []
        for generation in self._waiting:
            same = generation.request.adapter == first.request.adapter
            if same and fits(generation.layout, shapes) and len(batch) < self._max_batch:
                shapes |= generation.layout
                batch.append(generation)
        return batch

    def _draw(self, batch: list[Generation]) -> None:
        for generation in batch:
            generation.begin(len(batch))
        requests = [generation.request for generation in batch]
        rows = [
            Row(request.decoding, self.eos_token_ids, generation, request.matcher)
            for request, generation in zip(requests, batch, strict=True)
        ]
        for generation, row in zip(batch, rows, strict=True):
            generation.trace = row.trace
        inputs = collate([request.inputs for request in requests], self._pad_token_id)
        limit = max(request.decoding.max_tokens for request in requests)
        doing = f"Drawing {len(batch)} replies of up to {limit} tokens"
        with self._adapters.active(requests[0].adapter), out_of_memory(doing, _ADVICE):
            generate: Any = self._model.generate
            generate(
                **{name: tensor.to(self._model.device) for name, tensor in inputs.items()},
                generation_config=GenerationConfig(
                    max_new_tokens=limit, do_sample=False, pad_token_id=self._pad_token_id
                ),
                logits_processor=LogitsProcessorList([RowSampler(rows, self._pad_token_id, traced=self._traced)]),
                stopping_criteria=StoppingCriteriaList([RowsFinished(rows)]),
            )


_engines: WeakValueDictionary[tuple[object, ...], Engine] = WeakValueDictionary()


def load_engine(card: ModelCard) -> Engine:
    """The engine of a local card's base. While anybody uses it, the same base is loaded once in this process.

    Raises:
        BadInput, MissingDependency, OperatorError: as `load_base`.
    """
    folder = card.base_folder
    key = (folder.resolve() if folder else card.base, card.device, card.dtype, card.quantisation)
    with MODEL_LOAD_LOCK:
        engine = _engines.get(key)
        if engine is None:
            base = load_base(
                card.base, folder=folder, device=card.device, dtype=card.dtype, quantisation=card.quantisation
            )
            engine = _engines[key] = Engine(base)
        return engine
