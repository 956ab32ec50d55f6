"""Builds the C-arm's conversations: pictures of phantoms, other volumes or the seed's CSV, asked about in every task.

    OUT/parameters.json           what decides the content; it cannot change under a folder that was begun
    OUT/PART/CASE/*.png           pictures, named CASE_x_y_z_alpha_beta.png (mm, degrees) as in the seed's data
    OUT/PART/CASE/.rows.jsonl     the case's conversations, written last: a case that has it is finished
    OUT/PART.messages.jsonl       all cases of a part, for TRL; and OUT/PART.sharegpt.jsonl for LLaMA-Factory

Seeds of phantoms say which part they belong to (`loopwright.finetune.data.carm.rendered`), so no phantom is in two.
"""

import csv
import hashlib
import io
import multiprocessing
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from loopwright.agents.carm.formats import RETRIEVAL
from loopwright.agents.carm.navigator import to_patient_mm
from loopwright.errors import BadInput
from loopwright.finetune.data.carm.rendered import FIRST_SEED, Part, seeds_of
from loopwright.finetune.data.carm.tasks import Draw, TaskSettings, Truth, questions, retrieval_question
from loopwright.finetune.data.carm.views import Views, ViewSampling, render_views, sample_training_poses
from loopwright.finetune.data.files import read_examples, write_dataset_info, write_examples
from loopwright.finetune.data.rows import Example, FormatName, example_of
from loopwright.models.pixels import open_picture
from loopwright.schema import Frozen, ImageRef
from loopwright.tools.carm.geometry import Optics, Pose
from loopwright.tools.carm.landmarks import LANDMARKS, Unit
from loopwright.tools.carm.sources import open_case
from loopwright.tools.files import keep_parameters, write_whole

ROWS = ".rows.jsonl"
"""In a case's folder, yet its paths are from OUT, as in the files that are made of it."""
_SEEDS_A_PART = 10_000


class CArmData(Frozen):
    """What decides the content, beside the sources."""

    seed: int = Field(default=0, ge=0)
    views_per_volume: int = Field(default=64, ge=1)
    size_px: int = Field(default=128, ge=32, le=2048)
    sampling: ViewSampling = ViewSampling(near_fraction=0.35, centred_fraction=0.3, angle_sd_deg=5.0)
    asked: TaskSettings = TaskSettings()


class Volume(Frozen):
    """A volume to render: a phantom, the chest, or a file with its landmarks."""

    part: Part
    spec: str
    landmarks: Path | None = None
    unit: Unit = "mm"

    @property
    def folder(self) -> str:
        """Name of the case's folder: from the file, or `phantom-7`."""
        stem = Path(self.spec).name.removesuffix(".gz").removesuffix(".nii")
        return re.sub(r"[^A-Za-z0-9.-]+", "-", stem)

    def build(self, out: Path, data: CArmData) -> list[Example]:
        """Render the case's pictures into its folder and ask about them."""
        case = open_case(self.spec, self.landmarks, unit=self.unit)
        if len(case.landmarks) < 3:
            raise BadInput(
                f"`{self.spec}` has {len(case.landmarks)} landmarks; expected at least 3. Give `--landmarks`."
            )
        rng = np.random.default_rng([data.seed, zlib.crc32(self.folder.encode())])
        poses = sample_training_poses(case, data.views_per_volume, data.sampling, rng)
        views = render_views(case, poses, Optics(), data.size_px)
        return [example for i, pose in enumerate(poses) for example in self._ask(out, data, views, i, pose, rng)]

    def _ask(
        self, out: Path, data: CArmData, views: Views, i: int, pose: Pose, rng: np.random.Generator
    ) -> Iterator[Example]:
        where = "_".join(f"{v:.2f}" for v in (pose.x_mm, pose.y_mm, pose.z_mm, pose.alpha_deg, pose.beta_deg))
        path = f"{self.part}/{self.folder}/{self.folder}_{where}.png"
        image = _write_png(out / path, views.images[i])
        offsets = np.array([to_patient_mm(offset, pose) for offset in views.offsets_mm[i]])
        truth = Truth(image=image, offsets_mm=offsets, distance_mm=views.distance_mm[i].astype(np.float64))
        for prompt, answer in questions(truth, data.asked, rng):
            yield example_of(prompt, answer, {image.sha256: path})


