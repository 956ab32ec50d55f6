"""Going on from an adapter: it begins where that one ended, and one that does not fit is refused by name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.finetune.sft.sft_runs import config, whole_run
from tests.models import tiny

from loopwright.cli import main
from loopwright.errors import BadInput
from loopwright.finetune.sft.config import BaseModelConfig, LoraSettings, SftConfig
from loopwright.finetune.sft.record import AdapterRecord, RunRecord
from loopwright.finetune.sft.release import WEIGHTS, card
from loopwright.finetune.sft.train import train
from loopwright.models.local.vocabulary import RECORD


def still(start_from: Path | None, **update: object) -> SftConfig:
    """One step that changes nothing, and the validation loss after it."""
    one = {"start_from": start_from, "validate_every": 1, "checkpoint_every": 1}
    return config(lr=1e-12, max_steps=1).model_copy(update=one | update)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """A copy of a trained adapter, to be spoilt."""
    return Path(shutil.copytree(whole_run().adapter, tmp_path / "begun"))


def test_it_begins_where_the_adapter_ended(tmp_path: Path) -> None:
    before = whole_run()
    after = train(still(before.adapter), tmp_path / "on")
    fresh = train(still(None), tmp_path / "fresh")
    assert after.validation_loss == pytest.approx(before.validation_loss, abs=1e-4)
    assert fresh.validation_loss != pytest.approx(before.validation_loss, abs=1e-2)


def test_a_killed_run_goes_on_from_its_checkpoint_and_not_from_the_start(tmp_path: Path) -> None:
    run = config(max_steps=4).model_copy(update={"start_from": whole_run().adapter.parent})
    whole = train(run, tmp_path / "on")
    shutil.rmtree(whole.adapter)
    shutil.rmtree(tmp_path / "on" / "checkpoint-4")
    resumed = train(run, tmp_path / "on")
    assert resumed.validation_loss == pytest.approx(whole.validation_loss, abs=1e-5)


def test_the_record_and_the_card_name_what_it_went_on_from(tmp_path: Path, adapter: Path) -> None:
    trained = train(still(adapter), tmp_path / "on").adapter
    record = AdapterRecord.of(trained)
    assert record and record.run.start_sha256
    said = f"It went on from the adapter `{adapter}`, weights SHA-256 `{record.run.start_sha256}`"
    assert said in card(record, "tiny")


def test_the_command_line_names_one_in_place_of_the_configs(tmp_path: Path, adapter: Path) -> None:
    still(tmp_path / "nowhere").save(tmp_path / "run.yaml")
    command = ["train", "sft", "--config", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "on")]
    assert main([*command, "--start-from", str(adapter)]) == 0
    record = AdapterRecord.of(tmp_path / "on" / "adapter")
    assert record and record.config["start_from"] == str(adapter)


@pytest.mark.parametrize(
    ("known", "of_data", "together"),
    [(("VID1",), ("VID1", "VID2"), ("VID1", "VID2")), ((), ("VID2",), ()), (("VID1",), (), ())],
)
def test_it_depends_on_the_patients_of_both(
    tmp_path: Path,
    adapter: Path,
    monkeypatch: pytest.MonkeyPatch,
    known: tuple[str, ...],
    of_data: tuple[str, ...],
    together: tuple[str, ...],
) -> None:
    record = json.loads((adapter / RECORD).read_text(encoding="utf-8"))
    record["run"]["cases"] = known
    (adapter / RECORD).write_text(json.dumps(record), encoding="utf-8")
    monkeypatch.setattr("loopwright.finetune.sft.train.cases_of", lambda path: of_data)
    train(still(adapter), tmp_path / "on")
    assert RunRecord.model_validate_json((tmp_path / "on" / "run.json").read_bytes()).cases == together


def forget_weights(adapter: Path) -> None:
    (adapter / WEIGHTS).unlink()


def tear_weights(adapter: Path) -> None:
    (adapter / WEIGHTS).write_bytes((adapter / WEIGHTS).read_bytes()[:500])


@pytest.mark.parametrize(
    ("spoil", "update", "said"),
    [
        (shutil.rmtree, {}, "holds no adapter"),
        (forget_weights, {}, "weights"),
        (tear_weights, {}, "is torn"),
        (lambda _: None, {"lora": LoraSettings(r=4)}, r"lora_[AB].* is \(.*16.*\), and here \(.*4.*\). Set `lora`"),
        (lambda _: None, {"lora": LoraSettings(mlp=True)}, "is not in it, and here"),
        (lambda _: None, {"lora": LoraSettings(alpha=8)}, "its alpha is 32, and here it is 8"),
        (lambda _: None, {"model": BaseModelConfig(base=str(tiny.folder_of("llava")), device="cpu")}, "was trained on"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(
    tmp_path: Path, adapter: Path, spoil: Callable[[Path], None], update: dict[str, object], said: str
) -> None:
    spoil(adapter)
    with pytest.raises(BadInput, match=said):
        train(still(adapter, **update), tmp_path / "on")
