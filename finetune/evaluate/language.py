"""What fine-tuning leaves of a real model's language: tasks of lm-evaluation-harness before and after the adapter.

The seed paper's MMLU-Pro row. Tasks are given texts alone, as everywhere in that harness. Naming a task that comes with
it fetches its data from the hub; a YAML of your own names your files. Needs the extra `lm-eval`.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from loopwright.errors import BadInput, OperatorError, UnknownName
from loopwright.finetune.measure.rows import CHANGE, Row, averaged
from loopwright.models.local.chat import LocalChatModel

WHAT = "language"
BATCH = 8


def evaluate_language(
    local: LocalChatModel,
    adapter: Path,
    tasks: Sequence[str],
    limit: int,
    on_progress: Callable[[str], None] = lambda _: None,
) -> list[Row]:
    """For each score of each task: the base, the same with its adapter, and the change question by question.

    Args:
        local: the base.
        adapter: folder of its LoRA weights.
        tasks: names of lm-evaluation-harness, or YAML files of that format.
        limit: most questions of a task.
        on_progress: called with a line before each run.

    Raises:
        UnknownName: a task that the harness does not have.
        BadInput: a task whose questions are not scored one by one.
        OperatorError: its data cannot be had.
    """
    from lm_eval.tasks import TaskManager

    manager = TaskManager()
    for task in tasks:
        if not Path(task).is_file() and task not in manager.all_tasks:
            raise UnknownName("lm-eval task", task, manager.all_tasks)
    measured = []
    for name, folder in (("vlm-base", None), ("vlm-sft", adapter)):
        on_progress(f"lm-eval: {', '.join(tasks)} by {name}")
        measured.append(_measured(local, folder, tasks, limit, manager))
    before, after = measured
    return [
        averaged(WHAT, "lm-eval", name, score, {"score": values}, [str(i) for i in range(len(values))])
        for score, was in before.items()
        for name, values in (("vlm-base", was), ("vlm-sft", after[score]), (CHANGE, after[score] - was))
    ]


def _measured(
    local: LocalChatModel, adapter: Path | None, tasks: Sequence[str], limit: int, manager: Any
) -> dict[str, NDArray[np.float64]]:
    """Each task's (a group's: each member's) scores, (n,) by `TASK, METRIC`."""
    from datasets.exceptions import DatasetsError

    # its own annotations hide the arguments of both: decorators replace them
    harness: Any = import_module("lm_eval")
    wrapper: Any = import_module("lm_eval.models.huggingface").HFLM

    def run(model: PreTrainedModel) -> dict[str, list[dict[str, Any]]]:
        harnessed = wrapper(pretrained=model, tokenizer=local.engine.processor.tokenizer, batch_size=BATCH)
        found = harness.simple_evaluate(
            model=harnessed, tasks=list(tasks), task_manager=manager, limit=limit, log_samples=True, bootstrap_iters=0
        )
        samples: dict[str, list[dict[str, Any]]] = found["samples"]
        return samples

    try:
        samples = local.engine.run(run, adapter)
    except (OSError, DatasetsError) as error:
        raise OperatorError(f"The data of {', '.join(tasks)} cannot be had: {error}") from error
    return {name: values for task, of_task in samples.items() for name, values in _scores(task, of_task).items()}


def _scores(task: str, samples: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[np.float64]]:
    """The metrics of one task that are a number for each question; of several filters the first."""
    first = [sample for sample in samples if sample["filter"] == samples[0]["filter"]]
    scores = {
        f"{task}, {metric}": np.array([sample[metric] for sample in first], dtype=np.float64)
        for metric in first[0]["metrics"]
        if all(isinstance(sample[metric], int | float) for sample in first)
    }
    if not scores:
        raise BadInput(f"The task {task!r} has no metric that scores each question, so no change can be paired.")
    return scores
