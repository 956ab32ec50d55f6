"""The nodes of the recipe loop: look -> (actions, ingredients, plain text at once) -> judge -> select -> review ->
generate -> verify -> write, and look again at what is written.
"""

from collections.abc import Sequence
from typing import Any

from loopwright.agents.recipe.feedback import Edits, With, Without
from loopwright.agents.recipe.formats import INSTRUCTIONS
from loopwright.agents.recipe.judge import SETS, CountsJudge, Judge, LabelSet, ModelJudge, Prediction
from loopwright.agents.recipe.prompts import instructions_messages
from loopwright.agents.recipe.scsr import Scored
from loopwright.agents.recipe.scsr import select as select_labels
from loopwright.agents.recipe.verify import Check, check
from loopwright.agents.sessions.gate import Heard
from loopwright.errors import OperatorError
from loopwright.graphs.loop.acts import WITHDRAWN, ActResult
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import State, node
from loopwright.graphs.recipe.predictors import known_of, predict
from loopwright.graphs.recipe.run import GENERATOR
from loopwright.schema import ImageRef
from loopwright.tools.recipe.cooccurrence import kitchen_cooccurrence
from loopwright.tools.recipe.tools import SeenDish, look_at_dish, record_labels, write_instructions

STATE: State = {
    "actions": {},
    "ingredients": {},
    "plain": [],
    "judged": {},
    "selected": {},
    "edits": {},
    "labels": {},
    "draft": [],
    "check": {},
    "repairs": 0,
    "is_written": False,
    "refused": "",
}
"""The `Prediction` of either set; the text written without labels; both sides of the judge's scores by set; what SCSR
keeps; people's `Edits`; the labels as rectified and edited; the draft, its `Check`, how often it was redone; whether it
is written down, and why a human did not want it written ("": nobody minded)."""


@node(to=("generate",))
def look(state: State, ctx: Context) -> None:
    """See the dish and what is written about it; end where that is as it should be."""
    seen = ctx.observe(look_at_dish)
    if not state["is_written"]:
        return
    if _hear(state, ctx.feedback()):
        state.update(is_written=False, repairs=0)
        ctx.goto("generate")
    found = Check.model_validate(state["check"])
    if list(seen["steps"]) != state["draft"]:
        ctx.end("failed", "the instructions were changed by somebody else; look at them")
    ctx.end("succeeded", f"the instructions are written in {len(state['draft'])} steps; {found.in_words()}")


def predict_actions(state: State, ctx: Context) -> None:
    """Say what was done to the dish."""
    state["actions"] = _predicted(state, ctx, "actions")


def predict_ingredients(state: State, ctx: Context) -> None:
    """Say what is in the dish."""
    state["ingredients"] = _predicted(state, ctx, "ingredients")


def write_plainly(state: State, ctx: Context) -> None:
    """Write instructions from the picture alone, for whoever compares."""
    if ctx.config.compare and _image(state) is not None:
        state["plain"] = list(ctx.ask(GENERATOR, instructions_messages(_image(state)), INSTRUCTIONS))


def judge(state: State, ctx: Context) -> None:
    """Score the predicted labels; without a judge they stand as they were predicted."""
    if not ctx.config.scsr or _image(state) is None:
        return
    said = {what: Prediction.model_validate(state[what]) for what in SETS}
    asked: Judge = CountsJudge(kitchen_cooccurrence()) if ctx.config.judge == "counts" else ModelJudge(known_of(ctx))
    for what in SETS:
        try:
            scores = asked.scores(what, said, _image(state), ctx)
        except OperatorError as error:
            ctx.computed("unjudged", {"what": what, "why": str(error)})
            continue
        sides = {side: [one._asdict() for one in getattr(scores, side)] for side in ("initial", "rectified")}
        state["judged"][what] = ctx.computed("judged", {"what": what, **sides})


def select(state: State, ctx: Context) -> None:
    """Keep the labels that the judge is sure of on both sides (SCSR)."""
    for what in SETS:
        labels, sides = list(state[what]["labels"]), state["judged"].get(what)
        found: dict[str, Any] = {"what": what, "labels": labels, "rule": "predicted"}
        if sides is not None:
            initial, rectified = (_scored(sides[side]) for side in ("initial", "rectified"))
            found |= select_labels(initial, rectified, ctx.config.fewest)._asdict()
        state["selected"][what] = list(ctx.computed("selected", _as_json(found))["labels"])


