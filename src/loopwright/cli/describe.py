"""One event in words for a person at a terminal: what any loop hears, asks, checks; a loop describes its own."""

from collections.abc import Iterator
from typing import Any

from rich.markup import escape

from loopwright.agents.replies import reply_flaws, reply_text
from loopwright.cli.plugin import Description, commands_of
from loopwright.schema import Event


def describe(event: Event, loop: str) -> Iterator[str]:
    """Lines of rich markup about an event of a session of `loop`; one that says nothing new to a person gives none."""
    teller = commands_of(loop).describe.get(event.kind) or _DESCRIPTIONS.get(event.kind)
    if teller is None:
        return
    for line in teller(event.payload):
        prefix = f"[dim]{event.step:>3}[/dim] " if event.branch == 0 else f"[dim]{event.branch}:{event.step}[/dim] "
        yield prefix + line


def consulted(p: dict[str, Any]) -> Iterator[str]:
    """What a model answered in a role, and whether it came as it should."""
    flaws = reply_flaws(p)
    notes = f" [yellow]({flaws})[/yellow]" if flaws else ""
    yield f"  [magenta]{p['role']:<9} {escape(reply_text(p))}[/magenta]{notes}"


def consulted_unless(*roles: str) -> Description:
    """`consulted`, but silent about good answers in `roles`, whose outcome is described by a later event."""

    def lines(p: dict[str, Any]) -> Iterator[str]:
        if p["role"] not in roles or reply_flaws(p):
            yield from consulted(p)

    return lines


_NOT_SHOWN = ("kind", "text", "question", "is_correction")


def _heard(p: dict[str, Any]) -> Iterator[str]:
    words = {k: v for k, v in p["words"].items() if k not in _NOT_SHOWN and v not in ("", None, [])}
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
    def lines(p: dict[str, Any]) -> Iterator[str]:
        detail = ", ".join(f"{k} {v}" for k, v in p.items() if isinstance(v, str | int) and v != "")
        yield f"[dim]{kind} {escape(detail)}[/dim]"

    return lines


_DESCRIPTIONS: dict[str, Description] = {
    "consulted": consulted,
    "heard": _heard,
    "asked": _asked,
    "guarded": _guarded,
    "finished": _finished,
    "stopped": _stopped,
    **{kind: _process(kind) for kind in ("paused", "resumed", "rewound", "forked", "error")},
}
