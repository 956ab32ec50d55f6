"""`loopwright doctor`: what works on this machine, and the command that adds what does not."""

import typer


def doctor() -> None:
    """Report what works here."""
    typer.echo("ok")
