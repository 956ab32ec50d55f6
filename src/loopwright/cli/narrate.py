"""One event in words for a person at a terminal: what any loop hears, asks, checks; the rest is told by each loop."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.markup import escape

from loopwright.agents.replies import counted, thought
from loopwright.cli.carm import narrate as narrate_carm
from loopwright.cli.surgery import narrate as narrate_surgery
from loopwright.schema import Event

Teller = Callable[[dict[str, Any]], Iterator[str]]


def narrate(event: Event, loop: str) -> Iterator[str]:
    """Lines of rich markup about an event of a session of `loop`; one that says nothing new to a person gives none."""
    teller = (_TELLERS | _OF_LOOPS.get(loop, {})).get(event.kind)
    if teller is None:
        return
    for line in teller(event.payload):
        prefix = f"[dim]{event.step:>3}[/dim] " if event.branch == 0 else f"[dim]{event.branch}:{event.step}[/dim] "
        yield prefix + line


def _consulted(p: dict[str, Any]) -> Iterator[str]:
    flaws = counted(p)
    if p["role"] in ("localiser", "captioner", "planner") and not flaws:
        return  # what was made of its answers is told as what was seen and planned
    told = f" [yellow]({flaws})[/yellow]" if flaws else ""
    yield f"  [magenta]{p['role']:<9} {escape(thought(p))}[/magenta]{told}"


_UNTOLD = ("kind", "text", "question", "is_correction")


def _heard(p: dict[str, Any]) -> Iterator[str]:
    words = {k: v for k, v in p["words"].items() if k not in _UNTOLD and v not in ("", None, [])}
    meaning = p["words"]["kind"] + (f" ({', '.join(f'{k} {_shown(v)}' for k, v in words.items())})" if words else "")
    yield f'  [cyan]heard     {escape(p["author"])}: "{escape(p["text"])}" -> {escape(meaning)}[/cyan]'


def _asked(p: dict[str, Any]) -> Iterator[str]:
    yield f"  [yellow]asked     {escape(p['text'])}[/yellow]"
    if p["options"]:
        yield f"  [yellow]          for example: {escape(' | '.join(p['options']))}[/yellow]"


def _guarded(p: dict[str, Any]) -> Iterator[str]:
    yield "  checked   [green]allowed[/green]" if p["ok"] else f"  checked   [red]refused[/red] {escape(p['reason'])}"


def _finished(p: dict[str, Any]) -> Iterator[str]:
    colour = "green" if p["status"] == "succeeded" else "red"
    yield f"[bold {colour}]{p['status']}[/bold {colour}]: {escape(p['reason'])}"


def _stopped(p: dict[str, Any]) -> Iterator[str]:
    last = p["last_act_sent"]
    done = last and ", ".join(f"{k} {_shown(v)}" for k, v in last["arguments"].items() if v)
    sent = f"already sent: {last['tool']}{f' ({done})' if done else ''}" if last else "nothing had been sent"
    yield f"[bold red]STOPPED[/bold red] by {escape(p['reason'])}; {escape(sent)}; nothing further is sent"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _process(kind: str) -> Any:
    def tell(p: dict[str, Any]) -> Iterator[str]:
        detail = ", ".join(f"{k} {v}" for k, v in p.items() if isinstance(v, str | int) and v != "")
        yield f"[dim]{kind} {escape(detail)}[/dim]"

    return tell


_TELLERS: dict[str, Teller] = {
    "consulted": _consulted,
    "heard": _heard,
    "asked": _asked,
    "guarded": _guarded,
    "finished": _finished,
    "stopped": _stopped,
    **{kind: _process(kind) for kind in ("paused", "resumed", "rewound", "forked", "error")},
}
_OF_LOOPS: Mapping[str, dict[str, Teller]] = {"carm": narrate_carm.TELLERS, "surgery": narrate_surgery.TELLERS}
