"""`loopwright eval drive --what headroom` and `--what closed`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from loopwright.cli.drive.imagination import imagining_model
from loopwright.cli.output import json_line, stderr, stdout
from loopwright.errors import UnknownName

if TYPE_CHECKING:
    from loopwright.finetune.evaluate.drive.drivers import MakeDriver
    from loopwright.tools.drive.scenarios import Part, ScenarioName

EPISODES = 50


class Asked(NamedTuple):
    """What the command line asked for; nothing named means all."""

    what: Literal["headroom", "closed"]
    scenarios: "Sequence[ScenarioName]"
    rows: Sequence[str]
    episodes: int
    part: "Part"
    policies: Sequence[Path]
    model: str


def roads(names: Sequence[str]) -> "list[ScenarioName]":
    """The roads of these names.

    Raises:
        UnknownName: there is no such road.
    """
    from loopwright.tools.drive.scenarios import SCENARIO

    known: dict[str, ScenarioName] = {one: one for one in SCENARIO}
    for name in names:
        if name not in known:
            raise UnknownName("road", name, known)
    return [known[name] for name in names]


def run(asked: Asked, out: Path | None, as_json: bool) -> int:
    """Drive, print, and write where that is asked for; the exit code says whether a bar was missed."""
    from loopwright.finetune.evaluate.drive.closed import Record, bars_of, evaluate_closed
    from loopwright.finetune.evaluate.drive.closed_tables import markdown
    from loopwright.finetune.evaluate.drive.drivers import HEADROOM, OTHERS
    from loopwright.finetune.measure.rows import summary
    from loopwright.tools.drive.scenarios import SCENARIOS, seeds_of

    if out is not None:  # before the work: what cannot be made is said at once
        out.mkdir(parents=True, exist_ok=True)
    drivers = dict(HEADROOM)
    if asked.what == "closed":
        drivers = {**HEADROOM, **OTHERS, **_policies(asked.policies), **_imagining(asked)}
    for row in asked.rows:
        if row not in drivers:
            raise UnknownName("driver", row, drivers)
    chosen = {name: make for name, make in drivers.items() if name in (asked.rows or drivers)}
    record = Record(None if out is None else out / f"drive-{asked.part}-drives.jsonl")
    seeds = seeds_of(asked.part, asked.episodes)
    rows = evaluate_closed(chosen, asked.scenarios or SCENARIOS, seeds, record, on_progress=_on_progress)
    bars = bars_of(rows)
    last = summary(f"drive {asked.what}", bars) | {"n": len(seeds)}
    tables = markdown(rows, bars)
    if as_json:
        for line in rows:
            json_line(line.as_json())
        json_line(last)
    else:
        stdout().print(tables, markup=False)
    if out is not None:
        content = {"rows": [line.as_json() for line in rows], **last}
        (out / f"drive-{asked.what}.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
        (out / f"drive-{asked.what}.md").write_text(tables, encoding="utf-8")
        _on_progress(f"Wrote {out}")
    return 1 if last["bars_met"] is False else 0


def _policies(paths: Sequence[Path]) -> "dict[str, MakeDriver]":
    """By algorithm; each drives in the scenario that it was trained for."""
    from loopwright.finetune.evaluate.drive.drivers import of_policies
    from loopwright.finetune.networks.drive.policy import load

    return of_policies([load(path) for path in paths])


def _imagining(asked: Asked) -> "dict[str, MakeDriver]":
    """Those that drive by frames of the card `asked.model`; none where nobody asks or it has not learnt to imagine."""
    from loopwright.finetune.evaluate.drive.drivers import OF_FRAMES, of_frames
    from loopwright.models.networks.drive import bundled_tokenizer

    if asked.rows and not OF_FRAMES & {*asked.rows}:
        return {}
    model = imagining_model(asked.model)
    return {} if model is None else of_frames(bundled_tokenizer(), model)


def _on_progress(line: str) -> None:
    stderr().print(line, markup=False)
