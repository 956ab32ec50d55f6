"""`loopwright plan surgery`: roll a procedure forward to a goal, once, outside of any session; nothing is recorded."""

import math
from collections.abc import Sequence
from itertools import count, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from loopwright.cli.output import json_line, plain, stdout
from loopwright.errors import BadInput

if TYPE_CHECKING:
    from loopwright.agents.surgery.history import Step
    from loopwright.agents.surgery.horizon import HorizonPlan
    from loopwright.agents.surgery.policies import Policy
    from loopwright.tools.surgery.video import Video
    from loopwright.tools.surgery.vocabulary import Action

Planner = Literal["ngram", "bayes", "model"]
READING = "surgery_indir"
"""The card's adapter that is told of the past in words."""


def plan(
    goal: Annotated[
        str, typer.Option(help="Where to, in plain words: `the vessels are clipped`, `the next Coagulation`.")
    ],
    video: Annotated[
        str,
        typer.Option(help="`simulated:SEED`, or `FOLDER:VIDxx` with a folder of `loopwright data build surgery`."),
    ],
    clips: Annotated[int, typer.Option(min=1, help="How many of the video's clips were seen.")] = 5,
    planner: Annotated[
        Planner, typer.Option(help="Whose odds: counted frequencies, the simulator's exact ones, or a model's.")
    ] = "ngram",
    statistics: Annotated[
        Path | None,
        typer.Option(help="What `--planner ngram` counts: `statistics.json` of `loopwright data build surgery`."),
    ] = None,
    model: Annotated[str, typer.Option(help="Name or path of the model card for `--planner model`.")] = "small",
    search: Annotated[
        Literal["likeliest", "typical"],
        typer.Option(help="The most probable chains, by beam search, or of drawn ones those nearest to all drawn."),
    ] = "likeliest",
    horizon: Annotated[int, typer.Option(min=1, help="Actions at most.")] = 30,
    width: Annotated[int, typer.Option(min=1, help="Chains to show, and to follow in each bank of the search.")] = 3,
    draws: Annotated[int, typer.Option(min=1, help="Chains to draw for `--search typical`.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line: chains, then a summary.")] = False,
) -> int:
    """Show the actions that lead to a goal, each with its probability, and what the video shows instead."""
    from loopwright.agents.surgery.goals import read_goal
    from loopwright.agents.surgery.horizon import Roll, likeliest, typical
    from loopwright.tools.surgery.video import open_video

    wanted, opened = read_goal(goal), open_video(video)
    seen, following = _clips(opened, clips)
    roll = Roll(_policy(planner, statistics, model), seen, wanted, horizon)
    if search == "likeliest":
        found = likeliest(roll, width=width)
    else:
        found = typical(roll, draws=draws, width=width, seed=seed)
    summary = _summary(found, seen, following)
    if as_json:
        for line in summary["chains"]:
            json_line(line)
        json_line({name: value for name, value in summary.items() if name != "chains"})
    else:
        _show(summary, opened.name, seen)
    return 0 if found.best.reaches_goal else 1


def _clips(video: "Video", n: int) -> "tuple[list[Step], list[Action]]":
    """The first `n` clips as steps, and the actions of those after them."""
    from loopwright.agents.surgery.formats import caption_of
    from loopwright.agents.surgery.history import step_of

    clips = list(takewhile(lambda clip: clip is not None, (video.clip(i, {}) for i in count())))
    if n > len(clips):
        raise BadInput(f"`--clips` is {n}, and {video.name} has {len(clips)}. Give {len(clips)} or less.")
    steps = []
    for i, clip in enumerate(clip for clip in clips[:n] if clip is not None):
        truth = video.state(i, {})
        steps.append(step_of(clip, caption=caption_of(clip, truth)).model_copy(update={"truth": truth}))
    return steps, [clip.action for clip in clips[n:] if clip is not None]


def _policy(planner: Planner, statistics: Path | None, model: str) -> "Policy":
    from loopwright.agents.surgery.policies import BayesPolicy, ModelPolicy, NgramPolicy
    from loopwright.tools.surgery.statistics import read_statistics

    if statistics is not None and planner != "ngram":
        raise BadInput(f"`--statistics` are what `--planner ngram` counts; the planner is {planner!r}. Leave them out.")
    match planner:
        case "ngram":
            return NgramPolicy(None if statistics is None else read_statistics(statistics))
        case "bayes":
            return BayesPolicy()
        case "model":
            from loopwright.finetune.evaluate.pictures import PngStore
            from loopwright.graphs.loop.models import checked_card, of_card
            from loopwright.models.cards import ModelCard
            from loopwright.schema import CancelToken

            card = ModelCard.model_validate(checked_card(model))
            return ModelPolicy(of_card(card, READING, PngStore()).opened(CancelToken()))


def _summary(found: "HorizonPlan", seen: "Sequence[Step]", following: "Sequence[Action]") -> dict[str, Any]:
    """The summary, and under `chains` a line each."""
    from loopwright.agents.surgery.horizon import edit_distance

    past: list[Action] = [step.action for step in seen]
    n = found.goal.reached_after(past, following)
    came = None if n is None else list(following[:n])
    return {
        "chains": [
            {
                "rank": rank,
                "reaches_goal": chain.reaches_goal,
                "log_probability": chain.log_probability,
                "steps": [
                    {**step.model_dump(), "notes": _notes(step.action, past + list(chain.actions[:i]), seen[-1], i)}
                    for i, step in enumerate(chain.steps)
                ],
            }
            for rank, chain in enumerate(found.chains, 1)
        ],
        "goal": found.goal.name,
        "reaches_goal": found.best.reaches_goal,
        "reached_of_drawn": found.reached,
        "came": came,
        "edit": None if came is None else edit_distance(found.best.actions, came),
    }


def _notes(action: "Action", past: "Sequence[Action]", last: "Step", ahead: int) -> list[str]:
    """What the safety rules have against an action that is so many actions ahead; only now the truth may be known."""
    from loopwright.tools.surgery.safety import review

    return [note.reason for note in review([action], past=past, truth=None if ahead else last.truth).notes]


def _show(summary: dict[str, Any], name: str, seen: "Sequence[Step]") -> None:
    out = stdout()
    out.print(
        f"{plain(name)}, after {len(seen)} clips, the last one {seen[-1].action}. Goal: {plain(summary['goal'])}."
    )
    for chain in summary["chains"]:
        how = "reaches the goal" if chain["reaches_goal"] else "does not reach the goal"
        odds = math.exp(chain["log_probability"])
        out.print(f"[bold]{chain['rank']}.[/bold] {how} in {len(chain['steps'])} actions, probability {odds:.2g}")
        for step in chain["steps"]:
            notes = "".join(f"  [yellow]{plain(note)}[/yellow]" for note in step["notes"])
            out.print(f"     {step['probability']:>4.0%}  {step['action']}{notes}")
    if summary["reached_of_drawn"] is not None:
        out.print(f"Of the drawn chains {summary['reached_of_drawn']:.0%} reach the goal.")
    if summary["came"] is None:
        out.print("The video does not come to the goal.")
    else:
        came = ", ".join(summary["came"]) or "nothing, the goal is reached already"
        out.print(f"In the video came: {came}. Edit distance to the first chain: {summary['edit']:.2f}.")
