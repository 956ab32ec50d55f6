"""`loopwright eval surgery`: how well the next action is predicted, and by whom; plans to a goal."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from loopwright.cli.output import json_line, stderr, stdout
from loopwright.errors import BadInput, MissingDependency, UnknownName

if TYPE_CHECKING:
    from loopwright.finetune.evaluate.pictures import PngStore
    from loopwright.finetune.evaluate.surgery.models import Surgeon
    from loopwright.finetune.measure.rows import Row

MODEL = "small"
OF_SIMULATED = ("memory", "plan", "recall", "fit")
"""What goes by simulated patients alone."""
HOW_MANY = {"plan": 10, "recall": 20}
"""How many of them, where it is not the usual number."""


class _Wanted(NamedTuple):
    """What the command line asked for."""

    data: Path | None
    patients: int
    """Simulated ones of each part; 0 for none."""
    model: str | None
    adapters: Path | None
    rows: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """`data`, where it is needed."""
        if self.data is None:
            raise BadInput("Give `--data DIR`: a folder that was built with pictures (`--frames`).")
        return self.data

    def surgeons(self, store: "PngStore", *, is_short: bool = False) -> "list[Surgeon]":
        """The models; none, and a line that says why, where nobody asked for any and none is there.

        Captions take long to write: unless `is_short`, a model that reads written ones is there where it is named.
        """
        from loopwright.finetune.evaluate.surgery.models import CAPTIONED, open_surgeons
        from loopwright.models.cards import load_card

        try:
            found = open_surgeons(load_card(self.model or MODEL), store, self.adapters)
        except (BadInput, MissingDependency) as error:
            if self.model or self.adapters or self.rows:
                raise
            _on_progress(f"Rows of models are left out. {error}")
            return []
        for row in self.rows:
            if row not in (names := [surgeon.name for surgeon in found]):
                raise UnknownName("row of a model", row, names)
        usual = [surgeon.name for surgeon in found if is_short or surgeon.name != CAPTIONED]
        return [surgeon for surgeon in found if surgeon.name in (self.rows or usual)]

    def of_folds(self, surgeons: "list[Surgeon]") -> "list[Surgeon]":
        """Those for recorded patients: a card's one adapter is there if it is named, and then has to fit every fold."""
        left_out = [s.name for s in surgeons if s.is_of_card and s.name not in self.rows]
        if left_out:
            _on_progress(
                f"Left out on recorded patients: {', '.join(left_out)}. The card's adapter may know who is tested; "
                "give one for each fold with `--adapters`."
            )
        return [surgeon for surgeon in surgeons if surgeon.name not in left_out]


