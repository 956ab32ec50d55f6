"""The settings of a fine-tuning run: the same in YAML, and nothing in it that has no effect."""

from pathlib import Path

import pytest
import yaml

from loopwright.errors import BadInput, UnknownName
from loopwright.finetune.sft.config import SftConfig

CONFIGS = Path(__file__).parents[3] / "finetune" / "configs"
LEAST = {"model": {"base": "./base"}, "data": {"train": "rows.jsonl"}}


def written(folder: Path, values: object) -> Path:
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def test_every_field_goes_to_yaml_and_back(tmp_path: Path) -> None:
    config = SftConfig.load(written(tmp_path, LEAST))
    config.save(tmp_path / "again.yaml")
    assert SftConfig.load(tmp_path / "again.yaml") == config


@pytest.mark.parametrize(
    "name", ["carm/qwen25vl_7b", "carm/sft", "carm/sft_more", "surgery/dir", "surgery/indir", "surgery/qwen25vl_7b"]
)
def test_shipped_configs_write_out_every_field(name: str) -> None:
    path = CONFIGS / f"{name}.yaml"
    config = SftConfig.load(path)
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == config.model_dump(mode="json")


def test_the_7b_config_is_the_papers() -> None:
    """QLoRA in 4 bits, r 16, alpha 32, no dropout; vision, language and attention, without the MLPs."""
    config = SftConfig.load(CONFIGS / "carm" / "qwen25vl_7b.yaml")
    lora, optimiser = config.lora, config.optimiser
    assert (config.model.quantisation, lora.r, lora.alpha, lora.dropout) == ("nf4", 16, 32, 0)
    assert (lora.vision, lora.language, lora.attention, lora.mlp) == (True, True, True, False)
    assert (optimiser.name, optimiser.epochs, optimiser.lr, optimiser.warm_up) == ("adamw_8bit", 3, 1e-4, 0.03)
    assert (optimiser.weight_decay, optimiser.clip_norm) == (0.01, 0.3)


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"optimizer": {}}, "optimiser"),
        ({"optimiser": {"learning_rate": 1e-4}}, "optimiser.learning_rate"),
        ({"lora": {"rank": 8}}, "lora.rank"),
    ],
)
def test_an_unknown_key_is_an_error_with_the_nearest_names(tmp_path: Path, extra: dict[str, object], said: str) -> None:
    with pytest.raises(UnknownName, match=said):
        SftConfig.load(written(tmp_path, LEAST | extra))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (LEAST | {"optimiser": {"lr": -1}}, r"`optimiser.lr` = -1"),
        (LEAST | {"lora": {"vision": False, "language": False}}, "nothing would be trained"),
        (LEAST | {"lora": {"attention": False}}, "nothing would be trained"),
        ({"model": {"base": "./base"}}, "`data`"),
        ([1, 2], "run.yaml` is wrong"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, values: object, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        SftConfig.load(written(tmp_path, values))


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.yaml` is not there"):
        SftConfig.load(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(BadInput, match="no YAML"):
        SftConfig.load(tmp_path / "broken.yaml")


def test_a_built_folder_takes_the_place_of_the_files(tmp_path: Path) -> None:
    data = SftConfig.load(CONFIGS / "surgery" / "indir.yaml").data
    with pytest.raises(BadInput, match=r"holds no `train.messages.jsonl`"):
        data.of_folder(tmp_path)
    (tmp_path / "train.messages.jsonl").touch()
    assert data.of_folder(tmp_path).train.parent == tmp_path and data.of_folder(tmp_path).validation is None
    (tmp_path / "validation.messages.jsonl").touch()
    assert data.of_folder(tmp_path).validation == tmp_path / "validation.messages.jsonl"
