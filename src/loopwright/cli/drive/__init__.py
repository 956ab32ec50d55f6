"""What the drive loop adds to the command line."""

from loopwright.cli.drive import evaluate, train
from loopwright.cli.plugin import LoopCommands

COMMANDS = LoopCommands(
    commands={
        "eval drive": evaluate.evaluate,
        "train drive-policy": train.train_policy,
    },
)

__all__ = ["COMMANDS"]
