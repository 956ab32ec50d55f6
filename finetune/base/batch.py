"""Lessons as tensors: chat text through the template, and a loss on what the assistant says alone."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerFast

from loopwright.finetune.base.config import ModelConfig
from loopwright.finetune.base.tokenizer import PAD, token_id
from loopwright.finetune.data.corpus import Turn

IGNORED = -100


class Text(NamedTuple):
    """B lessons as tokens, padded on the right: (B, T) each.

    `labels` are the tokens that bear a loss, `IGNORED` elsewhere; `kinds` is 1 at visual tokens, as the model wants it.
    """

    input_ids: Tensor
    attention_mask: Tensor
    kinds: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> "Text":
        """The same on another device."""
        return Text(*(tensor.to(device) for tensor in self))


def ask(question: str) -> list[dict[str, Any]]:
    """The first message about a picture, in the form that chat templates take."""
    return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]


def chat(turns: Sequence[Turn], system: str) -> list[dict[str, Any]]:
    """All turns about one picture, which comes with the first; `system` opens it, "" for nothing."""
    first, *others = turns
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    messages += [*ask(first.question), {"role": "assistant", "content": first.answer}]
    for turn in others:
        messages += [{"role": "user", "content": turn.question}, {"role": "assistant", "content": turn.answer}]
    return messages


def encode(
    lessons: Sequence[Sequence[Turn]], systems: Sequence[str], tokenizer: PreTrainedTokenizerFast, config: ModelConfig
) -> Text:
    """Tokens of B lessons, given as their turns and their system prompts; each has one picture."""
    image = token_id(tokenizer, "<|image_pad|>")
    many: Any = tokenizer.apply_chat_template(
        [chat(turns, system) for turns, system in zip(lessons, systems, strict=True)],
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    ids, labels = [], []
    for row, said in zip(many["input_ids"], many["assistant_masks"], strict=True):
        at = row.index(image)
        visual = [image] * config.tokens_across**2
        ids.append([*row[:at], *visual, *row[at + 1 :]])
        spoken = _spoken(row, said)
        labels.append([*spoken[:at], *[IGNORED] * len(visual), *spoken[at + 1 :]])
    return _padded(ids, labels, tokenizer)


def encode_texts(turns: Sequence[Turn], tokenizer: PreTrainedTokenizerFast) -> Text:
    """Tokens of B chats without a picture, of one turn each."""
    many: Any = tokenizer.apply_chat_template(
        [[{"role": "user", "content": turn.question}, {"role": "assistant", "content": turn.answer}] for turn in turns],
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    ids = many["input_ids"]
    return _padded(ids, list(map(_spoken, ids, many["assistant_masks"])), tokenizer)


def repetition(text: str) -> Turn:
    """A text that is to be repeated."""
    return Turn(("repeat",), f"Repeat: {text}", text)


def _spoken(row: Sequence[int], said: Sequence[int]) -> list[int]:
    return [token if says else IGNORED for token, says in zip(row, said, strict=True)]


def _padded(ids: Sequence[Sequence[int]], labels: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerFast) -> Text:
    pad, image = token_id(tokenizer, PAD), token_id(tokenizer, "<|image_pad|>")
    padded = pad_sequence([torch.tensor(row) for row in ids], batch_first=True, padding_value=pad)
    lengths = torch.tensor([len(row) for row in ids])
    return Text(
        input_ids=padded,
        attention_mask=(torch.arange(padded.shape[1]) < lengths[:, None]).long(),
        kinds=padded.eq(image).int(),
        labels=pad_sequence([torch.tensor(row) for row in labels], batch_first=True, padding_value=IGNORED),
    )
