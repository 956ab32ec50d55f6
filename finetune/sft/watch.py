"""Watches a run of any TRL trainer: tells progress, stops what has gone wrong, writes each checkpoint's record."""

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from loopwright.errors import OperatorError
from loopwright.finetune.runs.checkpoints import STATE
from loopwright.finetune.runs.settings import RunSettings
from loopwright.finetune.sft.record import ADAPTER_FOLDER, AdapterRecord, RunRecord, versions
from loopwright.finetune.sft.release import SETTINGS, WEIGHTS
from loopwright.models.local.vocabulary import RECORD

Progress = Callable[[str], None]


class Watch(TrainerCallback):
    """Told by the trainer. `figures` are those that progress names; all of them go into the record but the rate."""

    def __init__(
        self,
        config: RunSettings,
        run: RunRecord,
        on_progress: Progress,
        *,
        method: Literal["sft", "grpo"] = "sft",
        figures: tuple[str, ...] = ("loss", "eval_loss", "mean_token_accuracy"),
        told: tuple[str, ...] = ("loss", "eval_loss", "learning_rate"),
    ) -> None:
        self.config, self.run, self.on_progress = config, run, on_progress
        self.method: Literal["sft", "grpo"] = method
        self.figures, self.told = figures, told
        self.begun_at = time.perf_counter()
        self.first_step = 0

    @property
    def took_s(self) -> float:
        """Since this process began to train, s."""
        return time.perf_counter() - self.begun_at

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Start the clock, at whichever step the run goes on from."""
        self.begun_at, self.first_step = time.perf_counter(), state.global_step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Log the last step's loss, wherever `log_every` falls: the run's result names it."""
        if state.global_step >= state.max_steps:
            control.should_log = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Progress the figures; refuse to go on from one that is no number."""
        told = {key: value for key, value in (logs or {}).items() if key in self.told and value is not None}
        if any(not math.isfinite(value) for value in told.values()):
            raise OperatorError(
                f"The loss at step {state.global_step} is {told!r}, so the run was stopped. Lower `optimiser.lr` or "
                "`optimiser.clip_norm`, and begin in a new folder."
            )
        if told:
            figures = ", ".join(f"{key} {value:.4g}" for key, value in told.items())
            self.on_progress(f"step {state.global_step} of {state.max_steps}: {figures}")

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """A checkpoint was written whole."""
        self.record(state).save(Path(args.output_dir or "") / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")

    def record(self, state: TrainerState) -> AdapterRecord:
        """What the adapter of this moment comes from."""
        figures: dict[str, float] = {}
        for entry in state.log_history:
            figures |= {key: float(entry[key]) for key in self.figures if entry.get(key) is not None}
        return AdapterRecord(
            run=self.run,
            method=self.method,
            config=self.config.model_dump(mode="json"),
            steps=state.global_step,
            figures=figures,
            versions=versions(),
        )

    def recover(self, ended: TrainerState, checkpoint: Path, out_dir: Path) -> Path:
        """The adapter of a run that had ended before; where a kill cost it that, it is in the last checkpoint."""
        adapter = out_dir / ADAPTER_FOLDER
        if not (adapter / RECORD).is_file():  # the last thing that a run writes
            adapter.mkdir(exist_ok=True)
            shutil.copyfile(checkpoint / STATE, out_dir / STATE)
            for name in (WEIGHTS, SETTINGS, RECORD):
                shutil.copyfile(checkpoint / name, adapter / name)
        self.first_step = ended.global_step
        return adapter
