"""`loopwright eval drive --what imagination`."""

import json
from pathlib import Path

from loopwright.cli.output import json_line, stderr, stdout

NAME = "drive-imagination"
ADAPTER = "drive"


def run(n: int, model: str, out: Path | None, as_json: bool) -> int:
    """Measure, print, and write where that is asked for; the exit code says whether a bar was missed."""
    from langchain_core.language_models import BaseChatModel

    from loopwright.finetune.evaluate.drive.imagination import FIGURES, WHAT, bars_of, evaluate, moments
    from loopwright.finetune.measure.rows import summary
    from loopwright.finetune.measure.tables import markdown_table
    from loopwright.models.cards import load_card
    from loopwright.models.local.chat import LocalChatModel
    from loopwright.models.networks.drive import bundled_tokenizer
    from loopwright.models.open import open_model

    tokenizer, card = bundled_tokenizer(), load_card(model)
    asked: BaseChatModel | None = open_model(card)
    if isinstance(asked, LocalChatModel):
        asked = asked.with_adapter(ADAPTER) if ADAPTER in card.adapters else None
    if asked is None:
        stderr().print(f"`{card.name}` has no adapter `{ADAPTER}`: baselines alone.", markup=False)
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
