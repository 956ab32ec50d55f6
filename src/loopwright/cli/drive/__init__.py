"""What the drive loop adds to the command line."""

from loopwright.cli.drive import demo, evaluate
from loopwright.cli.plugin import LoopCommands

COMMANDS = LoopCommands(
    commands={
        "demo drive": demo.demo,
        "eval drive": evaluate.evaluate,
    },
)

__all__ = ["COMMANDS"]
