"""The nodes of the recipe loop: look -> (actions, ingredients, plain text at once) -> judge -> select -> review ->
generate -> verify -> write, and look again at what is written.
"""

from collections.abc import Sequence
from typing import Any

from loopwright.agents.recipe.feedback import Edits
from loopwright.agents.recipe.formats import INSTRUCTIONS
from loopwright.agents.recipe.judge import SETS, CountsJudge, Judge, LabelSet, ModelJudge, Prediction
from loopwright.agents.recipe.prompts import instructions_messages
from loopwright.agents.recipe.scsr import Scored
from loopwright.agents.recipe.scsr import select as select_labels
from loopwright.agents.recipe.verify import Check, check
from loopwright.agents.recipe.writer import write_by_rule
from loopwright.agents.sessions.gate import Heard
from loopwright.errors import NoAnswer
from loopwright.graphs.loop.acts import WITHDRAWN, ActResult
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import State, node
from loopwright.graphs.recipe.predictors import known_of, look_again, predict
from loopwright.graphs.recipe.run import GENERATOR
from loopwright.schema import ImageRef
from loopwright.tools.recipe.cooccurrence import kitchen_cooccurrence
from loopwright.tools.recipe.tools import SeenDish, look_at_dish, record_labels, write_instructions

UNFAMILIAR = "The picture is unlike all that the predictor learnt from"
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
    "is_confirmed": False,
}
"""The `Prediction` of either set; the text written without labels; both sides of the judge's scores by set; what SCSR
keeps; people's `Edits`; the labels as rectified and edited; the draft, its `Check`, how often it was redone; whether it
is written down, why a human did not want it written ("": nobody minded), and whether one confirmed what the loop was
not sure of."""


@node(to=("review",))
def look(state: State, ctx: Context) -> None:
    """See the dish and what is written about it; end where that is as it should be."""
    seen = ctx.observe(look_at_dish)
    if not state["is_written"]:
        return
    heard = ctx.feedback()
    is_changed = _hear(state, heard)
    if is_changed or any(one.kind == "reject" for one in heard):
        state.update(is_written=False, is_confirmed=False, repairs=0, refused="" if is_changed else "human")
        ctx.goto("review")
    if list(seen["steps"]) != state["draft"]:
        ctx.end("failed", "the instructions were changed by somebody else; look at them")
    found, is_confirmed = Check.model_validate(state["check"]), state["is_confirmed"]
    written = f"the instructions are written in {len(state['draft'])} steps"
    if _is_strange(state):
        ctx.end("failed", f"{written}, but they are a guess that nobody confirmed: {UNFAMILIAR.lower()}")
    if not found.ok and not is_confirmed:
        ctx.end("failed", f"{written}, but text and labels disagree, and nobody confirmed them: {found.in_words()}")
    ctx.end("succeeded", f"{written}; {found.in_words()}")


def predict_actions(state: State, ctx: Context) -> None:
    """Say what was done to the dish."""
    state["actions"] = _predicted(state, ctx, "actions")


def predict_ingredients(state: State, ctx: Context) -> None:
    """Say what is in the dish."""
    state["ingredients"] = _predicted(state, ctx, "ingredients")


def write_plainly(state: State, ctx: Context) -> None:
    """Have the model write instructions from the picture alone, for whoever compares."""
    image = _shown(state, ctx)
    if ctx.config.compare and image is not None:
        steps = ctx.ask(GENERATOR, instructions_messages(image), INSTRUCTIONS)
        state["plain"] = _drafted(ctx, "picture", steps)


def judge(state: State, ctx: Context) -> None:
    """Score the predicted labels; without a judge they stand as they were predicted."""
    image = _image(state)
    if ctx.config.selection == "all" or image is None or ctx.config.predictor == "recipe":
        return
    said: dict[LabelSet, Prediction] = {what: Prediction.model_validate(state[what]) for what in SETS}
    asked: Judge = ModelJudge(known_of(ctx))
    if ctx.config.judge == "counts":
        asked = CountsJudge(kitchen_cooccurrence(), look_again(image, ctx))
    for what in SETS:
        try:
            scores = asked.scores(what, said, image, ctx)
        except NoAnswer as error:
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
            state.update(refused="", is_confirmed=True)
            ctx.goto("write")
    state["refused"] = ""
    if why := _doubt(state):
        heard = ctx.unsure(f"{why}. What is in the dish?", options=("add tomatoes", "add basil"), until=_names_labels)
        _hear(state, heard)
        state["is_confirmed"] = any(one.kind == "approve" for one in heard)
        if not any(_labels(state).values()):
            ctx.end("failed", f"{why}, and nobody named a label of the dish")


