"""Draws the next token of every row of a batch by the row's own rules, so that a row does not depend on its company.

Each row has its temperature, top-k, top-p and seed, its grammar where there is one, its limit and its end; the model
itself is run by transformers' `generate`, with the two hooks at the end of this module. Sampling is by the Gumbel-max
rule (Gumbel 1954): the token with the largest logit / temperature + noise. The noise is a function of seed and position
alone, so that rounding in another batch hardly ever changes what is drawn.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import BoolTensor, Tensor
from transformers import LogitsProcessor, StoppingCriteria

from loopwright.errors import DeveloperError
from loopwright.models.cards import Decoding
from loopwright.models.grammar import Matcher

Finish = Literal["stop", "length", "halted"]
"""Why a row ended: by itself, at its limit, or because nobody wants it any more."""


class Drawn(NamedTuple):
    """One token as it was drawn, the one that ends the reply included: what reinforcement learning has to know of it.

    `log_prob` is the token's, natural, among those that were allowed, at the row's temperature; what top-k and top-p
    leave out is not taken off. `allowed` is the grammar's word on every token, (V,) packed by `np.packbits`; None where
    there was no grammar.
    """

    token_id: int
    log_prob: float
    allowed: NDArray[np.uint8] | None


class Listener(Protocol):
    """Who waits for a row."""

    @property
    def unwanted(self) -> bool:
        """Whether nobody waits any more."""
        ...

    def emit(self, token_id: int) -> None:
        """One more token, the one that ends the reply excepted."""
        ...

    def end(self, how: Finish | DeveloperError) -> None:
        """Nothing more will come."""
        ...


class Row:
    """One reply while it is drawn."""

    def __init__(
        self,
        decoding: Decoding,
        eos_token_ids: frozenset[int],
        listener: Listener,
        matcher: Matcher | None = None,
    ) -> None:
        self.decoding = decoding
        self.matcher = matcher
        self._eos_token_ids = eos_token_ids
        self._listener = listener
        self._finish: Finish | DeveloperError | None = None
        self._n_tokens = 0
        self._generator = torch.Generator().manual_seed(decoding.seed)
        self.trace: list[Drawn] = []

    @property
    def finished(self) -> bool:
        """Whether the row draws no further token. Asks whether it is still wanted."""
        if self._finish is None and self._listener.unwanted:
            self._end("halted")
        return self._finish is not None

    def noise(self, n_vocabulary: int) -> Tensor:
        """(V,) Gumbel noise of the next position."""
        return -torch.empty(n_vocabulary).exponential_(generator=self._generator).log()

    def allowed(self, n_vocabulary: int) -> Tensor:
        """(V,) which tokens the grammar lets come next; without a grammar, all."""
        if self.matcher is not None:
            try:
                n_left = self.decoding.max_tokens - self._n_tokens
                return torch.from_numpy(self.matcher.allowed(n_vocabulary, n_left=n_left))
            except DeveloperError as error:  # the grammar's fault is this row's alone, not the batch's
                self._end(error)
        return torch.ones(n_vocabulary, dtype=torch.bool)

    def take(self, token_id: int) -> None:
        """The token that was drawn; ends the row where it must end."""
        if self._finish is not None:
            return
        if token_id in self._eos_token_ids:
            self._end("stop")
            return
        self._listener.emit(token_id)
        self._n_tokens += 1
        if self.matcher is not None:
            self.matcher.advance(token_id)
        if self.matcher is not None and self.matcher.is_complete:
            self._end("stop")
        elif self._n_tokens >= self.decoding.max_tokens:
            self._end("length")

    def _end(self, how: Finish | DeveloperError) -> None:
        self._finish = how
        self._listener.end(how)


def draw(logits: Tensor, decodings: Sequence[Decoding], noise: Tensor | None) -> Tensor:
    """One token for each row.

    Args:
        logits: (B, V); -inf where a token may not come.
        decodings: of the B rows.
        noise: (B, V) Gumbel noise; None where every row has temperature 0.

    Returns:
        (B,) token ids. Where logits are equal, the lowest id counts as the largest.
    """
    greedy = logits.argmax(dim=-1)
    if noise is None:
        return greedy

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=logits.device)[:, None]

    temperature = column([d.temperature for d in decodings])
    top_k = column([d.top_k or logits.shape[1] for d in decodings])
    top_p = column([d.top_p for d in decodings])
    ordered, ids = (logits / temperature.clamp(min=1e-6)).sort(dim=-1, descending=True, stable=True)
    rank = torch.arange(logits.shape[1], device=logits.device)
    shares = ordered.softmax(dim=-1)
    before = shares.cumsum(dim=-1) - shares
    ordered = ordered.masked_fill((rank >= top_k) | (before >= top_p), -torch.inf)
    best = (ordered + noise.gather(1, ids)).argmax(dim=-1, keepdim=True)
    return torch.where(temperature[:, 0] == 0, greedy, ids.gather(1, best)[:, 0])


class RowSampler(LogitsProcessor):
    """Leaves `generate` one token for each row to choose from: the one that the row drew, padding after its end.

    Where `traced`, each row's `trace` grows by what was drawn.
    """

    def __init__(self, rows: Sequence[Row], pad_token_id: int, *, traced: bool = False) -> None:
        self._rows = rows
        self._pad_token_id = pad_token_id
        self._traced = traced

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """(B, V) logits to (B, V) that are 0 for the chosen token and -inf elsewhere."""
        live = [i for i, row in enumerate(self._rows) if not row.finished]
        tokens = torch.full((len(self._rows),), self._pad_token_id)
        if live:
            tokens[live] = self._draw([self._rows[i] for i in live], scores[live])
        for i in live:
            self._rows[i].take(int(tokens[i]))
        chosen = torch.full_like(scores, -torch.inf)
        return chosen.scatter_(1, tokens[:, None].to(scores.device), 0.0)

    def _draw(self, rows: Sequence[Row], logits: Tensor) -> Tensor:
        n = logits.shape[1]
        if any(row.matcher is not None for row in rows):
            allowed = torch.stack([row.allowed(n) for row in rows])
            logits = logits.masked_fill(~allowed.to(logits.device), -torch.inf)
        noise = None
        if any(row.decoding.temperature > 0 for row in rows):
            drawn = [row.noise(n) if row.decoding.temperature > 0 else torch.zeros(n) for row in rows]
            noise = torch.stack(drawn).to(logits.device)
        tokens = draw(logits, [row.decoding for row in rows], noise).cpu()
        if self._traced:
            self._trace(rows, logits, tokens)
        return tokens

    def _trace(self, rows: Sequence[Row], logits: Tensor, tokens: Tensor) -> None:
        """Note what `rows` draw. Logits (B, V) are -inf where the grammar forbids a token."""
        temperatures = torch.tensor([row.decoding.temperature or 1.0 for row in rows], device=logits.device)
        log_probs = (logits.float() / temperatures[:, None]).log_softmax(dim=-1)
        found = log_probs.gather(1, tokens[:, None].to(logits.device))[:, 0].tolist()
        masks = torch.isfinite(logits).cpu().numpy()
        for row, token_id, log_prob, mask in zip(rows, tokens.tolist(), found, masks, strict=True):
            row.trace.append(Drawn(token_id, log_prob, None if row.matcher is None else np.packbits(mask)))


class RowsFinished(StoppingCriteria):
    """Ends each row on its own; `generate` returns when all have ended."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __call__(self, input_ids: Tensor, scores: object, **kwargs: object) -> BoolTensor:
        """(B,) which rows have ended."""
        return cast(BoolTensor, torch.tensor([row.finished for row in self._rows], device=input_ids.device))
