"""A model in a role: strict where its tokens are drawn here, repaired or asked again where not, nothing uncounted."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from tests.models import tiny

from loopwright.agents.carm.formats import CENTRED, NAVIGATION, Centred, Navigation
from loopwright.agents.carm.places import NEAREST, PLACE, Place
from loopwright.agents.carm.prompts import centred_messages, navigation_messages, nearest_messages, place_messages
from loopwright.agents.role import SAID_SHARE, ask, choose
from loopwright.errors import OperatorError, Stopped
from loopwright.models.answers import TextFormat
from loopwright.models.cards import ModelCard
from loopwright.models.local.chat import LocalChatModel
from loopwright.models.scripted import ScriptedChatModel
from loopwright.schema import CancelToken
from loopwright.tools.carm.landmarks import LANDMARKS

PICTURES = tiny.Pictures()
IMAGE = PICTURES.add(tiny.png(3))
PLACE_ASKED = place_messages(IMAGE, "Carina")


def local() -> LocalChatModel:
    card = ModelCard(name="tiny", kind="local", base=str(tiny.folder_of("qwen2.5-vl")))
    return LocalChatModel(card=card, images=PICTURES)


@pytest.mark.parametrize(
    ("form", "messages", "kind"),
    [
        (NAVIGATION, navigation_messages(IMAGE, "T12"), Navigation),
        (CENTRED, centred_messages(IMAGE), Centred),
        (PLACE, PLACE_ASKED, Place),
    ],
    ids=lambda given: getattr(given, "name", ""),
)
def test_a_local_model_keeps_to_the_letter_whatever_its_weights(
    form: TextFormat[Any], messages: list[BaseMessage], kind: type
) -> None:
    reply = ask(local(), messages, form)
    assert isinstance(reply.value, kind) and form.parse(reply.text) == reply.value
    assert (reply.is_exact, reply.attempts) == (True, 1)


def test_a_strict_answer_is_counted_as_one() -> None:
    with ScriptedChatModel(replies=("left 35 mm",)) as model:
        assert ask(model, PLACE_ASKED, PLACE)[:4] == (Place(35, 0), "left 35 mm", True, 1)
        assert model.prompts == [PLACE_ASKED]


def test_a_fenced_answer_is_repaired_and_says_so() -> None:
    fenced = f"```xml\n{NAVIGATION.example}\n```"
    with ScriptedChatModel(replies=(fenced,)) as model:
        reply = ask(model, navigation_messages(IMAGE, "T12"), NAVIGATION)
    assert reply.value == NAVIGATION.parse(NAVIGATION.example)
    assert (reply.text, reply.is_exact, reply.attempts) == (fenced, False, 1)


def test_nonsense_is_sent_back_with_what_was_wrong() -> None:
    with ScriptedChatModel(replies=("Over there.", "Far away.", "up 40 mm")) as model:
        assert ask(model, PLACE_ASKED, PLACE)[:4] == (Place(0, -40), "up 40 mm", True, 3)
        _, second, third = model.prompts
    assert third[:-2] == second and second[:-2] == PLACE_ASKED
    said, complaint = second[-2:]
    assert isinstance(said, AIMessage) and said.text == "Over there."
    assert isinstance(complaint, HumanMessage)
    assert "'Over there.' is no `place`" in complaint.text and PLACE.example in complaint.text


@pytest.mark.parametrize("retries", [0, 2])
def test_who_talks_nonsense_for_ever_is_not_asked_for_ever(retries: int) -> None:
    with (
        ScriptedChatModel(replies=("Well.",) * (retries + 1)) as model,
        pytest.raises(OperatorError, match=f"None of {retries + 1} answers was a `place`.*'Well.'"),
    ):
        ask(model, PLACE_ASKED, PLACE, retries=retries)


@pytest.mark.parametrize("model", [ScriptedChatModel(replies=("up 40 mm",)), local()], ids=["scripted", "local"])
def test_a_halt_ends_the_asking(model: Any) -> None:
    cancel = CancelToken()
    cancel.stop()
    with pytest.raises(Stopped):
        ask(model, PLACE_ASKED, PLACE, cancel=cancel)
    with pytest.raises(Stopped):
        choose(model, nearest_messages(IMAGE), LANDMARKS, NEAREST, cancel=cancel)


def test_a_local_model_scores_what_it_may_say() -> None:
    model, messages = local(), nearest_messages(IMAGE)
    found = choose(model, messages, LANDMARKS, NEAREST)
    assert found.reply is None
    scores = model.score_choices(messages, LANDMARKS)
    assert list(found.probabilities) == list(LANDMARKS)
    assert list(found.probabilities.values()) == pytest.approx(scores.probabilities.tolist())
    assert sum(found.probabilities.values()) == pytest.approx(1)


def test_a_model_that_cannot_score_is_taken_at_its_word() -> None:
    with ScriptedChatModel(replies=("It is T12, I think", "t12.")) as model:
        found = choose(model, nearest_messages(IMAGE), LANDMARKS, NEAREST)
    assert found.reply is not None and (found.reply.is_exact, found.reply.attempts) == (False, 2)
    assert found.probabilities["T12"] == SAID_SHARE > 0.5
    assert sum(found.probabilities.values()) == pytest.approx(1)
