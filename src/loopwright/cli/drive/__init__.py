"""What the drive loop adds to the command line."""

from loopwright.cli.drive import evaluate
from loopwright.cli.plugin import LoopCommands

COMMANDS = LoopCommands(
    commands={
        "eval drive": evaluate.evaluate,
    },
)

__all__ = ["COMMANDS"]
