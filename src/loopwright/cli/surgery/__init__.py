"""What the surgery loop adds to the command line."""

from loopwright.cli.plugin import LoopCommands
from loopwright.cli.surgery import data, demo, evaluate, plan

COMMANDS = LoopCommands(
    trials={"surgery": "loopwright.agents.surgery.request:trial"},
    phrasings={"surgery": "loopwright.finetune.evaluate.surgery.phrasings:phrasings"},
    commands={
        "demo surgery": demo.demo,
        "plan surgery": plan.plan,
        "data build surgery": data.build,
        "data distill surgery": data.distill,
        "eval surgery": evaluate.evaluate,
    },
)

__all__ = ["COMMANDS"]
