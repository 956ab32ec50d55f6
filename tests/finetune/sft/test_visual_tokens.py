"""Visual tokens: trained with an adapter and saved in it, exact when loaded again, and no trace of them for others."""

import json
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from langchain_core.messages import HumanMessage
from tests.finetune.sft.sft_runs import config, weights, whole_run
from tests.finetune.sft.visual_runs import ASK, BASES, FRAME, N_VISUAL, SMALL, TAUGHT, model_of, trained
from torch import Tensor

from loopwright.errors import BadInput
from loopwright.finetune.sft.config import BaseModelConfig, DataConfig
from loopwright.finetune.sft.release import export, merge
from loopwright.finetune.sft.train import load_to_train, train
from loopwright.models.asking import ask
from loopwright.models.cards import ModelCard, load_card
from loopwright.models.check import check_card
from loopwright.models.local.chat import LocalChatModel
from loopwright.models.local.vocabulary import ROWS
from loopwright.models.visual_tokens import visual_text

every_base = pytest.mark.parametrize("kind", BASES)


@every_base
def test_an_adapter_learns_its_tokens_and_draws_them_where_the_grammar_wants_them(kind: str) -> None:
    model = model_of(kind, driver=trained(kind)).with_adapter("driver")
    assert ask(model, ASK, FRAME).is_exact
    drawn = [model.invoke(ASK, grammar=FRAME.grammar(), temperature=3.0, seed=seed).text for seed in range(4)]
    any_frame = list(map(FRAME.parse, drawn))
    assert all(len(codes) == 4 and max(codes) < N_VISUAL for codes in any_frame) and len(set(map(str, any_frame))) > 1
    choices = [FRAME.render(TAUGHT), FRAME.render([3, 3, 22, 0])]
    assert model.score_choices(ASK, choices).probabilities[0] > 0.95


@every_base
def test_the_rows_of_the_tokens_are_loaded_as_they_were_trained(kind: str) -> None:
    adapter = trained(kind)
    rows = {name: tensor for name, tensor in weights(adapter).items() if ROWS in name}
    fresh = load_to_train(BaseModelConfig(base=str(BASES[kind]), device="cpu", visual_tokens=N_VISUAL)).model
    assert len(rows) == (1 if kind == "tied" else 2)
    assert all(tensor.shape[0] == N_VISUAL for tensor in rows.values())
    assert not any(torch.equal(t, cast(Tensor, fresh.get_input_embeddings().weight)[-N_VISUAL:]) for t in rows.values())
    model = model_of(kind, driver=adapter).with_adapter("driver")
    seen: list[Any] = []

    def look(network: Any) -> None:
        seen.append([way.weight[-N_VISUAL:].clone() for way in (network.get_input_embeddings(), network.lm_head)])

    model.engine.run(look, adapter)
    assert all(any(torch.equal(own, tensor) for tensor in rows.values()) for own in seen[0])


@every_base
def test_others_on_the_same_base_answer_as_before_to_the_bit(kind: str) -> None:
    others = {"plain": None} if kind == "tied" else {"plain": None, "localiser": whole_run().adapter}
    cards = {name: folder for name, folder in others.items() if folder is not None}
    model = model_of(kind, driver=trained(kind), **cards)

    def said(role: str) -> tuple[str, bytes, bytes]:
        own = model if others[role] is None else model.with_adapter(role)
        inputs = dict(own.prepare(ASK))
        logits = own.engine.run(lambda network: network(**inputs).logits.clone(), others[role])
        scores = own.score_choices(ASK, ["left", "right", visual_text([3])])
        return own.invoke(ASK).text, logits.numpy().tobytes(), scores.log_probs.tobytes()

    before = {role: said(role) for role in others}
    driver = model.with_adapter("driver")
    ask(driver, ASK, FRAME)
    assert {role: said(role) for role in others} == before
    driver.engine.unload_adapter(trained(kind))
    assert {role: said(role) for role in others} == before


def test_a_role_without_visual_tokens_says_what_is_missing() -> None:
    with pytest.raises(BadInput, match="has none"):
        ask(model_of("tied"), ASK, FRAME)


def test_a_prompt_may_show_a_frame_by_its_tokens() -> None:
    shows = [HumanMessage(f"Seen: {visual_text([5, 7])}. <|im_end|>What comes?")]
    model = model_of("tied", driver=trained("tied"))
    first = len(model.engine.tokenizer)
    ids = model.with_adapter("driver").prepare(shows)["input_ids"][0].tolist()
    assert [i - first for i in ids if i >= first] == [5, 7]
    assert ids.count(model.engine.tokenizer.eos_token_id) == 1  # the turn's own
    assert max(model.prepare(shows)["input_ids"][0].tolist()) < first


@every_base
def test_a_merged_model_has_the_tokens_of_its_own(kind: str, tmp_path: Path) -> None:
    merged = merge(trained(kind), tmp_path / "merged")
    driver = model_of(kind, driver=trained(kind)).with_adapter("driver")
    model = LocalChatModel(card=ModelCard(name="merged", kind="local", base=str(merged)))
    assert ask(model, ASK, FRAME).value == ask(driver, ASK, FRAME).value
    with pytest.raises(BadInput, match="24 of its own"):
        load_to_train(BaseModelConfig(base=str(merged), device="cpu", visual_tokens=N_VISUAL))


def test_a_check_tells_of_the_tokens_and_of_rows_that_do_not_fit(tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text(
        f"kind: local\nbase: {SMALL}\nadapters:\n  driver: {trained('tied')}\n", encoding="utf-8"
    )
    lines = [str(line) for line in check_card(load_card(tmp_path / "card.yaml"))]
    assert any("24 visual tokens" in line for line in lines), lines
    assert "It adds 24 tokens" in (export(trained("tied"), tmp_path / "out") / "README.md").read_text(encoding="utf-8")
    record = json.loads((tmp_path / "out" / "loopwright.json").read_text(encoding="utf-8"))
    record["config"]["model"]["visual_tokens"] = 30
    (tmp_path / "out" / "loopwright.json").write_text(json.dumps(record), encoding="utf-8")
    card = ModelCard(name="odd", kind="local", base=str(SMALL), adapters={"driver": tmp_path / "out"})
    with pytest.raises(BadInput, match=re.escape("should have rows (30, 192)")):
        LocalChatModel(card=card).with_adapter("driver")


def test_a_run_that_goes_on_has_the_tokens_of_its_start(tmp_path: Path) -> None:
    rows = trained("untied").parents[1] / "rows.jsonl"
    model = BaseModelConfig(base=str(BASES["untied"]), device="cpu", visual_tokens=N_VISUAL)
    on = config(max_steps=1, lr=1e-9).model_copy(
        update={"model": model, "data": DataConfig(train=rows), "start_from": trained("untied")}
    )
    begun, old = weights(train(on, tmp_path / "on").adapter), weights(trained("untied"))
    assert all(torch.allclose(begun[name], old[name], atol=1e-6) for name in old)
    other = on.model_copy(update={"model": model.model_copy(update={"visual_tokens": 30})})
    with pytest.raises(BadInput, match=re.escape(ROWS)):
        train(other, tmp_path / "other")


def test_logits_are_no_wider_than_the_role_knows_words() -> None:
    model = model_of("untied", driver=trained("untied"))
    inputs = dict(model.prepare(ASK))
    widths = [
        model.engine.run(lambda network: network(**inputs).logits.shape[-1], adapter)
        for adapter in (None, trained("untied"), None)
    ]
    assert np.diff(widths).tolist() == [N_VISUAL, -N_VISUAL]
