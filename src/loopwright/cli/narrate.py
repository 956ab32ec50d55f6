"""One event in words for a person at a terminal: what was seen, heard, decided, checked, moved."""

from collections.abc import Iterator
from typing import Any

from rich.markup import escape

from loopwright.agents.thoughts import counted, thought
from loopwright.schema import Event


def narrate(event: Event) -> Iterator[str]:
    """Lines of rich markup; an event that says nothing new to a person gives none."""
    teller = _TELLERS.get(event.kind)
    if teller is None:
        return
    for line in teller(event.payload):
        prefix = f"[dim]{event.step:>3}[/dim] " if event.branch == 0 else f"[dim]{event.branch}:{event.step}[/dim] "
        yield prefix + line


def _observed(p: dict[str, Any]) -> Iterator[str]:
    pose = p["pose"]
    where = ", ".join(f"{pose[f'{axis}_mm']:.0f}" for axis in "xyz")
    angles = "" if pose["alpha_deg"] == pose["beta_deg"] == 0 else f" at {pose['alpha_deg']:g}/{pose['beta_deg']:g} deg"
    yield f"[bold]exposure {p['exposures']}[/bold]  isocentre ({where}) mm{angles}"


def _localised(p: dict[str, Any], label: str = "saw") -> Iterator[str]:
    top = sorted(p["nearest"].items(), key=lambda kv: -kv[1])[:3]
    seen = ", ".join(f"{escape(name)} {share:.0%}" for name, share in top)
    sure = (
        f"; conformal set at {p['coverage']:.0%}: {len(p['nearest_set'])}" if p.get("nearest_set") is not None else ""
    )
    yield f"  {label:<9} nearest {seen}{sure}"


def _relocalised(p: dict[str, Any]) -> Iterator[str]:
    yield from _localised(p, "revised")


def _consulted(p: dict[str, Any]) -> Iterator[str]:
    flaws = counted(p)
    if p["role"] == "localiser" and not flaws:
        return  # what was made of its answers is told as what was seen
    told = f" [yellow]({flaws})[/yellow]" if flaws else ""
    yield f"  [magenta]{p['role']:<9} {escape(thought(p))}[/magenta]{told}"


def _heard(p: dict[str, Any]) -> Iterator[str]:
    words = {k: v for k, v in p["words"].items() if k not in ("kind", "text", "question") and v not in ("", None)}
    meaning = p["words"]["kind"] + (f" ({', '.join(f'{k} {v}' for k, v in words.items())})" if words else "")
    yield f'  [cyan]heard     {escape(p["author"])}: "{escape(p["text"])}" -> {escape(meaning)}[/cyan]'


def _asked(p: dict[str, Any]) -> Iterator[str]:
    yield f"  [yellow]asked     {escape(p['text'])}[/yellow]"
    if p["options"]:
        yield f"  [yellow]          for example: {escape(' | '.join(p['options']))}[/yellow]"


def _reviewed(p: dict[str, Any]) -> Iterator[str]:
    if p["uncertain"]:
        candidates = ", ".join(p["nearest_set"]) or "none fits"
        yield f"  [yellow]review    not sure which is nearest: {escape(candidates)}[/yellow]"


def _decided(p: dict[str, Any]) -> Iterator[str]:
    if p["arrived"]:
        return
    about = "" if p["source"] == "clinician" and not p["sd_mm"] else f", about {p['distance_mm']:.0f} mm to go"
    motion, why = motion_in_words(p["motion"]), p["rationale"]
    yield f"  decided   {escape(motion)} towards {escape(p['target'])}: {escape(why)}{about}"


def _guarded(p: dict[str, Any]) -> Iterator[str]:
    yield "  checked   [green]allowed[/green]" if p["ok"] else f"  checked   [red]refused[/red] {escape(p['reason'])}"


def _moved(p: dict[str, Any]) -> Iterator[str]:
    yield "  moved" if p["status"] == "done" else f"  [red]not moved {escape(p['status'])}: {escape(p['reason'])}[/red]"


def _reached(p: dict[str, Any]) -> Iterator[str]:
    yield f"  [bold green]reached   {escape(p['target'])}[/bold green] (estimated {p['distance_mm']:.1f} mm off centre)"


def _finished(p: dict[str, Any]) -> Iterator[str]:
    colour = "green" if p["status"] == "succeeded" else "red"
    yield f"[bold {colour}]{p['status']}[/bold {colour}]: {escape(p['reason'])}"


def _stopped(p: dict[str, Any]) -> Iterator[str]:
    last = p["last_act_sent"]
    done = last and ", ".join(f"{k} {v:g}" for k, v in last["arguments"].items() if v)
    sent = f"already sent: {last['tool']}{f' ({done})' if done else ''}" if last else "nothing had been sent"
    yield f"[bold red]STOPPED[/bold red] by {escape(p['reason'])}; {escape(sent)}; nothing further is sent"


def _process(kind: str) -> Any:
    def tell(p: dict[str, Any]) -> Iterator[str]:
        detail = ", ".join(f"{k} {v}" for k, v in p.items() if isinstance(v, str | int) and v != "")
        yield f"[dim]{kind} {escape(detail)}[/dim]"

    return tell


def motion_in_words(motion: dict[str, Any]) -> str:
    """A motion of the view in patient directions, for example '35 mm left, 20 mm cranial'."""
    pairs = (("left_mm", "left", "right"), ("caudal_mm", "caudal", "cranial"), ("anterior_mm", "anterior", "posterior"))
    parts = [f"{abs(motion[k]):g} mm {plus if motion[k] > 0 else minus}" for k, plus, minus in pairs if motion[k]]
    parts += [f"{motion[k]:+g} deg {k.removesuffix('_deg')}" for k in ("alpha_deg", "beta_deg") if motion[k]]
    return ", ".join(parts) or "stay"


_TELLERS = {
    "observed": _observed,
    "localised": _localised,
    "relocalised": _relocalised,
    "consulted": _consulted,
    "heard": _heard,
    "asked": _asked,
    "reviewed": _reviewed,
    "decided": _decided,
    "guarded": _guarded,
    "moved": _moved,
    "reached": _reached,
    "finished": _finished,
    "stopped": _stopped,
    **{kind: _process(kind) for kind in ("paused", "resumed", "rewound", "forked", "error")},
}
