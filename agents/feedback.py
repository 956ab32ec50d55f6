"""What a human says to any loop, read by rules: stop, approve, reject, instead, note. A loop adds its own: `parse`.

Nothing is guessed: what no rule reads in full comes back as `Unclear` with a question. The one exception is STOP, which
is heard generously, for a stop too many costs a click and a stop too few may cost more. A stop word anywhere in the
text is a STOP, also in a note ("note: stop at T12"), also misspelt ("stpo", "stooop", "S T O P"). It is not one
inside "non-stop", right after "don't", "do not", "must not", "never", "no need to" or "without a", or in "why did you
stop".

"Where are you?", "why did you stop?" and "help" ask about the session (`Query`). Any other question is no order:
"approve?" and "20 mm left?" get a clarification question, "could you go 20 mm left?" is done.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import TypeVar

from loopwright.schema import Approve, Frozen, Instead, Note, Query, Reject, Stop, Unclear, canonical_json
from loopwright.schema.json_text import parse_json

F = TypeVar("F", bound=Frozen)
MAX_CHARS = 2000
MAX_REASON_CHARS = 500

_STOP_WORD = (
    r"(?:(?:s+t+o+p+)+|s(?P<gap>[\s._-])t(?P=gap)o(?P=gap)p|e-?stop|stpo|sotp|tsop|h+a+l+t+|f+r+e+z+e+|abort|cease"
    r"|emergency|hold (?:it|on|still|everything|position)|(?:do not|don'?t) move|stay (?:there|put|still))"
)
_STOP = re.compile(rf"(?<![a-z]){_STOP_WORD}(?![a-z])")
_STOP_ALONE = re.compile(r"(?:hold|wait|whoa|enough|no more)")
_NO_STOP = re.compile(
    rf"(?<![a-z])(?:non[\s-]stop|(?:do not|don'?t|must not|never|no need to|without a|(?:why|when) did (?:you|it)) "
    rf"{_STOP_WORD})(?![a-z])"
)

_YES = (
    r"(?:yes|y|yep|yeah|ok|okay|approved?|i approve|go ahead|proceed|continue|carry on|confirm(?:ed)?|agreed"
    r"|accept(?:ed)?|(?:that is )?correct|(?:that )?(?:looks|sounds) good|(?:that is )?fine|do it)"
)
_APPROVE = re.compile(rf"{_YES}(?:[\s,.!]+{_YES})*")
_APPROVE_AND = re.compile(rf"{_YES}(?:[\s,.!]+{_YES})*[\s,.;:!-]+(?:and |but |then )?(?P<rest>.+)")

_THAT_IS = r"(?:that|this|it)(?: is|['’]s)"
_NO = rf"(?:{_THAT_IS} )?(?:reject(?:ed)?|wrong|incorrect|nope)"
_WEAK_NO = (
    r"(?:(?:that|this|it)(?: is|['’]s) )?(?:no|n|not (?:that|this|it|ok|okay|correct|right)|cancel(?: that| it)?)"
)
_REJECT = re.compile(rf"(?:{_NO}|{_WEAK_NO})", re.IGNORECASE)
_REJECT_WITH = re.compile(
    rf"(?:(?P<explicit>reject(?:ed)?\s*:)|{_NO}[\s,.;:!–—-]|{_WEAK_NO}\s*(?:[,.;:!–—]|-\s|\sbecause\s))\s*(?P<reason>\S.*)",
    re.IGNORECASE | re.DOTALL,
)
_IS_NOT = re.compile(rf"{_THAT_IS} not .+")
_INSTEAD = re.compile(r"instead\s*:?\s*(?P<arguments>\{.*\})", re.IGNORECASE | re.DOTALL)
_NOTE = re.compile(r"(?:note|remark|comment)\s*(?::|-|\bthat\b)\s*(?P<note>\S.*)", re.IGNORECASE | re.DOTALL)

_QUERY = re.compile(
    r"(?:help|what can (?:i|you) (?:say|do)|why|where)\??"
    r"|(?:where|why|who|when) (?:am|are|is|was|were|did|do|does|have|has)\b.*"
    r"|(?!(?:how|what) about\b|what if\b)"
    r"(?:where|why|who|when|what|which|how|are|is|was|do|did|does|have|has) \S.*\?"
)
"""What asks about the session and orders nothing; "how about 20 mm left?" proposes, "when it is free, clip" orders."""

_POLITE = re.compile(
    r"^(?:(?:please|kindly|(?:could|can|would) you)[\s,.]+)+|(?<![\s,])[\s,]+(?:please|thanks|thank you)$"
)
_ENDS = " .,;:!?"
_REQUEST = re.compile(r"(?:please,? )?(?:could|can|would) you\b")
"""A question by courtesy alone."""


def is_stop(text: str) -> bool:
    """Whether `text`, of any length, is to be obeyed as a STOP; when in doubt, it is (see above)."""
    if _STOP.search(_NO_STOP.sub(" ", _folded(text))):
        return True
    return len(text) <= MAX_CHARS and _STOP_ALONE.fullmatch(plain(text)) is not None


def is_query(text: str) -> bool:
    """Whether `text` asks about the session, as far as rules can tell."""
    said = _folded(text)
    return len(said) <= MAX_CHARS and _QUERY.fullmatch(said.rstrip(" .,;:!")) is not None


def plain(text: str) -> str:
    """`text` as rules read it: one case, one kind of space and apostrophe, without courtesies and final punctuation."""
    said = _folded(text).strip(_ENDS)
    while (shorter := _POLITE.sub("", said).strip(_ENDS)) != said:
        said = shorter
    return re.sub(r"\b(that|this|it)'s\b", r"\1 is", said)


def _folded(text: str) -> str:
    said = unicodedata.normalize("NFKC", text).casefold().replace("’", "'").replace("‘", "'")
    return " ".join(said.split())


def unclear(text: str, question: str) -> Unclear:
    """Ask for a clarification."""
    return Unclear(text=text[:MAX_CHARS], question=question)


def parse(
    text: str, rules: Callable[[str], F | Unclear | None], examples: str
) -> Approve | Reject | Instead | Stop | Note | Query | F | Unclear:
    """Read one message; never raises.

    Args:
        text: what was typed.
        rules: the loop's own words. Given `plain(text)`, the value that the *whole* of it means, `Unclear` with what is
            missing, or None where it is none of these words.
        examples: what one may say to this loop, shown where nothing was understood.
    """
    original = text.strip()
    if is_stop(text):
        return Stop()
    if len(original) > MAX_CHARS:
        return unclear(original, f"That is longer than {MAX_CHARS} characters. Could you say it shorter?")
    if note := _NOTE.fullmatch(original):
        return Note(text=note["note"])
    if instead := _INSTEAD.fullmatch(original):
        return _instead(original, instead["arguments"])
    said, folded = plain(text), _folded(text)
    is_question = folded.rstrip(" .,;:!").endswith("?")
    if _APPROVE.fullmatch(said):
        return unclear(original, "Is that a yes? Then send `approve`.") if is_question else Approve()
    if _REJECT.fullmatch(said):
        return Reject()
    found = rules(said)
    if found is not None and not isinstance(found, Unclear):
        if is_question and not _REQUEST.match(folded) and not getattr(found, "takes_questions", False):
            return unclear(original, "Is that a question? If not, send it again without the question mark.")
        return found
    if found is None and is_query(original):
        return Query(text=original)
    if rejected := _REJECT_WITH.fullmatch(original):
        return _reject(original, rejected["reason"].strip(), rejected["explicit"] is not None, rules)
    if _IS_NOT.fullmatch(said):
        return Reject(reason=original[:MAX_REASON_CHARS])
    if found is not None:
        return unclear(original, found.question)
    both = _APPROVE_AND.fullmatch(said)
    if both and rules(both["rest"]) is not None:
        return unclear(original, f"That says two things. Send `approve`, or `{both['rest']}`, whichever you mean.")
    return unclear(original, f"I did not understand that, and nothing moves. {examples}")


def _instead(original: str, arguments: str) -> Instead | Unclear:
    try:
        return Instead(arguments=parse_json(arguments, parse_constant=_refuse_constant))
    except ValueError as error:
        return unclear(original, f'The arguments are no JSON ({error}). For example: `instead: {{"name": 1}}`.')


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _reject(original: str, reason: str, explicit: bool, rules: Callable[[str], F | Unclear | None]) -> Reject | Unclear:
    """A rejection with a reason. After a plain "no," the reason may itself be a command, which is clarified."""
    said = plain(reason)
    if not explicit and (_APPROVE.fullmatch(said) or rules(said) is not None):
        return unclear(original, f"That says two things. Send `reject`, or `{reason}`, whichever you mean.")
    return Reject(reason=reason[:MAX_REASON_CHARS])


def render(feedback: Approve | Reject | Instead | Stop | Note | Query | Unclear) -> str:
    """The phrase that `parse` reads as this value."""
    match feedback:
        case Approve() | Stop():
            return feedback.kind
        case Reject():
            return f"reject: {feedback.reason}" if feedback.reason else "reject"
        case Instead():
            return f"instead: {canonical_json(feedback.arguments)}"
        case Note() | Query() | Unclear():
            return f"note: {feedback.text}" if isinstance(feedback, Note) else feedback.text
