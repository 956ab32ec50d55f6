"""`loopwright eval feedback`, `chat`, `clinicians`: how people are understood. Loops bring evaluations of their own."""

from collections.abc import Callable
from typing import Annotated, cast

import typer

from loopwright.cli.output import json_line, stderr, stdout
from loopwright.cli.plugin import all_commands, group
from loopwright.errors import UnknownName

app = group("Measure models and loops; exit code 0 where all bars are met.")


@app.command("feedback")
def feedback(
    loop: Annotated[list[str] | None, typer.Option(help="Only this loop; may be given several times.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Card of the model that proposes what rules do not read, beside rules alone.")
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="Ordinary phrases for each loop.")] = 300,
    seed: Annotated[int, typer.Option(help="Of the draw of phrases.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """What becomes of phrases that nobody wrote rules for: understood, asked about, misread, or taken for another.

    A simulated clinician says yes to a proposal that is what was meant, and no to any other. The bar is that nothing
    moves that was not meant.
    """
    from loopwright.agents.sessions.interpreting import Interpreter
    from loopwright.finetune.evaluate.feedback import OUTCOMES, Phrasings, asking, evaluate_feedback
    from loopwright.finetune.measure.rows import Bar, summary
    from loopwright.finetune.measure.tables import markdown_table
    from loopwright.graphs.registry import get_loop
    from loopwright.graphs.resolve import resolve

    known = {name: where for each in all_commands() for name, where in each.phrasings.items()}
    rows = []
    for name in loop or known:
        if name not in known:
            raise UnknownName("loop with phrasings", name, known)
        phrasings = cast(Phrasings, resolve(known[name]))
        said, language = phrasings(n, seed), get_loop(name).language
        rows += evaluate_feedback(name, language, said, "rules")
        if model is not None:
            interpreter = Interpreter(language, asking(model))
            rows += evaluate_feedback(name, language, said, model, interpreter, _progress(name))
    bars = [Bar(f"{row.world}, {row.model}, {row.variant}: no wrong motion", -row.figures["moved"], 0) for row in rows]
    if as_json:
        for each in [*(row.as_json() for row in rows), summary("feedback", bars)]:
            json_line(each)
    else:
        heads = ("loop", "read by", "phrases", "N", *OUTCOMES, "moved")
        lines = [
            (
                row.world,
                row.model,
                row.variant,
                str(row.n),
                *(f"{row.figures[name]:.3f}" for name in (*OUTCOMES, "moved")),
            )
            for row in rows
        ]
        stdout().print(markdown_table(heads, lines), markup=False)
    raise typer.Exit(0 if all(bar.is_met for bar in bars) else 1)


def _progress(loop: str) -> Callable[[int], None]:
    return lambda n: stderr().print(f"{loop}: {n} phrases", end="\r", markup=False)


@app.command("chat")
def chat(
    model: Annotated[
        str | None, typer.Option(help="Card of a model that is asked what rules do not read, beside rules alone.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """What a chat makes of single, multi-step, impossible and hostile requests; nothing may move unasked."""
    from loopwright.finetune.evaluate.chat import WHAT, bars_of, evaluate_chat, requests
    from loopwright.finetune.measure.rows import summary
    from loopwright.finetune.measure.tables import markdown_table

    rows = []
    for who in ("rules", *((model,) if model else ())):
        rows += evaluate_chat(
            who, requests(), "" if who == "rules" else who, lambda line: stderr().print(line, markup=False)
        )
    bars = bars_of(rows)
    if as_json:
        for each in [*(row.as_json() for row in rows), summary(WHAT, bars)]:
            json_line(each)
    else:
        heads = ("requests", "read by", "N", "exact", "right loop", "acts unasked")
        lines = [
            (row.world, row.model, str(row.n), *(f"{row.figures[name]:.3f}" for name in ("exact", "loop", "moved")))
            for row in rows
        ]
        stdout().print(markdown_table(heads, lines), markup=False)
    raise typer.Exit(0 if all(bar.is_met for bar in bars) else 1)


@app.command("clinicians")
def clinicians(
    loop: Annotated[list[str] | None, typer.Option(help="Only this loop; may be given several times.")] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="Runs with each kind of clinician.")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """What becomes of runs with helpful, terse, wrong, hostile and undecided people; nothing may be done unasked."""
    from loopwright.finetune.evaluate.clinicians import WHAT, Trial, bars_of, evaluate_clinicians
    from loopwright.finetune.measure.rows import summary
    from loopwright.finetune.measure.tables import markdown_table
    from loopwright.graphs.registry import get_loop
    from loopwright.graphs.resolve import resolve

    def told(line: str) -> None:
        stderr().print(line, markup=False)

    known = {name: where for each in all_commands() for name, where in each.trials.items()}
    rows = []
    for name in loop or known:
        if name not in known:
            raise UnknownName("loop with trials", name, known)
        rows += evaluate_clinicians(get_loop(name), cast(Trial, resolve(known[name])), n, told)
    bars = bars_of(rows)
    if as_json:
        for each in [*(row.as_json() for row in rows), summary(WHAT, bars)]:
            json_line(each)
    else:
        figures = ("succeeded", "messages", "refused", "unasked")
        lines = [(row.world, row.model, str(row.n), *(f"{row.figures[key]:.2f}" for key in figures)) for row in rows]
        stdout().print(markdown_table(("loop", "clinician", "N", *figures), lines), markup=False)
    raise typer.Exit(0 if all(bar.is_met for bar in bars) else 1)
