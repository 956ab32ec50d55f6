"""A loop as an environment: somebody else's trainer plays the model in one role, and the rest is the loop itself.

An episode is a session: real graph, prompts, guards, tools, world. Where a node asks the role, the prompt is the
observation, and the next call of a method is the reply. TRL's `environment_factory` takes the class that
`Loop.environment` makes, whose public methods are the loop's tools; `Loop.gymnasium_env` is a `gymnasium.Env`.
"""

import inspect
import string
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple
from weakref import finalize

import gymnasium as gym
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import ConfigDict, Field
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from loopwright.errors import BadInput, DeveloperError, Halted, OperatorError
from loopwright.graphs.loop.declare import Declaration
from loopwright.graphs.loop.models import Given
from loopwright.graphs.loop.session import Session
from loopwright.graphs.loop.starting import start
from loopwright.memory import Memory, open_memory
from loopwright.models.answers import AnswerFormat
from loopwright.models.asking import LoopwrightChatModel
from loopwright.models.background import on_daemon_thread
from loopwright.models.images import open_image, ref_of
from loopwright.schema import BlobReader, Event
from loopwright.tools.contract import Tool

POLL_S = 0.05
LONGEST_REPLY = 10_000
"""Characters of an action of the gymnasium environment."""
Content = list[dict[str, Any]]
"""Blocks of a message, `{"type": "text", "text"}` and `{"type": "image", "image": PIL image}`."""


class Finished(NamedTuple):
    """An episode that has ended, as rewards see it. `row` is what it was begun with."""

    row: dict[str, Any]
    status: str
    reason: str
    state: dict[str, Any]
    events: list[Event]


Reward = Callable[[Finished], float]


def success(finished: Finished) -> float:
    """1 where the loop says that it succeeded."""
    return float(finished.status == "succeeded")


class Bridge(LoopwrightChatModel):
    """A chat model whose replies are brought from outside."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    asked: Any = Field(default_factory=SimpleQueue, exclude=True)
    replies: Any = Field(default_factory=SimpleQueue, exclude=True)

    def options_for(self, answer: AnswerFormat[Any]) -> dict[str, Any]:
        """Say to whoever replies what is asked for; the loop's prompt does, to a model that was trained."""
        return {"answer": answer}

    @property
    def _llm_type(self) -> str:
        return "loopwright-bridge"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **options: Any,
    ) -> ChatResult:
        self.asked.put(messages)
        cancel = options.get("cancel")
        while True:
            if cancel is not None:
                cancel.raise_if_set()
            with suppress(Empty):
                return ChatResult(generations=[ChatGeneration(message=self.replies.get(timeout=POLL_S))])


