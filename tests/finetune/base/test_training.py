"""Training the base: a kill costs nothing, a run learns from its pictures, and a release measures what it releases."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from loopwright import cli
from loopwright.errors import BadInput, MissingDependency
from loopwright.finetune.base.config import BaseConfig, ModelConfig
from loopwright.finetune.base.model import make_model
from loopwright.finetune.base.release import release
from loopwright.finetune.base.tokenizer import train_tokenizer
from loopwright.finetune.base.train import CHECKPOINT, METRICS, TrainResult, train
from loopwright.finetune.data.carm.base_tasks import CArmLessons
from loopwright.finetune.data.surgery.base_tasks import SurgeryLessons
from loopwright.finetune.networks.carm.config import TrainConfig
from loopwright.finetune.runs.schedule import OptimiserConfig

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def config(tiny_config: TrainConfig) -> BaseConfig:
    """Four stages of a few steps, on the views that the localiser's tests render."""
    return BaseConfig(
        seed=3,
        model=ModelConfig(
            vocab_size=600, hidden=32, layers=1, heads=2, kv_heads=1, intermediate=32,
            vision_hidden=16, vision_depth=1, vision_heads=2, vision_intermediate=16, patch_px=32,
        ),
        worlds={
            "carm": CArmLessons(data=tiny_config.data, test_phantoms=1),
            "surgery": SurgeryLessons(patients=2, frames_per_patient=4, validation_patients=1, test_patients=1),
        },
        look=OptimiserConfig(steps=4, batch=8),
        talk=OptimiserConfig(steps=4, batch=8),
        write=OptimiserConfig(steps=2, batch=8),
        read=OptimiserConfig(steps=2, batch=8),
        texts_per_step=2,
        readings_per_step=3,
        probes_per_kind=2,
        validate_every=6,
        checkpoint_every=3,
        device="cpu",
        threads=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(config: BaseConfig, views_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """One unbroken run."""
    return train(config, tmp_path_factory.mktemp("base") / "whole", cache_dir=views_cache)


@pytest.fixture(scope="module")
def card(whole: TrainResult, views_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The card of one release of that run, beside the folder `base`."""
    out = tmp_path_factory.mktemp("released") / "base"
    return release(whole.model.parent, out, "the command", probes_per_kind=2, cache_dir=views_cache)


RUN = """
import sys
from pathlib import Path
from loopwright.finetune.base.config import BaseConfig
from loopwright.finetune.base.train import train
train(BaseConfig.load(Path(sys.argv[1])), Path(sys.argv[2]), cache_dir=Path(sys.argv[3]))
"""


def test_a_killed_run_resumes_to_the_same_weights(
    config: BaseConfig, whole: TrainResult, views_cache: Path, tmp_path: Path
) -> None:
    config.save(tmp_path / "c.yaml")
    killed = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path / "c.yaml"), str(killed), str(views_cache)], start_new_session=True
    )
    give_up = time.monotonic() + 240
    while not (killed / CHECKPOINT).is_file() and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "model").exists()
    said: list[str] = []
    resumed = train(config, killed, said.append, cache_dir=views_cache)
    assert said[0].startswith("resumed at step ")
    assert resumed.model_copy(update={"model": whole.model}) == whole
    assert (killed / METRICS).read_text() == (whole.model.parent / METRICS).read_text()
    one, two = (load_file(folder / "model.safetensors") for folder in (killed / "model", whole.model))
    assert all(torch.equal(one[key], two[key]) for key in two)
    assert all(value.dtype == torch.bfloat16 for value in two.values())


def test_a_run_writes_down_its_losses_and_draws_them(config: BaseConfig, whole: TrainResult) -> None:
    records = [json.loads(line) for line in (whole.model.parent / METRICS).read_text().splitlines()]
    assert {"answer", "seen", "known", "found", "repeated", "read", "total"} <= records[-2].keys()
    validated = [r for r in records if "carm/exact" in r]
    assert [r["step"] for r in validated] == [6, 12]
    assert {"carm/where/exact", "carm/caption/exact"} <= validated[-1].keys()
    assert whole.validation == {k: v for k, v in validated[-1].items() if k != "step"}
    assert (whole.model.parent / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_torn_last_line_of_metrics_does_not_stop_a_resume(
    config: BaseConfig, whole: TrainResult, views_cache: Path
) -> None:
    path = whole.model.parent / METRICS
    before = path.read_text()
    path.write_text(before + '{"step": 1')
    assert train(config, whole.model.parent, cache_dir=views_cache) == whole
    assert path.read_text() == before


def test_a_release_is_the_run_measured(config: BaseConfig, card: Path) -> None:
    assert card.name == "base.card.yaml"
    told = yaml.safe_load(card.read_text())
    assert told["command"] == "the command"
    assert told["worlds"]["carm"]["cases"] == {"train": [0, 1], "validation": [10000, 10000], "test": [30000, 30000]}
    assert BaseConfig.model_validate(told["config"]) == config
    assert {path.name for path in (card.parent / "base").iterdir()} >= {"config.json", "model.safetensors"}
    assert told["worlds"]["surgery"]["cases"]["test"] == [2_000_000, 2_000_000]
    rows = {(row["model"], row["variant"]): row for row in told["metrics"] if row["world"] == "carm"}
    assert {row["variant"] for row in told["metrics"] if row["world"] == "surgery"} >= {"progress", "caption"}
    assert {model for model, _ in rows} == {"vlm-base", "vlm-base, another picture", "prior"}
    assert rows["prior", "where"]["n"] == 2 and "median_mm" in rows["prior", "where"]
    assert "within_15_mm" in rows["vlm-base", "where"] and "within_15_mm" not in rows["vlm-base", "nearest"]


def test_a_release_replaces_an_earlier_one_and_nothing_else(
    config: BaseConfig, whole: TrainResult, card: Path, views_cache: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "models" / "base"
    mine.mkdir(parents=True)
    (mine / "notes.txt").write_text("of years")
    with pytest.raises(BadInput, match="nor an earlier release"):
        release(whole.model.parent, mine, "the command", probes_per_kind=1, cache_dir=views_cache)
    config.save(tmp_path / "config.yaml")
    asked = ["train", "base", "--config", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "run")]
    assert cli.main([*asked, "--release", str(mine)]) == 2
    assert not (tmp_path / "run").exists()  # said before the training, not after it
    assert (mine / "notes.txt").read_text() == "of years"
    shutil.rmtree(mine.parent)
    shutil.copytree(card.parent, mine.parent)
    (mine / "model.safetensors").unlink()
    release(whole.model.parent, mine, "the command", probes_per_kind=1, cache_dir=views_cache)
    assert (mine / "model.safetensors").is_file() and not (mine.parent / "base.partial").exists()


def test_an_unfinished_run_is_not_released(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no finished run"):
        release(tmp_path, tmp_path / "base", "the command")


def test_a_run_folder_of_another_config_is_refused(config: BaseConfig, tmp_path: Path) -> None:
    config.model_copy(update={"seed": 6}).save(tmp_path / "config.yaml")
    with pytest.raises(BadInput, match="another config"):
        train(config, tmp_path)


def test_a_batch_larger_than_the_worlds_is_refused(config: BaseConfig, views_cache: Path, tmp_path: Path) -> None:
    large = config.model_copy(update={"talk": OptimiserConfig(steps=8, batch=33)})
    with pytest.raises(BadInput, match="only 32 pictures"):
        train(large, tmp_path, cache_dir=views_cache)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_named(config: BaseConfig, tmp_path: Path) -> None:
    with pytest.raises(MissingDependency, match="device: cuda"):
        train(config.model_copy(update={"device": "cuda"}), tmp_path)


def test_an_unknown_world_is_refused(config: BaseConfig, tmp_path: Path) -> None:
    data = config.model_dump(mode="json")
    data["worlds"]["opera"] = {}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(BadInput, match="opera"):
        BaseConfig.load(tmp_path / "c.yaml")


def test_the_bundled_config_is_whole_and_its_model_is_small() -> None:
    path = ROOT / "finetune" / "configs" / "base.yaml"
    config = BaseConfig.load(path)
    assert yaml.safe_load(path.read_text()) == config.model_dump(mode="json")
    localiser = TrainConfig.load(ROOT / "finetune" / "configs" / "carm" / "network.yaml")
    assert config.worlds["carm"].model_dump()["data"] == localiser.data.model_dump(), "they share one cache"
    with torch.device("meta"):
        model = make_model(config.model, train_tokenizer(["Where?"], config.model.vocab_size))
    missing_words = config.model.vocab_size - model.lm_head.out_features
    assert 2 * (sum(p.numel() for p in model.parameters()) + missing_words * config.model.hidden) < 11e6
