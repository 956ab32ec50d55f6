"""Reads samples of whatever is at a path; `read_samples` finds out what it is. A format more is one more line here."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from loopwright.errors import BadInput
from loopwright.tools.drive.recorded.argoverse2 import read_argoverse2
from loopwright.tools.drive.recorded.comma2k19 import FOLDER, read_comma2k19
from loopwright.tools.drive.recorded.nuscenes import read_nuscenes
from loopwright.tools.drive.recorded.planning import read_planning
from loopwright.tools.drive.recorded.recording import OnProblem, raise_problem
from loopwright.tools.drive.recorded.traffic import read_traffic
from loopwright.tools.drive.scene import Sample

FILES: Mapping[tuple[str, ...], Callable[..., Iterator[Sample]]] = {
    (".jsonl", ".jsonl.gz"): read_planning,
    (".npz",): read_comma2k19,
    (".json", ".json.gz"): read_traffic,
    (".parquet",): read_argoverse2,
}
FOLDERS: Mapping[str, Callable[..., Iterator[Sample]]] = {
    "v1.0-*": read_nuscenes,
    FOLDER: read_comma2k19,
    "**/scenario_*.parquet": read_argoverse2,
}
"""By what a folder holds, the first that fits."""


def read_samples(path: Path, *, on_problem: OnProblem = raise_problem) -> Iterator[Sample]:
    """The samples at `path`: a file, or the folder of a data set.

    Raises:
        BadInput: nothing there is known, or it holds no sample; or something is wrong and `on_problem` raises.
    """
    n = 0
    for sample in _reader(path.expanduser())(path.expanduser(), on_problem=on_problem):
        n += 1
        yield sample
    if not n:
        raise BadInput(f"`{path}` holds no sample: no moment has 2 s of poses before it and one after it.")


def _reader(path: Path) -> Callable[..., Iterator[Sample]]:
    if path.is_dir():
        for holds, read in FOLDERS.items():
            if next(path.glob(holds), None) is not None:
                return read
    elif path.is_file():
        for suffixes, read in FILES.items():
            if path.name.endswith(suffixes):
                return read
    raise BadInput(
        f"`{path}` is no recorded drive. Expected nuScenes' folder (`v1.0-...`), a comma2k19 segment (`{FOLDER}` or "
        "`.npz`), Argoverse 2 scenarios (`scenario_ID.parquet`), traffic (`.json`, `.json.gz`) or planning samples "
        "(`.jsonl`, `.jsonl.gz`)."
    )
