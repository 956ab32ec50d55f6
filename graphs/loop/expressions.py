"""The little that a loop in YAML can say about its state: `{observation.room_c}`, and `observation.room_c >= target_c`.

Paths, JSON values and comparisons joined by `and`; nothing is evaluated as code.
"""

import json
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import GetCoreSchemaHandler
from pydantic_core import core_schema

from loopwright.errors import DeveloperError
from loopwright.schema.json_text import parse_json

_PATH = r"[A-Za-z_]\w*(?:\.\w+)*"
_FIELD = re.compile(rf"\{{({_PATH})\}}")
_COMPARISON = re.compile(r"\s*(?P<left>.+?)\s*(?P<how>==|!=|<=|>=|<|>)\s*(?P<right>.+?)\s*")
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
_WORDS = ("true", "false", "null")


class Comparison(NamedTuple):
    """`left how right`; a side is a path into the state, or a JSON value."""

    left: Any
    how: str
    right: Any


class Path(str):
    """A path into the state, such as `observation.room_c`."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """The key of the state that it begins with."""
        return self.split(".", 1)[0]


class Condition:
    """Comparisons that all have to hold."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._comparisons = [_comparison(part, text) for part in re.split(r"\s+and\s+", text.strip())]

    @property
    def names(self) -> set[str]:
        """The keys of the state that it reads."""
        return {side.name for each in self._comparisons for side in (each.left, each.right) if isinstance(side, Path)}

    def holds(self, state: Mapping[str, Any]) -> bool:
        """Whether it holds in `state`.

        Raises:
            DeveloperError: a path leads nowhere, or two values cannot be compared.
        """
        for left, how, right in self._comparisons:
            values = _value(left, state), _value(right, state)
            try:
                if not _COMPARE[how](*values):
                    return False
            except TypeError as error:
                raise DeveloperError(
                    f"`when: {self.text}` compares {values[0]!r} with {values[1]!r}: {error}."
                ) from error
        return True

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema())


def filled(value: Any, state: Mapping[str, Any]) -> Any:
    """`value` with each `{path}` replaced from `state`; a string that is one path alone becomes the value itself.

    Raises:
        DeveloperError: a path leads nowhere.
    """
    if isinstance(value, Mapping):
        return {name: filled(each, state) for name, each in value.items()}
    if isinstance(value, list):
        return [filled(each, state) for each in value]
    if not isinstance(value, str):
        return value
    alone = _FIELD.fullmatch(value)
    return _value(Path(alone[1]), state) if alone else filled_text(value, state)


def filled_text(text: str, state: Mapping[str, Any]) -> str:
    """`text` with each `{path}` replaced from `state`, as JSON where it is no text. Raises as `filled`."""

    def shown(found: re.Match[str]) -> str:
        value = _value(Path(found[1]), state)
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    return _FIELD.sub(shown, text)


def names_in(value: Any) -> set[str]:
    """The keys of the state that the `{path}`s in `value` begin with."""
    return {Path(found).name for found in _FIELD.findall(json.dumps(value))}


def _comparison(part: str, whole: str) -> Comparison:
    found = _COMPARISON.fullmatch(part)
    if found is None:
        raise ValueError(f"{whole!r} is no condition; expected such as `observation.room_c >= target_c and tries < 3`")
    return Comparison(_side(found["left"], whole), found["how"], _side(found["right"], whole))


def _side(text: str, whole: str) -> Any:
    if re.fullmatch(_PATH, text) and text not in _WORDS:
        return Path(text)
    try:
        return parse_json(text)
    except ValueError:
        raise ValueError(f"{text!r} in {whole!r} is neither a path into the state nor a JSON value") from None


def _value(side: Any, state: Mapping[str, Any]) -> Any:
    if not isinstance(side, Path):
        return side
    found: Any = state
    for part in side.split("."):
        if isinstance(found, list) and part.isdigit() and int(part) < len(found):
            found = found[int(part)]
        elif isinstance(found, Mapping) and part in found:
            found = found[part]
        else:
            raise DeveloperError(f"The state has no `{side}`: `{part}` is not in {found!r:.200}.")
    return found
