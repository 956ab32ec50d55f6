"""What a user sets for one run of a loop, and what bounds it."""

from collections.abc import Mapping
from typing import Any, Literal, Self, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from loopwright.errors import DeveloperError
from loopwright.schema import Frozen

Approval = Literal["guard", "human"]
OnUncertain = Literal["ask", "proceed", "stop"]


def problems(error: ValidationError) -> str:
    """What pydantic has against values, as this project says it: the name in backticks, the value, what is wrong."""
    found = error.errors(include_url=False)
    given = ["" if e["type"] == "missing" else f" = {e['input']!r:.100}" for e in found]
    names = [".".join(map(str, e["loc"])) for e in found]
    return "; ".join(f"`{name}`{value}: {e['msg']}" for name, value, e in zip(names, given, found, strict=True))


FILES = "x-files"
"""In the JSON schema of a setting: how names of files end that it takes."""


def takes_files(*suffixes: str) -> dict[str, JsonValue]:
    """For `Field(json_schema_extra=...)` of a setting that may be the path of a file, though its type is not a path.

    The console offers to send such a file. `suffixes`: how its name ends, as `.nii.gz`.
    """
    return {FILES: list(suffixes)}


class RunConfig(BaseModel):
    """What a user sets for one run; the command line's options are made from its fields. Loops add their own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    approval: Approval = Field(default="guard", description="who approves what the guard lets pass")
    on_uncertain: OnUncertain = Field(default="proceed", description="what to do when the loop is not sure enough")

    @model_validator(mode="before")
    @classmethod
    def _one_value_is_a_list_of_one(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        lists = {n for n, f in cls.model_fields.items() if get_origin(f.annotation) in (tuple, list)}
        return {n: (v,) if n in lists and isinstance(v, str) else v for n, v in values.items()}


PART_OF_A_FILE = {"is_part_of_a_file": True}
"""Pydantic's context where a file is validated, whose errors name the place in it."""


class Budget(Frozen):
    """What ends a run. None: no limit.

    Attributes:
        steps: passes of the loop's first node; a nested loop has a budget of its own of these.
        tokens: of models, read and written.
        seconds: of running, since the session began or was last resumed, s.
        refusals: acts that were refused, or failed, in a row.
        world: limits of what the world counts (`spent()`), by name, such as `{"exposures": 30}`.
    """

    steps: int | None = Field(default=1_000, ge=1)
    tokens: int | None = Field(default=None, ge=0)
    seconds: float | None = Field(default=None, gt=0)
    refusals: int | None = Field(default=25, ge=1)
    world: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _say_what_will_not_do(cls, values: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        try:
            return handler(values)
        except ValidationError as error:
            if info.context == PART_OF_A_FILE:
                raise
            raise DeveloperError(f"`Budget`: {problems(error)}. None: no limit.") from error
