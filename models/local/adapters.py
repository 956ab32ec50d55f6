"""LoRA adapters on one base, through peft: load, switch, unload. Any folder that peft wrote.

Knows nothing of threads: the engine calls it from the one thread that uses the model.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peft import PeftConfig, PeftModel
from safetensors import SafetensorError
from transformers import PreTrainedModel

from loopwright.errors import BadInput
from loopwright.models.load_lock import MODEL_LOAD_LOCK
from loopwright.models.local.loading import check_weights


class Adapters:
    """The adapters of one base, by the folder that each came from."""

    def __init__(self, base: PreTrainedModel) -> None:
        self._base = base
        self._wrapped: PeftModel | None = None
        self._names: dict[Path, str] = {}
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
            self._wrapped.set_adapter(self._names[folder])
            yield

    def _add(self, folder: Path, name: str) -> None:
        if self._wrapped is None:
            config = PeftConfig.from_pretrained(str(folder))
            config.inference_mode = True
            self._wrapped = PeftModel(self._base, config, adapter_name=name)
        result = self._wrapped.load_adapter(str(folder), name, torch_device=str(self._base.device))
        self._wrapped.requires_grad_(False).eval()
        for what, keys in (("lacks", result.missing_keys), ("has no place for", result.unexpected_keys)):
            if keys:
                raise ValueError(f"the base and the adapter differ: it {what} {len(keys)} tensors, `{keys[0]}` first.")

    def _remove(self, name: str) -> None:
        """Undo `_add`, however far it came."""
        if self._wrapped is None:
            return
        if set(self._wrapped.peft_config) <= {name}:
            self._wrapped.unload()
            self._wrapped = None
        elif name in self._wrapped.peft_config:
            self._wrapped.delete_adapter(name)


def _trained_on(folder: Path) -> str | None:
    try:
        base: str | None = PeftConfig.from_pretrained(str(folder)).base_model_name_or_path
    except (ValueError, TypeError, KeyError):
        return None
    return base
