"""How a question looks to whoever runs the graph: ours, and as LangChain's agents ask a person, which chat pages draw.

    {"action_requests": [{"name", "args", "description"}], "review_configs": [{"action_name", "allowed_decisions"}]}

is answered by `{"decisions": [{"type": "approve" | "reject" | "edit" | "respond", ...}]}` (langchain's
`HumanInTheLoopMiddleware`); so is ours, beside plain text.
"""

from typing import Any

from loopwright.agents.sessions.gate import Question
from loopwright.errors import BadInput
from loopwright.schema import Act, canonical_json

ANSWER = "answer"
"""What a question that is not for consent to an act asks to be done, its argument `text`."""


def interrupt_of(question: Question, act: Act | None) -> dict[str, Any]:
    """What the graph is interrupted with."""
    name, arguments = (ANSWER, {"text": ""}) if act is None else (act.tool, act.arguments)
    allowed = ["edit", "respond"] if act is None else ["approve", "edit", "reject"]
    return {
        **question.model_dump(mode="json"),
        "action_requests": [{"name": name, "args": arguments, "description": question.text}],
        "review_configs": [{"action_name": name, "allowed_decisions": allowed}],
    }


def question_of(value: dict[str, Any]) -> Question:
    """The question in what a graph was interrupted with."""
    return Question.model_validate({name: value[name] for name in Question.model_fields if name in value})


def message_of(decided: dict[str, Any]) -> str:
    """What a person says by `{"decisions": [...]}`.

    Raises:
        BadInput: it holds no decision of a known type.
    """
    match decided.get("decisions"):
        case [{"type": "approve"}, *_]:
            return "approve"
        case [{"type": "reject"} as first, *_]:
            return f"reject: {first['message']}" if first.get("message") else "reject"
        case [{"type": "respond", "message": str(text)}, *_]:
            return text
        case [{"type": "edit", "edited_action": {"name": name, "args": dict(args)}}, *_]:
            return str(args.get("text", "")) if name == ANSWER else f"instead: {canonical_json(args)}"
    raise BadInput(
        f"The graph was resumed with {decided!r}; expected `decisions` with a `type` approve, reject, edit (and "
        "`edited_action`) or respond (and `message`)."
    )
