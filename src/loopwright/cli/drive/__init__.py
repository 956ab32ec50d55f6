"""What the drive loop adds to the command line."""

from loopwright.cli.drive import data, demo, doctor, evaluate, train
from loopwright.cli.plugin import LoopCommands

COMMANDS = LoopCommands(
    trials={"drive": "loopwright.agents.drive.request:trial"},
    commands={
        "demo drive": demo.demo,
        "data build drive": data.build,
        "eval drive": evaluate.evaluate,
        "train drive-policy": train.train_policy,
        "train drive-tokens": train.train_tokens,
    },
    checks=(doctor.tokenizer,),
)

__all__ = ["COMMANDS"]
