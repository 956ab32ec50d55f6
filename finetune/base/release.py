"""From a run folder to a released base: copy the model, measure it on test cases, and write its card.

Test cases have seeds of their own, disjoint from training and validation. What is measured is what is released: the
folder is read back, bfloat16 weights and all.
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from loopwright.errors import BadInput
from loopwright.finetune.base.config import BaseConfig
from loopwright.finetune.base.evaluate import rows
from loopwright.finetune.base.train import MODEL
from loopwright.finetune.base.worlds import open_worlds
from loopwright.finetune.data.corpus import Corpus, Prior
from loopwright.finetune.measure.rows import Row
from loopwright.finetune.runs.settings import CONFIG
from loopwright.models.local.loading import Base, load_base
from loopwright.models.local.processor import tokenizer_of
from loopwright.settings import settings
from loopwright.tools.files import write_whole

Progress = Callable[[str], None]
PRIOR_LESSONS = 10_000
"""Training lessons from which the trivial baseline is made."""


def release(
    run_dir: Path,
    folder: Path,
    command: str,
    on_progress: Progress = lambda _: None,
    *,
    probes_per_kind: int = 200,
    cache_dir: Path | None = None,
) -> Path:
    """Copy the model of `run_dir` to `folder`, measure it on test cases, and write `folder`.card.yaml beside it.

    Args:
        run_dir: of a finished training run.
        folder: the model folder to write: new, empty, or an earlier release, which is replaced.
        command: what made the run, for the card.
        on_progress: called with a line now and then.
        probes_per_kind: test questions of each kind.
        cache_dir: of rendered views; by default the user's cache.

    Returns:
        The card.

    Raises:
        BadInput: the run is not finished, or `folder` holds something else.
    """
    check_folder(folder)
    if not (run_dir / MODEL / "config.json").is_file():
        raise BadInput(f"`{run_dir}` holds no finished run. Go on with it: `{command}`.")
    config = BaseConfig.load(run_dir / CONFIG)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(run_dir / MODEL, partial)
    base = load_base(str(partial), folder=partial, dtype="float32")
    corpora = open_worlds(config.worlds, cache_dir or settings().cache_dir, on_progress)
    found: list[Row] = []
    for world, corpus in corpora.items():
        on_progress(f"measuring on the test cases of `{world}`")
        probes = corpus.probes(probes_per_kind, test=True)
        prior = Prior(corpus, PRIOR_LESSONS, config.seed)
        found += rows(base.model, base.processor, world, corpus, probes, prior)
    told = {"command": command, "metrics": [row.as_json() for row in found]}
    card = {"name": folder.name} | _card(partial, base, config, corpora) | told
    write_whole(_card_of(folder), yaml.safe_dump(card, sort_keys=False, width=120).encode())
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return _card_of(folder)


def check_folder(folder: Path) -> None:
    """Find that a release may be written to `folder`.

    Raises:
        BadInput: it is a file, or holds something else than an earlier release, which has its card beside it.
    """
    is_taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if is_taken and not (_card_of(folder).is_file() and (folder / "config.json").is_file()):
        raise BadInput(
            f"`{folder}` is neither new nor empty nor an earlier release (which has `{_card_of(folder).name}` beside "
            "it), and a release replaces all that is in its folder. Name another one."
        )


def _card_of(folder: Path) -> Path:
    return folder.with_name(folder.name + ".card.yaml")


def _card(folder: Path, base: Base, config: BaseConfig, corpora: Mapping[str, Corpus]) -> dict[str, Any]:
    """What the model is and from which data it comes."""
    weights = folder / "model.safetensors"
    return {
        "task": "captions and answers about pictures of the worlds below; a base to fine-tune",
        "use": "research software, not a medical device",
        "architecture": "Qwen2.5-VL, trained from noise",
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
        "parameters": sum(p.numel() for p in base.model.parameters()),
        "tokens": len(tokenizer_of(base.processor)),
        "visual_tokens": config.model.tokens_across**2,
        "steps": config.steps,
        "data": "rendered by our own worlds only: pictures, questions and answers; no patient's data, no other model",
        "worlds": {world: {"pictures": len(corpus), "cases": corpus.cases} for world, corpus in corpora.items()},
        "config": config.model_dump(mode="json"),
    }
