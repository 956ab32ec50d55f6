"""Looks at a local model on the disk, without loading the base's weights.

The base is built without storage (torch's meta device), and peft puts each adapter on it as when one is loaded: names
and shapes have to fit. Of the base's weights only the headers are read.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from peft import PeftModel, PeftType
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedConfig, PreTrainedModel

from loopwright.errors import BadInput, MissingDependency
from loopwright.models.cards import ModelCard
from loopwright.models.load_lock import MODEL_LOAD_LOCK
from loopwright.models.local.adapters import adapter_config
from loopwright.models.local.loading import auto_model, check_weights, load_config
from loopwright.models.local.processor import load_processor, takes_images
from loopwright.models.local.vocabulary import ROWS, TokenRows, visual_tokens_of
from loopwright.schema.json_text import parse_json


class LocalCheck:
    """What a local card names. Each method says what is there, and raises where something is wrong."""

    def __init__(self, card: ModelCard) -> None:
        self._card = card

    def base(self) -> str:
        """Where the base lies.

        Raises:
            BadInput: there is no folder, no model in it, or its weights are pickled.
            MissingDependency: a hub id that is not in the cache.
        """
        check_weights(self._folder, f"`base` = {self._card.base!r}", config_name="config.json")
        return str(self._folder)

    def architecture(self) -> str:
        """Which model it is, how large, and what it takes. Raises `BadInput` where it is no language model."""
        n_parameters = sum(parameter.numel() for parameter in self._built().parameters())
        takes = "text and images" if takes_images(self._config) else "text only"
        return f"{self._config.model_type}, {n_parameters / 1e6:.3g} million parameters, takes {takes}"

    def weights(self) -> str:
        """Which files hold the weights. Raises `BadInput` where a shard is missing or torn."""
        index = self._folder / "model.safetensors.index.json"
        if index.is_file():
            shards = sorted(set(parse_json(index.read_text(encoding="utf-8"))["weight_map"].values()))
            if missing := [name for name in shards if not (self._folder / name).is_file()]:
                raise BadInput(
                    f"`{self._folder}` lacks {len(missing)} of {len(shards)} shards, `{missing[0]}` first. Fetch them."
                )
        files = sorted(self._folder.glob("*.safetensors"))
        n_tensors = sum(_tensors(file) for file in files)
        return f"{n_tensors} tensors, {sum(file.stat().st_size for file in files) / 1e6:.3g} MB in {len(files)} files"

    def processor(self) -> str:
        """Which processor or tokenizer it is. Raises `BadInput` where it cannot be loaded or has no chat template."""
        try:
            processor = load_processor(str(self._folder), self._config)
        except (OSError, ValueError) as error:
            raise BadInput(f"The processor of `{self._card.base}` cannot be loaded: {_first_line(error)}") from error
        return type(processor).__name__

    def adapter(self, role: str) -> str:
        """What the adapter of `role` is. Raises `BadInput` where it is missing, pickled, torn or of another base."""
        folder = self._card.adapters[role]
        check_weights(folder, f"Adapter `{folder}`", config_name="adapter_config.json")
        try:
            config = adapter_config(folder)
            with MODEL_LOAD_LOCK:
                built = self._built()
                wrapped = PeftModel(built, config, adapter_name=role, low_cpu_mem_usage=True)
                loaded = wrapped.load_adapter(str(folder), role, torch_device="cpu", low_cpu_mem_usage=True)
            n_visual = visual_tokens_of(folder)
            if n_visual:
                TokenRows.of(folder, built, first=0)
        except (ValueError, RuntimeError, TypeError, KeyError, SafetensorError) as error:
            raise self._misfit(folder, str(error)) from error
        unexpected = [key for key in loaded.unexpected_keys if not (n_visual and ROWS in key)]
        if strange := [*loaded.missing_keys, *unexpected]:
            raise self._misfit(folder, f"{len(strange)} tensors have no counterpart, `{strange[0]}` first.")
        n_parameters = sum(p.numel() for name, p in wrapped.named_parameters() if f".{role}." in name)
        tokens = f", {n_visual} visual tokens" if n_visual else ""
        return f"{PeftType(config.peft_type).value}, {n_parameters / 1e6:.3g} million parameters{tokens}"

    @cached_property
    def _folder(self) -> Path:
        folder = self._card.base_folder
        if folder is not None:
            if not folder.is_dir():
                raise BadInput(f"`base` = {self._card.base!r} is no folder. Correct the path, or put the model there.")
            return folder
        try:
            return Path(snapshot_download(self._card.base, local_files_only=True))
        except LocalEntryNotFoundError as error:
            raise MissingDependency(
                f"`base` = {self._card.base!r} is not in the hub's cache: `hf download {self._card.base}` fetches it."
            ) from error
        except HFValidationError as error:
            raise BadInput(
                f"`base` = {self._card.base!r} is no hub id ({error}); a folder begins with `./`."
            ) from error

    @cached_property
    def _config(self) -> PreTrainedConfig:
        try:
            return load_config(self._folder)
        except (OSError, ValueError) as error:
            raise BadInput(f"The configuration of `{self._card.base}` cannot be read: {_first_line(error)}") from error

    def _built(self) -> PreTrainedModel:
        """The base without weights."""
        try:
            with MODEL_LOAD_LOCK, torch.device("meta"):
                make: Any = auto_model(self._config)
                built: PreTrainedModel = make.from_config(self._config, trust_remote_code=False)
        except ValueError as error:
            raise BadInput(f"`base` = {self._card.base!r} is no language model: {_first_line(error)}") from error
        return built

    def _misfit(self, folder: Path, why: str) -> BadInput:
        said = parse_json((folder / "adapter_config.json").read_text(encoding="utf-8")).get("base_model_name_or_path")
        return BadInput(
            f"Adapter `{folder}` does not fit the base `{self._card.base}`: {why[:500]} It says that it was trained on "
            f"{said!r}."
        )


def _tensors(file: Path) -> int:
    """How many tensors a file holds; its header is checked against its length."""
    try:
        with safe_open(file, framework="pt") as opened:
            return len(opened.keys())
    except SafetensorError as error:
        raise BadInput(f"The weights in `{file}` are torn ({error}). Fetch or train them again.") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
