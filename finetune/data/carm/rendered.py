"""Rendered views of phantoms, cached as one file a phantom.

Seeds say which part a phantom belongs to, so no phantom can be in two: train 0-9999, validation 10000-19999,
calibration 20000-29999, test 30000-39999. The cache can be deleted at any time; what is missing is rendered again.
"""

import hashlib
import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from loopwright.finetune.data.carm.views import Views, ViewSampling, render_views, sample_training_poses
from loopwright.models.networks.carm import INPUT_PX
from loopwright.schema import Frozen, sha256_of
from loopwright.tools.carm.geometry import Optics
from loopwright.tools.carm.phantom import make_phantom
from loopwright.tools.carm.render import to_uint8


class DataConfig(Frozen):
    """Which phantoms are rendered. Seeds of the four parts can never meet."""

    train_phantoms: int = Field(ge=1, le=10_000)
    validation_phantoms: int = Field(ge=1, le=10_000)
    calibration_phantoms: int = Field(ge=1, le=10_000)
    views_per_phantom: int = Field(ge=1)
    views: ViewSampling = ViewSampling()
    workers: int = Field(default=1, ge=1, description="rendering processes")


Part = Literal["train", "validation", "calibration", "test"]
FIRST_SEED: dict[Part, int] = {"train": 0, "validation": 10_000, "calibration": 20_000, "test": 30_000}
Progress = Callable[[str], None]


class Split(NamedTuple):
    """All views of one part, in memory. `groups` (n,) is the phantom's seed; shapes otherwise as in `Views`."""

    images: Tensor
    offsets_mm: Tensor
    distance_mm: Tensor
    groups: Tensor


def seeds_of(part: Part, count: int) -> range:
    """The first `count` seeds of `part`."""
    return range(FIRST_SEED[part], FIRST_SEED[part] + count)


def cache_folder(cache_dir: Path, config: DataConfig) -> Path:
    """Where the views rendered under `config` lie; another sampling, or changed phantoms or greys, get another."""
    sampling = {"views": config.views.model_dump(mode="json"), "n": config.views_per_phantom, "px": INPUT_PX}
    made_by = {"phantoms": _fingerprint_of_phantoms(), "greys": _fingerprint_of_greys()}
    return cache_dir / "carm_network" / sha256_of(sampling | made_by)[:16]


@cache
def _fingerprint_of_phantoms() -> str:
    """SHA-256 of a coarse phantom: it changes when the population does."""
    case = make_phantom(0, truncated=False, voxel_mm=8.0)
    places = np.array([case.landmarks[name] for name in sorted(case.landmarks)])
    return hashlib.sha256(case.volume.hounsfield.tobytes() + places.tobytes()).hexdigest()


@cache
def _fingerprint_of_greys() -> str:
    """SHA-256 of how line integrals become grey, with three shares of air."""
    ramp = np.linspace(0.06, 5.0, 64 * 64, dtype=np.float32)
    pictures = [to_uint8(np.where(np.arange(ramp.size) < air * ramp.size, 0, ramp)) for air in (0.0, 0.3, 0.6)]
    return hashlib.sha256(b"".join(picture.tobytes() for picture in pictures)).hexdigest()


def render_phantom(seed: int, n: int, sampling: ViewSampling) -> Views:
    """`n` training views of the phantom `seed`; the same arguments give the same views."""
    case = make_phantom(seed)
    poses = sample_training_poses(case, n, sampling, np.random.default_rng([seed, n]))
    return render_views(case, poses, Optics(), INPUT_PX)


def write_views(path: Path, views: Views) -> None:
    """Write one file, all or nothing."""
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, **{f.name: getattr(views, f.name) for f in fields(views)})
    partial.replace(path)


def read_views(path: Path) -> Views:
    """Read what `write_views` wrote. Raises OSError, KeyError or BadZipFile where the file is cut short."""
    with np.load(path, allow_pickle=False) as data:
        return Views(**{f.name: data[f.name] for f in fields(Views)})


def ensure_views(
    folder: Path, seeds: Iterable[int], config: DataConfig, on_progress: Progress = lambda _: None
) -> None:
    """Render what is not yet in `folder`; may be killed and started again at any time."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [seed for seed in seeds if not _path(folder, seed).is_file()]
    if not missing:
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(config.workers, mp_context=context, initializer=_one_thread) as pool:
        jobs = [pool.submit(_render_to, folder, seed, config.views_per_phantom, config.views) for seed in missing]
        for done, job in enumerate(as_completed(jobs), start=1):
            job.result()
            on_progress(f"rendered {done} of {len(missing)} phantoms")


def load_split(folder: Path, seeds: Iterable[int]) -> Split:
    """Read the views of `seeds`; a file that is cut short raises, naming itself."""
    parts = []
    for seed in seeds:
        path = _path(folder, seed)
        try:
            parts.append((seed, read_views(path)))
        except (KeyError, BadZipFile, ValueError) as error:
            raise OSError(f"`{path}` is damaged ({error}). Delete it; the next run renders it again.") from error
    return Split(
        images=torch.from_numpy(np.concatenate([v.images for _, v in parts])),
        offsets_mm=torch.from_numpy(np.concatenate([v.offsets_mm for _, v in parts])),
        distance_mm=torch.from_numpy(np.concatenate([v.distance_mm for _, v in parts])),
        groups=torch.from_numpy(np.concatenate([np.full(len(v), seed) for seed, v in parts])),
    )


def _path(folder: Path, seed: int) -> Path:
    return folder / f"phantom_{seed:05d}.npz"


def _render_to(folder: Path, seed: int, n: int, sampling: ViewSampling) -> None:
    write_views(_path(folder, seed), render_phantom(seed, n, sampling))


def _one_thread() -> None:
    """Each worker is one core's worth: the pool is the parallelism."""
    import numba

    numba.set_num_threads(1)
    torch.set_num_threads(1)
