"""Random weights, legal answers: whatever the model would rather say, a reply keeps to its schema or form."""

from typing import Annotated, Any, Literal

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import BaseModel, Field, model_validator, v1
from tests.models import tiny
from typing_extensions import TypedDict

from loopwright.errors import BadInput, DeveloperError, OperatorError, Stopped
from loopwright.models.answers import TextFormat
from loopwright.models.asking import ask
from loopwright.models.cards import Decoding, ModelCard
from loopwright.models.local.chat import LocalChatModel
from loopwright.schema import CancelToken


class Step(BaseModel):
    landmark: Literal["Skull", "T1", "Carina"]
    left_mm: int = Field(ge=-150, le=150)
    reason: str = Field(max_length=12)


class Picky(BaseModel):
    left_mm: int = Field(ge=0, le=9)

    @model_validator(mode="after")
    def _refuse(self) -> "Picky":
        raise ValueError("never good enough")


class Unbounded(BaseModel):
    reason: str


ASK = [HumanMessage("Where to?")]


@pytest.fixture(params=["qwen2.5-vl", "llama"])
def model(request: pytest.FixtureRequest) -> LocalChatModel:
    base = str(tiny.folder_of(request.param))
    return LocalChatModel(card=ModelCard(name="tiny", kind="local", base=base, decoding=Decoding(max_tokens=4)))


@pytest.fixture
def qwen() -> LocalChatModel:
    return LocalChatModel(card=ModelCard(name="tiny", kind="local", base=str(tiny.folder_of("qwen2.5-vl"))))


def test_every_reply_is_an_instance(model: LocalChatModel) -> None:
    """At any temperature, in a batch, and though the card allows four tokens: the grammar knows its longest answer."""
    structured = model.with_structured_output(Step)
    steps = [structured.invoke(ASK)]
    steps += [structured.invoke(ASK, seed=seed, temperature=2.0) for seed in range(3)]
    steps += structured.batch([ASK] * 4, temperature=1.0)
    assert all(isinstance(step, Step) for step in steps)
    assert len({str(step) for step in steps}) > 2


def test_the_message_comes_along_where_it_is_asked_for(qwen: LocalChatModel) -> None:
    reply = qwen.with_structured_output(Step, include_raw=True).invoke(ASK)
    assert isinstance(reply, dict)
    assert isinstance(reply["raw"], AIMessage)
    assert reply["parsed"] == Step.model_validate_json(reply["raw"].text)
    assert reply["parsing_error"] is None
    assert reply["raw"].response_metadata["finish_reason"] == "stop"


def test_what_only_a_validator_knows_is_an_error(qwen: LocalChatModel) -> None:
    with pytest.raises(OperatorError, match="never good enough"):
        qwen.with_structured_output(Picky).invoke(ASK)
    reply = qwen.with_structured_output(Picky, include_raw=True).invoke(ASK)
    assert isinstance(reply, dict)
    assert reply["parsed"] is None
    assert "never good enough" in str(reply["parsing_error"])


def test_a_cancelled_structured_reply_is_no_reply(qwen: LocalChatModel) -> None:
    cancel = CancelToken()
    cancel.stop()
    with pytest.raises(Stopped):
        qwen.with_structured_output(Step).invoke(ASK, cancel=cancel)


def test_every_reply_is_in_the_text_format(model: LocalChatModel) -> None:
    pair = TextFormat(
        name="pair",
        pattern=r"\[[1-9],[1-9]\]",
        longest_chars=5,
        example="[1,2]",
        render=lambda value: f"[{value[0]},{value[1]}]",
        read=lambda text: (int(text[1]), int(text[3])),
        tidy=str.strip,
    )
    drawn = [model.model_copy(update={"decoding": Decoding(seed=seed, temperature=1.0)}) for seed in range(4)]
    replies = [ask(each, ASK, pair) for each in drawn]
    assert all((reply.is_exact, reply.attempts) == (True, 1) for reply in replies)
    assert all(pair.render(reply.value) == reply.text for reply in replies)


class Joke(TypedDict):
    """A joke."""

    setup: Annotated[str, ..., "the question"]
    punchline: Annotated[str | None, None, "the answer"]


class Older(v1.BaseModel):
    """A step, as pydantic 1 has it."""

    name: str
    mm: int = 3


NESTED = {
    "title": "Way",
    "type": "object",
    "properties": {"steps": {"type": "array", "items": {"$ref": "#/$defs/S"}}, "why": {"type": ["string", "null"]}},
    "required": ["steps", "why"],
    "$defs": {"S": {"type": "object", "properties": {"mm": {"type": "number"}}, "required": ["mm"]}},
}


@pytest.mark.parametrize("schema", [Unbounded, Joke, Older, NESTED, Older.schema(), {"type": "object"}], ids=str)
@pytest.mark.parametrize("max_tokens", [2, 40])
def test_schemas_of_every_kind_without_a_longest_answer_end_with_the_budget(
    model: LocalChatModel, schema: Any, max_tokens: int
) -> None:
    structured = model.with_structured_output(schema)
    for seed in range(2):
        found = structured.invoke(ASK, max_tokens=max_tokens, temperature=1.0, seed=seed)
        assert isinstance(found, schema if schema in (Unbounded, Older) else dict)
        if schema is Joke:
            assert isinstance(found, dict) and isinstance(found["setup"], str)


def test_what_is_no_schema_is_refused(qwen: LocalChatModel) -> None:
    with pytest.raises(DeveloperError, match="TypedDict"):
        qwen.with_structured_output(int)


def test_a_grammar_that_the_context_cannot_hold_is_refused(qwen: LocalChatModel) -> None:
    class Long(BaseModel):
        text: str = Field(max_length=1000)

    with pytest.raises(BadInput, match="context"):
        qwen.with_structured_output(Long).invoke(ASK)
