"""`loopwright models`: the model cards, and whether what they name is there."""

from typing import Annotated, Literal

import typer

from loopwright.cli.output import json_line, plain, stderr, stdout, table

app = typer.Typer(help="The models that agents may run on: local, served, scripted.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Name = Annotated[str, typer.Argument(help="A card's name, or the path of its file.")]


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """Every model card: the bundled ones and your own.

    Yours are the YAML files in the folder of the setting `models_dir`.
    """
    from loopwright.models.cards import list_cards

    if as_json:
        for card in list_cards():
            json_line(card.in_force())
        return
    shown = table("model", "kind", "base", "what it is")
    for card in list_cards():
        shown.add_row(*(plain(cell) for cell in (card.name, card.kind, card.base, card.description)))
    stdout().print(shown)


@app.command()
def show(name: Name, as_json: Json = False) -> None:
    """What a card says, defaults included."""
    from loopwright.models.cards import load_card

    card = load_card(name)
    if as_json:
        json_line(card.in_force())
        return
    shown = table("key", "value")
    for key, value in card.in_force().items():
        for inner, leaf in value.items() if isinstance(value, dict) else [("", value)]:
            shown.add_row(f"{key}.{inner}" if inner else key, plain(str(leaf)))
    stdout().print(shown)


@app.command()
def check(name: Name, as_json: Json = False) -> None:
    """Whether what a card names is there and fits together. Loads no base's weights; asks an endpoint for its models.

    Ends with code 1 where something is missing or wrong.
    """
    from loopwright.models.cards import load_card
    from loopwright.models.check import check_card

    shown, failed = table("", "what", "found"), False
    for finding in check_card(load_card(name)):
        failed |= not finding.ok
        if as_json:
            json_line(finding.model_dump())
        shown.add_row("[green]ok[/green]" if finding.ok else "[red]wrong[/red]", finding.what, plain(finding.said))
    if not as_json:
        stdout().print(shown)
    if failed:
        raise typer.Exit(1)


@app.command()
def fetch(
    name: Annotated[
        Literal["smol", "minilm"],
        typer.Argument(
            help="`smol`: SmolLM2-135M-Instruct, which reads and writes, 93 MB. `minilm`: all-MiniLM-L6-v2, which "
            "evaluations compare texts by, 84 MB. Both Apache-2.0."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Fetch a pretrained model into the cache; for `smol`, write a card of that name among your own."""
    from loopwright.models import minilm, smol
    from loopwright.settings import settings

    console, found = stderr(), settings()

    def on_progress(line: str) -> None:
        console.print(line, markup=False)

    if name == "minilm":
        told = {"folder": minilm.fetch(found.cache_dir, on_progress)}
    else:
        told = {"card": smol.fetch(found.cache_dir, found.models_dir, on_progress)}
    if as_json:
        json_line({"name": name, **{what: str(path) for what, path in told.items()}})
