"""What a human may say to any loop; a loop adds types of its own, made of `Feedback`."""

import re
from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationError

from loopwright.schema.acts import Act
from loopwright.schema.base import Frozen


class Approve(Frozen):
    """Go ahead with what is proposed."""

    kind: Literal["approve"] = "approve"


class Reject(Frozen):
    """Not that; propose something else."""

    kind: Literal["reject"] = "reject"
    reason: str = Field(default="", max_length=500)


class Instead(Frozen):
    """Not that act, but one of the same tool with these arguments: answers a question for approval."""

    kind: Literal["instead"] = "instead"
    arguments: dict[str, Any]


class Stop(Frozen):
    """Send nothing further, now."""

    kind: Literal["stop"] = "stop"


class Note(Frozen):
    """Kept on record; changes nothing."""

    kind: Literal["note"] = "note"
    text: str = Field(max_length=2000)


class Query(Frozen):
    """A question about the session, answered from its record; changes nothing."""

    kind: Literal["query"] = "query"
    text: str = Field(max_length=2000)


class Unclear(Frozen):
    """Not understood: a clarification is asked for, never guessed into an act."""

    kind: Literal["unclear"] = "unclear"
    text: str = Field(max_length=2000)
    question: str


class Feedback(Frozen):
    """Base of a loop's own feedback types: one command of a human, as a value.

        class SetTarget(Feedback):
            patterns = (r"(?:set )?target (?:to )?(?P<target_c>[0-9.]+)",)
            examples = ("target 21",)
            target_c: float = Field(ge=5, le=30)

    Class attributes:
        patterns: regular expressions that have to match a whole message, which comes in lower case and without white
            space around; their named groups are the fields.
        examples: messages that say this, for help texts and questions.
        amounts: by field, what is offered to somebody who gave no number ("a bit").
        takes_questions: whether a message that ends with a question mark may say this.
    """

    patterns: ClassVar[tuple[str, ...]] = ()
    examples: ClassVar[tuple[str, ...]] = ()
    amounts: ClassVar[dict[str, tuple[float, ...]]] = {}
    takes_questions: ClassVar[bool] = False

    @classmethod
    def read(cls, text: str) -> "Feedback | Reject | Unclear | None":
        """`text` as a value, None where it is something else, `Unclear` where it cannot be told what it means."""
        found = next(filter(None, (re.fullmatch(pattern, text) for pattern in cls.patterns)), None)
        if found is None:
            return None
        try:
            return cls.model_validate({name: value for name, value in found.groupdict().items() if value is not None})
        except ValidationError as error:
            problems = "; ".join(f"{p['input']!r}: {p['msg'].lower()}" for p in error.errors(include_url=False))
            return Unclear(text=text, question=f"I cannot do that ({problems}). For example: {cls.example()}.")

    @classmethod
    def example(cls) -> str:
        """One message that says this."""
        return f"`{cls.examples[0]}`" if cls.examples else cls.__name__

    def in_words(self) -> str | None:
        """A message that says this value, which `read` understands; it is read back to whoever used other words.

        None where there is none: such a value is not taken from free text.
        """
        return None

    def order(self) -> tuple[str, dict[str, Any]] | None:
        """The tool call that this orders to the letter, by name and arguments; such an act needs no further consent."""
        return None

    def orders(self, act: Act) -> bool:
        """Whether this orders `act`: by default, exactly the call of `order()`."""
        order = self.order()
        return order is not None and Act(tool=order[0], arguments=order[1]) == act


def kind_of(feedback: type[Frozen]) -> str:
    """The name of a feedback type in records: its `kind`, or its class name in snake case."""
    if "kind" in feedback.model_fields:
        return str(feedback.model_fields["kind"].default)
    return re.sub(r"(?<!^)(?=[A-Z])", "_", feedback.__name__).lower()


class Message(Frozen):
    """A message as it lies in the inbox: `parsed` is a feedback value's JSON, None until the loop has read it."""

    id: int
    session_id: str
    author: str
    text: str
    is_stop: bool
    received_at: datetime
    parsed: dict[str, Any] | None = None
    read_at_step: int | None = None
