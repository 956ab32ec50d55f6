"""Writes DRRs with their three nearest landmarks, in the layout of the seed repository's localisation data.

`OUT/dataset.csv` has the columns `filename, top3_landmarks, case`. A file name, `CASE/CASE_x_y_z.png`, carries the
isocentre in `_world` mm; the answer is `[i: name, j: name, k: name]`, closest first. Every view is AP, at the body's
mid-coronal depth. Knows no model.
"""

import csv
import io
import zlib
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import Progress

from loopwright.errors import BadInput
from loopwright.models.pixels import open_picture
from loopwright.settings import CArmSettings
from loopwright.settings import settings as process_settings
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.geometry import Pose
from loopwright.tools.carm.landmarks import Array, Landmarks, landmark_id, nearest
from loopwright.tools.carm.render import make_renderer, to_uint8
from loopwright.tools.carm.volume import Volume
from loopwright.tools.carm.world import optics_of
from loopwright.tools.files import keep_parameters, write_whole

ISOCENTRES_PER_CASE = 1024
"""As the paper: 1,024 isocentres a volume."""
_WRITERS = 2
"""Threads that encode pictures while the renderer, which has all cores, draws the next ones."""
_TISSUE_HU = -500
_MIN_BODY_MM = 30.0


class Row(NamedTuple):
    """One line of the CSV."""

    filename: str
    top3_landmarks: str
    case: str


def write_dataset(
    cases: Iterable[Case],
    out_dir: Path,
    *,
    n_per_case: int = ISOCENTRES_PER_CASE,
    size_px: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    settings: CArmSettings | None = None,
) -> Path:
    """Write `n_per_case` views of each case, and the CSV that describes them.

    Run again after a kill it goes on: pictures that are there and whole are kept. Each picture is written whole or not
    at all, and so is the CSV, which lists finished cases only. Cases may be added later with the same parameters.

    Args:
        cases: consumed one by one, so a generator keeps one volume in memory. Their names must differ.
        out_dir: made where it is missing.
        n_per_case: isocentres a case, drawn uniformly over the body in the coronal plane.
        size_px: edge of the pictures; None is the settings'.
        seed: with a case's name, decides its isocentres.
        progress: a started bar, which gets a task a case.
        settings: optics and renderer; None is the process's settings.

    Returns:
        The CSV's path.

    Raises:
        BadInput: `out_dir` was written with other parameters, or a case has fewer than three landmarks.
    """
    settings = settings or process_settings().carm
    size_px = size_px or settings.image_size_px
    optics = {name: getattr(settings, name) for name in ("source_detector_mm", "source_isocentre_mm", "detector_mm")}
    asked = {"n_per_case": n_per_case, "size_px": size_px, "seed": seed}
    keep_parameters(out_dir, {**asked, **optics, "renderer": settings.renderer})
    table = out_dir / "dataset.csv"
    finished = _read_table(table)
    for case in cases:
        points = isocentres_world(case.volume, n_per_case, seed=[seed, zlib.crc32(case.name.encode())])
        rows = [_row(case, point) for point in points]
        _write_pictures(case, rows, points, out_dir, size_px, settings, progress)
        finished[case.name] = rows
        _write_table(table, finished)
    return table


def isocentres_world(volume: Volume, n: int, *, seed: int | Sequence[int]) -> Array:
    """(n, 3) mm: distinct points over the body's coronal silhouette, uniform, at mid-coronal depth, to 0.01 mm."""
    rng = np.random.default_rng(seed)
    body_mm = (volume.hounsfield > _TISSUE_HU).sum(axis=1) * volume.voxel_mm[1]
    columns = np.argwhere(body_mm >= _MIN_BODY_MM)
    if not len(columns):
        raise BadInput(f"`{volume.name}` shows no body: nowhere {_MIN_BODY_MM:g} mm of tissue. Give a CT of a patient.")
    points: dict[tuple[float, float, float], None] = {}
    while len(points) < n:
        i, k = columns[rng.integers(len(columns))] + rng.uniform(-0.5, 0.5, size=2)
        x, _, z = volume.to_world([i, (volume.shape[1] - 1) / 2, k]).round(2)
        points[float(x), round(volume.mid_coronal_y_mm, 2), float(z)] = None
    return np.array(list(points))


def retrieval_answer(landmarks: Landmarks, point_world: Array) -> str:
    """The seed's answer for an isocentre (3,) mm: '[11: Carina, 10: T1, 5: Left scapular inferior angle]'."""
    return f"[{', '.join(f'{landmark_id(name)}: {name}' for name in nearest(landmarks, point_world, 3))}]"


def _row(case: Case, point: Array) -> Row:
    if len(case.landmarks) < 3:
        raise BadInput(
            f"The case {case.name!r} has {len(case.landmarks)} landmarks; expected at least 3. Give a landmarks file."
        )
    x, y, z = point
    filename = f"{case.name}/{case.name}_{x:.2f}_{y:.2f}_{z:.2f}.png"
    return Row(filename=filename, top3_landmarks=retrieval_answer(case.landmarks, point), case=case.name)


def _write_pictures(
    case: Case,
    rows: Sequence[Row],
    points: Array,
    out_dir: Path,
    size_px: int,
    settings: CArmSettings,
    progress: Progress | None,
) -> None:
    (out_dir / case.name).mkdir(exist_ok=True)
    lacking = [i for i, row in enumerate(rows) if not _is_whole(out_dir / row.filename, size_px)]
    bar = progress or Progress(disable=True)
    task = bar.add_task(case.name, total=len(rows), completed=len(rows) - len(lacking))
    if not lacking:
        return
    renderer = make_renderer(settings.renderer, case.volume, optics_of(settings))

    def write(path: Path, line_integrals: NDArray[np.float32]) -> None:
        write_whole(path, _png(to_uint8(line_integrals)))
        bar.advance(task)

    with ThreadPoolExecutor(_WRITERS) as writers:
        waiting: deque[Future[None]] = deque()
        for i in lacking:
            x_mm, y_mm, z_mm = points[i].tolist()
            line_integrals = renderer.render(Pose(x_mm=x_mm, y_mm=y_mm, z_mm=z_mm), size_px)
            waiting.append(writers.submit(write, out_dir / rows[i].filename, line_integrals))
            if len(waiting) > 2 * _WRITERS:
                waiting.popleft().result()
        for future in waiting:
            future.result()


def _png(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def _is_whole(path: Path, size_px: int) -> bool:
    try:
        image = open_picture(path)
    except BadInput:
        return False
    return image.size == (size_px, size_px) and image.mode == "L"


def _read_table(path: Path) -> dict[str, list[Row]]:
    finished: dict[str, list[Row]] = {}
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                finished.setdefault(line["case"], []).append(Row(**line))
    return finished


def _write_table(path: Path, finished: dict[str, list[Row]]) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(Row._fields)
    for rows in finished.values():
        writer.writerows(rows)
    write_whole(path, buffer.getvalue().encode())
