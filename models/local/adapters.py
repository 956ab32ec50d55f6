"""LoRA adapters on one base, through peft: load, switch, unload. Any folder that peft wrote, visual tokens or none.

Knows nothing of threads: the engine calls it from the one thread that uses the model.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import cast

from peft import LoraConfig, PeftConfig, PeftModel
from safetensors import SafetensorError
from transformers import PreTrainedModel

from loopwright.errors import BadInput
from loopwright.models.load_lock import MODEL_LOAD_LOCK
from loopwright.models.local.loading import check_weights
from loopwright.models.local.vocabulary import ROWS, TokenRows, visual_tokens_of


class Adapters:
    """The adapters of one base, by the folder that each came from. `n_tokens` is the size of its vocabulary."""

    def __init__(self, base: PreTrainedModel, n_tokens: int) -> None:
        self._base = base
        self._n_tokens = n_tokens
        self._wrapped: PeftModel | None = None
        self._names: dict[Path, str] = {}
        self._rows: dict[str, TokenRows] = {}
        self._loaded = 0

    @property
    def folders(self) -> tuple[Path, ...]:
        """What is loaded, oldest first."""
        return tuple(self._names)

    def load(self, folder: Path) -> None:
        """Put the adapter in `folder` on the base; a second time does nothing. None is active afterwards.

        Raises:
            BadInput: no adapter, pickled or torn weights, or an adapter of another base.
        """
        if folder in self._names:
            return
        check_weights(folder, f"Adapter `{folder}`", config_name="adapter_config.json")
        self._loaded += 1
        name = f"adapter_{self._loaded}"  # never used again: a folder may be trained, unloaded and loaded anew
        try:
            with MODEL_LOAD_LOCK:
                self._add(folder, name)
        except (ValueError, RuntimeError, TypeError, KeyError, SafetensorError) as error:
            self._remove(name)
            raise BadInput(
                f"Adapter `{folder}` does not fit the base `{self._base.config.name_or_path}`: {error} "
                f"It says that it was trained on {_trained_on(folder)!r}. Name the base that it was trained on."
            ) from error
        self._names[folder] = name

    def unload(self, folder: Path) -> None:
        """Take an adapter's weights off the base.

        Raises:
            BadInput: it is not loaded.
        """
        if folder not in self._names:
            raise BadInput(f"Adapter `{folder}` is not loaded; loaded are {[str(f) for f in self.folders]}.")
        self._remove(self._names.pop(folder))

    @contextmanager
    def active(self, folder: Path | None) -> Iterator[None]:
        """Within, the base runs with the adapter of `folder`, or with none."""
        if self._wrapped is None:
            yield
        elif folder is None:
            with self._wrapped.disable_adapter():
                yield
        else:
            name = self._names[folder]
            self._wrapped.set_adapter(name)
            with self._rows[name].active() if name in self._rows else nullcontext():
                yield

    def _add(self, folder: Path, name: str) -> None:
        has_rows = visual_tokens_of(folder) > 0
        config = adapter_config(folder)
        if self._wrapped is None:
            self._wrapped = PeftModel(self._base, config, adapter_name=name)
        else:
            self._wrapped.add_adapter(name, config)
        result = self._wrapped.load_adapter(str(folder), name, torch_device=str(self._base.device))
        self._wrapped.requires_grad_(False).eval()
        unexpected = [key for key in result.unexpected_keys if not (has_rows and ROWS in key)]
        for what, keys in (("lacks", result.missing_keys), ("has no place for", unexpected)):
            if keys:
                raise ValueError(f"the base and the adapter differ: it {what} {len(keys)} tensors, `{keys[0]}` first.")
        if has_rows:
            self._rows[name] = TokenRows.of(folder, self._base, self._n_tokens)

    def _remove(self, name: str) -> None:
        """Undo `_add`, however far it came."""
        self._rows.pop(name, None)
        if self._wrapped is None:
            return
        if set(self._wrapped.peft_config) <= {name}:
            self._wrapped.unload()
            self._wrapped = None
        elif name in self._wrapped.peft_config:
            self._wrapped.delete_adapter(name)


def adapter_config(folder: Path) -> PeftConfig:
    """peft's settings of an adapter that is only used. Visual tokens are no part of them: `TokenRows` has those."""
    config: PeftConfig = PeftConfig.from_pretrained(str(folder))
    config.inference_mode = True
    if visual_tokens_of(folder):
        cast(LoraConfig, config).trainable_token_indices = None
    return config


def _trained_on(folder: Path) -> str | None:
    try:
        base: str | None = PeftConfig.from_pretrained(str(folder)).base_model_name_or_path
    except (ValueError, TypeError, KeyError):
        return None
    return base
