"""`loopwright train grpo`: reinforcement fine-tuning of what the loops run."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from loopwright.cli.output import json_line, stderr, stdout
from loopwright.errors import MissingDependency


def grpo(
    config: Annotated[Path, typer.Option(help="YAML file; see finetune/configs.")],
    out: Annotated[Path, typer.Option(help="Run folder. An unfinished run of the same config in it goes on.")],
    start_from: Annotated[
        Path | None, typer.Option(help="An adapter to go on from, in place of the config's `start_from`.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="A reward of the config to leave out, for an ablation; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Train a LoRA adapter by GRPO, on a loop's sessions or on single answers. `tensorboard --logdir OUT` plots it."""
    if find_spec("trl") is None:
        raise MissingDependency("Fine-tuning needs TRL, which is not installed: `pip install 'loopwright[train]'`.")
    from loopwright.finetune.grpo.config import GrpoConfig
    from loopwright.finetune.grpo.train import train

    settings = GrpoConfig.load(config)
    if start_from is not None:
        settings = settings.model_copy(update={"start_from": start_from})
    for name in without or ():
        settings = settings.without(name)
    result = train(settings, out, lambda line: stderr().print(line))
    if as_json:
        json_line(result.model_dump(mode="json"))
    else:
        kl = "" if result.kl is None else f", {result.kl:.4f} nats a token from the start"
        stdout().print(f"Reward {result.reward:.4f} after {result.steps} steps{kl}: {result.adapter}")
