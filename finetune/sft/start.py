"""A run that goes on from an adapter: one that was trained before, or that came with a model."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from loopwright.errors import BadInput
from loopwright.finetune.sft.record import BaseIdentity
from loopwright.finetune.sft.release import WEIGHTS, Adapter, open_adapter


class Start(NamedTuple):
    """The adapter that a run begins with, and what its run's record says of it."""

    adapter: Adapter
    weights: dict[str, Tensor]
    sha256: str

    def cases(self, of_data: tuple[str, ...]) -> tuple[str, ...]:
        """Patients that the new adapter depends on; () where either the data or the old adapter does not say."""
        known = self.adapter.record.run.cases if self.adapter.record else ()
        return tuple(sorted({*known, *of_data})) if known and of_data else ()

    def put_into(self, model: PeftModel) -> None:
        """Give the fresh adapter of `model` these weights.

        Raises:
            BadInput: it has other layers, another rank or another scale.
        """
        fresh = get_peft_model_state_dict(model)
        shapes, given = ({n: tuple(w.shape) for n, w in state.items()} for state in (fresh, self.weights))
        odd = sorted(name for name in {*shapes, *given} if shapes.get(name) != given.get(name))
        if odd:
            name = odd[0]
            raise self._unlike(f"`{name}` is {given.get(name, 'not in it')}, and here {shapes.get(name, 'nowhere')}")
        theirs, ours = (getattr(of, "lora_alpha", None) for of in (self.adapter.settings, model.peft_config["default"]))
        if theirs != ours:
            raise self._unlike(f"its alpha is {theirs}, and here it is {ours}")
        set_peft_model_state_dict(model, self.weights)

    def _unlike(self, why: str) -> BadInput:
        return BadInput(
            f"`start_from`: adapter `{self.adapter.folder}` is not what `lora` describes: {why}. Set `lora` to its own."
        )


def start_of(start_from: Path | None, base: BaseIdentity) -> Start | None:
    """What `start_from` names, None where it names nothing.

    Raises:
        BadInput: there is no adapter, it is of another base, or its weights are torn.
    """
    if start_from is None:
        return None
    adapter = open_adapter(start_from)
    path = adapter.folder / WEIGHTS
    if adapter.record and adapter.record.run.base.is_known and not adapter.record.run.base.same_weights(base):
        raise BadInput(
            f"`start_from`: adapter `{adapter.folder}` was trained on {adapter.record.run.base!r}, and `model.base` is "
            f"{base!r}. Name the base that it was trained on, or another adapter."
        )
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise BadInput(f"`start_from`: `{path}` is torn ({error}). Copy or train it again.") from error
    return Start(adapter, weights, hashlib.sha256(path.read_bytes()).hexdigest())
