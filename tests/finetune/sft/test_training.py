"""Fine-tuning: it trains what it says, on the answers alone, and neither accumulation nor a kill changes the result."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from langchain_core.messages import HumanMessage
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]
from tests.finetune.sft.sft_runs import ANSWERS, config, weights, whole_run, write_rows, write_text_rows
from tests.models import tiny
from transformers import AutoModelForImageTextToText

from loopwright.cli import main
from loopwright.errors import BadInput, MissingDependency, OperatorError
from loopwright.finetune.sft.config import BaseModelConfig, DataConfig, LoraSettings, OptimiserConfig, SftConfig
from loopwright.finetune.sft.data import load_rows
from loopwright.finetune.sft.lora import lora_config
from loopwright.finetune.sft.train import train
from loopwright.models.cards import ModelCard
from loopwright.models.local.chat import LocalChatModel

SEVEN_B = Path(__file__).parents[3] / "finetune" / "configs" / "carm" / "qwen25vl_7b.yaml"


class Killed(BaseException):
    """What the process dies of. No handler in between can know it."""


def losses(run: Path) -> list[tuple[int, str, float]]:
    history = json.loads((run / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    return [(entry["step"], key, entry[key]) for entry in history for key in ("loss", "eval_loss") if key in entry]


def dies_at(step: int, folder: Path) -> None:
    def tell(line: str) -> None:
        if line.startswith(f"step {step} "):
            raise Killed

    with pytest.raises(Killed):
        train(config(), folder, tell)


def same_weights(one: Path, two: Path) -> bool:
    first, second = weights(one), weights(two)
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_one_batch_of_eight_is_eight_accumulated_batches_of_one(tmp_path: Path) -> None:
    at_once = train(config(batch=8, max_steps=3), tmp_path / "one")
    one_by_one = train(config(batch=1, accumulate=8, max_steps=3), tmp_path / "eight")
    assert one_by_one.loss == pytest.approx(at_once.loss, abs=1e-5)
    first, second = weights(at_once.adapter), weights(one_by_one.adapter)
    for key in first:
        torch.testing.assert_close(first[key], second[key], atol=1e-5, rtol=1e-4)
    assert max(float(first[key].abs().max()) for key in first if "lora_B" in key) > 1e-3  # a hundred tolerances


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that died in its fifth step, after a checkpoint at the fourth, and was called again."""
    folder = tmp_path_factory.mktemp("resumed")
    dies_at(5, folder)
    said: list[str] = []
    train(config(), folder, said.append)
    assert said[0] == "resumed from checkpoint-4"
    return folder


def test_a_run_that_was_killed_ends_with_the_weights_of_one_that_was_not(resumed: Path) -> None:
    whole = whole_run().adapter
    assert same_weights(resumed / "adapter", whole)
    assert losses(resumed) == losses(whole.parent)


def test_the_curve_of_a_resumed_run_holds_every_step_once_and_falls(resumed: Path) -> None:
    events = EventAccumulator(str(resumed / "tensorboard")).Reload()
    curve = events.Scalars("train/loss")
    assert [point.step for point in curve] == [1, 2, 3, 4, 5, 6]
    assert curve[-1].value < curve[0].value - 0.1
    assert [point.step for point in events.Scalars("eval/loss")] == [3, 6]


def test_a_finished_run_is_not_trained_again(resumed: Path) -> None:
    again = train(config(), resumed)
    assert (again.steps, again.samples_per_s) == (6, None)
    assert same_weights(again.adapter, whole_run().adapter)


def test_a_run_shorter_than_its_log_still_names_its_loss(tmp_path: Path) -> None:
    seldom = config(max_steps=2).model_copy(update={"log_every": 20})
    result = train(seldom, tmp_path)
    assert result.steps == 2 and result.loss > 0
    said = weights(result.adapter)
    shutil.rmtree(result.adapter)  # as if it had been killed before it wrote this
    again = train(seldom, tmp_path)  # in the middle of an epoch, which is not gone on with
    assert (again.steps, again.loss, again.samples_per_s) == (2, result.loss, None)
    assert all(torch.equal(tensor, said[name]) for name, tensor in weights(again.adapter).items())


