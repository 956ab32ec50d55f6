"""`loopwright data fetch chest`, `loopwright data render carm` and `loopwright data build carm`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from loopwright.cli.output import json_line, stderr, stdout
from loopwright.errors import BadInput, UnknownName
from loopwright.settings import settings

if TYPE_CHECKING:
    from loopwright.tools.carm.case import Case

Part = Literal["train", "validation", "calibration", "test"]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def fetch_chest(as_json: Json = False) -> None:
    """Fetch a real chest CT: LIDC-IDRI-0001, 34 MB, CC BY 3.0."""
    from loopwright.tools.carm import chest

    console = stderr()
    folder = chest.fetch_chest(settings().cache_dir, lambda line: console.print(line, markup=False))
    if as_json:
        json_line({"name": "chest", "path": str(folder)})


def render(
    volume: Annotated[
        list[str], typer.Option(help="A NIfTI file, a DICOM folder, `phantom:SEED` or `chest`; repeat for several.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to write; one that was begun is completed.")],
    landmarks: Annotated[
        list[Path] | None, typer.Option(help="JSON or CSV landmarks, one for each --volume that is a file, in order.")
    ] = None,
    n: Annotated[int, typer.Option(min=1, help="Isocentres per volume.")] = 1024,
    size_px: Annotated[int | None, typer.Option(min=32, help="Edge of a picture; else `carm.image_size_px`.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the isocentres.")] = 0,
    as_json: Json = False,
) -> None:
    """Write DRRs named after their isocentre, and a CSV of each one's three nearest landmarks."""
    from loopwright.tools.carm.dataset import write_dataset

    cases = _cases(volume, landmarks or [])
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=stderr()
    )
    with bar:
        table = write_dataset(cases, out, n_per_case=n, size_px=size_px, seed=seed, progress=bar)
    if as_json:
        json_line({"table": str(table), "pictures": n * len(volume)})
    else:
        stdout().print(f"{n * len(volume)} pictures, described in {table}", markup=False)


def build(
    out: Annotated[Path, typer.Option(help="The folder to write; one that was begun is completed.")],
    train: Annotated[int, typer.Option(min=0, max=10_000, help="Phantoms to train on.")] = 0,
    validation: Annotated[int, typer.Option(min=0, max=10_000, help="Phantoms to choose by.")] = 0,
    test: Annotated[int, typer.Option(min=0, max=10_000, help="Phantoms to test on.")] = 0,
    volume: Annotated[
        list[str] | None, typer.Option(help="A NIfTI file, a DICOM folder, `phantom:SEED` or `chest`; may be repeated.")
    ] = None,
    landmarks: Annotated[
        list[Path] | None, typer.Option(help="JSON or CSV landmarks, one for each --volume that is a file, in order.")
    ] = None,
    table: Annotated[
        list[Path] | None, typer.Option(help="The seed's own data set: a CSV beside its pictures, or its folder.")
    ] = None,
    part: Annotated[Part, typer.Option(help="What --volume and --table are for.")] = "train",
    views: Annotated[int, typer.Option(min=1, help="Pictures a volume.")] = 64,
    size_px: Annotated[int, typer.Option(min=32, max=2048, help="Edge of a picture.")] = 128,
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this: `retrieval`, `centred`, `nearest`, `place`, `correction` or `navigation`; may be repeated."
        ),
    ] = None,
    ladder: Annotated[tuple[float, float, float], typer.Option(help="SMALL, MODERATE and LARGE in mm.")] = (
        15.0,
        50.0,
        150.0,
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seed of poses, names and phrasings.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that render.")] = 1,
    form: Annotated[
        Literal["messages", "sharegpt", "both"], typer.Option("--format", help="For TRL, for LLaMA-Factory, or both.")
    ] = "both",
    as_json: Json = False,
) -> None:
    """Write conversations about DRRs: nearest landmarks, places, centred view, correction, navigation."""
    from loopwright.agents.carm.formats import Ladder
    from loopwright.finetune.data.carm.build import CArmData, Volume, phantoms, table_cases
    from loopwright.finetune.data.carm.build import build as build_data
    from loopwright.finetune.data.carm.tasks import TASKS, TaskSettings
    from loopwright.finetune.data.rows import FORMATS

    for name in task or ():
        if name not in TASKS:
            raise UnknownName("task", name, TASKS)
    sources = [*phantoms("train", train), *phantoms("validation", validation), *phantoms("test", test)]
    given = _with_landmarks(volume or [], landmarks or [])
    sources += [Volume(part=part, spec=spec, landmarks=file) for spec, file in given]
    sources += [case for path in table or [] for case in table_cases(path, part)]
    asked = TaskSettings.model_validate({"tasks": task or TASKS, "ladder": Ladder.of(ladder)})
    data = CArmData(seed=seed, views_per_volume=views, size_px=size_px, asked=asked)
    formats = tuple(FORMATS) if form == "both" else (form,)
    written = build_data(out, sources, data, formats=formats, workers=workers, on_progress=stderr().print)
    for path, n_rows in written.items():
        if as_json:
            json_line({"file": str(path), "rows": n_rows})
        else:
            stdout().print(f"{n_rows} conversations in {path}", markup=False)


def episodes(
    out: Annotated[Path, typer.Option(help="The JSONL file to write.")],
    part: Annotated[Part, typer.Option(help="Whose phantoms.")] = "train",
    phantoms: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 30,
    first: Annotated[int, typer.Option(min=0, max=10_000, help="Phantoms of the part to pass over.")] = 0,
    n: Annotated[int, typer.Option(min=1, help="Runs, evenly over the phantoms.")] = 120,
    seed: Annotated[int, typer.Option(min=0, help="Seed of starts and targets.")] = 0,
    localiser: Annotated[Literal["network", "vlm", "hybrid"], typer.Option(help="Who sees.")] = "network",
    navigator: Annotated[Literal["vlm", "vlm-unaided"], typer.Option(help="Who steers: the role to train.")] = "vlm",
    as_json: Json = False,
) -> None:
    """Write runs of the C-arm loop over phantoms, for reinforcement."""
    from loopwright.finetune.data.carm.episodes import write_episodes

    written = write_episodes(
        out, part, phantoms=phantoms, n=n, first=first, seed=seed, localiser=localiser, navigator=navigator
    )
    if as_json:
        json_line({"file": str(written), "runs": len(written.read_text(encoding="utf-8").splitlines())})
    else:
        stdout().print(f"Runs in {written}", markup=False)


def _with_landmarks(specs: list[str], landmarks: list[Path]) -> list[tuple[str, Path | None]]:
    """Each volume with its file of landmarks; phantoms and the chest bring their own."""
    files = [spec for spec in specs if spec != "chest" and not spec.startswith("phantom:")]
    if len(landmarks) != len(files):
        raise BadInput(
            f"{len(files)} of the volumes are files, but `--landmarks` was given {len(landmarks)} times; expected one "
            "for each, in the same order."
        )
    given = dict(zip(files, landmarks, strict=True))
    return [(spec, given.get(spec)) for spec in specs]


def _cases(specs: list[str], landmarks: list[Path]) -> "Iterator[Case]":
    """The cases one after the other, opened when they are needed: a hundred volumes do not fit into memory at once."""
    from loopwright.tools.carm.sources import open_case

    pairs = _with_landmarks(specs, landmarks)
    return (open_case(spec, file) for spec, file in pairs)
