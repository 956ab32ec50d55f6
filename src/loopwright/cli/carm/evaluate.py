"""`loopwright eval carm`: measure the C-arm's models and the loop itself."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, TypeVar

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from loopwright.cli.output import json_line, stderr, stdout
from loopwright.errors import BadInput, MissingDependency, UnknownName

if TYPE_CHECKING:
    from loopwright.finetune.evaluate.carm.vlm import Vlm
    from loopwright.finetune.measure.rows import Bar, Row

MODEL = "small"
OF_MODELS = ("vlm-base", "vlm-sft", "hybrid")
NAVIGATION = ("network+atlas", "network+vlm", "hybrid+vlm", "vlm+vlm")
HOW_MANY = {"localisation": 50, "navigation": 400, "strangers": 60, "preservation": 200, "fit": 20}
"""Views of each case, runs, runs of each kind, questions of each kind, views of each case."""

T = TypeVar("T")
World = Literal["phantom", "chest"]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        help="Preservation: also this task of lm-evaluation-harness, by name (its data is fetched) or as a YAML file, "
        "on at most `--n` questions; repeat it for several."
    ),
]


class _Wanted(NamedTuple):
    """What the command line asked for."""

    volumes: int
    n: int
    seed: int
    model: str | None
    rows: tuple[str, ...]

    @property
    def card(self) -> str:
        """Name or path of the model's card."""
        return self.model or MODEL

    def models(self, open_: Callable[[str], T]) -> T | None:
        """`open_(card)`; None, and a line that says why, where nobody asked for models and none is there."""
        try:
            return open_(self.card)
        except (BadInput, MissingDependency) as error:
            if self.model is not None or self.rows:
                raise
            _on_progress(f"Rows of models are left out. {error}")
            return None


