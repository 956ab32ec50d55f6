"""Opens a case from what a user types: `FILE | phantom:SEED | stranger:KIND:SEED | chest`."""

from dataclasses import replace
from pathlib import Path

from loopwright.errors import BadInput
from loopwright.settings import settings
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.chest import load_chest
from loopwright.tools.carm.landmarks import Unit, load_landmarks
from loopwright.tools.carm.phantom import make_phantom
from loopwright.tools.carm.phantom.strangers import make_stranger
from loopwright.tools.carm.volume_files import load_volume

SPECS = "FILE (.nii, .nii.gz or a folder with one DICOM series), `phantom:SEED`, `stranger:KIND:SEED` or `chest`"


def open_case(spec: str, landmarks_file: Path | None = None, *, unit: Unit = "mm") -> Case:
    """Open what `spec` names.

    Args:
        spec: a NIfTI file, a DICOM folder, `phantom:SEED`, `stranger:KIND:SEED` (`STRANGERS`), or `chest`.
        landmarks_file: positions that replace the case's own; a file or folder brings none of its own.
        unit: what the numbers of `landmarks_file` are, see `load_landmarks`.

    Raises:
        BadInput: nothing of that name, a bad seed, a chest that was not fetched, or a bad file; with the repair.
    """
    case = _open(spec)
    if landmarks_file is None:
        return case
    return replace(case, landmarks=load_landmarks(landmarks_file, case.volume, unit=unit))


def _open(spec: str) -> Case:
    match spec.split(":"):
        case ["phantom", seed]:
            return make_phantom(_seed(spec, seed, "phantom:7"))
        case ["stranger", kind, seed]:
            return make_stranger(kind, _seed(spec, seed, "stranger:pelvis:7"))
    if spec == "chest":
        return load_chest(settings().cache_dir)
    path = Path(spec).expanduser()
    if not path.exists():
        raise BadInput(f"`{spec}` is no volume: there is no such file. Expected {SPECS}.")
    name = path.resolve().name.removesuffix(".gz").removesuffix(".nii")
    return Case(name=name, volume=load_volume(path))


def _seed(spec: str, seed: str, example: str) -> int:
    if not seed.isascii() or not seed.isdigit():
        raise BadInput(f"`{spec}` has the seed {seed!r}; expected a whole number, 0 or more: `{example}`.")
    return int(seed)
