"""What the C-arm loop adds to the command line."""

from loopwright.cli.carm import data, demo, doctor, evaluate, train, volume
from loopwright.cli.plugin import LoopCommands

COMMANDS = LoopCommands(
    trials={"carm": "loopwright.agents.carm.request:trial"},
    phrasings={"carm": "loopwright.finetune.evaluate.carm.phrasings:phrasings"},
    commands={
        "demo carm": demo.demo,
        "data fetch chest": data.fetch_chest,
        "data volume": volume.volume,
        "data landmarks": volume.landmarks,
        "data render carm": data.render,
        "data build carm": data.build,
        "data episodes carm": data.episodes,
        "train carm-network": train.train_network,
        "train carm-gate": train.calibrate_gate,
        "eval carm": evaluate.evaluate,
    },
    checks=(doctor.renderers, doctor.network_and_data),
    environments={"deepdrr": doctor.set_up_deepdrr},
)

__all__ = ["COMMANDS"]
