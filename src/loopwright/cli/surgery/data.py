"""`loopwright data build surgery` and `loopwright data distill surgery`: clips, conversations and a teacher's plans."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer
from rich.table import Table

from loopwright.cli.output import json_line, plain_lines, stderr, stdout
from loopwright.errors import BadInput, UnknownName

if TYPE_CHECKING:
    from loopwright.finetune.data.rows import FormatName
    from loopwright.finetune.data.surgery.build import Recorded, SurgeryChat

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Frames = Annotated[
    Path | None, typer.Option(help="Folder of `VIDxx/000000.png`, where it is not in the data set's own.")
]
Rules = Annotated[
    Path | None,
    typer.Option(help="YAML of how seconds become clips, see docs/data.md; what it leaves out is usual."),
]
Chat = Annotated[
    Literal["indir", "dir", "both"] | None,
    typer.Option(help="Also write conversations: near history in words (Indir) or in pictures (Dir)."),
]
Memory = Annotated[
    str | None,
    typer.Option(help="View of the past: `all`, `near-action`, `near` or `image-action`; else drawn each time."),
]
Format = Annotated[
    Literal["messages", "sharegpt", "both"], typer.Option("--format", help="For TRL, for LLaMA-Factory, or both.")
]
Kind = Literal["indir", "dir"]
KINDS: tuple[Kind, ...] = get_args(Kind)
CHAT = "chat"
"""Where in a built folder the conversations of each kind lie."""


def build(
    out: Annotated[Path, typer.Option(help="The folder to write; its settings cannot change.")],
    cholect50: Annotated[Path | None, typer.Option(help="CholecT50's folder: `labels/VIDxx.json`.")] = None,
    cholect45: Annotated[
        Path | None, typer.Option(help="CholecT45's folder: `verb/VIDxx.txt` and so on, or one packed `.npz`.")
    ] = None,
    frames: Frames = None,
    split: Annotated[str, typer.Option(help="`rendezvous`, `fold1` to `fold5` (the test), or `all`.")] = "rendezvous",
    rules: Rules = None,
    history: Annotated[int, typer.Option(min=1, help="Clips that a sample knows in detail.")] = 5,
    min_history: Annotated[int, typer.Option(min=1, help="Leave out samples with fewer clips before them.")] = 1,
    frames_per_clip: Annotated[int, typer.Option(min=0, help="Pictures that a clip shows at most.")] = 1,
    chat: Chat = None,
    simulated: Annotated[
        int, typer.Option(min=0, help="Simulated patients to ask about too, and a tenth as many to choose by.")
    ] = 0,
    task: Annotated[list[str] | None, typer.Option(help="Only `next`, `plan` or `caption`; may be repeated.")] = None,
    memory: Memory = None,
    distilled: Annotated[
        Path | None, typer.Option(help="A teacher's plans, of `loopwright data distill surgery`.")
    ] = None,
    form: Format = "both",
    seed: Annotated[int, typer.Option(min=0, help="Seed of views and tasks.")] = 0,
    as_json: Json = False,
) -> None:
    """Write clips and samples of surgical videos by patient, the simulator's statistics, and conversations."""
    from loopwright.finetune.data.rows import FORMATS

    folder = cholect50 or cholect45
    if cholect50 and cholect45:
        raise BadInput("Give either `--cholect50 DIR` or `--cholect45 DIR`.")
    if folder is None and not (chat and simulated):
        raise BadInput(
            "Give either `--cholect50 DIR` or `--cholect45 DIR`; or `--chat KIND` with `--simulated N` patients alone."
        )
    if not chat and (simulated or task or memory or distilled):
        raise BadInput("`--simulated`, `--task`, `--memory` and `--distilled` are about conversations: give `--chat`.")
    if folder is None and (frames or rules or split != "rendezvous"):
        raise BadInput(
            "`--frames`, `--rules` and `--split` are about recorded patients: give `--cholect50` or `--cholect45`."
        )
    kinds_asked: tuple[Kind, ...] = () if chat is None else KINDS if chat == "both" else (chat,)
    kinds: dict[Kind, SurgeryChat] = {kind: _settings(kind, simulated, task, memory, seed) for kind in kinds_asked}
    counts = None
    recorded: Recorded | None = None
    if folder is not None:
        what = {"cholect50" if cholect50 else "cholect45": folder}
        counts = _clips(out, what, frames, split, rules, (history, min_history, frames_per_clip), as_json)
        recorded = _recorded(out) if kinds else None
    formats = tuple(FORMATS) if form == "both" else (form,)
    _conversations(out, kinds, recorded, distilled, formats, as_json)
    if counts is not None and as_json:
        json_line({"counts": counts})
    elif counts is not None:
        _print_counts(counts)


