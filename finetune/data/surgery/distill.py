"""A stronger model's plans for labelled moments of surgery, kept where they agree with the label.

After Xu et al. 2025 (section 2.2), who had GPT-4o write what they fine-tuned on. The teacher is asked as the role is
(`loopwright.agents.surgery.prompts`), and told what came next. One line a moment, written as soon as it is answered:

    {"key", "video", "index", "next", "teacher", "reply", "verdict", "plan"}

A moment whose line is there with the same key, which is a hash of all that was asked, is not asked again; so a run that
was broken off, by a kill or because the card's budget is spent, goes on. Knows no backend.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage
from pydantic import ValidationError

from loopwright.agents.surgery.formats import PLAN, Plan, caption_of
from loopwright.agents.surgery.history import Step, step_of, steps_of, view
from loopwright.agents.surgery.prompts import plan_messages
from loopwright.errors import BadInput, IntegrityError
from loopwright.models.answers import read
from loopwright.models.cards import ModelCard
from loopwright.schema import Frozen, sha256_of
from loopwright.schema.json_text import parse_json
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.samples import Sample
from loopwright.tools.surgery.vocabulary import Action

Verdict = Literal["kept", "disagrees", "malformed"]


class Answer(Frozen):
    """What a teacher wrote of one moment. `plan` is None where the reply was none."""

    key: str
    video: str
    index: int
    next: Action
    teacher: str
    reply: str
    verdict: Verdict
    plan: Plan | None = None


class Counts(Frozen):
    """What became of the moments; `asked` are those that this run paid for."""

    moments: int
    asked: int
    kept: int
    disagrees: int
    malformed: int


def teacher_messages(sample: Sample) -> list[BaseMessage]:
    """What the teacher is asked: the role's own question, and what truly came next."""

    def described(clip: Clip) -> Step:
        return step_of(clip, caption=caption_of(clip))

    *before, question = plan_messages(view(steps_of(sample, described)))
    told = f"What came next was {sample.next}. Name it first, with a reason that can be known now."
    return [*before, HumanMessage(f"{question.text}\n{told}")]


def check_teacher(card: ModelCard) -> None:
    """See that a teacher cannot cost without end.

    Raises:
        BadInput: the card is of a served model and bounds neither tokens nor cost.
    """
    if card.kind == "served" and card.budget.max_tokens is None and card.budget.max_cost_usd is None:
        raise BadInput(
            f"The teacher `{card.name}` has no budget. Set `budget.max_tokens`, or `budget.max_cost_usd` and prices, "
            "in its card: a run asks it about every moment."
        )


def distil(
    samples: Sequence[Sample],
    teacher: BaseChatModel,
    name: str,
    out: Path,
    *,
    in_flight: int = 4,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Counts:
    """Have `teacher` write a plan for each sample that `out` lacks.

    Args:
        samples: the moments, with what came next.
        teacher: any chat model.
        name: the teacher's; another one's answers in `out` are left alone and asked for anew.
        out: JSONL, added to.
        in_flight: questions under way at a time.
        on_progress: called with now and then.

    Raises:
        OperatorError: the teacher's budget is spent or its endpoint fails; what was answered is in `out`.
        IntegrityError: `out` holds a damaged line.
    """
    known = {answer.key: answer for answer in _read(out)} if out.exists() else {}
    keyed = {_key(sample, name): sample for sample in samples}
    lacking = [key for key in keyed if key not in known]
    lock = threading.Lock()
    out.parent.mkdir(parents=True, exist_ok=True)
    _end_line(out)

    def ask(key: str) -> Answer:
        answer = _judged(keyed[key], key, name, teacher.invoke(teacher_messages(keyed[key])).text)
        with lock, out.open("a", encoding="utf-8") as file:
            file.write(answer.model_dump_json() + "\n")
        return answer

    pool = ThreadPoolExecutor(in_flight, thread_name_prefix="loopwright-distil")
    try:
        for answer in pool.map(ask, lacking):
            known[answer.key] = answer
            on_progress(f"{answer.video}, clip {answer.index}: {answer.verdict}")
    finally:
        pool.shutdown(cancel_futures=True)
    verdicts = Counter(known[key].verdict for key in keyed)
    return Counts(
        moments=len(keyed),
        asked=len(lacking),
        kept=verdicts["kept"],
        disagrees=verdicts["disagrees"],
        malformed=verdicts["malformed"],
    )


def read_plans(path: Path) -> dict[tuple[str, int], Plan]:
    """The plans that were kept, by video and last known clip; of several teachers' the last one's.

    Raises:
        BadInput: no such file.
        IntegrityError: a line is damaged.
    """
    kept = (answer for answer in _read(path) if answer.verdict == "kept")
    return {(answer.video, answer.index): answer.plan for answer in kept if answer.plan is not None}


def _judged(sample: Sample, key: str, teacher: str, reply: str) -> Answer:
    verdict: Verdict = "malformed"
    plan: Plan | None = None
    try:
        plan = read(reply, PLAN).value
        verdict = "kept" if plan.ranking[0] == sample.next else "disagrees"
    except BadInput:
        pass
    return Answer(
        key=key,
        video=sample.video,
        index=sample.index,
        next=sample.next,
        teacher=teacher,
        reply=reply,
        verdict=verdict,
        plan=plan,
    )


def _key(sample: Sample, teacher: str) -> str:
    """A hash of who is asked what; the moment itself too, as two may look the same."""
    asked = [{"role": message.type, "content": message.text} for message in teacher_messages(sample)]
    return sha256_of({"teacher": teacher, "video": sample.video, "index": sample.index, "asked": asked})


def _end_line(path: Path) -> None:
    """Drop what a kill left of the last line."""
    if path.exists():
        data = path.read_bytes()
        with path.open("r+b") as file:
            file.truncate(data.rfind(b"\n") + 1)


def _read(path: Path) -> Iterable[Answer]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f"`{path}` cannot be read ({error.strerror}); write it: `loopwright data distill surgery`."
        ) from error
    for number, line in enumerate(text[: text.rfind("\n") + 1].splitlines(), start=1):
        try:
            yield Answer.model_validate(parse_json(line))
        except (ValueError, ValidationError) as error:
            raise IntegrityError(
                f"`{path}`, line {number}, is no teacher's answer ({error}). Delete the line."
            ) from error
