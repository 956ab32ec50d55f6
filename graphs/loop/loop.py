"""`Loop`: what users declare, start, resume, draw and serve."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from langchain_core.runnables import RunnableConfig

from loopwright.graphs.loop import serve, starting
from loopwright.graphs.loop.compose import read_loop
from loopwright.graphs.loop.declare import Declaration
from loopwright.graphs.loop.environment import Environment, Episodes, GymnasiumEnv, Reward, environment_class, success
from loopwright.graphs.loop.factory import served_graph
from loopwright.graphs.loop.models import Given
from loopwright.graphs.loop.session import Session
from loopwright.memory import Memory
from loopwright.tools.contract import Tool

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph


class Loop(Declaration):
    """A declared loop that can be run. Its fields are those of `Declaration`."""

    @classmethod
    def from_yaml(cls, path: Path) -> Self:
        """A loop composed in a YAML file of registered tools, roles and guards (`loopwright.graphs.loop.compose`).

        Raises:
            BadInput: naming the place in the file, and what is wrong with it.
        """
        return cls(**read_loop(path))

    def start(
        self,
        memory: Memory | None = None,
        *,
        models: Given | None = None,
        devices: Path | None = None,
        **config: Any,
    ) -> Session:
        """A new session, ready to be streamed.

        Args:
            memory: where it is recorded; None: the configured one.
            models: by role, a model card's name or path, or any LangChain chat model.
            devices: the folder of simulated devices; None: the configured one.
            config: the fields of the loop's configuration.

        Raises:
            BadInput: the configuration or a model will not do; no session is created.
        """
        return starting.start(self, memory, models=models, devices=devices, config=config)

    def resume(
        self,
        session_id: str,
        memory: Memory | None = None,
        *,
        models: Given | None = None,
        devices: Path | None = None,
    ) -> Session:
        """An existing session, with the configuration it began with; model objects have to be passed again."""
        return starting.resume(self, session_id, memory, models=models, devices=devices)

    def graph_factory(self, config: RunnableConfig | None = None) -> "CompiledStateGraph[Any, Any, Any, Any]":
        """The compiled graph, for `ainvoke`, `astream_events` and LangGraph servers.

        A `thread_id` is a session's id; one that is new is begun with the loop's settings that lie in
        `config["configurable"]`. The session is held while the graph runs, and recorded like any other.
        """
        return served_graph(self, serve.default_memory(), config)

    @property
    def graph(self) -> "CompiledStateGraph[Any, Any, Any, Any]":
        """The graph by itself, to draw: `loop.graph.get_graph().draw_mermaid()`."""
        return serve.bare_graph(self)

    def environment(
        self,
        role: str,
        *,
        tools: Sequence[Tool[Any, Any]] | None = None,
        reward: Reward = success,
        models: Given | None = None,
        **config: Any,
    ) -> type[Environment]:
        """A class for TRL's `environment_factory`: an episode is a session, and the trainer's model is in `role`.

        Args:
            role: which of the loop's models is played.
            tools: those that the role is offered, each a method; None: the loop's own. Of a role that is asked for an
                answer in words: `()`, and the method is `answer`.
            reward: of an episode; by default 1 for success.
            models: of the other roles, as `start` takes them.
            config: settings of every episode; those in a row of the data come over them.
        """
        make = partial(Episodes, self, role, reward=reward, models=models, config=config)
        return environment_class(self.name, make, self.tools if tools is None else tools)

    def gymnasium_env(
        self, role: str, *, reward: Reward = success, models: Given | None = None, **config: Any
    ) -> GymnasiumEnv:
        """The same as a `gymnasium.Env`: observations are prompts, actions are replies as text. See `environment`."""
        return GymnasiumEnv(Episodes(self, role, reward=reward, models=models, config=config))

    def fork(self, session: Session, step: int) -> Session:
        """A new session that begins where `session` stood after observing `step`; the parent is left as it is."""
        return starting.fork(session, step)

    def replay(self, session_id: str, memory: Memory | None = None) -> starting.Replay:
        """Run a session again from its record, without models, worlds or humans, and compare every payload."""
        return starting.replay(self, memory or serve.default_memory(), session_id)