def generate(state: State, ctx: Context) -> None:
    """Write instructions that do what the labels say."""
    state["labels"] = _labels(state)
    told = _told(state, ctx)
    actions, ingredients = told.get("actions", ()), told.get("ingredients", ())
    if ctx.config.writer == "rule":
        steps = write_by_rule(actions, ingredients, kitchen_cooccurrence())
    else:
        repair = Check.model_validate(state["check"]).repair() if state["repairs"] else ""
        prompt = instructions_messages(_shown(state, ctx), actions, ingredients, repair)
        steps = ctx.ask(GENERATOR, prompt, INSTRUCTIONS)
    state["draft"] = _drafted(ctx, "labels", steps)


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
        state["is_confirmed"] = any(one.kind == "approve" for one in heard)


@node(to=("review",))
def write(state: State, ctx: Context) -> None:
    """Write the labels and the instructions down."""
    labels = state["labels"]
    noted = ctx.act(record_labels, actions=labels["actions"], ingredients=labels["ingredients"])
    if not noted.ok:
        _refused(state, ctx, noted)
    found = Check.model_validate(state["check"])
    written = ctx.act(write_instructions, because=found.in_words(), steps=state["draft"])
    if not written.ok:
        _refused(state, ctx, written)
    state["is_written"] = True
    state["is_confirmed"] = state["is_confirmed"] or written.approved_by == "human"


def _refused(state: State, ctx: Context, result: ActResult) -> None:
    """Go back to hear what is to be changed where a human said no, or was stopped; else there is no way on."""
    if result.rule not in ("human", "approval", WITHDRAWN):
        ctx.end("failed", f"it was not written: {result.reason}")
    state.update(refused=result.rule, is_confirmed=False, repairs=0)
    ctx.goto("review")


def _drafted(ctx: Context, source: str, steps: Sequence[str]) -> list[str]:
    """Steps, on record as written from `labels` or from the `picture` alone."""
    drafted: list[str] = ctx.computed("drafted", {"from": source, "steps": list(steps)})["steps"]
    return drafted


def _predicted(state: State, ctx: Context, what: LabelSet) -> dict[str, Any]:
    if _image(state) is None and ctx.config.predictor != "recipe":
        return Prediction().model_dump(mode="json")
    return predict(what, _image(state), ctx)


def _hear(state: State, heard: Sequence[Heard]) -> bool:
    """Take in what people said; whether it changes the labels."""
    before = edits = Edits.model_validate(state["edits"])
    for one in heard:
        edits = edits.heard(one.words, one.text)
    state["edits"] = edits.model_dump(mode="json")
    return edits != before


def _labels(state: State) -> dict[str, list[str]]:
    """The labels of either set, as selected and edited."""
    edits = Edits.model_validate(state["edits"])
    return {what: list(edits.applied(what, state["selected"][what])) for what in SETS}


def _doubt(state: State) -> str:
    """Why what is known of the dish will not do; "" where it does, or where people have said something of it."""
    if state["edits"].get("words") or state["is_confirmed"]:
        return "" if any(_labels(state).values()) else "Every label was taken away"
    if not any(_labels(state).values()):
        return "There is no picture" if _image(state) is None else "Nothing was recognised in the picture"
    return UNFAMILIAR if _is_strange(state) else ""


def _is_strange(state: State) -> bool:
    """Whether the picture is unlike all that the predictor learnt from, and nobody helped."""
    has_help = bool(state["is_confirmed"] or state["edits"].get("words"))
    return not has_help and any(state[what].get("is_familiar") is False for what in SETS)


def _told(state: State, ctx: Context) -> dict[LabelSet, list[str]]:
    """The labels that the writer is told."""
    sets: tuple[LabelSet, ...] = SETS if ctx.config.context == "both" else (ctx.config.context,)
    return {} if ctx.config.context == "none" else {what: list(state["labels"][what]) for what in sets}


def _image(state: State) -> ImageRef | None:
    return SeenDish.model_validate(state["observation"]).image


def _shown(state: State, ctx: Context) -> ImageRef | None:
    """The picture, as far as the writer is shown it."""
    return None if ctx.config.text_only else _image(state)


def _scored(side: Sequence[dict[str, Any]]) -> list[Scored]:
    return [Scored(one["label"], one["confidence"]) for one in side]


def _as_json(found: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def _is_reply(heard: Sequence[Heard]) -> bool:
    return any(one.kind in ("with", "without", "approve") for one in heard)


def _names_labels(heard: Sequence[Heard]) -> bool:
    return any(one.kind in ("with", "approve", "reject") for one in heard)
