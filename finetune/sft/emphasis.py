"""The tokens in which an answer decides may count for more: of a hundred in a chain of thought, four choose the motion.

Plain means leave such choices to chance for long: what is said with them in many phrasings outweighs them.
"""

import re
from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from loopwright.finetune.sft.config import EmphasisConfig

IGNORED = -100
"""The label of a token that is no part of the answer."""


def emphasis(config: EmphasisConfig, tokenizer: PreTrainedTokenizerBase) -> Callable[..., Any]:
    """A forward hook (with keyword arguments) of TRL's fused head that weighs the answer's log probabilities.

    It does so in training alone, so that validation losses stay likelihoods. The sum is still divided by the count
    of the answer's tokens, so a weight above 1 raises the loss that is logged.
    """

    def weigh(module: torch.nn.Module, _: Any, inputs: dict[str, Any], outputs: Any) -> Any:
        if module.training:
            labels = inputs["labels"][:, 1:]  # as the head shifts them
            outputs.log_probs = outputs.log_probs * weights_of(labels, config, tokenizer).to(outputs.log_probs)
        return outputs

    return weigh


def weights_of(labels: torch.Tensor, config: EmphasisConfig, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    """What each token counts.

    Args:
        labels: (B, L) token ids, -100 outside the answer.
        config: what is emphasised, and how much.
        tokenizer: the one that made the ids.

    Returns:
        (B, L), `config.weight` where a token shares a character with a group of a match, else 1.
    """
    weights = torch.ones(labels.shape)
    for row, ids in enumerate(labels.tolist()):
        answer = [place for place, token in enumerate(ids) if token != IGNORED]
        pieces = tokenizer.batch_decode([[ids[place]] for place in answer])
        borders = list(pairwise(accumulate(map(len, pieces), initial=0)))
        for start, end in _spans(config.pattern, "".join(pieces)):
            for place, (first, last) in zip(answer, borders, strict=True):
                if first < end and start < last:
                    weights[row, place] = config.weight
    return weights


def _spans(pattern: str, text: str) -> list[tuple[int, int]]:
    """Where the groups that took part in a match begin and end."""
    matches = list(re.finditer(pattern, text))
    return [match.span(group) for match in matches for group in range(1, len(match.groups()) + 1) if match[group]]
