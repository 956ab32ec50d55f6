"""Closed sets: the exact log probability of every choice as the whole reply, in one pass over all of them.

The prompt is read once and its cache is shared; the choices then run as one batch on top of it. Nothing is generated,
so nothing is sampled. Knows transformers models and processors, and neither messages nor adapters.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax

from loopwright.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast, ProcessorMixin


class ChoiceScores(NamedTuple):
    """Scores in the order of the choices.

    `log_probs` (C,) is the log probability of each choice followed by the end of the turn: of the tokens that the
    tokenizer makes of it. They need not sum to one. `probabilities` (C,) do: softmax(log_probs / temperature).
    """

    log_probs: NDArray[np.float64]
    probabilities: NDArray[np.float64]


def score_choices(
    model: "PreTrainedModel",
    processor: "ProcessorMixin",
    inputs: Mapping[str, Any],
    choices: Sequence[str],
    temperature: float = 1.0,
    end_ids: Sequence[int] | None = None,
) -> ChoiceScores:
    """Score each of `choices` as the whole reply to one prompt.

    Args:
        model: any `AutoModelForImageTextToText`, in evaluation mode; nobody else may use it meanwhile.
        processor: the model's, for its tokenizer.
        inputs: what the processor made of the prompt up to and with the generation prompt, tensors with a leading 1.
        choices: distinct, not empty; one may begin another, since each is scored with its end.
        temperature: calibrates the probabilities (`loopwright.models.temperature`).
        end_ids: the tokens that end the turn, any of which counts; None: those of the model's generation settings.

    Raises:
        BadInput: the prompt, the choices or the temperature are not as said.
    """
    if not temperature > 0:
        raise BadInput(f"`temperature` is {temperature!r}; expected a number above 0.")
    if (batch := len(inputs["input_ids"])) != 1:
        raise BadInput(f"`inputs` holds {batch} prompts; choices are scored for one.")
    tokenizer: Any = getattr(processor, "tokenizer", processor)
    ends = list(end_ids) if end_ids is not None else _end_ids(model, tokenizer)
    log_probs = _log_probs(model, inputs, _tokens_of(choices, tokenizer), ends)
    return ChoiceScores(log_probs, np.exp(log_softmax(log_probs / temperature)))


def _tokens_of(choices: Sequence[str], tokenizer: "PreTrainedTokenizerFast") -> list[list[int]]:
    """Each choice as the tokens that a reply begins with: on its own, since the prompt's tokens stand already."""
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


@torch.no_grad()
def _log_probs(
    model: "PreTrainedModel", inputs: Mapping[str, Any], tokens: list[list[int]], ends: list[int]
) -> NDArray[np.float64]:
    """(C,) log probability of each row of `tokens` and then any of `ends`."""
    shifting: list[Any] = [module for module in model.modules() if hasattr(module, "rope_deltas")]
    for module in shifting:  # Qwen's: it would keep the last prompt's delta for one that has no image
        module.rope_deltas = None
    prompt = model(**inputs, use_cache=True, logits_to_keep=1)
    cache = prompt.past_key_values
    cache.batch_repeat_interleave(len(tokens))

    lengths = torch.tensor([len(ids) for ids in tokens])
    padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(ids) for ids in tokens], batch_first=True).to(model.device)
    real = (torch.arange(padded.shape[1]) < lengths[:, None]).to(model.device)
    prompt_mask = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"])).to(model.device)
    # An image of Qwen's takes fewer positions than tokens: the delta is how much earlier the text goes on.
    deltas = [module.rope_deltas.squeeze() for module in shifting if module.rope_deltas is not None]
    start = prompt_mask.sum() + sum(deltas)
    replies = model(
        input_ids=padded,
        attention_mask=torch.cat([prompt_mask.expand(len(tokens), -1), real.to(prompt_mask.dtype)], dim=1),
        position_ids=start + torch.arange(padded.shape[1], device=model.device).expand(len(tokens), -1),
        past_key_values=cache,
        use_cache=True,
    )
    # Row c: what the prompt says of the first token, token t of the one after it, and the last token of the end.
    logits = torch.cat([prompt.logits[:, -1:].expand(len(tokens), -1, -1), replies.logits], dim=1).float()
    log_all = logits.log_softmax(dim=-1)
    of_tokens = log_all[:, :-1].gather(-1, padded[..., None]).squeeze(-1).where(real, 0.0).double().sum(dim=1)
    last = log_all[torch.arange(len(tokens)), lengths]
    of_end = last[:, ends].double().logsumexp(dim=-1)
    return np.asarray((of_tokens + of_end).cpu().numpy(), dtype=np.float64)
