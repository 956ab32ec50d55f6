"""The worlds that teach the base: what a loop's world teaches is found by the loop's name.

The loop called NAME brings `loopwright.finetune.data.NAME.base_tasks`, whose `SETTINGS` are a class of `WorldSettings`;
a loop without it teaches the base nothing.
"""

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from loopwright.finetune.data.corpus import Corpus, WorldSettings
from loopwright.graphs.registry import LOOPS


@cache
def teaching_worlds() -> Mapping[str, type[WorldSettings]]:
    """Loop to the class of its world's settings."""
    modules = {name: f"loopwright.finetune.data.{name}.base_tasks" for name in LOOPS}
    return {name: import_module(module).SETTINGS for name, module in modules.items() if _is_there(module)}


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package that it would be in
        return False


class _ByLoop:
    """Validates a mapping whose keys are loops and whose values are their own settings."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        fields = {
            name: core_schema.typed_dict_field(handler.generate_schema(kind), required=False)
            for name, kind in teaching_worlds().items()
        }
        return core_schema.typed_dict_schema(fields, extra_behavior="forbid")


Worlds = Annotated[Mapping[str, WorldSettings], _ByLoop]
"""The settings of each world that takes part, by its loop's name."""


def open_worlds(
    worlds: Mapping[str, WorldSettings], cache_dir: Path, on_progress: Callable[[str], None]
) -> dict[str, Corpus]:
    """World to corpus; what is not in the cache is rendered."""
    return {name: settings.open(cache_dir, on_progress) for name, settings in worlds.items()}