class TableCase(Frozen):
    """One case of the seed's own data set: pictures and a CSV of `filename, top3_landmarks, case`. Retrieval only."""

    part: Part
    table: Path
    case: str

    @property
    def folder(self) -> str:
        """Name of the case's folder."""
        return re.sub(r"[^A-Za-z0-9.-]+", "-", self.case)

    def build(self, out: Path, data: CArmData) -> list[Example]:
        """Copy the case's pictures into its folder and ask for what the CSV answers, names drawn anew."""
        draw = Draw(np.random.default_rng([data.seed, zlib.crc32(self.folder.encode())]))
        examples = []
        for number, row in _table_rows(self.table):
            if row["case"] == self.case:
                source = self.table.parent / row["filename"]
                path = f"{self.part}/{self.folder}/{source.name}"
                image = _copy_png(source, out / path, self.table, number)
                try:
                    landmarks = RETRIEVAL.repair(row["top3_landmarks"]).landmarks
                except BadInput as error:
                    raise BadInput(f"`{self.table}`, row {number}: {error}") from error
                prompt, answer = retrieval_question(image, landmarks, draw)
                examples.append(example_of(prompt, answer, {image.sha256: path}))
        return examples


Source = Volume | TableCase


def phantoms(part: Part, count: int) -> list[Source]:
    """The first `count` phantoms of a part."""
    return [Volume(part=part, spec=f"phantom:{seed}") for seed in seeds_of(part, count)]


def table_cases(table: Path, part: Part) -> list[Source]:
    """The cases of the seed's CSV, or of the folder that holds it as `dataset.csv`.

    Raises:
        BadInput: no such file, or columns that are not the seed's.
    """
    path = table / "dataset.csv" if table.is_dir() else table
    return [
        TableCase(part=part, table=path, case=case) for case in dict.fromkeys(r["case"] for _, r in _table_rows(path))
    ]


def build(
    out: Path,
    sources: Sequence[Source],
    data: CArmData,
    *,
    formats: Sequence[FormatName] = ("messages", "sharegpt"),
    workers: int = 1,
    on_progress: Callable[[str], None] = lambda _: None,
) -> dict[Path, int]:
    """Build what `out` lacks, then write each part's files. Run again, it changes nothing; killed, it goes on.

    Cases may be added later; what was built before stays in the files.

    Returns:
        How many conversations are in each file.

    Raises:
        BadInput: `out` was begun with other parameters, a phantom's seed belongs to another part, two cases share a
            name, or a source is wrong.
    """
    if not sources:
        raise BadInput("There is nothing to build. Name phantoms (`--train 8`), a `--volume` or a `--table`.")
    _check_sources(out, sources)
    # What decides the data includes the words of prompts and answers.
    keep_parameters(out, {**data.model_dump(mode="json"), "words": _fingerprint_of_words()})
    lacking = [source for source in sources if not _is_finished(out, source)]
    for done, source in enumerate(_built(out, lacking, data, workers), start=1):
        on_progress(f"built {source.part}/{source.folder}, {done} of {len(lacking)}")
    written: dict[Path, int] = {}
    for part in FIRST_SEED:
        examples = [example for shard in sorted(out.glob(f"{part}/*/{ROWS}")) for example in read_examples(shard)]
        for form in formats if examples else ():
            path = out / f"{part}.{form}.jsonl"
            write_examples(path, examples, form)
            written[path] = len(examples)
    if "sharegpt" in formats:
        write_dataset_info(out, [path.name for path in written if ".sharegpt." in path.name])
    return written


def _built(out: Path, sources: Sequence[Source], data: CArmData, workers: int) -> Iterator[Source]:
    if workers == 1 or len(sources) < 2:
        for source in sources:
            _build_one(out, source, data)
            yield source
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        jobs = {pool.submit(_build_one, out, source, data): source for source in sources}
        for job in as_completed(jobs):
            job.result()
            yield jobs[job]


