"""Visual tokens of an adapter: added to the base's vocabulary where the adapter is used, and nowhere else.

In training the base itself is extended (`extend`), and peft trains the new rows of its embeddings with the adapter. In
use several adapters share a base, so the rows are swapped in while theirs is active (`TokenRows`): to all others the
base's tensors are the ones that were loaded, and what they answer is the same to the bit.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, cast

import torch
from peft import load_peft_weights
from torch import Tensor, nn
from transformers import AddedToken, PreTrainedModel, PreTrainedTokenizerFast, ProcessorMixin

from loopwright.errors import BadInput
from loopwright.models.local.loading import Base
from loopwright.models.local.processor import tokenizer_of
from loopwright.models.visual_tokens import visual_ids, visual_name
from loopwright.schema.json_text import parse_json

RECORD = "loopwright.json"
"""What lies beside an adapter that we trained, and says how: `config.model.visual_tokens` is how many it has."""
ROWS = "token_adapter.trainable_tokens_delta"
"""How peft calls the rows of trained tokens, behind the name of the module that they belong to."""

Processor = ProcessorMixin | PreTrainedTokenizerFast


def visual_tokens_of(adapter: Path) -> int:
    """How many visual tokens the adapter in a folder has; 0 where nothing says so."""
    path = adapter / RECORD
    if not path.is_file():
        return 0
    config = parse_json(path.read_text(encoding="utf-8")).get("config", {})
    return int(config.get("model", {}).get("visual_tokens", 0))


def with_visual_tokens(processor: Processor, count: int) -> Processor:
    """A copy of `processor` that knows so many visual tokens, with ids from the end of its vocabulary on.

    They are no special tokens: prompts may show pictures by them, and a reply's text holds them.
    """
    extended = copy.deepcopy(processor)
    tokenizer_of(extended).add_tokens([AddedToken(visual_name(code), normalized=False) for code in range(count)])
    return extended


def extend(base: Base, count: int, seed: int = 0) -> Base:
    """`base` for training with so many visual tokens: more rows in its embeddings, drawn like those that it has.

    Raises:
        BadInput: it has visual tokens of its own.
    """
    if not count:
        return base
    if own := visual_ids(base.tokenizer):
        raise BadInput(
            f"`visual_tokens` = {count!r}, and the base `{base.model.config.name_or_path}` has {len(own)} of its own. "
            "Set `visual_tokens: 0`."
        )
    first, generator = len(base.tokenizer), torch.Generator().manual_seed(seed)
    n_rows = int(cast(Tensor, base.model.get_input_embeddings().weight).shape[0])
    base.model.resize_token_embeddings(max(first + count, n_rows), mean_resizing=False)
    for module in embeddings(base.model).values():
        known = module.weight.data[:first].float().cpu()
        rows = known.mean(dim=0) + known.std(dim=0) * torch.randn(count, known.shape[1], generator=generator)
        module.weight.data[first : first + count] = rows.to(module.weight)
    base.model.requires_grad_(False)
    return base._replace(processor=with_visual_tokens(base.processor, count))


def embeddings(model: PreTrainedModel) -> dict[str, Any]:
    """The modules that hold a row for each token, by name: the input's, and the output's where it is not tied to it."""
    ways = [model.get_input_embeddings(), model.get_output_embeddings()]
    if ways[1] is None or ways[1].weight is ways[0].weight:
        del ways[1]
    return {name: module for way in ways for name, module in model.named_modules() if module is way}


class TokenRows:
    """The rows of one adapter's visual tokens, from the id `first` on. Each keeps a copy of the base's embeddings."""

    def __init__(self, model: PreTrainedModel, rows: Mapping[str, Tensor], first: int) -> None:
        self._weights: dict[nn.Module, nn.Parameter] = {}
        ways = [model.get_input_embeddings(), model.get_output_embeddings()]
        for name, module in embeddings(model).items():
            after = module.weight[first + len(rows[name]) :]
            whole = torch.cat([module.weight[:first], rows[name].to(module.weight), after])
            tied = [way for way in ways if way is not None and way.weight is module.weight]
            self._weights |= dict.fromkeys(tied, nn.Parameter(whole, requires_grad=False))

    @classmethod
    def of(cls, adapter: Path, model: PreTrainedModel, first: int) -> Self:
        """Those that lie in an adapter's folder. Raises ValueError where they do not fit."""
        weights = load_peft_weights(str(adapter), device="cpu")
        rows = {}
        for name, module in embeddings(model).items():
            shape = (visual_tokens_of(adapter), module.weight.shape[1])
            found = weights.get(f"base_model.model.{name}.{ROWS}")
            if found is None or found.shape != shape:
                raise ValueError(f"its visual tokens should have rows {shape} for `{name}`")
            rows[name] = found
        return cls(model, rows, first)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within, the model has these rows."""
        before = {module: module.weight for module in self._weights}
        try:
            for module, weight in self._weights.items():
                module.weight = weight
            yield
        finally:
            for module, own in before.items():
                module.weight = own
