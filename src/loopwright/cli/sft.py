"""`loopwright train sft|merge|export`: fine-tune a vision-language base, and what becomes of the adapter."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from loopwright.cli.output import json_line, stderr, stdout
from loopwright.errors import MissingDependency

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Source = Annotated[
    Path, typer.Argument(metavar="ADAPTER", help="An adapter's folder, a checkpoint, or the folder of a finished run.")
]
Target = Annotated[Path, typer.Option(help="Folder to write; must be new or empty.")]


def sft(
    config: Annotated[Path, typer.Option(help="YAML file; see finetune/configs.")],
    out: Annotated[Path, typer.Option(help="Run folder. An unfinished run of the same config in it goes on.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with `train.messages.jsonl`, in place of the files that the config names."),
    ] = None,
    start_from: Annotated[
        Path | None, typer.Option(help="An adapter to go on from, in place of the config's `start_from`.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a LoRA adapter on messages JSONL. `tensorboard --logdir OUT` shows the losses while it runs."""
    if find_spec("trl") is None:
        raise MissingDependency("Fine-tuning needs TRL, which is not installed: `pip install 'loopwright[train]'`.")
    from loopwright.finetune.sft.config import SftConfig
    from loopwright.finetune.sft.train import train

    settings = SftConfig.load(config)
    if data is not None:
        settings = settings.model_copy(update={"data": settings.data.of_folder(data)})
    if start_from is not None:
        settings = settings.model_copy(update={"start_from": start_from})
    result = train(settings, out, lambda line: stderr().print(line))
    if as_json:
        json_line(result.model_dump(mode="json"))
    else:
        validation = "" if result.validation_loss is None else f", on validation {result.validation_loss:.4f}"
        stdout().print(f"Loss {result.loss:.4f}{validation} after {result.steps} steps: {result.adapter}")


def merge(
    adapter: Source,
    out: Target,
    base: Annotated[
        str, typer.Option(help="The base's folder (./NAME) or hub id, where it has moved since the training.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Fold an adapter into its base: one whole model in safetensors, for software that knows no adapters."""
    from loopwright.finetune.sft.release import merge as merge_adapter

    _print_written(merge_adapter(adapter, out, base or None), as_json)


def export(
    adapter: Source,
    out: Target,
    base_name: Annotated[str, typer.Option(help="What readers call the base, such as its hub id.")] = "",
    precision: Annotated[
        Literal["as-trained", "bfloat16", "float16"], typer.Option(help="Of the weights in the file.")
    ] = "as-trained",
    as_json: Json = False,
) -> None:
    """Write an adapter for others, in the format of peft, with a card."""
    from loopwright.finetune.sft.release import export as export_adapter

    _print_written(export_adapter(adapter, out, base_name or None, precision=precision), as_json)


def _print_written(folder: Path, as_json: bool) -> None:
    if as_json:
        json_line({"folder": str(folder)})
    else:
        stdout().print(f"Wrote {folder}")
