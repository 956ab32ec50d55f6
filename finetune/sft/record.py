"""What a run and its adapter say about themselves: which weights, which data, which settings, what came of it.

The run's record pins what must be the same when it goes on; the adapter's lies beside peft's own files, which do not
name the base's weights, only its path.
"""

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from loopwright.errors import BadInput
from loopwright.finetune.runs.settings import CONFIG, RunSettings
from loopwright.finetune.sft.config import BaseModelConfig
from loopwright.models.local.loading import load_config
from loopwright.models.local.vocabulary import RECORD
from loopwright.schema import Frozen
from loopwright.tools.files import write_whole

RUN = "run.json"
ADAPTER_FOLDER = "adapter"
"""Where in its run's folder a finished adapter lies."""
PACKAGES = ("loopwright", "torch", "transformers", "peft", "trl")


class BaseIdentity(Frozen):
    """Which weights a base has: a folder's are hashed, a hub's are named by their commit."""

    name: str
    sha256: str | None = None
    revision: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether weights are named, beside the base's name."""
        return bool(self.sha256 or self.revision)

    def same_weights(self, other: "BaseIdentity") -> bool:
        """Whether both have the same weights, wherever they lie."""
        return (self.sha256, self.revision) == (other.sha256, other.revision)


class RunRecord(Frozen):
    """What a run was begun with, beside its config."""

    base: BaseIdentity
    train_rows: int
    train_sha256: str
    validation_rows: int = 0
    validation_sha256: str | None = None
    start_sha256: str | None = Field(default=None, description="weights of the adapter that it went on from")
    cases: tuple[str, ...] = Field(
        default=(), description="patients that both files depend on; () where the data set does not say"
    )


class AdapterRecord(Frozen):
    """Where an adapter comes from. `config` is its run's, as JSON; `figures` are the last that were logged."""

    run: RunRecord
    method: Literal["sft", "grpo"] = "sft"
    config: dict[str, Any]
    steps: int
    figures: dict[str, float]
    versions: dict[str, str]

    @classmethod
    def of(cls, folder: Path) -> "AdapterRecord | None":
        """The record in an adapter's folder, None where other software wrote the adapter.

        Raises:
            BadInput: a record that cannot be read.
        """
        path = folder / RECORD
        if not path.is_file():
            return None
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError as error:
            raise BadInput(f"`{path}` is no record of an adapter: {error.errors()[0]['msg']}. Train again.") from error

    def save(self, folder: Path) -> None:
        """Write it beside the adapter."""
        write_whole(folder / RECORD, self.model_dump_json(indent=1).encode())


def versions() -> dict[str, str]:
    """What the numbers of a run depend on."""
    return {package: version(package) for package in PACKAGES}


def identify(base: BaseModelConfig) -> BaseIdentity:
    """Which weights `base` has."""
    if base.folder is None:
        # The one beside the weights: the hub may have a newer one by now.
        return BaseIdentity(name=base.base, revision=getattr(load_config(base.base), "_commit_hash", None))
    digest = hashlib.sha256()
    for path in sorted(base.folder.glob("*.safetensors")):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return BaseIdentity(name=base.base, sha256=digest.hexdigest())


def refuse_other_inputs(out_dir: Path, record: RunRecord) -> None:
    """Refuse a folder in which a run has begun with other weights or data.

    Raises:
        BadInput: naming what differs.
    """
    if not (out_dir / RUN).is_file():
        return
    earlier = RunRecord.model_validate_json((out_dir / RUN).read_text(encoding="utf-8"))
    changed = [key for key in RunRecord.model_fields if getattr(earlier, key) != getattr(record, key)]
    if changed:
        raise BadInput(
            f"`{out_dir}` was begun with another `{changed[0]}`: {getattr(earlier, changed[0])!r}, and now it is "
            f"{getattr(record, changed[0])!r}. Bring the old one back, or name another folder."
        )


def claim(out_dir: Path, config: RunSettings, record: RunRecord) -> None:
    """Make the run folder this run's."""
    out_dir.mkdir(parents=True, exist_ok=True)
    config.save(out_dir / CONFIG)
    write_whole(out_dir / RUN, record.model_dump_json(indent=1).encode())
