"""What becomes of a trained adapter: folded into its base, or written out for others in peft's format, with a card.

Both refuse an adapter whose base is not the one at hand: equal shapes are no proof, so the weights' hash is asked.
"""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from peft import PeftConfig, PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from transformers import GenerationConfig, PreTrainedModel

from loopwright.errors import BadInput
from loopwright.finetune.sft.config import BaseModelConfig
from loopwright.finetune.sft.record import ADAPTER_FOLDER, AdapterRecord, identify
from loopwright.models.local.loading import check_weights, load_base, load_config
from loopwright.models.local.vocabulary import RECORD, extend, visual_tokens_of
from loopwright.tools.files import write_whole

WEIGHTS, SETTINGS = "adapter_model.safetensors", "adapter_config.json"
Precision = Literal["as-trained", "bfloat16", "float16"]


class Adapter(NamedTuple):
    """An adapter on disk: peft's settings, and our record where we trained it."""

    folder: Path
    settings: PeftConfig
    record: AdapterRecord | None

    @property
    def base(self) -> str:
        """The folder or hub id of its base. peft writes a folder without its leading `./`, which a hub id lacks too."""
        named = self.settings.base_model_name_or_path or ""
        ours = self.record.run.base.name if self.record else named
        return ours if Path(ours) == Path(named) else named


def open_adapter(path: Path) -> Adapter:
    """The adapter in `path`: an adapter's folder, a checkpoint, or a run's folder.

    Raises:
        BadInput: there is none, its run is unfinished, or its weights are missing or pickled.
    """
    folder = path if (path / SETTINGS).is_file() else path / ADAPTER_FOLDER
    if not folder.is_dir():
        raise BadInput(
            f"`{path}` holds no adapter: neither `{SETTINGS}` nor `{ADAPTER_FOLDER}/`. Name an adapter's folder, a "
            "checkpoint, or the folder of a run that has ended."
        )
    check_weights(folder, f"Adapter `{folder}`", config_name=SETTINGS)
    return Adapter(folder, PeftConfig.from_pretrained(str(folder)), AdapterRecord.of(folder))


def merge(path: Path, out_dir: Path, base: str | None = None) -> Path:
    """Fold an adapter into its base and write a whole model, in the precision that the base is stored in.

    The sum is made in float32 on the CPU, so that it is rounded once: four bytes of memory a parameter.

    Args:
        path: an adapter's folder, a checkpoint, or a run's folder.
        out_dir: made if need be; must be empty.
        base: the base's folder or hub id; by default where it was when the adapter was trained.

    Raises:
        BadInput: no adapter, an adapter of another base, or `out_dir` is taken.
    """
    adapter = open_adapter(path)
    _refuse_taken(out_dir)
    at = BaseModelConfig(base=base or adapter.base)
    bare = load_base(at.base, folder=at.folder, device="cpu", dtype="float32")
    loaded = extend(bare, visual_tokens_of(adapter.folder))
    _refuse_other_base(adapter, at)
    source = str(at.folder or at.base)
    merged = _attached(loaded.model, adapter).merge_and_unload(safe_merge=True)
    merged.to(load_config(source).dtype)
    with suppress(OSError):  # a base need not have one
        merged.generation_config = GenerationConfig.from_pretrained(source, local_files_only=True)
    merged.save_pretrained(out_dir)
    loaded.processor.save_pretrained(out_dir)
    return out_dir


def export(path: Path, out_dir: Path, base_name: str | None = None, *, precision: Precision = "as-trained") -> Path:
    """Write an adapter for others: weights, peft's settings, our record and a card, nothing else.

    Args:
        path: an adapter's folder, a checkpoint, or a run's folder.
        out_dir: made if need be; must be empty.
        base_name: what readers call the base, such as a hub id; by default the path or id that it was trained on.
        precision: of the weights in the file; half of float32's takes half the room. peft adds in the base's own.

    Raises:
        BadInput: no adapter, one that we did not train, or `out_dir` is taken.
    """
    adapter = open_adapter(path)
    if adapter.record is None:
        raise BadInput(f"`{adapter.folder}` has no `{RECORD}`: it was not trained by `loopwright train`.")
    _refuse_taken(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    adapter.settings.base_model_name_or_path = base_name = base_name or adapter.record.run.base.name
    adapter.settings.save_pretrained(str(out_dir))
    if precision == "as-trained":
        shutil.copyfile(adapter.folder / WEIGHTS, out_dir / WEIGHTS)
    else:
        weights = load_file(adapter.folder / WEIGHTS)
        dtype = getattr(torch, precision)
        # Not `save_file`, which lets nobody but the user read what is to be given to others.
        rounded = save({name: weight.to(dtype) for name, weight in weights.items()}, {"format": "pt"})
        write_whole(out_dir / WEIGHTS, rounded)
    adapter.record.save(out_dir)
    (out_dir / "README.md").write_text(card(adapter.record, base_name), encoding="utf-8")
    return out_dir


def card(record: AdapterRecord, base: str) -> str:
    """The adapter's model card, Markdown under the hub's YAML header. `base` is what it calls the base."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined)
    identity, lora = record.run.base, record.config["lora"]
    return environment.get_template("card.md.j2").render(
        record.config | dict(record),
        base=base,
        weights=f"`{identity.sha256}` (SHA-256 of its files' SHA-256 digests)"
        if identity.sha256
        else f"commit `{identity.revision}`",
        parts=[name for name in ("vision", "language", "attention", "mlp") if lora[name]],
    )


def _attached(model: PreTrainedModel, adapter: Adapter) -> PeftModel:
    """`model` with the adapter on it.

    Raises:
        BadInput: they do not fit together.
    """
    try:
        wrapped = PeftModel(model, adapter.settings)
        found = wrapped.load_adapter(str(adapter.folder), "default", torch_device="cpu")
    except SafetensorError as error:
        raise BadInput(
            f"The weights of adapter `{adapter.folder}` are torn ({error}). Copy or train them again."
        ) from error
    except (ValueError, RuntimeError, KeyError) as error:
        raise _other_base(adapter, str(error)) from error
    if lacking := [*found.missing_keys, *found.unexpected_keys]:
        raise _other_base(adapter, f"{len(lacking)} tensors are in one and not in the other, `{lacking[0]}` first.")
    return wrapped


def _refuse_other_base(adapter: Adapter, base: BaseModelConfig) -> None:
    if adapter.record is None:
        return
    trained, given = adapter.record.run.base, identify(base)
    if trained.is_known and not trained.same_weights(given):
        raise _other_base(adapter, f"its base had {trained!r}, and this one has {given!r}.")


def _other_base(adapter: Adapter, why: str) -> BadInput:
    return BadInput(
        f"Adapter `{adapter.folder}` is not of this base: {why} It was trained on "
        f"{adapter.base!r}; name that one with `--base`."
    )


def _refuse_taken(out_dir: Path) -> None:
    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise BadInput(f"`{out_dir}` is not an empty folder. Name another one, or delete it.")