class Episodes:
    """One session after another of a loop; whoever holds this replies in `role`. See `Loop.environment`."""

    def __init__(
        self,
        loop: Declaration,
        role: str,
        *,
        reward: Reward = success,
        models: Given | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.loop, self.role, self.reward = loop, role, reward
        self._models, self._config = dict(models or {}), dict(config or {})
        folder = tempfile.TemporaryDirectory(prefix="loopwright-env-")
        self._folder = Path(folder.name)
        self._memory: Memory = open_memory(f"sqlite:///{self._folder / 'episodes.sqlite'}")
        self._row: dict[str, Any] = {}
        self._live = _Live()
        self._close = finalize(self, _closed, self._live, self._memory, folder)

    def begin(self, row: Mapping[str, Any]) -> Content:
        """A new episode: the settings in `row` that the loop knows, over those of the class. Returns the first prompt.

        Raises:
            BadInput: the settings will not do.
            LoopwrightError: the session failed before it asked the role.
        """
        self.end()
        self._row = {name: value for name, value in row.items() if name in self.loop.config.model_fields}
        bridge = Bridge()
        models = {**self._models, self.role: bridge}
        session = start(
            self.loop, self._memory, models=models, devices=self._folder, config={**self._config, **self._row}
        )
        self._live.begin(session, bridge)
        return self._next(is_first=True)

    def reply(self, message: AIMessage) -> Content:
        """Reply to what was asked; returns what is asked next, or how the episode ended.

        Raises:
            BadInput: nothing is asked: the episode has ended, or none has begun.
        """
        if not self.is_running:
            raise BadInput("The episode has ended; `reset` begins another.")
        self._live.bridge.replies.put(message)
        return self._next()

    @property
    def is_running(self) -> bool:
        """Whether a reply is waited for."""
        return self._live.is_running

    @property
    def finished(self) -> Finished:
        """The episode so far. A session that waits for a human has ended too: nobody is there."""
        session = self._live.session
        if session is None:
            raise BadInput("No episode has begun; call `reset`.")
        state = session.state
        reason = str(self._live.error or state.get("reason", ""))
        return Finished(dict(self._row), session.status, reason, state, self._memory.events.read(session.id))

    def end(self) -> None:
        """Break off what runs, and forget it."""
        if (session := self._live.end()) is not None:
            self._memory.retention.prune(session.id)

    def close(self) -> None:
        """Let go of the memory, too."""
        self._close()

    def _next(self, *, is_first: bool = False) -> Content:
        """The next prompt, or the end."""
        asked = self._live.bridge.asked
        while True:
            with suppress(Empty):
                return _shown(asked.get(timeout=POLL_S), self._memory.blobs, whole=is_first)
            if not self.is_running and asked.empty():
                error = self._live.error
                if error is not None and not (type(error) is OperatorError or isinstance(error, Halted)):
                    raise error  # neither that the role never kept its form, nor that the episode was broken off
                how = self.finished
                return [{"type": "text", "text": f"The episode has ended: {how.status}. {how.reason}".strip()}]


class _Live:
    """The session that runs, in a thread of its own. Knows nothing of its holder, who may be forgotten meanwhile."""

    def __init__(self) -> None:
        self.bridge = Bridge()
        self.session: Session | None = None
        self._run: Future[str] | None = None

    @property
    def is_running(self) -> bool:
        """Whether the session runs."""
        return self._run is not None and not self._run.done()

    @property
    def error(self) -> BaseException | None:
        """What a run raised that has ended."""
        return self._run.exception() if self._run is not None and self._run.done() else None

    def begin(self, session: Session, bridge: Bridge) -> None:
        """Run it."""
        self.session, self.bridge = session, bridge
        self._run = on_daemon_thread(session.run)

    def end(self) -> Session | None:
        """Break it off; what ran."""
        session, self.session = self.session, None
        while session is not None and self._run is not None and self.is_running:
            session.pause()
            wait([self._run], POLL_S)
        self._run = None
        return session


class Environment:
    """TRL's `environment_factory`: `reset`, the loop's tools as methods, `get_reward`. `Loop.environment` makes one."""

    _make: Callable[[], Episodes]

    def __init__(self) -> None:
        self._episodes = self._make()

    def reset(self, **row: Any) -> str | Content:
        """Begin an episode with the settings of a row; returns what the loop asks first."""
        return _plain(self._episodes.begin(row))

    def get_reward(self) -> float:
        """Of the episode, as far as it came."""
        return self._episodes.reward(self._episodes.finished)

    @property
    def done(self) -> bool:
        """Whether the episode has ended."""
        return not self._episodes.is_running

    def _call(self, name: str, arguments: dict[str, Any]) -> str | Content:
        call = {"name": name, "args": arguments, "id": "1", "type": "tool_call"}
        return _plain(self._episodes.reply(AIMessage("", tool_calls=[call])))


def environment_class(name: str, make: Callable[[], Episodes], tools: Sequence[Tool[Any, Any]]) -> type[Environment]:
    """An `Environment` over the episodes that `make` gives: with a method for each tool, and without tools `answer`.

    Raises:
        DeveloperError: a tool has the name of one of the class's own methods.
    """
    methods: dict[str, Any] = {tool.name: _method(tool) for tool in tools}
    if taken := methods.keys() & set(dir(Environment)):
        raise DeveloperError(f"The tool {min(taken)!r} has the name of a method of every environment. Rename it.")
    methods = methods or {"answer": _answer}
    about = {"__doc__": f"Episodes of the loop {name!r}.", "_make": staticmethod(make), "__module__": __name__}
    return type(f"{name.title().replace('-', '')}Environment", (Environment,), {**about, **methods})


def _answer(self: Environment, text: str) -> str | Content:
    """Reply to what was asked.

    Args:
        text: The reply, in the form that was asked for.
    """
    return _plain(self._episodes.reply(AIMessage(text)))


_answer.__name__ = _answer.__qualname__ = "answer"
_answer.__annotations__ = {"text": str}  # without `self`, whose type is no JSON schema's


def _method(tool: Tool[Any, Any]) -> Callable[..., Any]:
    """A method that calls `tool`, typed and described as trainers read it: signature, hints, docstring."""

    def method(self: Environment, **arguments: Any) -> str | Content:
        return self._call(tool.name, arguments)

    fields = tool.input_model.model_fields
    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    parameters += [_parameter(name, field) for name, field in fields.items()]
    lines = [f"    {name}: {field.description or name}" for name, field in fields.items()]
    told: Any = method
    told.__name__ = told.__qualname__ = tool.name
    told.__signature__ = inspect.Signature(parameters)
    told.__annotations__ = {name: field.annotation for name, field in fields.items()}
    told.__doc__ = "\n".join([tool.description, *(["", "Args:", *lines] if lines else [])])
    return method


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is PydanticUndefined else field.default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=field.annotation)


