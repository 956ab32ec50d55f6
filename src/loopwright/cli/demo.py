"""`loopwright demo`: the C-arm loop on the real chest CT, with one clinician correction on the way, and its report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loopwright.cli.drive import drive, opened_memory
from loopwright.cli.output import stdout
from loopwright.errors import BadInput
from loopwright.settings import settings

if TYPE_CHECKING:
    from loopwright.schema import Event

START = "Right scapular inferior angle"
TARGETS = ("Carina", "T12")
CORRECTION_AT_STEP = 1
CORRECTION = "go 30 mm caudal"


def demo(
    out: Annotated[Path, typer.Option(help="The HTML report to write.")] = Path("runs/demo.html"),
    volume: Annotated[str, typer.Option(help="`chest`, a file, or `phantom:SEED`.")] = "chest",
) -> int:
    """Steer the C-arm from the right scapula to the carina and on to T12 over a real chest CT."""
    from loopwright.graphs.carm_run import CArmRun
    from loopwright.graphs.sessions import report_session, start_session

    console = stdout()
    volume = _available(volume)
    console.print(
        f"The C-arm loop on [bold]{volume}[/bold]: from the {START.lower()} to the {' and on to '.join(TARGETS)}."
    )
    with opened_memory() as memory:
        config = CArmRun(volume=volume, start=START, target=TARGETS)
        session = start_session(memory, "carm", config, settings().data_dir / "devices")

        def clinician(event: "Event") -> None:
            if event.kind == "localised" and event.step == CORRECTION_AT_STEP:
                session.say(CORRECTION)

        code = drive(session, wait=False, as_json=False, on_event=clinician)
        report = report_session(memory, session.id, out)
    console.print(f"\nThe report, with every picture, decision and event: [bold]{report.resolve()}[/bold]")
    return code


def _available(volume: str) -> str:
    """The chest CT where it was fetched; else a phantom, and the demo says so."""
    from loopwright.tools.carm.case import open_case

    try:
        open_case(volume, None)
    except BadInput as error:
        if volume != "chest":
            raise
        stdout().print(f"[yellow]The real chest CT is not here ({error}). A phantom takes its place.[/yellow]")
        return "phantom:30000"
    return volume
