"""Sessions of the recipe loop over dishes, with a cook who writes what he is told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from tests.loops.cases import Answering, write_as_told

from loopwright.graphs.loop.session import Session
from loopwright.graphs.recipe import LOOP
from loopwright.memory import Memory

DISH = "simulated:2000007"
ACTIONS = "<think>plate</think><answer>slice, toss, drizzle</answer>"
INGREDIENTS = "Ingredients: tomato, basil, cheddar, walnut"
Cook = Callable[..., Session]
Answer = Callable[[str], str]


def sees(prompt: str, actions: str = ACTIONS, ingredients: str = INGREDIENTS) -> str:
    """What a predictor says."""
    return ingredients if "Which ingredients" in prompt else actions


def models(write: Answer = write_as_told, see: Answer = sees, **others: Answer) -> dict[str, BaseChatModel]:
    """Model objects for the roles."""
    return {name: Answering(answer=answer) for name, answer in {"predictor": see, "generator": write, **others}.items()}


@pytest.fixture
def cook(memory: Memory, tmp_path: Path) -> Cook:
    """Start a session; a model sees and another one writes, until told otherwise."""

    def start(models: dict[str, BaseChatModel] = models(), **run: Any) -> Session:  # noqa: B008
        settings = {"dish": DISH, "predictor": "model", "writer": "model", **run}
        return LOOP.start(memory, models=models, devices=tmp_path / "devices", **settings)

    return start
