"""Closed sets: the exact log probability of every choice as the whole reply, in one pass over all of them.

A prompt is read once, or several together. All choices then run on top of its cache as one sequence: a tree of tokens
in which each token sees the prompt and its own choice (tree attention; Miao et al., "SpecInfer", ASPLOS 2024), so what
choices begin with in common is computed once and nothing is padded. Knows transformers models and processors, and
neither messages nor adapters.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import Tensor

from loopwright.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast, ProcessorMixin


class ChoiceScores(NamedTuple):
    """Scores in the order of the choices; of B prompts with a leading B.

    `log_probs` (C,) is the log probability of each choice followed by the end of the turn: of the tokens that the
    tokenizer makes of it. They need not sum to one. `probabilities` (C,) do: softmax(log_probs / temperature).
    """

    log_probs: NDArray[np.float64]
    probabilities: NDArray[np.float64]


def score_choices(
    model: "PreTrainedModel",
    processor: "ProcessorMixin | PreTrainedTokenizerFast",
    inputs: Mapping[str, Any],
    choices: Sequence[str],
    temperature: float = 1.0,
    end_ids: Sequence[int] | None = None,
) -> ChoiceScores:
    """Score each of `choices` as the whole reply to one prompt.

    Args:
        model: any vision-language or causal language model, in evaluation mode; nobody else may use it meanwhile.
        processor: the model's, for its tokenizer, or a text-only model's tokenizer.
        inputs: what the processor made of the prompt up to and with the generation prompt, tensors with a leading 1.
        choices: distinct, not empty; one may begin another, since each is scored with its end.
        temperature: calibrates the probabilities (`loopwright.models.temperature`).
        end_ids: the tokens that end the turn, any of which counts; None: those of the model's generation settings.

    Raises:
        BadInput: the prompt, the choices or the temperature are not as said.
    """
    if (batch := len(inputs["input_ids"])) != 1:
        raise BadInput(f"`inputs` holds {batch} prompts; choices are scored for one.")
    scores = score_batch(model, processor, inputs, choices, temperature, end_ids)
    return ChoiceScores(scores.log_probs[0], scores.probabilities[0])


def score_batch(
    model: "PreTrainedModel",
    processor: "ProcessorMixin | PreTrainedTokenizerFast",
    inputs: Mapping[str, Any],
    choices: Sequence[str],
    temperature: float = 1.0,
    end_ids: Sequence[int] | None = None,
) -> ChoiceScores:
    """As `score_choices`, of B prompts that are padded on the left (`loopwright.models.local.batch.collate`)."""
    tokenizer: Any = getattr(processor, "tokenizer", processor)
    ends = list(end_ids) if end_ids is not None else _end_ids(model, tokenizer)
    return score_tokens(model, inputs, tokens_of(choices, tokenizer), ends, temperature)


def score_tokens(
    model: "PreTrainedModel",
    inputs: Mapping[str, Any],
    tokens: Sequence[Sequence[int]],
    end_ids: Sequence[int],
    temperature: float = 1.0,
) -> ChoiceScores:
    """As `score_batch`, of choices that are `tokens_of` theirs: needs no tokenizer, which others may use meanwhile."""
    if not temperature > 0:
        raise BadInput(f"`temperature` is {temperature!r}; expected a number above 0.")
    log_probs = _log_probs(model, inputs, tokens, list(end_ids))
    return ChoiceScores(log_probs, np.exp(log_softmax(log_probs / temperature, axis=-1)))


def tokens_of(choices: Sequence[str], tokenizer: "PreTrainedTokenizerFast") -> list[list[int]]:
    """Each choice as the tokens that a reply begins with: on its own, since the prompt's tokens stand already.

    Raises:
        BadInput: no choices, one without tokens, or two that are the same reply.
    """
    if not choices:
        raise BadInput("`choices` is empty; expected at least one.")
    tokens: list[list[int]] = tokenizer(list(choices), add_special_tokens=False)["input_ids"]
    for choice, ids in zip(choices, tokens, strict=True):
        if not ids:
            raise BadInput(f"`choices` holds {choice!r}, which has no tokens. Name each choice.")
    ((most, count),) = Counter(map(tuple, tokens)).most_common(1)
    if count > 1:
        same = [choice for choice, ids in zip(choices, tokens, strict=True) if tuple(ids) == most]
        raise BadInput(f"`choices` holds {same[0]!r} and {same[1]!r}, which are the same reply. Name each choice once.")
    return tokens


def _end_ids(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast") -> list[int]:
    settings: Any = model.generation_config
    ends: Any = settings.eos_token_id if settings.eos_token_id is not None else tokenizer.eos_token_id
    if ends is None:
        raise BadInput("Neither the model nor its tokenizer has an end token. Set `eos_token_id`.")
    return [ends] if isinstance(ends, int) else list(ends)


class _Trie(NamedTuple):
    """The choices' tokens, those that begin several choices once. N nodes, each after its parent."""

    ids: Tensor
    """(N,) token of each node."""
    parents: Tensor
    """(N,) index of the token before it, -1 for the prompt's last."""
    ancestors: Tensor
    """(N, N) whether the second is the first or on the way to it."""
    last: Tensor
    """(C,) node of each choice's last token."""


