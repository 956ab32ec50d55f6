"""TRL's GRPOTrainer on what ran: sampled ids, prompts and pictures as the engine had them, under the same grammar.

TRL draws a candidate for each row and tokenises it; its `rollout_func` returns one sequence a row, and no pictures. An
episode of a loop is several replies, each to a prompt of its own. So the step that makes a batch is ours, and
everything after it is TRL's: objective, clipping, divergence, schedule, checkpoints.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import use_adapter

from loopwright.errors import OperatorError
from loopwright.finetune.grpo.config import GrpoConfig
from loopwright.finetune.grpo.credit import episode_advantages, turn_advantages
from loopwright.finetune.grpo.rewards import Rewards
from loopwright.finetune.grpo.sessions import Draw, Played
from loopwright.finetune.runs.seeds import seed_of
from loopwright.models.local.batch import collate
from loopwright.models.local.engine import Generation
from loopwright.models.visual_tokens import visual_ids

Batch = dict[str, Any]


class Player(Protocol):
    """Plays episodes: `Sessions` and `Answers`."""

    def play(self, draws: Sequence[Draw]) -> list[Played]:
        """All of them, in order."""
        ...


class Trainer(GRPOTrainer):
    """TRL's trainer on episodes that `player` plays. `rows` are the lines of the data, by index."""

    def __init__(
        self, config: GrpoConfig, player: Player, rows: Sequence[dict[str, Any]], rewards: Rewards, **arguments: Any
    ) -> None:
        self.config, self.player, self.rows, self.rewards = config, player, rows, rewards
        self._allowed: Tensor | None = None
        self._buffer: list[Batch] = []
        super().__init__(reward_funcs=[_never_called], **arguments)
        _complete_reference(cast(nn.Module, self.model))
        self.n_parts: int = cast(GRPOConfig, self.args).steps_per_generation or 1

    # What TRL's own draws, tokenises and scores

    def _prepare_inputs(self, generation_batch: Any) -> Batch:
        if self._step % (self.n_parts * self.num_iterations) == 0 or not self._buffer:
            indices = [int(row["index"]) for row in generation_batch]
            played = self._play(indices)
            self._buffer = self._batches(played, self._advantages(played))
        return self._buffer[self._step % self.n_parts]

    def _play(self, indices: Sequence[int]) -> list[Played]:
        """Episodes of the rows of these indices, by the model as it is now."""
        seeds = [seed_of(self.config.seed, self.state.global_step, k) for k in range(len(indices))]
        model = cast(nn.Module, self.model)
        model.eval()
        try:
            return self.player.play([Draw(self.rows[i], seed) for i, seed in zip(indices, seeds, strict=True)])
        finally:
            model.train()

    def _advantages(self, played: Sequence[Played]) -> list[list[float]]:
        """One for each turn of each episode. Logs what they were made of."""
        scored = [self.rewards.of(one.episode) for one in played]
        weighted = [self.rewards.weighted(parts) for parts in scored]
        totals = [sum(turns) for turns in weighted]
        size = self.config.drawing.candidates
        groups = [weighted[k : k + size] for k in range(0, len(weighted), size)]
        of_group = turn_advantages if self.config.credit == "turn" else episode_advantages
        advantages = [a for group in groups for a in of_group(group, scaled=self.config.scale == "group")]
        for name in self.rewards.names:
            sums = [sum(parts[name]) for parts in scored]
            self._note(f"rewards/{name}/mean", np.mean(sums))
            self._note(f"rewards/{name}/std", np.std(sums))
        flat = [np.ptp([sum(turns) for turns in group]) < 1e-6 for group in groups]
        turns = [turn for one in played for turn in one.episode.turns]
        self._note("reward", np.mean(totals))
        self._note("reward_std", np.std(totals))
        self._note("frac_reward_zero_std", np.mean(flat))
        self._note("turns", np.mean([len(one.episode.turns) for one in played]))
        self._note("completions/mean_length", np.mean([turn.n_tokens for turn in turns] or [0]))
        return advantages

    def _batches(self, played: Sequence[Played], advantages: Sequence[Sequence[float]]) -> list[Batch]:
        """All turns of all episodes in `accumulate` parts, those of like length together."""
        turns = [
            (generation, advantage)
            for one, own in zip(played, advantages, strict=True)
            for generation, advantage in zip(one.drawn, own, strict=True)
            if generation.trace
        ]
        if not turns:
            raise OperatorError("No episode of this step asked the model that is trained. Is `episodes.role` the one?")
        turns.sort(key=lambda turn: turn[0].request.inputs["input_ids"].shape[1] + len(turn[0].trace))
        borders = [len(turns) * k // self.n_parts for k in range(self.n_parts + 1)]
        parts = [turns[first:last] or turns[:1] for first, last in pairwise(borders)]
        pad = cast(int, self._tokenizer.pad_token_id)
        made = [as_batch([g for g, _ in part], [a for _, a in part], pad) for part in parts]
        if self.config.optimiser.masks_visual:
            visual = torch.tensor(visual_ids(self._tokenizer))
            for batch in made:
                batch["tool_mask"] = batch["tool_mask"].masked_fill(torch.isin(batch["completion_ids"], visual), 0)
        for batch, (first, last) in zip(made, pairwise(borders), strict=True):
            if first == last:  # fewer turns than parts: one that is mute
                batch["tool_mask"] = torch.zeros_like(batch["tool_mask"])
        n_free = sum(int((batch["completion_mask"] * batch["tool_mask"]).sum()) for batch in made)
        self._note("completions/free_tokens", n_free / len(turns))
        self.state.num_input_tokens_seen += sum(int(batch["attention_mask"].sum()) for batch in made)
        device = self.accelerator.device
        for batch in made:
            batch["num_items_in_batch"] = torch.tensor(max(n_free, 1))
        return [{n: t.to(device) if isinstance(t, Tensor) else t for n, t in batch.items()} for batch in made]

    # Where TRL scores ids by the whole vocabulary

    def _compute_loss(self, model: Any, inputs: Batch) -> Any:
        self._allowed = self.allowed(inputs)
        pictures = {n: t for n, t in inputs.items() if n in PICTURES}
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        n_kept = inputs["completion_ids"].shape[1]
        if self.beta != 0.0:
            bare = self.accelerator.unwrap_model(self.model)
            with torch.no_grad(), use_adapter(bare, adapter_name="ref"):
                inputs["ref_per_token_logps"], _, _ = self._get_per_token_logps_and_entropies(
                    model, ids, mask, n_kept, **pictures
                )
        if self.num_iterations > 1:
            inputs["old_per_token_logps"] = inputs["sampling_per_token_logps"]
        return super()._compute_loss(model, inputs)  # type: ignore[no-untyped-call]

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **pictures: Any,
    ) -> tuple[Tensor, Tensor | None, None]:
        """Log probabilities (B, C) among the tokens that the grammar allowed, as they were drawn; nats."""
        assert self._allowed is not None, "set by `_compute_loss`, for the very batch that is scored"
        shown = {name: value for name, value in pictures.items() if name in PICTURES and value is not None}
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, **shown}
        with self.accelerator.autocast():
            outputs = model(**inputs, logits_to_keep=logits_to_keep + 1)
        logits = outputs.logits[:, -logits_to_keep - 1 : -1].float() / self.temperature
        allowed = self._allowed[..., : logits.shape[-1]]
        log_probs = logits.masked_fill(~allowed, -torch.inf).log_softmax(dim=-1)
        chosen = log_probs.gather(2, input_ids[:, -logits_to_keep:, None])[..., 0]
        # What pads was never allowed; nothing may be infinite where the mask will multiply by zero.
        chosen = chosen.masked_fill(attention_mask[:, -logits_to_keep:] == 0, 0.0)
        if not compute_entropy:
            return chosen, None, None
        finite = log_probs.detach().masked_fill(~allowed, 0.0)
        return chosen, -(finite.exp() * finite * allowed).sum(-1), None

    def allowed(self, batch: Batch) -> Tensor:
        """(B, C, V) what each token could have been; everything where a reply is padded."""
        shape = (*batch["completion_ids"].shape, len(batch["allowed"][0][0]))
        packed = np.full(shape, 255, dtype=np.uint8)
        for row, own in enumerate(batch["allowed"]):
            packed[row, : len(own)] = np.stack(own)
        return torch.from_numpy(np.unpackbits(packed, axis=-1).astype(bool)).to(self.accelerator.device)

    def _note(self, name: str, value: Any) -> None:
        self._metrics["train"][name].append(float(value))

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write nothing: `export` writes ours."""

    def _send_telemetry(self) -> None:
        """Tell nobody: TRL would report each run to the hub."""


_PER_TOKEN = ("token_type_ids", "mm_token_type_ids")
PICTURES = ("pixel_values", "image_grid_thw", "pixel_attention_mask", "image_sizes", *_PER_TOKEN)
"""What a prompt may hold beside its tokens, as TRL hands it on to the model."""


def as_batch(drawn: Sequence[Generation], advantages: Sequence[float], pad_token_id: int) -> Batch:
    """Replies as TRL takes them: prompts (B, P) padded on the left, what was drawn (B, C) on the right.

    `tool_mask` is 0 where a grammar left no choice: such a token's probability is 1 whatever the weights.
    """
    prompts = collate([generation.request.inputs for generation in drawn], pad_token_id)
    batch: Batch = {
        "prompt_ids": prompts.pop("input_ids"),
        "prompt_mask": prompts.pop("attention_mask"),
        "completion_ids": _padded([[token.token_id for token in g.trace] for g in drawn], pad_token_id),
        "completion_mask": _padded([[1] * len(g.trace) for g in drawn], 0),
        "tool_mask": _padded([[int(_is_free(token.allowed)) for token in g.trace] for g in drawn], 0),
        "sampling_per_token_logps": _padded([[token.log_prob for token in g.trace] for g in drawn], 0.0),
        "allowed": [[token.allowed for token in g.trace] for g in drawn],
        "advantages": torch.tensor(advantages, dtype=torch.float32),
    }
    answered = torch.zeros_like(batch["completion_ids"])
    for name, tensor in prompts.items():
        batch[name] = torch.cat([tensor, answered], dim=1) if name in _PER_TOKEN else tensor
    batch["attention_mask"] = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    return batch


def _is_free(allowed: Any) -> bool:
    return int(np.bitwise_count(allowed).sum()) > 1


def _padded(rows: Sequence[Sequence[float]], value: float) -> Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)


def _complete_reference(model: nn.Module) -> None:
    """Give the reference the trained rows of tokens too: TRL copies what has `.default.` within its name alone."""
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        other = parameters.get(f"{name.removesuffix('.default')}.ref")
        if other is not None:
            other.data.copy_(parameter.data)


def _never_called(**_: Any) -> list[float | None]:
    raise AssertionError("TRL wants a reward function; ours are pure functions of whole episodes")
