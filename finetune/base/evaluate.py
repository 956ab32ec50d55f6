"""Grounding: do the replies say what the held-out pictures show? Beside what can be said without looking.

A reply is drawn as in use: chat template, processor, greedy decoding. One that states no quantity where one was asked
for is infinitely wrong, never left out.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from loopwright.finetune.base.batch import ask
from loopwright.finetune.data.corpus import Corpus, Prior, Probe
from loopwright.finetune.measure.rows import Row, averaged


class Scores(NamedTuple):
    """One value a probe, (n,): whether the reply is the answer exactly, the F1 of its words, and how far off
    the stated quantity is (NaN where none was asked for, infinite where none was given)."""

    exact: np.ndarray
    f1: np.ndarray
    error: np.ndarray


@torch.inference_mode()
def answer(
    model: PreTrainedModel,
    processor: Any,
    probes: Sequence[Probe],
    *,
    images: Sequence[Tensor] | None = None,
    batch: int = 64,
    max_tokens: int = 72,
) -> list[str]:
    """Greedy replies to `probes`, about their own pictures or about `images` in their place."""
    shown = [probe.image for probe in probes] if images is None else list(images)
    replies: list[str] = []
    generating: Any = model  # the mixin that generates is none of its declared bases
    was_training, _ = model.training, model.eval()
    for first in range(0, len(probes), batch):
        part = slice(first, first + batch)
        inputs = processor.apply_chat_template(
            [_chat(probe, image) for probe, image in zip(probes[part], shown[part], strict=True)],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(model.device)
        # said here, as `load_base` leaves a folder's own generation settings out
        eos = processor.tokenizer.eos_token_id
        tokens: Tensor = generating.generate(**inputs, max_new_tokens=max_tokens, do_sample=False, eos_token_id=eos)
        replies += processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    model.train(was_training)
    return [reply.strip() for reply in replies]


def score(replies: Sequence[str], probes: Sequence[Probe], corpus: Corpus) -> Scores:
    """Each reply against its probe's answer."""
    pairs = list(zip(replies, (probe.turn.answer for probe in probes), strict=True))
    return Scores(
        exact=np.array([reply == truth for reply, truth in pairs], dtype=np.float64),
        f1=np.array([word_f1(reply, truth) for reply, truth in pairs]),
        error=np.array([_error(corpus.measure(reply), corpus.measure(truth)) for reply, truth in pairs]),
    )


def word_f1(reply: str, truth: str) -> float:
    """F1 of the words that both have, repeated ones as often as both repeat them."""
    said, wanted = reply.split(), truth.split()
    shared = sum(min(said.count(word), wanted.count(word)) for word in set(wanted))
    return 2 * shared / (len(said) + len(wanted)) if said or wanted else 1.0


def rows(
    model: PreTrainedModel, processor: Any, world: str, corpus: Corpus, probes: Sequence[Probe], prior: Prior
) -> list[Row]:
    """For each kind of question, and for all: the model, the model shown another probe's picture, and the prior."""
    others = [probes[(k + len(probes) // 2) % len(probes)].image for k in range(len(probes))]
    by_model = {
        "vlm-base": score(answer(model, processor, probes), probes, corpus),
        "vlm-base, another picture": score(answer(model, processor, probes, images=others), probes, corpus),
        "prior": _prior_scores(prior, probes, corpus),
    }
    kinds = sorted({probe.kind for probe in probes})
    return [
        _row(world, name, kind, found, probes, corpus) for kind in ["all", *kinds] for name, found in by_model.items()
    ]


def figures(scores: Scores, probes: Sequence[Probe], corpus: Corpus) -> dict[str, float]:
    """The same for one model in short, for a line of metrics: exact and median error by kind, exact of all kinds."""
    found = {"exact": float(scores.exact.mean())}
    for kind in sorted({probe.kind for probe in probes}):
        of_kind = np.array([probe.kind == kind for probe in probes])
        found[f"{kind}/exact"] = float(scores.exact[of_kind].mean())
        asked = scores.error[of_kind & ~np.isnan(scores.error)]
        if len(asked) and np.isfinite(np.median(asked)):
            found[f"{kind}/median_{corpus.unit}"] = float(np.median(asked))
    return found


def _row(world: str, model: str, kind: str, scores: Scores, probes: Sequence[Probe], corpus: Corpus) -> Row:
    chosen = [k for k, probe in enumerate(probes) if kind in ("all", probe.kind)]
    error = scores.error[chosen]
    close = np.where(np.isnan(error), np.nan, error <= corpus.close)
    values = {"exact": scores.exact[chosen], "word_f1": scores.f1[chosen]}
    asked = error[~np.isnan(error)]
    if len(asked):
        values[f"within_{corpus.close:g}_{corpus.unit}"] = close
    row = averaged("grounding", world, model, kind, dict(values), [probes[k].group for k in chosen])
    if not len(asked):
        return row
    return row.model_copy(update={"figures": row.figures | {f"median_{corpus.unit}": float(np.median(asked))}})


def _prior_scores(prior: Prior, probes: Sequence[Probe], corpus: Corpus) -> Scores:
    """The most frequent answer for the letter, the median quantity for the error."""
    scores = score([prior.answer(probe.turn.about) for probe in probes], probes, corpus)
    error = [_error(prior.quantity(probe.turn.about), corpus.measure(probe.turn.answer)) for probe in probes]
    return scores._replace(error=np.array(error))


def _error(stated: tuple[float, ...] | None, truth: tuple[float, ...] | None) -> float:
    if truth is None:
        return float("nan")
    return float("inf") if stated is None else float(np.linalg.norm(np.subtract(stated, truth)))


def _chat(probe: Probe, image: Tensor) -> list[dict[str, Any]]:
    """The probe's question as the processor takes it, the picture in place."""
    pixels = image.expand(3, -1, -1).permute(1, 2, 0).numpy()
    [message] = ask(probe.turn.question)
    _, text = message["content"]
    return [{"role": "user", "content": [{"type": "image", "image": Image.fromarray(pixels)}, text]}]
