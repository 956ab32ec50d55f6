"""What is known of a surgical procedure: a folder of files that people edit, checked and read for prompts.

    procedure.yaml    its name, its usual goal, and what each action means
    process.md        how it goes
    safety.md         what must be heeded

The knowledge base of Xu et al. 2025 (section 2.2) has the same parts. Another procedure is another folder.
"""

from functools import cache
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, StringConstraints, ValidationError, field_validator

from loopwright.errors import BadInput, UnknownName
from loopwright.schema import Frozen
from loopwright.tools.surgery.vocabulary import Action

PROCEDURES = Path(__file__).with_name("procedures")
"""The procedures that come with the package, a folder each."""

_LEAST_ACTIONS = 3
Description = Annotated[str, StringConstraints(min_length=1, max_length=120)]


class Knowledge(Frozen):
    """What prompts say of a procedure. Lengths are bounded, so that prompts are."""

    name: str = Field(min_length=1, max_length=60)
    goal: str = Field(min_length=1, max_length=200, description="what is aimed at where nobody says otherwise")
    process: str = Field(min_length=1, max_length=1000)
    safety: str = Field(min_length=1, max_length=600)
    actions: dict[Action, Description] = Field(description="those of the procedure, and what each means")

    @field_validator("actions")
    @classmethod
    def _enough(cls, actions: dict[Action, str]) -> dict[Action, str]:
        if len(actions) < _LEAST_ACTIONS:
            raise ValueError(f"a plan ranks {_LEAST_ACTIONS} actions, and there are {len(actions)}")
        return actions

    @property
    def choices(self) -> tuple[Action, ...]:
        """The actions of the procedure."""
        return tuple(self.actions)


def load_knowledge(procedure: str | Path = "cholecystectomy") -> Knowledge:
    """The knowledge in a folder, or in that of a procedure that comes with the package.

    Args:
        procedure: a name such as "cholecystectomy", or a folder.

    Raises:
        UnknownName: no procedure of that name comes with the package.
        BadInput: a file is missing, or wrong; the message names it, the key and what was expected.
    """
    known = sorted(path.name for path in PROCEDURES.iterdir() if path.is_dir())
    folder = PROCEDURES / procedure if str(procedure) in known else Path(procedure)
    if not folder.is_dir():
        raise UnknownName("procedure", str(procedure), known)
    return _read(folder)


@cache
def bundled_knowledge() -> Knowledge:
    """That of the cholecystectomy, which comes with the package."""
    return load_knowledge()


def _read(folder: Path) -> Knowledge:
    about = folder / "procedure.yaml"
    try:
        said = yaml.safe_load(_text(about))
    except yaml.YAMLError as error:
        raise BadInput(f"`{about}` is no YAML: {error}.") from error
    if not isinstance(said, dict):
        raise BadInput(f"`{about}` holds {said!r:.100}; expected the keys `name`, `goal` and `actions`.")
    texts = {part: " ".join(_text(folder / f"{part}.md").split()) for part in ("process", "safety")}
    try:
        return Knowledge.model_validate(said | texts)
    except ValidationError as error:
        wrong = [f"`{'.'.join(map(str, e['loc']))}` = {e.get('input')!r:.100}: {e['msg']}" for e in error.errors()]
        raise BadInput(f"The procedure in `{folder}` is wrong: {'; '.join(wrong)}.") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"`{path}` cannot be read ({error}). A procedure's folder holds procedure.yaml, process.md and safety.md."
        ) from error
