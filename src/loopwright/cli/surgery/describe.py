"""What the surgery loop's own events tell a person: the clip, the plan with its odds and notes, and what came."""

from collections.abc import Iterator
from typing import Any

from rich.markup import escape

from loopwright.cli.describe import consulted_unless
from loopwright.cli.plugin import Description


def _observed(p: dict[str, Any]) -> Iterator[str]:
    clip = p["clip"]
    seconds = clip["end_s"] - clip["start_s"] + 1
    picture = "" if p["image"] else "  [dim](no picture)[/dim]"
    yield f"[bold]clip {clip['index']}  {clip['action']}[/bold], {seconds} s{picture}"


def _captioned(p: dict[str, Any]) -> Iterator[str]:
    yield f"  saw       {escape(p['caption'] or 'nothing was described')}"


def _planned(p: dict[str, Any]) -> Iterator[str]:
    plan = p["plan"]
    yield f"  progress  {escape(plan['progress'])}"
    yield f"  safety    {escape(plan['safety'])}"
    for rank, ranked in enumerate(plan["actions"], start=1):
        label = "planned  " if rank == 1 else " " * 9
        odds = f"{p['probabilities'][ranked['action']]:.0%}"
        yield f"  {label} {rank}. {ranked['action']:<17} {odds:>4}  [dim]{escape(ranked['rationale'])}[/dim]"


def _validated(p: dict[str, Any]) -> Iterator[str]:
    for note in p["notes"]:
        yield f"  [yellow]note      {note['action']}: {escape(note['reason'])}[/yellow]"
    if p["unchecked"]:
        yield f"  [dim]unchecked {', '.join(p['unchecked'])}: nobody knows what is truly visible[/dim]"


def _reviewed(p: dict[str, Any]) -> Iterator[str]:
    if p["uncertain"]:
        yield f"  [yellow]review    not sure: {p['probability']:.0%} for the first action[/yellow]"


def _corrected(p: dict[str, Any]) -> Iterator[str]:
    correction = p["action"] or f"not {', '.join(p['denied'])}"
    yield f"  [cyan]learned   {escape(correction)} after {p['near'][-1]['action']}, kept as an example[/cyan]"


def _scored(p: dict[str, Any]) -> Iterator[str]:
    rank, tally = p["rank"], p["tally"]
    colour = {1: "green", None: "red"}.get(rank, "yellow")
    said = f"was ranked {rank}" if rank else "was not in the plan"
    so_far = f"first right in {tally['top_1']} of {tally['n']}" if p["is_counted"] else "not counted"
    yield f"  [{colour}]came      {p['action']}, which {said}[/{colour}] [dim]({so_far})[/dim]"


def _reached(p: dict[str, Any]) -> Iterator[str]:
    yield f"  [bold green]reached   {escape(p['target'])}[/bold green]"


DESCRIBE: dict[str, Description] = {
    "consulted": consulted_unless("captioner", "planner"),
    "observed": _observed,
    "captioned": _captioned,
    "planned": _planned,
    "validated": _validated,
    "reviewed": _reviewed,
    "corrected": _corrected,
    "scored": _scored,
    "reached": _reached,
}