def evaluate(
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of `loopwright data build surgery`: each official fold in turn is the test."),
    ] = None,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="On simulated patients, beside the best possible.")
    ] = False,
    patients: Annotated[
        int | None, typer.Option(min=1, help="Simulated patients of each part: 300; 10 with `plan`, 20 with `recall`.")
    ] = None,
    what: Annotated[
        Literal["next", "memory", "video", "horizon", "plan", "recall", "fit"],
        typer.Option(
            help="What to measure: the next action, the four views of the past (simulated), the next action where "
            "there are pictures (recorded), plans to a goal, the form and time of the loop's plans or what surgeons' "
            "earlier choices are worth to them (simulated); or fit the temperature that a card needs (simulated)."
        ),
    ] = "next",
    model: Annotated[
        str | None, typer.Option(help=f"Card of the vision-language model. By default `{MODEL}`, if it is there.")
    ] = None,
    adapters: Annotated[
        Path | None,
        typer.Option(help="Folder of `indir/fold1`, `dir/simulated`, ...: an adapter for each fold; else the card's."),
    ] = None,
    row: Annotated[
        list[str] | None, typer.Option(help="Only this model's row, such as `indir-sft`; repeat it for several.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Also write tables (Markdown) and rows (JSON) to this folder.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> int:
    """Measure how well the next action is predicted, or what plans to a goal are worth."""
    _check(what, data=data, simulated=simulated, out=out, model=model, narrowed=bool(adapters or row))
    n_patients = patients or HOW_MANY.get(what, 300)
    wanted = _Wanted(data, n_patients if simulated or what in OF_SIMULATED else 0, model, adapters, tuple(row or ()))
    if out is not None:  # before the work: what cannot be made is said at once
        out.mkdir(parents=True, exist_ok=True)
    if what == "horizon":
        return _horizon(wanted, out, as_json)
    if what == "plan":
        return _plan(wanted, out, as_json)
    if what == "recall":
        return _recall(wanted, out, as_json)
    if what == "fit":
        return _fit(wanted, as_json)
    measure: dict[str, Callable[[_Wanted], list[Row]]] = {"next": _next, "memory": _memory, "video": _video}
    return _report(what, measure[what](wanted), out, as_json)


def _check(
    what: str, *, data: Path | None, simulated: bool, out: Path | None, model: str | None, narrowed: bool
) -> None:
    """Refuse options that do not go together, or that nothing would read."""
    if what in ("next", "horizon") and data is None and not simulated:
        raise BadInput("Give `--data DIR`, `--simulated` or both: what to measure on.")
    if what in OF_SIMULATED and data is not None:
        raise BadInput(f"`--what {what}` goes by simulated patients: leave out `--data`.")
    if what == "video" and simulated:
        raise BadInput("`--what video` goes by recorded patients: leave out `--simulated`.")
    if what == "fit" and out is not None:
        raise BadInput("`--what fit` prints what belongs in the card and writes no tables: leave out `--out`.")
    if what == "plan" and narrowed:
        raise BadInput("`--what plan` asks the card's own model: leave out `--adapters` and `--row`.")
    if what == "recall" and (model or narrowed):
        raise BadInput("`--what recall` asks no model: leave out `--model`, `--adapters` and `--row`.")


def _next(wanted: _Wanted) -> "list[Row]":
    from loopwright.finetune.evaluate.pictures import PngStore
    from loopwright.finetune.evaluate.surgery.baselines import BASELINES
    from loopwright.finetune.evaluate.surgery.models import Sights
    from loopwright.finetune.evaluate.surgery.next_action import (
        evaluate_recorded,
        evaluate_simulated,
        read_all_samples,
    )
    from loopwright.tools.surgery.procedure import bundled_procedure

    samples = read_all_samples(wanted.data) if wanted.data is not None else []
    store = PngStore()
    surgeons = wanted.surgeons(store)
    rows: list[Row] = []
    if samples:
        shown = [s.name for s in surgeons if s.name in wanted.rows and not s.reads_labels]
        if shown and not wanted.patients:
            raise BadInput(
                f"The row {shown[0]!r} needs pictures, which few clips have: measure it with `--what video`."
            )
        of_folds = wanted.of_folds([s for s in surgeons if s.reads_labels])
        fits = {s.name: s.fit(Sights(store), on_progress=_on_progress) for s in of_folds}
        rows += evaluate_recorded(samples, {**BASELINES, **fits}, on_progress=_on_progress)
    if wanted.patients:
        procedure = bundled_procedure()
        sights = Sights(store, procedure)
        fits = {s.name: s.fit(sights, on_progress=_on_progress) for s in surgeons}
        rows += evaluate_simulated(procedure, wanted.patients, {**BASELINES, **fits}, on_progress=_on_progress)
    return rows


def _memory(wanted: _Wanted) -> "list[Row]":
    from loopwright.finetune.evaluate.pictures import PngStore
    from loopwright.finetune.evaluate.surgery.memory import evaluate_memory
    from loopwright.finetune.evaluate.surgery.models import Sights
    from loopwright.tools.surgery.procedure import bundled_procedure

    store, procedure = PngStore(), bundled_procedure()
    sights = Sights(store, procedure)
    return evaluate_memory(procedure, wanted.patients, wanted.surgeons(store), sights, on_progress=_on_progress)


def _video(wanted: _Wanted) -> "list[Row]":
    """The next action after clips with pictures: seen, in words, and from labels alone."""
    from loopwright.finetune.evaluate.pictures import PngStore
    from loopwright.finetune.evaluate.surgery.baselines import BASELINES
    from loopwright.finetune.evaluate.surgery.models import Sights
    from loopwright.finetune.evaluate.surgery.next_action import (
        REFERENCES,
        evaluate_recorded,
        read_all_samples,
    )
    from loopwright.tools.surgery.dataset import read_source

    samples, frames = read_all_samples(wanted.folder), read_source(wanted.folder)["frames"]
    store = PngStore()
    sights = Sights(store, frames=None if frames is None else Path(frames))
    found = wanted.of_folds(wanted.surgeons(store, is_short=True))
    surgeons = [way for s in found for way in ((s, s.blind) if s.reads_labels else (s,))]
    fits = {surgeon.name: surgeon.fit(sights, on_progress=_on_progress) for surgeon in surgeons}
    return evaluate_recorded(
        samples,
        {**BASELINES, **fits},
        world="video",
        only=lambda sample: bool(sample.near[-1].frames),
        references=(*REFERENCES, "indir-sft"),
        on_progress=_on_progress,
    )


def _horizon(wanted: _Wanted, out: Path | None, as_json: bool) -> int:
    """Plans to a goal on the recorded videos in `data`, and on simulated patients."""
    from loopwright.finetune.evaluate.pictures import PngStore
    from loopwright.finetune.evaluate.surgery.horizon import (
        NGRAMS,
        evaluate_recorded_horizon,
        evaluate_simulated_horizon,
        headline,
        markdown,
        of_surgeons,
    )
    from loopwright.finetune.measure.rows import summary
    from loopwright.tools.surgery.dataset import read_clips
    from loopwright.tools.surgery.procedure import bundled_procedure

    found, rows = wanted.surgeons(PngStore()), []
    if unasked := [s.name for s in found if s.name in wanted.rows and not s.reads_labels]:
        raise BadInput(f"`--what horizon` asks models that are told labels: leave out `--row {unasked[0]}`.")
    surgeons = [s for s in found if s.reads_labels]
    if wanted.data is not None:
        fits = {**NGRAMS, **of_surgeons(wanted.of_folds(surgeons))}
        rows += evaluate_recorded_horizon(read_clips(wanted.data), fits, on_progress=_on_progress)
    if wanted.patients:
        fits = {**NGRAMS, **of_surgeons(surgeons)}
        rows += evaluate_simulated_horizon(bundled_procedure(), wanted.patients, fits, on_progress=_on_progress)
    last = summary("surgery horizon", []) | {"headline": headline(rows)}
    return _show("horizon", rows, last, markdown(rows), out, as_json)


def _plan(wanted: _Wanted, out: Path | None, as_json: bool) -> int:
    """The loop's own plans: whether they keep the form, and how long they take."""
    from loopwright.finetune.evaluate.surgery.plans import bars_of, evaluate_plans, markdown
    from loopwright.finetune.measure.rows import summary

    rows = evaluate_plans(wanted.model or MODEL, wanted.patients, _on_progress)
    return _show("plan", rows, summary("surgery plan", bars_of(rows)), markdown(rows), out, as_json)


def _recall(wanted: _Wanted, out: Path | None, as_json: bool) -> int:
    """What surgeons' choices of earlier sessions are worth to a plan."""
    from loopwright.finetune.evaluate.surgery.recall import evaluate_recall, markdown
    from loopwright.finetune.measure.rows import summary

    rows = evaluate_recall(wanted.patients, on_progress=_on_progress)
    return _show("recall", rows, summary("surgery recall", []), markdown(rows), out, as_json)


def _fit(wanted: _Wanted, as_json: bool) -> int:
    """The temperature of each tuned model that was asked for, on validation patients."""
    from loopwright.finetune.evaluate.pictures import PngStore
    from loopwright.finetune.evaluate.surgery.fit import fit_surgeon
    from loopwright.finetune.evaluate.surgery.models import Sights, open_surgeons
    from loopwright.models.cards import load_card
    from loopwright.tools.surgery.procedure import bundled_procedure

    store, procedure = PngStore(), bundled_procedure()
    card = load_card(wanted.model or MODEL).model_copy(update={"choice_temperature": {}})
    rows = wanted.rows or ("indir-sft", "dir-sft")
    found = [surgeon for surgeon in open_surgeons(card, store, wanted.adapters) if surgeon.name in rows]
    if not found:
        raise BadInput(f"The card `{card.name}` has no adapter of {' or '.join(rows)}, and `--adapters` has none.")
    for surgeon in found:
        fitted = fit_surgeon(surgeon, procedure, wanted.patients, Sights(store, procedure))
        if as_json:
            json_line(fitted.model_dump(mode="json"))
        else:
            stdout().print(fitted.model_dump_json(indent=2), markup=False)
    return 0


def _report(what: str, rows: "Sequence[Row]", out: Path | None, as_json: bool) -> int:
    """Show the rows beside the bars. Without a fine-tuned model nothing is held to them."""
    from loopwright.finetune.evaluate.surgery.bars import bars_of
    from loopwright.finetune.evaluate.surgery.next_action import headline
    from loopwright.finetune.evaluate.surgery.tables import markdown
    from loopwright.finetune.measure.rows import summary

    bars = bars_of(rows)
    last: dict[str, Any] = summary("surgery", bars) | {"headline": headline(rows)}
    return _show(what, rows, last, markdown(rows, bars), out, as_json)


def _show(what: str, rows: "Sequence[Row]", last: dict[str, Any], tables: str, out: Path | None, as_json: bool) -> int:
    """Print, and write where that is asked for; the exit code says whether a bar was missed."""
    if as_json:
        for row in rows:
            json_line(row.as_json())
        json_line(last)
    else:
        stdout().print(tables, markup=False)
    if out is not None:  # after printing: a full disk must not cost hours of work
        content = {"rows": [row.as_json() for row in rows], **last}
        (out / f"surgery-{what}.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
        (out / f"surgery-{what}.md").write_text(tables, encoding="utf-8")
        _on_progress(f"Wrote {out}")
    return 1 if last["bars_met"] is False else 0


def _on_progress(line: str) -> None:
    stderr().print(line, markup=False)
