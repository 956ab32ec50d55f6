"""`loopwright data`: fetch real data, render data sets, build conversations to learn from, check them."""

from pathlib import Path
from typing import Annotated

import typer

from loopwright.cli.output import json_line, plain_lines, stdout
from loopwright.cli.plugin import group

app = typer.Typer(help="Fetch real data, render and build data sets.", no_args_is_help=True)
fetch_app = group("Fetch public data into the cache folder, checked by hash; what is there is not fetched again.")
render_app = group("Render a data set for training or evaluation.")
build_app = group("Build what models learn from and are measured on.")
episodes_app = group("Write runs of a loop to train in, one a line.")
distill_app = group("Have a stronger model write what a smaller one learns from.")


@app.command()
def check(
    file: Annotated[list[Path], typer.Argument(help="Conversations as JSONL, ShareGPT or messages.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Read conversations, open their pictures, and say what is wrong with which row. Exit code 1 where something is."""
    from loopwright.finetune.data.files import check_file

    all_good = True
    for path in file:
        checked = check_file(path)
        all_good = all_good and not checked.problems
        for problem in checked.problems:
            if as_json:
                json_line({"file": str(path), "row": problem.row, "problem": problem.message})
            else:
                stdout().print(plain_lines(str(problem)))
        if as_json:
            json_line({"file": str(path), "rows": len(checked.examples), "problems": len(checked.problems)})
        else:
            stdout().print(f"{path}: {len(checked.examples)} good, {len(checked.problems)} problems", markup=False)
    if not all_good:
        raise typer.Exit(1)


@build_app.command("feedback")
def build_feedback(
    out: Annotated[Path, typer.Option(help="The folder to write; its settings cannot change.")],
    loop: Annotated[list[str] | None, typer.Option(help="Only this loop; may be given several times.")] = None,
    n: Annotated[int, typer.Option("--n", min=10, help="Sentences for each loop.")] = 130,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Write sentences that people may say to a loop, and what each means, as a session's interpreter is asked."""
    from loopwright.finetune.data.feedback import build
    from loopwright.graphs.registry import LOOPS

    for path, rows in build(out, loop or LOOPS, n, seed).items():
        if as_json:
            json_line({"file": str(path), "rows": rows})
        else:
            stdout().print(f"{rows} conversations in {path}", markup=False)


@app.command("from-feedback")
def from_feedback(
    session: Annotated[list[str], typer.Argument(help="Ids of sessions, the beginnings of some, or `last`.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Make rows to learn from of what people approved and corrected in sessions: to imitate, and preferences."""
    from loopwright.cli.run_session import opened_memory
    from loopwright.finetune.data.from_feedback import write_feedback

    with opened_memory() as memory:
        written = write_feedback(memory, [memory.sessions.find(one) for one in session], out)
    if as_json:
        json_line({"out": str(out), **written._asdict()})
    else:
        stdout().print(f"{written.examples} examples, {written.preferences} preferences in {out}", markup=False)
