"""Pictures in a language model's own vocabulary: `<|v0|>`, `<|v1|>`, ..., a token for each code of an image tokenizer.

In text they are written by these names; in the pattern of an answer `visual_pattern` says how many come. Knows neither
image tokenizers nor language models, and of the latter's tokenizers the added tokens alone.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from loopwright.errors import DeveloperError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_TOKEN = r"<\|v(?:0|[1-9][0-9]{0,4})\|>"
_PART = re.compile(re.escape(f"(?:{_TOKEN})") + r"\{([0-9]+)\}")
_NAME = re.compile(_TOKEN)
_INNERMOST = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\([^()]*\)", re.DOTALL)


def visual_name(code: int) -> str:
    """The token of one code."""
    return f"<|v{code}|>"


def visual_text(codes: Iterable[int]) -> str:
    """The tokens of these codes."""
    return "".join(map(visual_name, codes))


def codes_of(text: str) -> list[int]:
    """The codes of a text of visual tokens.

    Raises:
        ValueError: there is anything else in it.
    """
    if other := _NAME.sub("", text):
        raise ValueError(f"{other[:40]!r} is no visual token; expected {visual_name(0)!r} and the like")
    return [int(name[3:-2]) for name in _NAME.findall(text)]


def visual_pattern(n_tokens: int) -> str:
    """A pattern of exactly so many visual tokens, to be put into the pattern of an answer, outside of its groups.

    As a regular expression it matches their names. A grammar made of the pattern admits the tokens alone: nobody spells
    their names letter by letter.
    """
    return f"(?:{_TOKEN}){{{n_tokens}}}"


def split_visual(pattern: str) -> tuple[list[str], list[int]]:
    """The n + 1 patterns of text around the n visual parts of `pattern`, any of which may be "", and their counts.

    Raises:
        DeveloperError: a visual part lies in a group, or is one of several alternatives.
    """
    pieces = _PART.split(pattern)
    texts, counts = pieces[::2], [int(count) for count in pieces[1::2]]
    for text in texts if counts else ():
        while (bare := _INNERMOST.sub("", text)) != text:
            text = bare
        if set(text) & set("|()"):
            raise DeveloperError(
                f"The pattern {pattern!r:.200} has its visual tokens in a group or beside a `|`. Write them outside of "
                "groups, and put alternatives in brackets of their own."
            )
    return texts, counts


@lru_cache(maxsize=8)
def visual_ids(tokenizer: "PreTrainedTokenizerFast") -> list[int]:
    """The ids of a tokenizer's visual tokens, in their order."""
    return sorted(i for i, token in tokenizer.added_tokens_decoder.items() if _NAME.fullmatch(token.content))
