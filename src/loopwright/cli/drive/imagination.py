"""`loopwright eval drive --what imagination`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from loopwright.cli.output import json_line, stderr, stdout

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

NAME = "drive-imagination"
ADAPTER = "drive"


def imagining_model(name: str) -> "BaseChatModel | None":
    """The model of the card `name` that imagines frames; None, and a line that says so, where it has not learnt to."""
    from loopwright.models.cards import load_card
    from loopwright.models.local.chat import LocalChatModel
    from loopwright.models.open import open_model

    card = load_card(name)
    model = open_model(card)
    if not isinstance(model, LocalChatModel):
        return model
    if ADAPTER in card.adapters:
        return model.with_adapter(ADAPTER)
    stderr().print(f"`{card.name}` has no adapter `{ADAPTER}`: baselines alone.", markup=False)
    return None


def run(n: int, model: str, out: Path | None, as_json: bool) -> int:
    """Measure, print, and write where that is asked for; the exit code says whether a bar was missed."""
    from loopwright.finetune.evaluate.drive.imagination import FIGURES, WHAT, bars_of, evaluate, moments
    from loopwright.finetune.measure.rows import summary
    from loopwright.finetune.measure.tables import markdown_table
    from loopwright.models.networks.drive import bundled_tokenizer

    tokenizer, asked = bundled_tokenizer(), imagining_model(model)
    rows = evaluate(moments(n, tokenizer), tokenizer, asked, lambda line: stderr().print(line, markup=False))
    bars = bars_of(rows)
    last = summary(f"drive {WHAT}", bars) | {"n": n}
    lines = [(row.variant, row.model, *(f"{row.figures[name]:.3f}" for name in FIGURES)) for row in rows]
    table = markdown_table(("at", "frame", *FIGURES), lines)
    if as_json:
        for row in rows:
            json_line(row.as_json())
        json_line(last)
    else:
        stdout().print(table, markup=False)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        content = {"rows": [row.as_json() for row in rows], **last}
        (out / f"{NAME}.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
        (out / f"{NAME}.md").write_text(table, encoding="utf-8")
    return 1 if last["bars_met"] is False else 0