def _build_one(out: Path, source: Source, data: CArmData) -> None:
    (out / source.part / source.folder).mkdir(parents=True, exist_ok=True)
    write_examples(out / source.part / source.folder / ROWS, source.build(out, data), "messages")


def _one_thread() -> None:
    """Each worker is one core's worth: the pool is the parallelism."""
    import numba

    numba.set_num_threads(1)


def _is_finished(out: Path, source: Source) -> bool:
    """Whether the case's rows and all their pictures are there."""
    shard = out / source.part / source.folder / ROWS
    return shard.is_file() and all((out / i).is_file() for e in read_examples(shard) for i in e.images)


def _check_sources(out: Path, sources: Sequence[Source]) -> None:
    seen: dict[str, Source] = {}
    for source in sources:
        other = seen.setdefault(source.folder, source)
        if other is not source:
            raise BadInput(f"Two cases are called `{source.folder}`: {other} and {source}. Rename one.")
        for part in FIRST_SEED:
            if part != source.part and (out / part / source.folder).is_dir():
                raise BadInput(
                    f"`{source.folder}` is in `{out / part}` already, so it cannot be in {source.part!r} too: "
                    "what is trained on cannot be tested on."
                )
        if isinstance(source, Volume) and source.spec.startswith("phantom:"):
            _check_phantom(source)


def _check_phantom(source: Volume) -> None:
    digits = source.spec.partition(":")[2]
    seed = int(digits) if digits.isascii() and digits.isdigit() else -1
    belongs = [part for part, first in FIRST_SEED.items() if first <= seed < first + _SEEDS_A_PART]
    if belongs != [source.part]:
        first = FIRST_SEED[source.part]
        raise BadInput(
            f"`{source.spec}` is no phantom of the part {source.part!r}; its seeds are {first} to "
            f"{first + _SEEDS_A_PART - 1}."
        )


def _fingerprint_of_words() -> str:
    """SHA-256 of what is asked and answered about some made-up views: it changes when prompts or phrasings do."""
    rng = np.random.default_rng(0)
    image = ImageRef(sha256="0" * 64, width_px=1, height_px=1)
    said = hashlib.sha256()
    for _ in range(16):
        offsets = rng.normal(0, 150, size=(len(LANDMARKS), 2))
        truth = Truth(image=image, offsets_mm=offsets, distance_mm=np.hypot(*offsets.T))
        for prompt, answer in questions(truth, TaskSettings(), rng):
            said.update(example_of(prompt, answer, {image.sha256: "x"}).model_dump_json().encode())
    return said.hexdigest()


def _write_png(path: Path, picture: NDArray[np.uint8]) -> ImageRef:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    write_whole(path, buffer.getvalue())
    return _ref(buffer.getvalue(), picture.shape[1], picture.shape[0])


def _copy_png(source: Path, path: Path, table: Path, row: int) -> ImageRef:
    try:
        width_px, height_px = open_picture(source, "it").size
    except BadInput as error:
        raise BadInput(f"`{table}`, row {row}: picture `{source}` cannot be read ({error})") from error
    picture = source.read_bytes()
    write_whole(path, picture)
    return _ref(picture, width_px, height_px)


def _ref(picture: bytes, width_px: int, height_px: int) -> ImageRef:
    return ImageRef(sha256=hashlib.sha256(picture).hexdigest(), width_px=width_px, height_px=height_px)


def _table_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Rows of the seed's CSV, counted from 1 after the header."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise BadInput(f"`{path}` cannot be read ({error.strerror}); expected a CSV beside its pictures.") from error
    reader = csv.DictReader(lines)
    columns = ("filename", "top3_landmarks", "case")
    for column in columns:
        if column not in (reader.fieldnames or ()):
            raise BadInput(f"`{path}` has no column `{column}`; expected {', '.join(columns)}.")
    rows = list(enumerate(reader, start=1))
    for number, row in rows:
        for column in columns:
            if not row[column]:
                raise BadInput(f"`{path}`, row {number}: `{column}` is empty.")
    return rows