def _trie(tokens: Sequence[Sequence[int]], device: torch.device) -> _Trie:
    nodes: dict[tuple[int, int], int] = {}
    last = []
    for choice in tokens:
        at = -1
        for token in choice:
            at = nodes.setdefault((at, token), len(nodes))
        last.append(at)
    ancestors = torch.eye(len(nodes), dtype=torch.bool)
    for (parent, _), node in nodes.items():
        if parent >= 0:
            ancestors[node] |= ancestors[parent]
    parents, ids = torch.tensor(list(nodes)).T
    return _Trie(ids.to(device), parents.to(device), ancestors.to(device), torch.tensor(last, device=device))


@torch.no_grad()
def _log_probs(
    model: "PreTrainedModel", inputs: Mapping[str, Any], tokens: Sequence[Sequence[int]], ends: list[int]
) -> NDArray[np.float64]:
    """(B, C) log probability of each row of `tokens` and then any of `ends`, after each of B prompts."""
    shifting: list[Any] = [module for module in model.modules() if hasattr(module, "rope_deltas")]
    for module in shifting:  # Qwen's: it would keep the last prompt's delta for one that has no image
        module.rope_deltas = None
    prompt_mask = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"])).to(model.device).bool()
    # Qwen's vision-language models find their positions themselves; for others padding must not count as positions.
    positions = {} if shifting else {"position_ids": (prompt_mask.long().cumsum(dim=1) - 1).clamp(min=0)}
    prompt = model(**inputs, **positions, use_cache=True, logits_to_keep=1)
    # An image of Qwen's takes fewer positions than tokens: the delta is how much earlier the text goes on.
    deltas = [module.rope_deltas.reshape(-1, 1) for module in shifting if module.rope_deltas is not None]

    trie = _trie(tokens, model.device)
    depth = trie.ancestors.sum(dim=1) - 1
    # Without images Qwen's have counted padding as positions, which does no harm: only distances matter to them.
    n_before = prompt_mask.shape[1] if shifting and not deltas else prompt_mask.sum(dim=1, keepdim=True)
    begin = n_before + sum(deltas)
    replies = model(
        input_ids=trie.ids.expand(len(prompt_mask), -1),
        attention_mask=_masks(model, prompt.past_key_values, prompt_mask, trie.ancestors, depth),
        position_ids=begin + depth.expand(len(prompt_mask), -1),
        past_key_values=prompt.past_key_values,
        use_cache=True,
    )
    after = torch.cat([prompt.logits[:, -1:], replies.logits], dim=1).float().log_softmax(dim=-1)  # 0: the prompt
    of_nodes = after[:, trie.parents + 1, trie.ids].double()
    of_end = after[:, trie.last + 1][..., ends].double().logsumexp(dim=-1)
    return np.asarray((of_nodes @ trie.ancestors[trie.last].double().T + of_end).cpu().numpy(), dtype=np.float64)


def _masks(model: "PreTrainedModel", cache: Any, prompt_mask: Tensor, ancestors: Tensor, depth: Tensor) -> Any:
    """What each node attends to, (B, 1, N, P + N) to be added: the prompt, and the tokens on the way to it.

    Layers with a sliding window see no further back than that, and their cache holds no more: where a model has layers
    of both kinds, the result is a mask for each.
    """
    (n_prompts, n_prompt), n_nodes = prompt_mask.shape, len(depth)
    seen = torch.cat([prompt_mask[:, None].expand(-1, n_nodes, -1), ancestors.expand(n_prompts, -1, -1)], dim=2)
    order = torch.cat([torch.arange(n_prompt, device=depth.device), n_prompt + depth])
    distance = order[n_prompt:, None] - order
    masks = {}
    for sliding in sorted(set(cache.is_sliding)):
        layer = cache.is_sliding.index(sliding)
        near = seen & (distance < cache.layers[layer].sliding_window) if sliding else seen
        kept = near[:, None, :, -cache.get_mask_sizes(n_nodes, layer)[0] :]
        lowest = torch.finfo(model.dtype).min
        masks["sliding_attention" if sliding else "full_attention"] = torch.where(kept, 0.0, lowest).to(model.dtype)
    return masks if len(masks) > 1 else next(iter(masks.values()))