def distill(
    data: Annotated[Path, typer.Option(help="Folder of `loopwright data build surgery`; its training part is used.")],
    teacher: Annotated[str, typer.Option(help="Card of the stronger model; a served one needs a budget.")],
    out: Annotated[Path, typer.Option(help="JSONL to write; one that was begun is completed.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many moments, spread over all.")] = None,
    in_flight: Annotated[int, typer.Option(min=1, max=64, help="Questions under way at a time.")] = 4,
    as_json: Json = False,
) -> None:
    """Have a stronger model write plans for what came next; those that disagree with the label are not kept."""
    from loopwright.finetune.data.surgery.distill import check_teacher, distil
    from loopwright.models.cards import load_card
    from loopwright.models.open import open_model
    from loopwright.models.served.chat import ServedChatModel
    from loopwright.tools.surgery.dataset import read_samples

    card = load_card(teacher)
    check_teacher(card)
    samples = read_samples(data / "train.jsonl")
    if not samples:
        raise BadInput(f"`{data}` has no training sample. Build it with a split that trains on somebody.")
    if limit is not None and limit < len(samples):
        samples = [samples[i * len(samples) // limit] for i in range(limit)]
    model = open_model(card)
    console = stderr()
    try:
        counts = distil(
            samples, model, card.name, out, in_flight=in_flight, on_progress=lambda s: console.print(s, markup=False)
        )
    finally:
        if isinstance(model, ServedChatModel):
            console.print(f"spent: {model.spent.model_dump()}", markup=False)
    if as_json:
        json_line({"file": str(out), **counts.model_dump()})
    else:
        stdout().print(f"{counts.kept} plans of {counts.moments} moments in {out}: {counts}", markup=False)


def _settings(kind: Kind, simulated: int, task: list[str] | None, memory: str | None, seed: int) -> "SurgeryChat":
    from loopwright.finetune.data.surgery.build import SurgeryChat
    from loopwright.finetune.data.surgery.tasks import DRAWN_MODES, TASKS

    for name in task or ():
        if name not in TASKS:
            raise UnknownName("task", name, TASKS)
    if memory is not None and memory not in DRAWN_MODES:
        raise UnknownName("view of the past", memory, DRAWN_MODES)
    asked = {"near_as": "captions" if kind == "indir" else "pictures", "mode": memory, "tasks": task or TASKS}
    return SurgeryChat.model_validate({"seed": seed, "simulated": simulated, "asked": asked})


def _clips(
    out: Path,
    what: Mapping[str, Path],
    frames: Path | None,
    split: str,
    rules: Path | None,
    sizes: tuple[int, int, int],
    as_json: bool,
) -> Mapping[str, Any]:
    """Build clips and samples, tell of the files, and return the counts."""
    from loopwright.tools.surgery.clips import ClipRules, load_rules
    from loopwright.tools.surgery.dataset import SurgeryData, build
    from loopwright.tools.surgery.samples import HistoryRules

    ((name, folder),) = what.items()
    near_clips, min_clips, per_clip = sizes
    data = SurgeryData.model_validate(
        {
            "data_set": name,
            "split": split,
            "rules": load_rules(rules) if rules else ClipRules(),
            "history": HistoryRules(near_clips=near_clips, min_clips=min_clips),
            "frames_per_clip": per_clip,
        }
    )
    console = stderr()
    built = build(out, folder, data, frames=frames, on_progress=lambda line: console.print(line, markup=False))
    _print_written(built.rows, "lines", as_json)
    return built.counts


def _recorded(out: Path) -> "Recorded":
    """What of a built folder may be learnt from."""
    from loopwright.finetune.data.surgery.build import TAUGHT, Recorded
    from loopwright.tools.surgery.dataset import STATISTICS, read_samples, read_source
    from loopwright.tools.surgery.statistics import read_statistics

    source = read_source(out)["frames"]
    return Recorded(
        samples={part: read_samples(out / f"{part}.jsonl") for part in TAUGHT},
        statistics=read_statistics(out / STATISTICS),
        frames=None if source is None else Path(source),
    )


def _conversations(
    out: Path,
    kinds: "Mapping[Kind, SurgeryChat]",
    recorded: "Recorded | None",
    distilled: Path | None,
    formats: "Sequence[FormatName]",
    as_json: bool,
) -> None:
    from loopwright.finetune.data.surgery.build import build
    from loopwright.finetune.data.surgery.distill import read_plans

    plans = None if distilled is None else read_plans(distilled)
    console = stderr()
    for kind, settings in kinds.items():
        written = build(
            out / CHAT / kind, settings, recorded, distilled=plans, formats=formats, on_progress=console.print
        )
        _print_written(written, "conversations", as_json)


def _print_written(rows: Mapping[Path, int], what: str, as_json: bool) -> None:
    for path, n_rows in rows.items():
        if as_json:
            json_line({"file": str(path), "rows": n_rows})
        else:
            stdout().print(f"{n_rows} {what} in {path}", markup=False)


def _print_counts(counts: Mapping[str, Any]) -> None:
    """What was used and dropped, as a table and lines."""
    table = Table("action", *counts["parts"], "all", title=f"Clips of {counts['used']} of {counts['videos']} videos")
    for action, n in counts["clips"].items():
        table.add_row(action, *(str(part["clips"][action]) for part in counts["parts"].values()), str(n))
    samples = [str(part["samples"]) for part in counts["parts"].values()]
    table.add_row("samples", *samples, str(counts["samples"]))
    stdout().print(table)
    for what in ("frames", "pictures"):
        said = ", ".join(f"{name} {n}" for name, n in counts[what].items())
        stdout().print(f"{what}: {said}", markup=False)
    for name, why in counts["skipped"].items():
        stdout().print(plain_lines(f"skipped {name}: {why}"))
