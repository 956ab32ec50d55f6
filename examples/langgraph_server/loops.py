"""Loops for a LangGraph server: `langgraph dev` in this folder, see docs/how-to/langgraph-server.md.

Each thread is a session: its id is the thread's, its settings are given as `config.configurable`, it is on record, it
is stopped by `loopwright feedback THREAD stop`, and it interrupts for a person's consent.
"""

from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph

from loopwright.graphs.registry import get_loop


def carm(config: RunnableConfig) -> CompiledStateGraph:
    """The C-arm loop."""
    return get_loop("carm").graph_factory(config)


def surgery(config: RunnableConfig) -> CompiledStateGraph:
    """The surgery loop."""
    return get_loop("surgery").graph_factory(config)


def chat(config: RunnableConfig) -> CompiledStateGraph:
    """The chat about everything."""
    return get_loop("chat").graph_factory(config)
