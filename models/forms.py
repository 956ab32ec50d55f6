"""Answers that are text in a fixed form: what a model may write, how it is read strictly, and how it is repaired.

A form is the text counterpart of a pydantic schema: decoding under its grammar gives a strictly formatted answer from
any model, and a model that decodes freely is read by the same code. Knows no role and no model.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from pydantic import ValidationError

from loopwright.errors import BadInput

if TYPE_CHECKING:
    from loopwright.models.grammar import Grammar

T = TypeVar("T")

_FENCED = re.compile(r"```[a-zA-Z]*\s*\n?(.*?)```", re.DOTALL)
_SHOWN_CHARS = 200


@dataclass(frozen=True, kw_only=True)
class Form(Generic[T]):
    """One answer format, with T the value that an answer stands for.

    Attributes:
        name: what messages call it.
        pattern: bounded regular expression, without look-around, of what decoding may produce. All of it is strict.
        longest_chars: no match of `pattern` is longer.
        example: one answer in this form, for prompts and messages.
        render: a value as strictly formatted text.
        read: strictly formatted text as a value; raises ValueError, which says what is wrong.
        tidy: text that means well as strictly formatted text; raises ValueError where it cannot be told what it means.
    """

    name: str
    pattern: str
    longest_chars: int
    example: str
    render: Callable[[T], str]
    read: Callable[[str], T]
    tidy: Callable[[str], str]

    def parse(self, text: str) -> T:
        """The value of `text`, which must be in the form exactly.

        Raises:
            BadInput: it is not; the message shows the text and an example.
        """
        return self._or_bad_input(self.read, text, text)

    def repair(self, text: str) -> T:
        """The value of `text`, forgiving what changes no meaning: Markdown fences, words around, white space, case.

        Raises:
            BadInput: what `text` means cannot be told; nothing is guessed.
        """
        bare = without_fences(text)
        return self._or_bad_input(lambda answer: self.read(self.tidy(answer)), bare, text)

    def grammar(self) -> "Grammar":
        """What local models decode this form under."""
        from loopwright.models.grammar import regex_grammar

        return regex_grammar(self.pattern, self.longest_chars)

    def _or_bad_input(self, read: Callable[[str], T], text: str, shown: str) -> T:
        try:
            return read(text)
        except (ValueError, BadInput) as error:
            raise BadInput(
                f"The answer {shown[:_SHOWN_CHARS]!r} is no `{self.name}`: {_complaint(error)}. "
                f"Expected the form of {self.example!r}, and nothing else."
            ) from error


def without_fences(text: str) -> str:
    """What stands inside the first Markdown fence, or all of `text` where there is none; no white space around."""
    fenced = _FENCED.search(text)
    return (fenced[1] if fenced else text).strip()


def tag_content(text: str, tag: str) -> str:
    """What stands between `<tag>` and `</tag>`, in any case, white space collapsed.

    Raises:
        ValueError: naming the tag that is missing or stands there twice.
    """
    found = re.findall(rf"<{tag}\s*>(.*?)</{tag}\s*>", text, re.DOTALL | re.IGNORECASE)
    if len(found) != 1:
        raise ValueError(f"`<{tag}>` stands there {len(found)} times, expected once")
    return " ".join(str(found[0]).split())


def _complaint(error: Exception) -> str:
    """What is wrong, in a few words: of a pydantic report the first complaint."""
    if not isinstance(error, ValidationError):
        return str(error).rstrip(".")
    first = error.errors(include_url=False)[0]
    where, said = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    return f"`{where}` = {first['input']!r}: {said}" if where else said
