"""What fine-tuning leaves of the base: held-out captions and questions before and after the adapter.

The place of the seed paper's MMLU-Pro row, which a base of a few million parameters has nothing to say to.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from loopwright.errors import BadInput
from loopwright.finetune.base.evaluate import Scores, answer, score
from loopwright.finetune.base.worlds import open_worlds
from loopwright.finetune.data.carm.base_tasks import CArmLessons
from loopwright.finetune.data.carm.rendered import DataConfig
from loopwright.finetune.data.corpus import Corpus, Probe, WorldSettings
from loopwright.finetune.evaluate.carm.vlm import Vlm
from loopwright.finetune.measure.rows import CHANGE, Row, averaged
from loopwright.graphs.carm.roles import ADAPTER
from loopwright.models.local.chat import LocalChatModel


def probed_worlds(test_phantoms: int, *, views_per_phantom: int = 32) -> Mapping[str, WorldSettings]:
    """What the probes are taken from: test cases only; the other parts are never opened."""
    data = DataConfig(
        train_phantoms=1, validation_phantoms=1, calibration_phantoms=1, views_per_phantom=views_per_phantom
    )
    return {"carm": CArmLessons(data=data, test_phantoms=test_phantoms)}


def evaluate_preservation(
    base: Vlm,
    probed: Mapping[str, WorldSettings],
    probes_per_kind: int,
    cache_dir: Path,
    on_progress: Callable[[str], None] = lambda _: None,
) -> list[Row]:
    """For all questions and for each kind: the base, the same with its adapter, and the change question by question.

    Raises:
        BadInput: the model is not local, or its card has no adapter for the C-arm.
    """
    local, adapter = adapted(base)
    rows: list[Row] = []
    for world, corpus in open_worlds(probed, cache_dir, on_progress).items():
        probes = corpus.probes(probes_per_kind, test=True)
        before, after = (_scores(local, folder, probes, corpus) for folder in (None, adapter))
        for kind in ["all", *sorted({probe.kind for probe in probes})]:
            chosen = np.array([kind in ("all", probe.kind) for probe in probes])
            groups = [probe.group for probe, is_chosen in zip(probes, chosen, strict=True) if is_chosen]
            values = {
                base.name: _values(before, chosen, corpus),
                "vlm-sft": _values(after, chosen, corpus),
                CHANGE: {"exact": (after.exact - before.exact)[chosen], "word_f1": (after.f1 - before.f1)[chosen]},
            }
            rows += [averaged("preservation", world, model, kind, dict(v), groups) for model, v in values.items()]
    return rows


def adapted(base: Vlm) -> tuple[LocalChatModel, Path]:
    """The local model, and the adapter that may have changed it.

    Raises:
        BadInput: it is not local, or its card has no adapter for the C-arm.
    """
    local = base.local
    if local is None or ADAPTER not in local.card.adapters:
        raise BadInput(
            f"The model of `{base.name}` has no adapter {ADAPTER!r}: there is nothing that could have changed it. "
            "Name a local card with one."
        )
    return local, local.card.adapters[ADAPTER]


def _scores(local: LocalChatModel, adapter: Path | None, probes: Sequence[Probe], corpus: Corpus) -> Scores:
    def said(model: PreTrainedModel) -> list[str]:
        return answer(model, local.engine.processor, probes)

    return score(local.engine.run(said, adapter), probes, corpus)


def _values(scores: Scores, chosen: NDArray[np.bool_], corpus: Corpus) -> dict[str, NDArray[np.float64]]:
    error = scores.error[chosen]
    close = np.where(np.isnan(error), np.nan, error <= corpus.close)
    values = {"exact": scores.exact[chosen], "word_f1": scores.f1[chosen]}
    return values | ({} if np.isnan(error).all() else {f"within_{corpus.close:g}_{corpus.unit}": close})