class GymnasiumEnv(gym.Env[Content, str]):
    """The same for gymnasium: an observation is the prompt's content, an action the reply as text.

    A tool is called as `{"name": ..., "arguments": {...}}`. `options` of `reset` are the episode's settings. The reward
    comes at the end.
    """

    def __init__(self, episodes: Episodes) -> None:
        self._episodes = episodes
        self.observation_space = _Contents()
        self.action_space = gym.spaces.Text(LONGEST_REPLY, charset=string.printable)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Content, dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        return self._episodes.begin(options or {}), {}

    def step(self, action: str) -> tuple[Content, float, bool, bool, dict[str, Any]]:
        """Reply."""
        asked = self._episodes.reply(AIMessage(action))
        if self._episodes.is_running:
            return asked, 0.0, False, False, {}
        finished = self._episodes.finished
        return (
            asked,
            self._episodes.reward(finished),
            True,
            False,
            {"status": finished.status, "reason": finished.reason},
        )

    def close(self) -> None:
        """Break off what runs."""
        self._episodes.close()


class _Contents(gym.Space[Content]):
    """Any content of a message."""

    def __init__(self) -> None:
        super().__init__(None, None)

    def contains(self, x: Any) -> bool:
        """Whether `x` is blocks of text and images."""
        return isinstance(x, list) and all(block.get("type") in ("text", "image") for block in x)

    def sample(self, mask: Any = None, probability: Any = None) -> Content:
        """Some text."""
        return [{"type": "text", "text": str(self.np_random.integers(10))}]


def _shown(messages: Sequence[BaseMessage], images: BlobReader, *, whole: bool) -> Content:
    """What was asked, with pixels: all of it, or what came after the last reply."""
    last = max((k for k, message in enumerate(messages) if message.type == "ai"), default=-1)
    asked = messages if whole else [message for message in messages[last + 1 :] if message.type != "system"]
    blocks: Content = []
    for message in asked:
        content = [message.content] if isinstance(message.content, str) else message.content
        blocks += [_block(block, images) for block in content]
    return blocks


def _block(block: str | dict[str, Any], images: BlobReader) -> dict[str, Any]:
    if isinstance(block, str):
        return {"type": "text", "text": block}
    return {"type": "image", "image": open_image(ref_of(block), images)} if block["type"] == "image" else block


def _plain(content: Content) -> str | Content:
    """Text alone as one string, as chat templates of text-only models take it."""
    if any(block["type"] == "image" for block in content):
        return content
    return "\n".join(block["text"] for block in content)


def _closed(live: _Live, memory: Memory, folder: "tempfile.TemporaryDirectory[str]") -> None:
    live.end()
    memory.close()
    folder.cleanup()
