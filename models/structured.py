"""Structured output without a grammar: a reply is checked against its schema, and asked for again a few times.

For models whose tokens we do not draw ourselves. Each reply that does not fit is logged, counted in the metadata of the
final one (`format_failures`) and sent back with what was wrong. Knows any LangChain chat model, no endpoint.
"""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.utils.function_calling import convert_to_json_schema
from pydantic import BaseModel, ValidationError

from loopwright.errors import DeveloperError, OperatorError
from loopwright.log import get_logger

_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*?)\s*```\s*", re.DOTALL)
_log = get_logger(__name__)


def structured(
    model: Runnable[LanguageModelInput, AIMessage], schema: object, *, retries: int, in_words: bool, include_raw: bool
) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
    """`model` with replies that are instances of `schema`: what `with_structured_output` returns.

    Args:
        model: the model to ask; keywords of a call, such as `cancel`, reach it.
        schema: a pydantic model class.
        retries: how often a reply that does not fit is asked for again.
        in_words: put the schema into the prompt; else it is sent as `response_format`, for the endpoint to enforce.
        include_raw: return `{"raw": message, "parsed": instance or None, "parsing_error": error or None}`.

    Raises:
        DeveloperError: at once, where `schema` is no pydantic model class.
        OperatorError: from a call, when no reply fitted; with `include_raw` it is returned.
    """
    if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        raise DeveloperError(f"`schema` is {schema!r}; expected a pydantic model class, by which replies are checked.")
    checked = _Checked(model=model, schema=schema, retries=retries, in_words=in_words)
    return RunnableLambda(checked.raw_and_parsed if include_raw else checked.parsed, name=f"checked {schema.__name__}")


@dataclass(frozen=True, kw_only=True)
class _Checked:
    model: Runnable[LanguageModelInput, AIMessage]
    schema: type[BaseModel]
    retries: int
    in_words: bool

    def parsed(self, prompt: LanguageModelInput, config: RunnableConfig, **keywords: Any) -> BaseModel:
        reply = self.raw_and_parsed(prompt, config, **keywords)
        if reply["parsing_error"] is not None:
            raise reply["parsing_error"]
        parsed: BaseModel = reply["parsed"]
        return parsed

    def raw_and_parsed(self, prompt: LanguageModelInput, config: RunnableConfig, **keywords: Any) -> dict[str, Any]:
        messages = _messages(prompt)
        if self.in_words:
            asked = "Reply with one JSON object, and nothing else, that fits this JSON schema:\n"
            messages = _with_text(messages, asked + json.dumps(self._json_schema))
        else:
            keywords["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": self._name, "schema": self._json_schema, "strict": True},
            }
        failures = 0
        while True:
            raw = self.model.invoke(messages, config, **keywords)
            parsed, problem = self._check(raw.text)
            if parsed is None:
                failures += 1
                _log.warning("reply does not fit its schema", schema=self._name, failures=failures, problem=problem)
            if parsed is not None or failures > self.retries:
                raw.response_metadata["format_failures"] = failures
                error = self._gave_up(raw, problem) if parsed is None else None
                return {"raw": raw, "parsed": parsed, "parsing_error": error}
            complaint = f"That does not fit the schema: {problem}. Reply with the corrected JSON object only."
            messages = [*messages, AIMessage(raw.text), HumanMessage(complaint)]

    def _check(self, text: str) -> tuple[BaseModel | None, str]:
        """The instance that `text` holds, or None and what is wrong, for a model to read."""
        fenced = _FENCED.fullmatch(text)  # models wrap their JSON that were not held to a schema
        try:
            return self.schema.model_validate_json(fenced[1] if fenced else text), ""
        except ValidationError as error:
            problems = error.errors(include_url=False)
            return None, "; ".join(f"`{'.'.join(map(str, e['loc'])) or 'reply'}`: {e['msg']}" for e in problems)

    def _gave_up(self, raw: AIMessage, problem: str) -> OperatorError:
        cut = raw.response_metadata.get("finish_reason") == "length"
        repair = "It was cut off: raise `max_tokens`." if cut else "Take a model that keeps to a schema."
        return OperatorError(
            f"None of {self.retries + 1} replies fits the schema `{self._name}`. The last was {raw.text[:200]!r}: "
            f"{problem}. {repair}"
        )

    @property
    def _name(self) -> str:
        """The schema's name as endpoints allow it."""
        return re.sub(r"[^a-zA-Z0-9_-]", "_", self.schema.__name__)

    @cached_property
    def _json_schema(self) -> dict[str, Any]:
        return convert_to_json_schema(self.schema, strict=True)


def _messages(prompt: LanguageModelInput) -> list[BaseMessage]:
    if isinstance(prompt, PromptValue):
        return prompt.to_messages()
    return convert_to_messages([prompt] if isinstance(prompt, str) else prompt)


def _with_text(messages: list[BaseMessage], text: str) -> list[BaseMessage]:
    """`messages` with `text` added to the user's last one: many chat templates refuse turns that do not alternate."""
    last = messages[-1]
    if not isinstance(last, HumanMessage):
        return [*messages, HumanMessage(text)]
    content = [{"type": "text", "text": last.content}] if isinstance(last.content, str) else last.content
    return [*messages[:-1], HumanMessage([*content, {"type": "text", "text": text}])]
