"""`loopwright eval recipe`: who predicts labels, what SCSR makes of them, and what writers make of those."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from loopwright.cli.output import json_line, stderr, stdout
from loopwright.errors import BadInput, MissingDependency, UnknownName

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from loopwright.finetune.evaluate.pictures import PngStore
    from loopwright.finetune.evaluate.recipe.lexical import TextMeasure
    from loopwright.finetune.evaluate.recipe.simulated import Setup
    from loopwright.finetune.measure.rows import Row
    from loopwright.models.cards import ModelCard

CARD = "small"
What = Literal["all", "labels", "selection", "texts", "swaps"]


class _Asked(NamedTuple):
    """What the command line asked for."""

    what: str
    part: Literal["validation", "test"]
    dishes: int
    recipes: Path | None
    n: int | None
    predictor: str
    model: str | None
    adapters: Mapping[str, Path]

    def wants(self, what: str) -> bool:
        """Whether this table is to be made."""
        return self.what in ("all", what)


def evaluate(
    dishes: Annotated[int, typer.Option(min=0, help="Simulated dishes; 0 for none.")] = 200,
    part: Annotated[Literal["validation", "test"], typer.Option(help="Of the simulated dishes.")] = "test",
    recipes: Annotated[
        Path | None, typer.Option(help="Also on recipes that people wrote: a JSON file, Markdown or Recipe1M folder.")
    ] = None,
    n: Annotated[int | None, typer.Option(min=2, help="Only so many of those.")] = None,
    what: Annotated[
        What,
        typer.Option(
            help="What to measure: predicted labels (the paper's Tables 2 and 3), SCSR on and off, texts (Tables 1 and "
            "4), texts with swapped labels (Fig. 1), or all of it."
        ),
    ] = "all",
    predictor: Annotated[
        str, typer.Option(help="Whose labels are judged and told: `network`, `model`, or the name of an adapter.")
    ] = "network",
    model: Annotated[
        str | None,
        typer.Option(help=f"Card of the model that predicts, judges and writes. By default `{CARD}`, if it is there."),
    ] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FOLDER: another adapter that predicts labels; may be repeated. Bars hold `rft`."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also write tables (Markdown) and rows (JSON) here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> int:
    """Measure labels and instructions of the recipe loop, beside trivial baselines and the best possible."""
    asked = _Asked(what, part, dishes, recipes, n, predictor, model, _adapters(adapter or []))
    if not dishes and recipes is None:
        raise BadInput("Give `--dishes` or `--recipes`: what to measure on.")
    if n is not None and recipes is None:
        raise BadInput("`--n` counts recipes that people wrote: leave it out, or give `--recipes`.")
    if out is not None:  # before the work: what cannot be made is said at once
        out.mkdir(parents=True, exist_ok=True)
    measure = _measure() if what in ("all", "texts", "swaps") else None
    rows = _simulated(asked, measure) if dishes else []
    rows += _recorded(asked, measure) if recipes is not None else []
    return _report(asked, rows, measure, out, as_json)


def _adapters(given: Sequence[str]) -> dict[str, Path]:
    found = {}
    for one in given:
        name, equals, folder = one.partition("=")
        if not equals or not name or not folder:
            raise BadInput(f"`--adapter {one}`: expected NAME=FOLDER, such as `rft=runs/recipe_grpo_actions`.")
        found[name] = Path(folder)
    return found


def _simulated(asked: _Asked, measure: "TextMeasure | None") -> "list[Row]":
    from loopwright.finetune.evaluate.recipe import simulated

    setup = simulated.open_setup(asked.part, asked.dishes, lambda store: _models(asked, store), _on_progress)
    known = [simulated.NETWORK, *setup.models]
    if asked.predictor not in known:
        raise UnknownName("predictor", asked.predictor, known)
    parts: dict[str, Callable[[Setup], list[Row]]] = {
        "labels": simulated.evaluate_labels,
        "selection": lambda setup: simulated.evaluate_selection(setup, asked.predictor),
    }
    if measure is not None:
        parts["texts"] = lambda setup: simulated.evaluate_texts(setup, asked.predictor, measure)
        parts["swaps"] = lambda setup: simulated.evaluate_swaps(setup, measure)
    return [row for name, part in parts.items() if asked.wants(name) for row in part(setup)]


def _recorded(asked: _Asked, measure: "TextMeasure | None") -> "list[Row]":
    from loopwright.finetune.evaluate.pictures import PngStore
    from loopwright.finetune.evaluate.recipe import recorded

    assert asked.recipes is not None, "only asked for with recipes"
    store = PngStore()
    model = next(iter(_models(asked, store).values()), None)
    rows: list[Row] = []
    if measure is not None:
        cases = recorded.read_cases(asked.recipes, asked.n, _on_progress)
        rows += recorded.evaluate_recorded(cases, measure, model if asked.wants("texts") else None, _on_progress)
    if model is not None and asked.wants("labels"):
        rows += recorded.evaluate_photos(recorded.photographed(asked.recipes, _on_progress)[: asked.n], store, model)
    return rows


def _models(asked: _Asked, store: "PngStore") -> "dict[str, BaseChatModel]":
    """The card's own model and one for each adapter; none, and a line that says why, where no card was named and it
    cannot be opened.
    """
    from loopwright.graphs.recipe.run import ADAPTER, LABELS
    from loopwright.models.cards import load_card
    from loopwright.models.local.chat import LocalChatModel
    from loopwright.models.open import open_model

    try:
        card = _with_adapters(load_card(asked.model or CARD), asked.adapters)
        own = open_model(card, images=store)
    except (BadInput, MissingDependency) as error:
        if asked.model or asked.adapters:
            raise
        _on_progress(f"Rows of models are left out. {error}")
        return {}
    if not isinstance(own, LocalChatModel):
        return {"model": own}
    found: dict[str, BaseChatModel] = {"model": own.with_adapter(ADAPTER) if ADAPTER in card.adapters else own}
    if LABELS in card.adapters:
        found["labels"] = own.with_adapter(LABELS)
    return found | {name: own.with_adapter(f"recipe {name}") for name in asked.adapters}


def _with_adapters(card: "ModelCard", adapters: Mapping[str, Path]) -> "ModelCard":
    """A local card that has the adapters under names of their own.

    Raises:
        BadInput: the card's model takes none, or there is no adapter.
    """
    from loopwright.finetune.sft.release import open_adapter

    if adapters and card.kind != "local":
        raise BadInput(f"`--adapter` needs a local model; the card `{card.name}` is {card.kind}.")
    found = {f"recipe {name}": open_adapter(path).folder.resolve() for name, path in adapters.items()}
    return card.model_copy(update={"adapters": {**card.adapters, **found}})


def _measure() -> "TextMeasure":
    from loopwright.finetune.evaluate.recipe.lexical import TextMeasure
    from loopwright.models import minilm
    from loopwright.settings import settings

    encoder = minilm.found(settings().cache_dir)
    if encoder is None:
        _on_progress(f"BERTScore is left out: its encoder is not here. Fetch it: `{minilm.FETCH}`.")
    return TextMeasure(encoder)


def _report(
    asked: _Asked, rows: "Sequence[Row]", measure: "TextMeasure | None", out: Path | None, as_json: bool
) -> int:
    from loopwright.finetune.evaluate.recipe.bars import bars_of, headline
    from loopwright.finetune.evaluate.recipe.tables import markdown
    from loopwright.finetune.measure.rows import summary

    bars = bars_of(rows)
    texts = {} if measure is None else {"sacrebleu": measure.signature, "bertscore": measure.encoder or None}
    last = {**summary(asked.what, bars), "headline": headline(rows), "texts": texts}
    notes = [] if measure is None else [f"SacreBLEU {measure.signature}; ROUGE-L F1, not stemmed; BERTScore by " + (
        measure.encoder or "nobody") + "."]  # fmt: skip
    if as_json:
        for row in rows:
            json_line(row.as_json())
        json_line(last)
    else:
        stdout().print(markdown(rows, bars, notes), markup=False)
    if out is not None:  # after printing: a full disk must not cost hours of work
        content = {"rows": [row.as_json() for row in rows], **last}
        (out / f"{asked.what}.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
        (out / f"{asked.what}.md").write_text(markdown(rows, bars, notes), encoding="utf-8")
        _on_progress(f"Wrote {out}")
    return 1 if last["bars_met"] is False else 0


def _on_progress(line: str) -> None:
    stderr().print(line, markup=False)
