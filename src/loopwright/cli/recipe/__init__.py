"""What the recipe loop adds to the command line."""

from loopwright.cli.plugin import LoopCommands
from loopwright.cli.recipe import data, demo, doctor, evaluate, train

COMMANDS = LoopCommands(
    trials={"recipe": "loopwright.agents.recipe.request:trial"},
    phrasings={"recipe": "loopwright.finetune.evaluate.recipe.phrasings:phrasings"},
    commands={
        "demo recipe": demo.demo,
        "data build recipe": data.build,
        "eval recipe": evaluate.evaluate,
        "train recipe-network": train.train_network,
    },
    checks=(doctor.network,),
)

__all__ = ["COMMANDS"]
