"""What a resumable run of a transformers trainer leaves in its folder, and how it finds its place there again."""

import json
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter
from transformers import TrainerState
from transformers.integrations.integration_utils import TensorBoardCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

TENSORBOARD, STATE = "tensorboard", "trainer_state.json"


def last_checkpoint(out_dir: Path) -> Path | None:
    """The newest whole checkpoint. The trainer writes its state last, so one that a kill cut short has none."""
    found = {int(path.name.rpartition("-")[2]): path for path in out_dir.glob(f"{PREFIX_CHECKPOINT_DIR}-[0-9]*")}
    return next((found[step] for step in sorted(found, reverse=True) if _is_json(found[step] / STATE)), None)


def ended(checkpoint: Path) -> TrainerState | None:
    """The state of a run that ended with `checkpoint`. The trainer would go on with its epoch."""
    state = TrainerState.load_from_json(str(checkpoint / STATE))
    return state if state.global_step >= state.max_steps else None


def tensorboard(out_dir: Path, checkpoint: Path | None) -> TensorBoardCallback:
    """A writer that drops what earlier attempts drew after the checkpoint, or all of it where there is none."""
    step = int(checkpoint.name.rpartition("-")[2]) + 1 if checkpoint else 0
    return TensorBoardCallback(SummaryWriter(log_dir=str(out_dir / TENSORBOARD), purge_step=step))


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
