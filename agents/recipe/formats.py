"""The recipe loop's answers: actions with the reasoning before them, a list of ingredients, and instructions.

After Liu et al.: `<think>..</think><answer>..</answer>` for actions (section 2.1), a fixed template for ingredients
(2.2). Labels are a closed set, each named once. Knows no prompt and no model.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from pydantic import Field

from loopwright.agents.plain import plain_pattern, plainly
from loopwright.agents.recipe.prompts import in_words, said
from loopwright.models.answers import TextFormat
from loopwright.models.markup import tag_content
from loopwright.schema import Frozen
from loopwright.tools.recipe.ingredients import clean_name
from loopwright.tools.recipe.vocabulary import Vocabulary

MOST_LABELS = 20
"""Of one answer: the paper's data have fewer than 20 ingredients."""
THINK_CHARS = 160
STEP_CHARS = 200
MOST_STEPS = 14
TEMPLATE = "Ingredients: "


class ActionAnswer(Frozen):
    """Actions of a dish, and the reasoning that led to them."""

    think: str = Field(max_length=THINK_CHARS)
    actions: tuple[str, ...] = Field(min_length=1, max_length=MOST_LABELS)


@lru_cache(maxsize=8)
def actions_form(names: tuple[str, ...]) -> TextFormat[ActionAnswer]:
    """The form of the actions of a dish, which are among `names`."""
    words = {in_words(name): name for name in names}

    def render(answer: ActionAnswer) -> str:
        return f"<think>{answer.think}</think><answer>{said(answer.actions)}</answer>"

    def read(text: str) -> ActionAnswer:
        found = re.fullmatch(r"<think>(.*?)</think><answer>(.*?)</answer>", text, re.DOTALL)
        if found is None:
            raise ValueError("it is not of that form")
        return ActionAnswer(think=found[1], actions=_labels(found[2], words))

    def tidy(text: str) -> str:
        think = plainly(tag_content(text, "think"), THINK_CHARS)
        return render(ActionAnswer(think=think, actions=_known(tag_content(text, "answer"), words)))

    return TextFormat(
        name="actions",
        pattern=f"<think>{plain_pattern(THINK_CHARS)}</think><answer>{_list_pattern(words)}</answer>",
        longest_chars=THINK_CHARS + _longest(words) + len("<think></think><answer></answer>"),
        example=f"<think>pan, cubes, golden</think><answer>{said(names[:2])}</answer>",
        render=render,
        read=read,
        tidy=tidy,
        instructions=_told("actions", words),
    )


@lru_cache(maxsize=8)
def ingredients_form(names: tuple[str, ...]) -> TextFormat[tuple[str, ...]]:
    """The form of the ingredients of a dish, which are among `names`."""
    words = {in_words(name): name for name in names}

    def read(text: str) -> tuple[str, ...]:
        if not text.startswith(TEMPLATE):
            raise ValueError(f"it does not begin with {TEMPLATE!r}")
        return _labels(text.removeprefix(TEMPLATE), words)

    def tidy(text: str) -> str:
        _, _, listed = text.rpartition(":")
        return TEMPLATE + said(_known(listed, words))

    return TextFormat(
        name="ingredients",
        pattern=TEMPLATE + _list_pattern(words),
        longest_chars=len(TEMPLATE) + _longest(words),
        example=TEMPLATE + said(names[:2]),
        render=lambda labels: TEMPLATE + said(labels),
        read=read,
        tidy=tidy,
        instructions=_told("ingredients", words),
    )


def _labels(listed: str, words: dict[str, str]) -> tuple[str, ...]:
    """The labels of an exact list, each once: one that is named again says nothing more."""
    names = listed.split(", ")
    unknown = [name for name in names if name not in words]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no known label")
    return tuple(dict.fromkeys(words[name] for name in names))


def _known(listed: str, words: dict[str, str]) -> tuple[str, ...]:
    """What of a list is known, in any case, in the singular or plural; the rest is left out.

    Raises:
        ValueError: nothing is.
    """
    by_name = Vocabulary(what="labels", counts=dict.fromkeys(words.values(), 0), members={n: n for n in words.values()})
    names = (clean_name(part) for part in re.split(r"[,;\n]|\band\b", listed))
    found = tuple(dict.fromkeys(label for name in names if name and (label := by_name.class_of(name)) is not None))
    if not found:
        raise ValueError("no known label is named")
    return found[:MOST_LABELS]


def _list_pattern(words: Iterable[str]) -> str:
    one = f"(?:{'|'.join(map(re.escape, sorted(words)))})"
    return f"{one}(?:, {one}){{0,{MOST_LABELS - 1}}}"


def _longest(words: Iterable[str]) -> int:
    return MOST_LABELS * (max(map(len, words)) + len(", "))


def _told(what: str, words: Iterable[str]) -> str:
    """For a model that can only be told in words."""
    return f"Name only {what} of this list, each once: {', '.join(sorted(words))}."


def _read_steps(text: str) -> tuple[str, ...]:
    steps = tuple(text.split("\n"))
    step = re.compile(_STEP)
    wrong = [one for one in steps if step.fullmatch(one) is None]
    if wrong or len(steps) > MOST_STEPS:
        raise ValueError(f"1 to {MOST_STEPS} lines of plain text are expected, each of {STEP_CHARS} characters at most")
    return steps


def _tidy_steps(text: str) -> str:
    lines = (re.sub(r"^\s*(?:step\s*)?\d+\s*[.:)]\s*|^\s*[-*]\s+", "", line, flags=re.I) for line in text.split("\n"))
    return "\n".join([step for line in lines if (step := plainly(line, STEP_CHARS))][:MOST_STEPS])


_STEP = plain_pattern(STEP_CHARS)
INSTRUCTIONS: TextFormat[tuple[str, ...]] = TextFormat(
    name="instructions",
    pattern=rf"{_STEP}(?:\n{_STEP}){{0,{MOST_STEPS - 1}}}",
    longest_chars=MOST_STEPS * (STEP_CHARS + 1),
    example="Chop the onions, then fry them.\nSprinkle with bright pearls.",
    render="\n".join,
    read=_read_steps,
    tidy=_tidy_steps,
    instructions="Answer with the steps alone, one a line, in plain text.",
)
"""Steps, one a line."""


def drafted(steps: Sequence[str]) -> str:
    """Steps as one text."""
    return INSTRUCTIONS.render(tuple(steps))
