"""How tokens are drawn: by the law that the settings describe, and each row by itself."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from loopwright.models.cards import Decoding
from loopwright.models.local.sampling import Row, draw

LOGITS = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -torch.inf])

DECODINGS = st.builds(
    Decoding,
    temperature=st.sampled_from([0.0, 0.3, 1.0, 2.0]),
    top_p=st.sampled_from([0.2, 0.7, 1.0]),
    top_k=st.sampled_from([None, 1, 3]),
    seed=st.integers(0, 2**31),
)


class Nobody:
    unwanted = False

    def emit(self, token_id: int) -> None: ...

    def end(self, how: object) -> None: ...


def noise(decoding: Decoding, n_draws: int, n_vocabulary: int) -> Tensor:
    row = Row(decoding, frozenset(), Nobody())
    return torch.stack([row.noise(n_vocabulary) for _ in range(n_draws)])


@pytest.mark.parametrize(
    ("decoding", "kept"),
    [
        (Decoding(temperature=1.0), [0, 1, 2, 3, 4]),
        (Decoding(temperature=2.0), [0, 1, 2, 3, 4]),
        (Decoding(temperature=1.0, top_k=2), [0, 1]),
        (Decoding(temperature=1.0, top_p=0.6), [0, 1]),  # .55 alone is too little
        (Decoding(temperature=1.0, top_p=0.5), [0]),
        (Decoding(temperature=0.0), [0]),
    ],
)
def test_tokens_follow_the_law(decoding: Decoding, kept: list[int]) -> None:
    n = 4000
    tokens = draw(LOGITS.expand(n, -1), [decoding] * n, noise(decoding, n, len(LOGITS)))
    expected = torch.zeros(len(LOGITS))
    expected[kept] = (LOGITS[kept] / (decoding.temperature or 1.0)).softmax(0)
    found = torch.bincount(tokens, minlength=len(LOGITS)) / n
    # five standard deviations of a share; a share of zero has none
    assert torch.all((found - expected).abs() <= 5 * (expected * (1 - expected) / n).sqrt() + 1e-9)


@settings(max_examples=30)
@given(st.lists(DECODINGS, min_size=2, max_size=5), st.integers(0, 1000))
def test_a_row_does_not_depend_on_its_company(decodings: list[Decoding], seed: int) -> None:
    logits = torch.randn(len(decodings), 50, generator=torch.Generator().manual_seed(seed))
    own_noise = torch.cat([noise(d, 1, 50) for d in decodings])
    together = draw(logits, decodings, own_noise)
    alone = [draw(logits[i : i + 1], [d], own_noise[i : i + 1]) for i, d in enumerate(decodings)]
    assert together.tolist() == torch.cat(alone).tolist()


def test_the_seed_decides() -> None:
    same, again, other = (noise(Decoding(seed=s), 3, 20) for s in (1, 1, 2))
    assert torch.equal(same, again)
    assert not torch.equal(same, other)
