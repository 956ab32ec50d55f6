"""`loopwright demo [LOOP]`: a loop on what comes with it, with one human correction on the way, and its report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from loopwright.cli.output import stdout
from loopwright.cli.run_session import drive, opened_memory
from loopwright.errors import BadInput
from loopwright.settings import settings

if TYPE_CHECKING:
    from loopwright.graphs.state import RunConfig
    from loopwright.schema import Event


class Demo(NamedTuple):
    """What is shown: a run, and what a human says once, when an event of a kind goes by at a step."""

    told: str
    run: "RunConfig"
    at: tuple[str, int]
    words: str


def demo(
    loop: Annotated[Literal["carm", "surgery"], typer.Argument(help="Which loop to show.")] = "carm",
    out: Annotated[
        Path | None, typer.Option(help="The HTML report to write; default: runs/demo-LOOP.html.", show_default=False)
    ] = None,
    volume: Annotated[str, typer.Option(help="Of the C-arm: `chest`, a file, or `phantom:SEED`.")] = "chest",
) -> int:
    """Steer the C-arm over a real chest CT, or foresee a simulated surgeon, corrected once on the way."""
    from loopwright.graphs.sessions import report_session, start_session

    shown = _carm(volume) if loop == "carm" else _surgery()
    console = stdout()
    console.print(shown.told)
    with opened_memory() as memory:
        session = start_session(memory, loop, shown.run, settings().data_dir / "devices")

        def human(event: "Event") -> None:
            if (event.kind, event.step) == shown.at:
                session.say(shown.words)

        code = drive(session, wait=False, as_json=False, on_event=human)
        report = report_session(memory, session.id, out or Path(f"runs/demo-{loop}.html"))
    console.print(f"\nThe report, with every picture, decision and event: [bold]{report.resolve()}[/bold]")
    return code


def _carm(volume: str) -> Demo:
    from loopwright.graphs.carm.run import CArmRun

    start, targets = "Right scapular inferior angle", ("Carina", "T12")
    volume = _available(volume)
    told = (
        f"The C-arm loop on [bold]{volume}[/bold]: from the {start.lower()} to the {' and on to '.join(targets)}.\n"
        "A network sees, and the vision-language model `small` decides."
    )
    run = CArmRun(volume=volume, start=start, target=targets, navigator="vlm")
    return Demo(told, run, at=("localised", 1), words="go 40 mm right")


def _surgery() -> Demo:
    from loopwright.graphs.surgery.run import SurgeryRun

    video, at_bleeding = "simulated:2000038", 7
    told = f"The surgery loop on [bold]{video}[/bold]: what comes next, clip by clip, until the vessels are clipped."
    run = SurgeryRun(video=video, goal="the vessels are clipped", perform="asked")
    return Demo(told, run, at=("captioned", at_bleeding), words="No, it is bleeding, coagulate first!")


def _available(volume: str) -> str:
    """The chest CT where it was fetched; else a phantom, and the demo says so."""
    from loopwright.tools.carm.sources import open_case

    try:
        open_case(volume, None)
    except BadInput as error:
        if volume != "chest":
            raise
        stdout().print(f"[yellow]The real chest CT is not here ({error}). A phantom takes its place.[/yellow]")
        return "phantom:30000"
    return volume
