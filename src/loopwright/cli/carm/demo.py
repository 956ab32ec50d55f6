"""`loopwright demo carm`."""

from typing import Annotated

import typer

from loopwright.cli.demo import Demo, Out, show
from loopwright.cli.output import plain_lines, stdout
from loopwright.errors import BadInput


def demo(
    volume: Annotated[str, typer.Option(help="`chest`, a file, or `phantom:SEED`.")] = "chest", out: Out = None
) -> int:
    """Steer the C-arm over a real chest CT."""
    start, targets = "Right scapular inferior angle", ("Carina", "T12")
    volume = _available(volume)
    introduction = (
        f"The C-arm loop on [bold]{volume}[/bold]: from the {start.lower()} to the {' and on to '.join(targets)}.\n"
        "A network sees, and the vision-language model `small` decides."
    )
    settings = {"volume": volume, "start": start, "target": targets, "navigator": "vlm"}
    return show("carm", Demo(introduction, settings, at=("localised", 1), words="go 40 mm right"), out)


def _available(volume: str) -> str:
    """The chest CT where it was fetched; else a phantom, and the demo says so."""
    from loopwright.tools.carm.sources import open_case

    try:
        open_case(volume, None)
    except BadInput as error:
        if volume != "chest":
            raise
        why = plain_lines(str(error))
        stdout().print(f"[yellow]The real chest CT is not here ({why}). A phantom takes its place.[/yellow]")
        return "phantom:30000"
    return volume
