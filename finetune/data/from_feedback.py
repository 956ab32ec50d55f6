"""From feedback to weights: what people approved and corrected in sessions becomes rows to learn from.

    OUT/train.messages.jsonl     prompts, and the answers that people consented to; to a prompt whose answer was
                                 rejected, the one that was consented to next
    OUT/preferences.jsonl        prompt, chosen, rejected (as TRL's DPO takes them), and images
    OUT/provenance.jsonl         of each row: session, branch, step, role, who said what
    OUT/images/SHA256.png        what was shown

Prompts are those that the models were sent (rule 10). Reads the record alone; knows no loop.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from langchain_core.messages import BaseMessage, convert_to_messages

from loopwright.agents.sessions.gate import Heard
from loopwright.errors import BadInput
from loopwright.finetune.data.files import write_examples
from loopwright.finetune.data.rollouts import Rollout, rollouts
from loopwright.finetune.data.rows import Example, example_of
from loopwright.memory import Memory
from loopwright.models.images import ref_of
from loopwright.tools.files import write_whole

Verdict = Literal["approved", "rejected"]
TRAIN, PREFERENCES, PROVENANCE, IMAGES = "train.messages.jsonl", "preferences.jsonl", "provenance.jsonl", "images"
_REJECTING = ("reject", "instead")


class Judged(NamedTuple):
    """An answer, and what a person made of it."""

    rollout: Rollout
    verdict: Verdict
    said: tuple[Heard, ...]


class Learnt(NamedTuple):
    """A row: the prompt's answer that is to be learnt, and the one that was rejected, if any."""

    prompt: Rollout
    chosen: Judged
    rejected: Judged | None


class Written(NamedTuple):
    """How many rows there are."""

    examples: int
    preferences: int


def judged(found: Iterable[Rollout]) -> Iterator[Judged]:
    """The answers on which a person decided: an act that follows was consented to, or refused."""
    for one in found:
        said = tuple(Heard.model_validate(m) for event in one.followed for m in event.payload.get("messages", ()))
        acts = [event.payload for event in one.followed if event.kind == "acted"]
        is_done = any(act.get("approved_by") == "human" and act.get("status") == "done" for act in acts)
        if any(each.kind in _REJECTING for each in said):
            yield Judged(one, "rejected", said)
        elif is_done:
            yield Judged(one, "approved", said)


def learnt(found: Sequence[Judged]) -> Iterator[Learnt]:
    """Rows of one session: what was approved; and, for what was rejected, what the same role said next that was not."""
    for i, one in enumerate(found):
        if one.verdict == "approved":
            yield Learnt(one.rollout, one, None)
            continue
        later = (other for other in found[i + 1 :] if other.rollout.role == one.rollout.role)
        better = next((other for other in later if other.verdict == "approved"), None)
        if better is not None and better.rollout.completion != one.rollout.completion:
            yield Learnt(one.rollout, better, one)


def write_feedback(memory: Memory, sessions: Sequence[str], out: Path) -> Written:
    """Write the rows of sessions to a folder, made where it is missing.

    Raises:
        UnknownName: there is no such session.
        BadInput: nobody approved or rejected an answer of a model in any of them.
    """
    rows = [row for session in sessions for row in learnt(list(judged(rollouts(memory.events.read(session)))))]
    if not rows:
        raise BadInput(
            f"In {', '.join(sessions)} nobody consented to or rejected what a model had proposed. Run with "
            "`--approval human`, a model, and answer."
        )
    examples, preferences, provenance = list[Example](), list[dict[str, Any]](), list[dict[str, Any]]()
    for row in rows:
        messages = convert_to_messages(list(row.prompt.prompt))
        paths = _images(memory, messages, out)
        example = example_of(messages, row.chosen.rollout.completion, paths)
        examples.append(example)
        if row.rejected is not None:
            preferences.append(_preference(row, example))
        provenance.append(_provenance(row))
    write_examples(out / TRAIN, examples, "messages")
    _write_lines(out / PREFERENCES, preferences)
    _write_lines(out / PROVENANCE, provenance)
    return Written(len(examples), len(preferences))


def _images(memory: Memory, messages: Sequence[BaseMessage], out: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for message in messages:
        for part in message.content if isinstance(message.content, list) else ():
            if isinstance(part, dict) and part.get("type") == "image":
                ref = ref_of(part)
                path = f"{IMAGES}/{ref.sha256}.png"
                (out / IMAGES).mkdir(parents=True, exist_ok=True)
                write_whole(out / path, memory.blobs.read(ref))
                found[ref.sha256] = path
    return found


def _preference(row: Learnt, example: Example) -> dict[str, Any]:
    assert row.rejected is not None
    turns = [{"role": turn.role, "content": turn.text} for turn in example.turns[:-1]]
    return {
        "prompt": turns,
        "chosen": [{"role": "assistant", "content": row.chosen.rollout.completion}],
        "rejected": [{"role": "assistant", "content": row.rejected.rollout.completion}],
        "images": list(example.images),
    }


def _provenance(row: Learnt) -> dict[str, Any]:
    heard = [*(row.rejected.said if row.rejected else ()), *row.chosen.said]
    of = row.prompt
    return {
        "session": of.session_id,
        "branch": of.branch,
        "step": of.step,
        "role": of.role,
        "model": of.model,
        "corrected": row.rejected is not None,
        "said": [{"author": one.author, "text": one.text} for one in heard],
    }


def _write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