def test_a_checkpoint_that_a_kill_cut_short_is_passed_over(tmp_path: Path) -> None:
    dies_at(5, tmp_path)
    state = tmp_path / "checkpoint-4" / "trainer_state.json"
    state.write_bytes(state.read_bytes()[:100])
    (tmp_path / "checkpoint-4" / "optimizer.pt").unlink()
    said: list[str] = []
    resumed = train(config(), tmp_path, said.append)
    assert said[0] == "resumed from checkpoint-2"
    assert same_weights(resumed.adapter, whole_run().adapter)


@pytest.mark.slow
def test_a_process_that_was_killed_goes_on(tmp_path: Path) -> None:
    config().save(tmp_path / "run.yaml")
    command = ["train", "sft", "--config", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "run")]
    start = [sys.executable, "-c", "import sys; from loopwright.cli import main; sys.exit(main())"]
    process = subprocess.Popen([*start, *command], start_new_session=True)
    give_up = time.monotonic() + 240
    while not (tmp_path / "run" / "checkpoint-2").is_dir() and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL  # it had not ended
    assert main(command) == 0
    assert same_weights(tmp_path / "run" / "adapter", whole_run().adapter)


def test_the_7b_config_trains_a_tiny_model_of_its_class(tmp_path: Path) -> None:
    """The same path, but for what a CPU cannot do: nf4, 8-bit AdamW and bfloat16."""
    paper, here = SftConfig.load(SEVEN_B), config()
    settings = paper.model_copy(
        update={
            "model": here.model,
            "data": here.data,
            "optimiser": paper.optimiser.model_copy(update={"name": "adamw", "batch": 2, "max_steps": 3}),
            "log_every": 1,
        }
    )
    trained = weights(train(settings, tmp_path).adapter)
    assert all(("self_attn" in name or ".attn." in name) and ".mlp." not in name for name in trained)
    assert any("visual." in name for name in trained) and any("language_model." in name for name in trained)
    assert {tensor.shape[0] for name, tensor in trained.items() if "lora_A" in name} == {16}
    assert all(tensor.any() for tensor in trained.values())  # gradients reach every layer of both towers


@pytest.mark.parametrize("family", tiny.VISION_FAMILIES)
def test_adapters_go_where_the_config_says_in_every_family(family: str) -> None:
    model = AutoModelForImageTextToText.from_pretrained(tiny.folder_of(family))
    linear = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}

    def touched(**parts: bool) -> set[str]:
        off = dict.fromkeys(("vision", "language", "attention", "mlp"), False)
        pattern = lora_config(LoraSettings(**(off | parts)), model).target_modules
        assert isinstance(pattern, str)
        named = {name for name, _ in model.named_modules() if re.fullmatch(pattern, name)}
        assert named <= linear
        return named

    eye, mind = touched(vision=True, attention=True), touched(language=True, attention=True)
    assert all("vis" in name and "attn" in name for name in eye)
    assert all("vis" not in name and "attn" in name for name in mind)
    assert touched(vision=True, language=True, attention=True) == eye | mind
    everything = touched(vision=True, language=True, attention=True, mlp=True)
    assert everything - eye - mind and all(".mlp." in name for name in everything - eye - mind)
    assert not any("head" in name or "merger" in name or "projector" in name for name in everything)
    assert len([name for name in mind if name.endswith("q_proj")]) == model.config.get_text_config().num_hidden_layers


@pytest.mark.parametrize("family", ["qwen2-vl", "qwen3-vl", "gemma3", "llava"])
def test_other_families_train_too(family: str, tmp_path: Path) -> None:
    here = config(batch=2, max_steps=1)
    base = here.model.model_copy(update={"base": str(tiny.folder_of(family))})
    result = train(
        here.model_copy(update={"model": base, "data": here.data.model_copy(update={"validation": None})}), tmp_path
    )
    assert result.loss > 0 and result.validation_loss is None


@pytest.mark.parametrize("family", ["qwen2", "llama", "gemma3-text"])
def test_an_adapter_of_a_text_only_base_is_trained_and_put_on(family: str, tmp_path: Path) -> None:
    base = BaseModelConfig(base=str(tiny.folder_of(family)), device="cpu")
    text = DataConfig(train=write_text_rows(tmp_path))
    settings = config(batch=2, max_steps=3).model_copy(
        update={"model": base, "data": text, "lora": LoraSettings(vision=False)}
    )
    trained = train(settings, tmp_path / "run")
    card = ModelCard(name="tiny", kind="local", base=base.base, adapters={"navigator": trained.adapter})
    model = LocalChatModel(card=card)
    choices, asked = list(ANSWERS), [HumanMessage("Which?")]
    before, after = (m.score_choices(asked, choices).log_probs for m in (model, model.with_adapter("navigator")))
    assert after.mean() > before.mean()
    with pytest.raises(BadInput, match="12 of 12 rows show images, but the base takes text only"):
        train(settings.model_copy(update={"data": config().data}), tmp_path / "other")


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"step 2 is .*nan.*Lower `optimiser.lr`"):
        train(config(lr=1e30, warm_up=0), tmp_path)


