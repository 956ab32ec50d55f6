"""`loopwright eval drive --what open`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from loopwright.cli.output import json_line, stderr, stdout
from loopwright.errors import BadInput, MissingDependency

if TYPE_CHECKING:
    from loopwright.tools.drive.scene import Sample

NAME = "drive-open"


class Asked(NamedTuple):
    """What the command line asked for."""

    data: Sequence[Path]
    training: Sequence[Path]
    predictions: Sequence[Path]
    axes: Literal["ego", "fsdrive"]
    ego_status: bool
    skip: bool


def run(asked: Asked, out: Path | None, as_json: bool) -> int:
    """Measure, print, and write where that is asked for; the exit code says whether a bar was missed."""
    from loopwright.finetune.evaluate.drive.baselines import REFERENCE, REGRESSION
    from loopwright.finetune.evaluate.drive.openloop import Answers, bars_of, evaluate_open, headline, predicted
    from loopwright.finetune.evaluate.drive.plot import plot_trajectories
    from loopwright.finetune.evaluate.drive.predictions import read_predictions
    from loopwright.finetune.evaluate.drive.tables import markdown
    from loopwright.finetune.measure.rows import summary

    if out is not None:  # before the work: what cannot be made is said at once
        out.mkdir(parents=True, exist_ok=True)
    samples, training = _samples(asked.data, asked.skip), _samples(asked.training, asked.skip)
    given: dict[str, Answers] = {}
    for path in asked.predictions:
        found = read_predictions(path, samples, asked.axes)
        given[path.stem] = found.answers
        n_read = sum(answer is not None for answer in found.answers)
        _on_progress(f"{path.name}: {n_read} of {len(samples)} read, {found.n_unknown} further tokens fit no sample")
    rows = evaluate_open(samples, given, training=training, ego_status=asked.ego_status, on_progress=_on_progress)
    bars = bars_of(rows, (REGRESSION, *given))
    last = summary("drive open", bars) | {"n": len(samples), "headline": headline(rows)}
    tables = markdown(rows, bars)
    if as_json:
        for row in rows:
            json_line(row.as_json())
        json_line(last)
    else:
        stdout().print(tables, markup=False)
    if out is not None:
        content = {"rows": [row.as_json() for row in rows], **last}
        (out / f"{NAME}.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
        (out / f"{NAME}.md").write_text(tables, encoding="utf-8")
        baselines = predicted(samples, training, ego_status=asked.ego_status)
        shown = given or {name: said for name, said in baselines.items() if name == REGRESSION}
        try:
            plot_trajectories(samples, {**shown, REFERENCE: baselines[REFERENCE]}, out / f"{NAME}.png")
        except MissingDependency as error:
            _on_progress(f"No picture. {error}")
        _on_progress(f"Wrote {out}")
    return 1 if last["bars_met"] is False else 0


def _samples(paths: Sequence[Path], skip: bool) -> "list[Sample]":
    """All samples; a token that comes twice is one sample too many."""
    from loopwright.tools.drive.recorded.read import read_samples
    from loopwright.tools.drive.recorded.recording import raise_problem

    on_problem = _on_progress if skip else raise_problem
    samples = [sample for path in paths for sample in read_samples(path, on_problem=on_problem)]
    seen: set[str] = set()
    for sample in samples:
        if sample.scene.token in seen:
            raise BadInput(f"The sample {sample.scene.token!r} is there twice. Give each recorded drive once.")
        seen.add(sample.scene.token)
    return samples


def _on_progress(line: str) -> None:
    stderr().print(line, markup=False)
