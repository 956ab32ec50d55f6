"""Emphasis: the tokens that a pattern's groups touch count more in training, and nothing else changes."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.finetune.sft.sft_runs import config
from tests.models import tiny
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from loopwright.finetune.sft.config import EmphasisConfig
from loopwright.finetune.sft.emphasis import IGNORED, weights_of
from loopwright.finetune.sft.train import train

ANSWER = "<x>RIGHT</x><reason>Näher am Ziel: 30 mm → rechts</reason><y>DOWN</y>"


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    made: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tiny.folder_of("qwen2.5-vl"))
    return made


def emphasised(answer: str, pattern: str, tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """All tokens of an answer that follows a prompt of three, and those of them that count four times."""
    ids = tokenizer(answer).input_ids
    labels = torch.tensor([[IGNORED] * 3 + ids, [IGNORED] * (3 + len(ids))])
    weights = weights_of(labels, EmphasisConfig(pattern=pattern, weight=4), tokenizer)
    assert weights.shape == labels.shape
    assert weights[1].eq(1).all()
    assert weights[0, :3].eq(1).all()
    return ids, [token for token, weight in zip(ids, weights[0, 3:].tolist(), strict=True) if weight == 4]


def test_what_the_groups_match_counts_more(tokenizer: PreTrainedTokenizerBase) -> None:
    _, found = emphasised(ANSWER, "<(?:x|y)>([A-Z]+)<", tokenizer)
    assert tokenizer.decode(found) == "RIGHTDOWN"


def test_a_pattern_that_matches_nothing_leaves_every_token_as_it_is(tokenizer: PreTrainedTokenizerBase) -> None:
    assert emphasised(ANSWER, "<z>(.+)<", tokenizer)[1] == []


@given(before=st.text(max_size=20), said=st.text(alphabet="QJ", min_size=1, max_size=8), after=st.text(max_size=20))
def test_no_token_of_a_match_is_missed(tokenizer: PreTrainedTokenizerBase, before: str, said: str, after: str) -> None:
    ids, found = emphasised(f"{before}<a>{said}</a>{after}", "<a>([QJ]+)</a>", tokenizer)
    assert said in tokenizer.decode(found)
    if not {*before, *after} & {*"QJ"}:
        assert all(token in found for token in ids if {*tokenizer.decode([token])} & {*"QJ"})


def test_the_loss_of_training_is_weighted_and_that_of_validation_is_not(tmp_path: Path) -> None:
    still = {"lr": 1e-12, "max_steps": 1}  # so that both are losses of the same weights
    one_step = config(**still).model_copy(update={"validate_every": 1})
    plain = train(one_step, tmp_path / "plain")
    twice = one_step.model_copy(update={"emphasis": EmphasisConfig(pattern="(?s)(.+)", weight=2)})
    weighted = train(twice, tmp_path / "twice")
    # The token that ends a turn is part of what is learnt, and of what the pattern matches.
    assert weighted.loss == pytest.approx(2 * plain.loss, rel=1e-4)
    assert weighted.validation_loss == pytest.approx(plain.validation_loss, rel=1e-6)
    none = one_step.model_copy(update={"emphasis": EmphasisConfig(pattern="(no such answer)", weight=2)})
    assert train(none, tmp_path / "none").loss == pytest.approx(plain.loss, rel=1e-6)


@pytest.mark.parametrize(
    ("pattern", "wrong"), [("<x>(", "no regular expression"), ("<x>.+</x>", "no group; put what is to be emphasised")]
)
def test_a_pattern_that_can_do_nothing_is_refused(pattern: str, wrong: str) -> None:
    with pytest.raises(ValidationError, match=wrong):
        EmphasisConfig(pattern=pattern, weight=10)
