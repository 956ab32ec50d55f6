"""Any LangChain chat model in a loop: here one at an OpenAI-compatible endpoint writes, and another reads.

pip install langchain-openai
OPENAI_BASE_URL=http://localhost:8000/v1 OPENAI_API_KEY=none OPENAI_MODEL=... python examples/any_model.py
"""

import os
import tempfile

from langchain_openai import ChatOpenAI
from pydantic import Field

import loopwright as lw


class Opinion(lw.Frozen):
    """What the editor says of a sentence."""

    is_good: bool
    objection: str = Field(max_length=200)


def write(state: lw.State, ctx: lw.Context) -> None:
    """Write, or write anew."""
    state["sentence"] = ctx.ask("writer", f"Describe a feedback loop in one sentence. Mind this: {state['objection']}")


def read(state: lw.State, ctx: lw.Context) -> None:
    """End where the editor has no objection."""
    opinion = ctx.ask("editor", f"Is this sentence clear and true? {state['sentence']}", Opinion)
    if opinion.is_good:
        ctx.end("succeeded", state["sentence"])
    state["objection"] = opinion.objection


essay = lw.Loop(
    "essay",
    nodes=[write, read],
    state={"sentence": "", "objection": ""},
    roles={"writer": lw.Role(), "editor": lw.Role()},
    budget=lw.Budget(steps=5, tokens=20_000),
)


def main() -> None:
    """Run the loop, and run it again from its record: that asks no model."""
    missing = [name for name in ("OPENAI_API_KEY", "OPENAI_MODEL") if name not in os.environ]
    if missing:
        raise SystemExit(
            f"`{missing[0]}` is not set. Name a model of your endpoint, as the first lines of this file do."
        )
    model = ChatOpenAI(model=os.environ["OPENAI_MODEL"], temperature=0)
    with tempfile.TemporaryDirectory() as folder, lw.open_memory(f"sqlite:///{folder}/memory.sqlite") as memory:
        session = essay.start(memory, models={"writer": model, "editor": model})
        for event in session.stream():
            print(event)
        print("replays the same:", essay.replay(session.id, memory).difference is None)


if __name__ == "__main__":
    main()
