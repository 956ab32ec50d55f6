"""Any transformers language model, vision-language or text-only, as a LangChain chat model.

Messages in, one message out, whole or as it is drawn. Pictures come by reference through the session's `BlobReader`.
The model's own chat template writes the prompt; control tokens in what people and tools wrote are encoded as plain
text, so that nobody closes a turn from within. Drawing is the engine's.
"""

import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from jinja2 import TemplateError
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import ModelProfile
from langchain_core.messages import AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from PIL import Image, ImageOps
from pydantic import ConfigDict, Field, SkipValidation, ValidationError
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from loopwright.errors import BadInput, UnknownName
from loopwright.models.answers import AnswerFormat, ToolCallFormat
from loopwright.models.asking import LoopwrightChatModel
from loopwright.models.cards import Decoding, ModelCard
from loopwright.models.grammar import Grammar, Matcher
from loopwright.models.images import image_refs, open_image
from loopwright.models.local import tool_calls
from loopwright.models.local.batch import Inputs, batches, collate
from loopwright.models.local.conversation import Turn, turns, with_plain_text, without_system
from loopwright.models.local.engine import Engine, Generation, Request, load_engine
from loopwright.models.local.holding import held
from loopwright.models.local.processor import tokenizer_of
from loopwright.models.local.text import TextStream
from loopwright.models.local.vocabulary import Processor
from loopwright.models.scoring import ChoiceScores, score_tokens, tokens_of
from loopwright.schema import BlobReader, CancelToken, ImageRef

_OPTIONS = (
    *("cancel", "grammar", "tools", "tool_choice", "parallel_tool_calls", "response_format"),
    *Decoding.model_fields,
)

SCORED_TOGETHER = 16
"""Prompts at most whose choices are scored in one pass."""

_tokenizing = threading.Lock()
"""A fast tokenizer panics when one thread changes how it splits while another uses it."""