def evaluate(
    what: Annotated[
        Literal["localisation", "navigation", "strangers", "preservation", "fit"],
        typer.Option(
            help="What to measure: landmarks found, targets reached, false claims over strange anatomy, what "
            "fine-tuning leaves of the base; or fit the temperature and the hybrid's weight on validation phantoms."
        ),
    ],
    world: Annotated[Literal["phantom", "chest", "both"], typer.Option(help="On which volumes.")] = "both",
    volumes: Annotated[int, typer.Option(min=1, help="How many phantoms, and strangers of each kind.")] = 20,
    n: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Views of each case (localisation 50, fit 20), runs over all phantoms (navigation 400) or over each "
            "kind of volume (strangers 60), or questions of each kind (preservation 200).",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of views and sub-samples.")] = 0,
    model: Annotated[
        str | None, typer.Option(help=f"Card of the vision-language model. By default `{MODEL}`, if it is there.")
    ] = None,
    rows: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this row, such as `vlm-sft` or `hybrid` (localisation) or `network+vlm` (navigation: "
            "LOCALISER+NAVIGATOR); repeat it for several."
        ),
    ] = None,
    lm_eval: Tasks = None,
    out: Annotated[
        Path | None, typer.Option(help="Also write tables (Markdown), rows (JSON) and heat maps (PNG) to this folder.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> int:
    """Measure the C-arm's localisers, how often the loop reaches its target, and what fine-tuning changed."""
    wanted = _Wanted(volumes, n or HOW_MANY[what], seed, model, tuple(rows or ()))
    worlds: tuple[World, ...] = ("phantom", "chest") if world == "both" else (world,)
    is_of_worlds = what in ("localisation", "navigation", "strangers")
    unread = {
        "lm-eval": bool(lm_eval) and what != "preservation",
        "world": world == "chest" and not is_of_worlds,
        "model": model is not None and what == "strangers",
        "rows": bool(rows) and what not in ("localisation", "navigation"),
        "out": out is not None and what == "fit",
    }
    _check_first(what, unread, worlds if is_of_worlds else (), out, lm_eval=bool(lm_eval))
    if what == "fit":
        _fit(wanted, as_json)
        return 0
    if what == "localisation":
        found, bars = _localisation(worlds, wanted)
    elif what == "navigation":
        found, bars = _navigation(worlds, wanted)
    elif what == "strangers":
        found, bars = _strangers(worlds, wanted), []
    else:
        found, bars = _preservation(wanted, tuple(lm_eval or ())), []
    return _report(what, found, bars, wanted, out, as_json)


def _check_first(
    what: str, unread: dict[str, bool], worlds: tuple[World, ...], out: Path | None, *, lm_eval: bool
) -> None:
    """Find what would fail at the end before hours of work: options that nothing reads, and what is not there."""
    from loopwright.tools.carm.sources import open_case

    if refused := [f"`--{name}`" for name, is_given in unread.items() if is_given]:
        raise BadInput(f"`--what {what}` does not read {', '.join(refused)}: leave it out.")
    if out is not None and what == "localisation" and find_spec("matplotlib") is None:
        raise MissingDependency("`--out` draws heat maps with matplotlib: `pip install 'loopwright[train]'`.")
    if lm_eval and find_spec("lm_eval") is None:
        raise MissingDependency("`--lm-eval` needs lm-evaluation-harness: `pip install 'loopwright[lm-eval]'`.")
    if "chest" in worlds:
        open_case("chest")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)


def _report(
    what: str, rows: "Sequence[Row]", bars: "Sequence[Bar]", wanted: _Wanted, out: Path | None, as_json: bool
) -> int:
    from loopwright.finetune.evaluate.carm.tables import markdown
    from loopwright.finetune.measure.rows import summary

    last = summary(what, bars)
    if as_json:
        for row in rows:
            json_line(row.as_json())
        json_line(last)
    else:
        stdout().print(markdown(what, rows, bars), markup=False)
    if out is not None:  # after printing: a full disk must not cost hours of work
        _write(out, what, rows, bars, wanted)
    return 1 if last["bars_met"] is False else 0


def _write(out: Path, what: str, rows: "Sequence[Row]", bars: "Sequence[Bar]", wanted: _Wanted) -> None:
    from loopwright.finetune.evaluate.carm.plot import plot_confusion
    from loopwright.finetune.evaluate.carm.tables import markdown
    from loopwright.finetune.measure.rows import summary

    content = {"asked": wanted._asdict(), "rows": [row.as_json() for row in rows], **summary(what, bars)}
    (out / f"{what}.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    (out / f"{what}.md").write_text(markdown(what, rows, bars), encoding="utf-8")
    confusion = [row for row in rows if row.what == "confusion"]
    for world in dict.fromkeys(row.world for row in confusion):
        plot_confusion([row for row in confusion if row.world == world], out / f"confusion-{world}.png")
    _on_progress(f"Wrote {out}")


def _localisation(worlds: tuple[World, ...], wanted: _Wanted) -> "tuple[list[Row], list[Bar]]":
    from loopwright.finetune.data.carm.rendered import seeds_of
    from loopwright.finetune.evaluate.carm.localisation import BASELINES, bars_of, evaluate_localisation
    from loopwright.models.networks.carm import load_carm_network
    from loopwright.settings import settings
    from loopwright.tools.carm.sources import open_case

    vlms = _vlms_of(wanted)
    rows: list[Row] = []
    bars: list[Bar] = []
    with _progress() as progress:
        for world in worlds:
            specs = ["chest"] if world == "chest" else [f"phantom:{s}" for s in seeds_of("test", wanted.volumes)]
            cases = (open_case(spec) for spec in progress.track(specs, description=f"{world} views"))
            found, of_world = evaluate_localisation(
                load_carm_network(), cases, wanted.n, world=world, size_px=settings().carm.image_size_px,
                seed=wanted.seed, vlms=vlms, confusion=True,
            )  # fmt: skip
            if wanted.rows:
                found = [row for row in found if row.model in (*wanted.rows, *BASELINES)]
                of_world = bars_of(found) if of_world else []
            rows, bars = rows + found, bars + of_world
    return rows, bars


def _vlms_of(wanted: _Wanted) -> "list[Vlm]":
    """The models that the wanted rows of localisation ask for."""
    from loopwright.finetune.evaluate.carm.vlm import open_vlms
    from loopwright.finetune.evaluate.pictures import PngStore
    from loopwright.models.cards import load_card

    known = ("network", *OF_MODELS)
    if unknown := [row for row in wanted.rows if row not in known]:
        raise UnknownName("row of localisation", unknown[0], known)
    if wanted.rows and not set(wanted.rows) & set(OF_MODELS):
        return []
    vlms = wanted.models(lambda card: open_vlms(load_card(card), PngStore(), _on_progress)) or []
    there = {"network", *(vlm.name for vlm in vlms), *("hybrid" for vlm in vlms if vlm.local)}
    if lacking := [row for row in wanted.rows if row not in there]:
        raise BadInput(
            f"There can be no row {lacking[0]!r} with the card {wanted.card!r}: `vlm-sft` needs an adapter `carm`, and "
            "`hybrid` a local model, whose choices can be scored."
        )
    of_hybrid = vlms[-1:] if "hybrid" in wanted.rows else []
    return [vlm for vlm in vlms if not wanted.rows or vlm.name in wanted.rows or vlm in of_hybrid]


def _navigation(worlds: tuple[World, ...], wanted: _Wanted) -> "tuple[list[Row], list[Bar]]":
    from loopwright.finetune.evaluate.carm.navigation import ATLAS, STEERINGS, evaluate_navigation
    from loopwright.graphs.loop.models import checked_card

    for name in wanted.rows:
        if name not in STEERINGS:
            raise UnknownName("row of navigation", name, STEERINGS)
    steerings = [STEERINGS[name] for name in wanted.rows or NAVIGATION]
    if any(steering.asks_a_model for steering in steerings) and wanted.models(checked_card) is None:
        steerings = [ATLAS]
    rows: list[Row] = []
    bars: list[Bar] = []
    with _progress() as progress:
        for world in worlds:
            total = len(steerings) * (72 if world == "chest" else wanted.n)
            task = progress.add_task(f"{world} runs", total=total)
            found, of_world = evaluate_navigation(
                world, volumes=wanted.volumes, n=wanted.n, seed=wanted.seed, steerings=steerings,
                model=wanted.card, on_run=partial(_advance, progress, task),
            )  # fmt: skip
            rows, bars = rows + found, bars + of_world
    return rows, bars


def _strangers(worlds: tuple[World, ...], wanted: _Wanted) -> "list[Row]":
    from loopwright.finetune.evaluate.carm.strangers import evaluate_strangers, volumes_of

    volumes = volumes_of(worlds, wanted.volumes)
    with _progress() as progress:
        task = progress.add_task("sessions", total=2 * wanted.n * len(volumes))
        return evaluate_strangers(volumes, wanted.n, seed=wanted.seed, on_run=partial(_advance, progress, task))


def _preservation(wanted: _Wanted, tasks: tuple[str, ...]) -> "list[Row]":
    from loopwright.finetune.evaluate.carm.preservation import adapted, evaluate_preservation, probed_worlds
    from loopwright.finetune.evaluate.carm.vlm import open_vlms
    from loopwright.finetune.evaluate.language import evaluate_language
    from loopwright.finetune.evaluate.pictures import PngStore
    from loopwright.models.cards import load_card
    from loopwright.settings import settings

    base, *_ = open_vlms(load_card(wanted.card), PngStore())
    rows = evaluate_language(*adapted(base), tasks, wanted.n, _on_progress) if tasks else []
    return (
        evaluate_preservation(base, probed_worlds(wanted.volumes), wanted.n, settings().cache_dir, _on_progress) + rows
    )


def _fit(wanted: _Wanted, as_json: bool) -> None:
    from loopwright.finetune.data.carm.rendered import seeds_of
    from loopwright.finetune.evaluate.carm.fit import fit
    from loopwright.finetune.evaluate.carm.vlm import open_vlms
    from loopwright.finetune.evaluate.pictures import PngStore
    from loopwright.models.cards import load_card
    from loopwright.models.networks.carm import load_carm_network
    from loopwright.settings import settings
    from loopwright.tools.carm.phantom import make_phantom

    *_, tuned = open_vlms(load_card(wanted.card), PngStore(), _on_progress)
    seeds = seeds_of("validation", wanted.volumes)
    with _progress() as progress:
        cases = (make_phantom(seed) for seed in progress.track(seeds, description="validation views"))
        size_px = settings().carm.image_size_px
        found = fit(load_carm_network(), tuned, cases, wanted.n, size_px=size_px, seed=wanted.seed)
    if as_json:
        json_line(found.model_dump(mode="json"))
    else:
        stdout().print(found.model_dump_json(indent=2), markup=False)


def _advance(progress: Progress, task: TaskID, _: object) -> None:
    progress.advance(task)


def _on_progress(line: str) -> None:
    stderr().print(line, markup=False)


def _progress() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=stderr())