def test_a_run_is_nobodys_business(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[object] = []
    monkeypatch.delenv("CI", raising=False)  # TRL is silent there
    monkeypatch.setattr("trl.trainer.base_trainer.send_telemetry", lambda **report: reported.append(report))
    train(config(max_steps=1), tmp_path)
    assert not reported


def test_a_run_folder_of_another_config_is_refused(resumed: Path) -> None:
    with pytest.raises(BadInput, match="another config: it differs in `optimiser`"):
        train(config(lr=1e-3), resumed)


def test_a_run_that_died_before_its_first_checkpoint_may_be_corrected(tmp_path: Path) -> None:
    dies_at(1, tmp_path)
    train(config(max_steps=1, batch=2), tmp_path)
    assert SftConfig.load(tmp_path / "config.yaml") == config(max_steps=1, batch=2)
    assert [point.step for point in EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("train/loss")] == [
        1
    ]


def test_a_run_goes_on_with_its_own_data_and_base_alone(tmp_path: Path) -> None:
    rows, base = write_rows(tmp_path / "data", 4), tmp_path / "base"
    shutil.copytree(tiny.folder_of("qwen2.5-vl"), base)
    here = config(max_steps=1)
    settings = here.model_copy(
        update={
            "model": here.model.model_copy(update={"base": str(base)}),
            "data": here.data.model_copy(update={"train": rows, "validation": None}),
        }
    )
    train(settings, tmp_path / "run")
    before = rows.read_text(encoding="utf-8")
    rows.write_text(before.replace("Skull", "Carina"), encoding="utf-8")
    with pytest.raises(BadInput, match="begun with another `train_sha256`"):
        train(settings, tmp_path / "run")
    rows.write_text(before, encoding="utf-8")
    shutil.rmtree(base)
    tiny.make_qwen25vl(base, seed=1)
    with pytest.raises(BadInput, match="begun with another `base`"):
        train(settings, tmp_path / "run")


def test_rows_and_pictures_that_cannot_be_learnt_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.jsonl` is not there"):
        load_rows(tmp_path / "none.jsonl")
    rows = write_rows(tmp_path / "data", 2)
    (rows.parent / "pictures" / "0.png").write_bytes(b"no picture")
    with pytest.raises(BadInput, match=r"0\.png` cannot be decoded"):
        load_rows(rows).dataset[0]
    (rows.parent / "pictures" / "0.png").unlink()
    with pytest.raises(BadInput, match=r"rows\.jsonl` shows image 'pictures/0\.png', which is not there"):
        load_rows(rows)
    rows.write_text(rows.read_text(encoding="utf-8") + "{\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"rows\.jsonl`, row 3"):
        load_rows(rows)


def test_what_is_not_there_is_named_before_anything_is_written(tmp_path: Path) -> None:
    here = config()
    nowhere = here.model_copy(update={"model": here.model.model_copy(update={"base": str(tmp_path / "no-base")})})
    with pytest.raises(BadInput, match="no-base"):
        train(nowhere, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks what is said where there is no GPU")
def test_without_a_gpu_the_7b_config_says_what_is_missing(tmp_path: Path) -> None:
    here = config()
    with pytest.raises(MissingDependency, match=r"adamw_8bit.*loopwright\[gpu\]"):
        train(here.model_copy(update={"optimiser": OptimiserConfig(name="adamw_8bit")}), tmp_path)
    with pytest.raises(MissingDependency, match="device: cuda"):
        train(here.model_copy(update={"model": here.model.model_copy(update={"device": "cuda"})}), tmp_path)


def test_the_command_prints_one_result_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = config(max_steps=1, batch=2)
    settings.save(tmp_path / "run.yaml")
    asked = ["train", "sft", "--config", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "run"), "--json"]
    assert main(asked) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["steps"] == 1 and Path(said["adapter"]) == tmp_path / "run" / "adapter"