class LocalChatModel(LoopwrightChatModel):
    """A local model in one role.

    `invoke` and `stream` take, beside LangChain's own arguments: `cancel` (a `CancelToken`; the call raises its
    `Stopped` or `Paused`), `grammar` (a `Grammar` that the reply then keeps to), each field of `Decoding`, and what
    `bind_tools` binds. Models of the same base share its weights, and their concurrent calls are drawn together.

    Calls are in the model's own format. One that is forced (`tool_choice`) is drawn under the grammar of the tools;
    of others a malformed one becomes an invalid call.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    card: ModelCard
    engine: Engine = Field(default_factory=lambda given: load_engine(given["card"]), exclude=True, repr=False)
    adapter: str | None = Field(default=None, description="a role of the card's adapters; None: the base itself")
    decoding: Decoding = Field(default_factory=lambda given: given["card"].decoding)
    images: SkipValidation[BlobReader | None] = Field(default=None, exclude=True, repr=False)

    def with_adapter(self, role: str | None) -> Self:
        """The same base in another role, its adapter loaded. None: without one.

        Raises:
            UnknownName: the card has no adapter for `role`.
            BadInput: what lies there is no adapter for this base.
        """
        if role is not None and role not in self.card.adapters:
            raise UnknownName(f"adapter of `{self.card.name}`", role, self.card.adapters)
        if role is not None:
            self.engine.load_adapter(self.card.adapters[role])
        return self.model_copy(update={"adapter": role})

    def options_for(self, answer: AnswerFormat[Any]) -> dict[str, Any]:
        """Every answer is drawn under its grammar.

        Raises:
            DeveloperError: the format has no longest answer.
        """
        tools = {"tools": answer.schemas} if isinstance(answer, ToolCallFormat) else {}
        return {"grammar": answer.grammar(), **tools}

    def score_choices(
        self, messages: Sequence[BaseMessage], choices: Sequence[str], *, cancel: CancelToken | None = None
    ) -> ChoiceScores:
        """How probable each of `choices` is as the whole reply, calibrated with the card's temperature for this role.

        Raises:
            BadInput: no choices, or two that are the same reply.
            Halted: the cancel token was set before the scores were there.
        """
        scores = self.score_choices_of([messages], choices, cancel=cancel)
        return ChoiceScores(scores.log_probs[0], scores.probabilities[0])

    def score_choices_of(
        self, prompts: Sequence[Sequence[BaseMessage]], choices: Sequence[str], *, cancel: CancelToken | None = None
    ) -> ChoiceScores:
        """`score_choices` of B prompts, (B, C) each: those that fit together run together, so it takes less time.

        Raises:
            BadInput, Halted: as `score_choices`.
        """
        found = np.empty((2, len(prompts), len(choices)))
        temperature = self.card.choice_temperature.get(self.adapter or "", 1.0)
        prepared = [self.prepare(prompt) for prompt in prompts]
        tokenizer: Any = self.tokenizer
        with _tokenizing:
            tokens = tokens_of(choices, tokenizer)

        def job(model: PreTrainedModel, chosen: Sequence[int]) -> ChoiceScores:
            batch = collate([prepared[i] for i in chosen], tokenizer.pad_token_id)
            here = {name: tensor.to(model.device) for name, tensor in batch.items()}
            return score_tokens(model, here, tokens, sorted(self.engine.eos_token_ids), temperature)

        for chosen in batches(prepared, SCORED_TOGETHER):
            found[:, chosen] = self.engine.run(partial(job, chosen=chosen), self._adapter_folder, cancel=cancel)
        return ChoiceScores(*found)

    def _resolve_model_profile(self) -> ModelProfile:
        return {"tool_calling": True, "tool_choice": True, "structured_output": True}

    @property
    def _adapter_folder(self) -> Path | None:
        return self.card.adapters[self.adapter] if self.adapter is not None else None

    @property
    def processor(self) -> Processor:
        """What prepares prompts: the base's, with the visual tokens of the role's adapter."""
        return self.engine.processor_of(self._adapter_folder)

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The processor's."""
        return tokenizer_of(self.processor)

    @property
    def _llm_type(self) -> str:
        return "loopwright-local"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"card": self.card.model_dump(mode="json"), "adapter": self.adapter, **self.decoding.model_dump()}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        reply = self._reply(messages, stop or self.stop, kwargs)
        message = message_chunk_to_message(reply.last_chunk(reply.whole()))
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        reply = self._reply(messages, stop or self.stop, kwargs)
        for text in reply:
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=text))
            if run_manager is not None:
                run_manager.on_llm_new_token(text, chunk=chunk)
            yield chunk
        yield ChatGenerationChunk(message=reply.last_chunk(""))

    def _reply(self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]) -> "Reply":
        for name in options:
            if name not in _OPTIONS:
                raise UnknownName("option of a local model", name, _OPTIONS)
        cancel: CancelToken | None = options.get("cancel")
        if cancel is not None:
            cancel.raise_if_set()
        tools, grammar = held(messages, options, self.card.tool_choice)
        decoding = self._decoding(options, grammar)
        with self.engine.expecting():
            request = Request(
                inputs=self.prepare(messages, tools),
                decoding=decoding,
                adapter=self._adapter_folder,
                matcher=self._matcher(grammar) if grammar is not None else None,
                cancel=cancel,
            )
            generation = self.engine.generate(request)
        stream = TextStream(self.decode, stop or (), hold_from=tool_calls.OPENING if tools else None)
        facts = {"model_name": self.card.name, "adapter": self.adapter, "seed": decoding.seed}
        most_calls = (None if options.get("parallel_tool_calls", True) else 1) if tools else 0
        return Reply(generation, stream, facts, most_calls)

    def prepare(self, messages: Sequence[BaseMessage], tools: Sequence[dict[str, Any]] = ()) -> Inputs:
        """The prompt as tensors with a leading 1, as the model's forward takes them, up to where its reply begins.

        Raises:
            BadInput: a picture or message that cannot be shown, or turns in an order that the template refuses.
            IntegrityError: the reader does not hold a picture.
        """
        if not self.engine.takes_images:
            self._refuse_images(messages)
        knows_tools = tool_calls.knows_tools(str(self.processor.chat_template))
        conversation = turns(messages, self._open, tools, template_knows_tools=knows_tools)
        try:
            return self._encode(conversation, list(tools) if tools and knows_tools else None)
        except (TemplateError, ValueError) as error:
            roles = ", ".join(turn["role"] for turn in conversation)
            raise BadInput(f"The chat template of `{self.card.base}` refuses the turns {roles}: {error}") from error

    def _encode(self, conversation: Sequence[Turn], tools: list[dict[str, Any]] | None) -> Inputs:
        """Some templates, such as Gemma 2's, refuse a system turn: then its words begin the first user's."""
        try:
            return self._apply_template(conversation, tools)
        except TemplateError:
            if conversation[0]["role"] != "system":
                raise
            return self._apply_template(without_system(conversation), tools)

    def _apply_template(self, conversation: Sequence[Turn], tools: list[dict[str, Any]] | None) -> Inputs:
        processor: Any = self.processor
        with _tokenizing:
            encoded = processor.apply_chat_template(
                list(conversation) if self.engine.takes_images else with_plain_text(conversation),
                tools=tools,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                sanitize_control_tokens=True,
            )
        return dict(encoded)

    def _refuse_images(self, messages: Sequence[BaseMessage]) -> None:
        for i, message in enumerate(messages):
            if image_refs([message]):
                raise BadInput(
                    f"`messages[{i}]` ({message.type}) holds an image, but `{self.card.name}` takes text only: its "
                    f"base is `{self.card.base}`. Take a card whose base takes images, such as `qwen25vl-7b`."
                )

    def _open(self, ref: ImageRef) -> Image.Image:
        image = open_image(ref, self.images)
        edge = self.card.image_size_px
        return image if edge is None else ImageOps.contain(image, (edge, edge), Image.Resampling.BICUBIC)

    def _decoding(self, options: dict[str, Any], grammar: Grammar | None) -> Decoding:
        """The model's, changed by a call's own. Under a grammar the budget is that of its longest answer."""
        changed = {name: options[name] for name in Decoding.model_fields if name in options}
        if grammar is not None:
            changed["max_tokens"] = grammar.budget(changed.get("max_tokens", self.decoding.max_tokens))
        try:
            return Decoding.model_validate(self.decoding.model_dump() | changed)
        except ValidationError as error:
            raise BadInput(f"Decoding cannot be {changed!r}: {error}.") from error

    def _matcher(self, grammar: Grammar) -> Matcher:
        with _tokenizing:
            return Matcher(grammar, self.tokenizer, sorted(self.engine.eos_token_ids))

    def decode(self, token_ids: list[int]) -> str:
        """The text of these token ids, without special tokens."""
        with _tokenizing:
            return str(self.tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


class Reply:
    """One reply as it comes: iterate its text, then ask for its last chunk."""

    def __init__(
        self, generation: Generation, stream: TextStream, facts: dict[str, Any], most_calls: int | None
    ) -> None:
        self.generation = generation
        self._stream = stream
        self._facts = facts
        self._most_calls = most_calls

    def __iter__(self) -> Iterator[str]:
        for token_id in self.generation:
            if new := self._stream.push(token_id):
                yield new
            if self._stream.stopped:
                break
        if new := self._stream.close():
            yield new

    def whole(self) -> str:
        """All of its text. Only a stop string makes it worth looking at every token."""
        if self._stream.has_stops:
            return "".join(self)
        return self._stream.push(*self.generation.wait()) + self._stream.close()

    def last_chunk(self, text: str) -> AIMessageChunk:
        """`text`, what the reply calls, what it cost and how it ended. Times in seconds from the call."""
        done = self.generation
        calls = tool_calls.parse(self._stream.text).calls[: self._most_calls] if self._most_calls != 0 else []
        n_prompt = done.request.inputs["input_ids"].shape[1]
        return AIMessageChunk(
            content=text,
            tool_call_chunks=calls,
            chunk_position="last",
            usage_metadata={
                "input_tokens": n_prompt,
                "output_tokens": len(done.tokens),
                "total_tokens": n_prompt + len(done.tokens),
            },
            response_metadata=self._facts
            | {
                "finish_reason": "length" if done.finish == "length" else "stop",
                "waited_s": done.begun - done.handed_in,
                "first_token_s": done.first_token - done.handed_in,
                "latency_s": done.ended - done.handed_in,
                "batch_size": done.batch_size,
            },
        )
