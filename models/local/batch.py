"""Several prepared prompts as one batch: padded on the left, so that all of them end where drawing begins.

A prompt comes as the processor made it, a batch of one. Tensors with an entry for each token, (1, T), are padded;
all others, such as `pixel_values`, have an entry for each picture or patch and are put behind each other.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import torch
from torch import Tensor
from torch.nn.functional import pad

Inputs = Mapping[str, Tensor]


def layout(inputs: Inputs) -> dict[str, tuple[int, ...]]:
    """What must agree between prompts that share a batch: the shape of each picture's or patch's entry."""
    return {name: tuple(t.shape[1:]) for name, t in inputs.items() if not _per_token(t, inputs)}


def fits(one: Mapping[str, tuple[int, ...]], other: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether prompts of these two layouts can share a batch. One without pictures goes with any."""
    return all(other.get(name, shape) == shape for name, shape in one.items())


def collate(prompts: Sequence[Inputs], pad_token_id: int) -> dict[str, Tensor]:
    """B prompts as one: (B, T) for what has an entry for each token, T the longest's; the rest concatenated."""
    width = max(p["input_ids"].shape[1] for p in prompts)
    columns: dict[str, list[Tensor]] = {}
    for prompt in prompts:
        for name, tensor in prompt.items():
            if _per_token(tensor, prompt):
                filler = pad_token_id if name == "input_ids" else 0
                tensor = pad(tensor, (width - tensor.shape[1], 0), value=filler)
            columns.setdefault(name, []).append(tensor)
    return {name: torch.cat(tensors) for name, tensors in columns.items()}


def batches(prompts: Sequence[Inputs], most: int) -> Iterator[list[int]]:
    """The places of all prompts, `most` at a time: those of one layout and of nearly one length go together."""
    shapes = [sorted(layout(prompt).items()) for prompt in prompts]
    order = sorted(range(len(prompts)), key=lambda i: (shapes[i], prompts[i]["input_ids"].shape[1]))
    for _, group in groupby(order, key=shapes.__getitem__):
        alike = list(group)
        yield from (alike[i : i + most] for i in range(0, len(alike), most))


def _per_token(tensor: Tensor, inputs: Inputs) -> bool:
    return tensor.shape == inputs["input_ids"].shape