@node(to=("write",))
def review(state: State, ctx: Context) -> None:
    """Hear what people say of the labels; ask where there are none, or where the text was refused without a reason."""
    is_changed = _hear(state, ctx.feedback())
    if state["refused"] == WITHDRAWN and not is_changed:
        state["refused"] = ""
        ctx.goto("write")
    if state["refused"] and not is_changed:
        question = "What is to be changed? Name what is not in it, or what is; or say `approve` to have it written."
        heard = ctx.ask_human(question, options=("no nuts", "add basil", "approve"), about="refused", until=_is_reply)
        if not _hear(state, heard):
            state["refused"] = ""
            ctx.goto("write")
    state["refused"] = ""
    if not any(_labels(state).values()):
        why = "There is no picture" if _image(state) is None else "Nothing was recognised"
        heard = ctx.unsure(f"{why}. What is in the dish?", options=("add tomatoes", "add basil"), until=_names_labels)
        _hear(state, heard)
        if not any(_labels(state).values()):
            ctx.end("failed", f"{why.lower()}, and nobody named a label of the dish")


def generate(state: State, ctx: Context) -> None:
    """Write instructions that do what the labels say."""
    state["labels"] = _labels(state)
    told = _told(state, ctx)
    repair = Check.model_validate(state["check"]).repair() if state["repairs"] else ""
    prompt = instructions_messages(_image(state), told.get("actions", ()), told.get("ingredients", ()), repair)
    state["draft"] = list(ctx.ask(GENERATOR, prompt, INSTRUCTIONS))


@node(to=("generate", "review"))
def verify(state: State, ctx: Context) -> None:
    """Compare the text with its labels; have it redone within the budget, then ask or go on as the run says."""
    edits = Edits.model_validate(state["edits"])
    removed = [label for labels in edits.removed.values() for label in labels]
    found = check(state["draft"], _told(state, ctx), known_of(ctx), removed)
    state["check"] = found.model_dump(mode="json")
    ctx.computed("verified", {**state["check"], "repairs": state["repairs"]})
    if found.ok:
        return
    if state["repairs"] < ctx.config.repairs:
        state["repairs"] += 1
        ctx.goto("generate")
    if ctx.config.approval == "guard":
        heard = ctx.unsure(
            f"The text and its labels do not agree: {found.in_words()}. Is it to be written as it stands?",
            options=("approve", "reject", "no nuts", "add basil"),
        )
        is_changed = _hear(state, heard)
        if is_changed or any(one.kind == "reject" for one in heard):
            state.update(repairs=0, refused="" if is_changed else "human")
            ctx.goto("review")


@node(to=("review",))
def write(state: State, ctx: Context) -> None:
    """Write the labels and the instructions down."""
    labels = {what: list(state["labels"][what]) for what in SETS}
    noted = ctx.act(record_labels, **labels)
    if not noted.ok:
        _refused(state, ctx, noted)
    found = Check.model_validate(state["check"])
    written = ctx.act(write_instructions, because=found.in_words(), steps=state["draft"])
    if not written.ok:
        _refused(state, ctx, written)
    state["is_written"] = True


def _refused(state: State, ctx: Context, result: ActResult) -> None:
    """Go back to hear what is to be changed where a human said no, or was stopped; else there is no way on."""
    if result.rule not in ("human", "approval", WITHDRAWN):
        ctx.end("failed", f"it was not written: {result.reason}")
    state.update(refused=result.rule, repairs=0)
    ctx.goto("review")


def _predicted(state: State, ctx: Context, what: LabelSet) -> dict[str, Any]:
    image = _image(state)
    found = (Prediction() if image is None else predict(what, image, ctx)).model_dump(mode="json")
    ctx.computed("predicted", {"what": what, **found})
    return found


def _hear(state: State, heard: Sequence[Heard]) -> bool:
    """Take in what people said; whether it changes the labels."""
    before = edits = Edits.model_validate(state["edits"])
    for one in heard:
        if one.kind in ("with", "without"):
            kind = With if one.kind == "with" else Without
            edits = edits.after(kind.model_validate({n: v for n, v in one.words.items() if n != "kind"}), one.text)
    state["edits"] = edits.model_dump(mode="json")
    return edits != before


def _labels(state: State) -> dict[str, list[str]]:
    """The labels of either set, as selected and edited."""
    edits = Edits.model_validate(state["edits"])
    return {what: list(edits.applied(what, state["selected"][what])) for what in SETS}


def _told(state: State, ctx: Context) -> dict[LabelSet, list[str]]:
    """The labels that the writer is told."""
    sets: tuple[LabelSet, ...] = SETS if ctx.config.context == "both" else (ctx.config.context,)
    return {} if ctx.config.context == "none" else {what: list(state["labels"][what]) for what in sets}


def _image(state: State) -> ImageRef | None:
    return SeenDish.model_validate(state["observation"]).image


def _scored(side: Sequence[dict[str, Any]]) -> list[Scored]:
    return [Scored(one["label"], one["confidence"]) for one in side]


def _as_json(found: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def _is_reply(heard: Sequence[Heard]) -> bool:
    return any(one.kind in ("with", "without", "approve") for one in heard)


def _names_labels(heard: Sequence[Heard]) -> bool:
    return any(one.kind in ("with", "approve", "reject") for one in heard)
