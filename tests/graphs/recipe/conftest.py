"""Sessions of the recipe loop over dishes, with a cook who writes what he is told."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from tests.loops.cases import Answering

from loopwright.graphs.loop.session import Session
from loopwright.graphs.recipe import LOOP
from loopwright.memory import Memory

DISH = "simulated:2000007"
ACTIONS = "<think>plate</think><answer>slice, toss, drizzle</answer>"
INGREDIENTS = "Ingredients: tomato, basil, cheddar, walnut"
CONTEXT = re.compile(r"actions: \[(?P<actions>.*?)\]\. The ingredients are \[(?P<ingredients>.*?)\]")
Cook = Callable[..., Session]
Answer = Callable[[str], str]


def told(prompt: str) -> tuple[list[str], list[str]]:
    """The actions and ingredients that a writer was told."""
    found = CONTEXT.search(prompt)
    if found is None:
        return [], []
    return tuple([name for name in found[what].split(", ") if name] for what in ("actions", "ingredients"))  # type: ignore[return-value]


def obedient(prompt: str) -> str:
    """Instructions that do exactly what they were told."""
    actions, ingredients = told(prompt)
    if not actions and not ingredients:
        return "Boil the potatoes."
    steps = [f"{action.capitalize()} it." for action in actions]
    return "\n".join([*steps, f"Serve with the {', the '.join(ingredients)}." if ingredients else "Serve it."])


def sees(prompt: str, actions: str = ACTIONS, ingredients: str = INGREDIENTS) -> str:
    """What a predictor says."""
    return ingredients if "Which ingredients" in prompt else actions


def models(write: Answer = obedient, see: Answer = sees, **others: Answer) -> dict[str, BaseChatModel]:
    """Model objects for the roles."""
    return {name: Answering(answer=answer) for name, answer in {"predictor": see, "generator": write, **others}.items()}


@pytest.fixture
def cook(memory: Memory, tmp_path: Path) -> Cook:
    """Start a session; a model sees and another one writes, until told otherwise."""

    def start(models: dict[str, BaseChatModel] = models(), **run: Any) -> Session:  # noqa: B008
        settings = {"dish": DISH, "predictor": "model", "writer": "model", **run}
        return LOOP.start(memory, models=models, devices=tmp_path / "devices", **settings)

    return start
