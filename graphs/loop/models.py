"""The models behind a run: cards or objects, checked before it begins, opened when they are first asked.

A card is kept with the session as it was, so that a resumed session asks the same model. An object (any LangChain
`BaseChatModel`) cannot be kept: whoever resumes the session passes it again.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from langchain_core.language_models import BaseChatModel

from loopwright.errors import BadInput, DeveloperError, UnknownName
from loopwright.graphs.loop.declare import Role
from loopwright.models.background import awaited, on_daemon_thread
from loopwright.models.cards import ModelCard, load_card
from loopwright.models.open import open_model
from loopwright.schema import BlobReader, CancelToken

if TYPE_CHECKING:
    from loopwright.models.local.engine import Engine

INTERPRETER = "interpreter"
"""The role that every loop has where a run gives it a model: it proposes what words mean that no rule understands."""
INTERPRETER_ROLE = Role(adapter="feedback")
Given = Mapping[str, "str | Path | BaseChatModel"]


class ModelHandle:
    """One role's model. Nothing is loaded before it is asked: a replay asks nobody. `card` is None for an object."""

    def __init__(
        self,
        facts: dict[str, Any],
        *,
        can_score: bool,
        open_: Callable[[], BaseChatModel],
        card: ModelCard | None = None,
    ) -> None:
        self.facts = facts
        self.card = card
        self.can_score = can_score
        self._open = open_
        self._opening: Future[BaseChatModel] | None = None
        self._lock = threading.Lock()

    def opened(self, cancel: CancelToken) -> BaseChatModel:
        """The model, opened when it is first asked for. Nobody who is halted waits for that; it is kept all the same.

        Raises:
            Halted: the token was set before it was open.
        """
        with self._lock:
            failed = self._opening is not None and self._opening.done() and self._opening.exception() is not None
            if self._opening is None or failed:
                self._opening = on_daemon_thread(self._open)
            opening = self._opening
        return awaited(opening, cancel)


def kept_models(roles: Mapping[str, Role], given: Given | None) -> dict[str, Any]:
    """What a session keeps of its models: cards whole, of objects what identifies them.

    Raises:
        UnknownName: `given` names a role that the loop has not, or a card that is not there.
        BadInput: a role has no model, or a card's model cannot be used.
    """
    given = given or {}
    if INTERPRETER in given:
        roles = {**roles, INTERPRETER: INTERPRETER_ROLE}
    if unknown := given.keys() - roles.keys():
        raise UnknownName("role", min(unknown), (*roles, INTERPRETER))
    kept: dict[str, Any] = {}
    for name, role in roles.items():
        chosen = given.get(name, role.card)
        if chosen is None:
            raise BadInput(
                f"The role {name!r} has no model. Pass one: `models={{{name!r}: ...}}` with a card's name or path, "
                f"or any LangChain chat model; on the command line `--model-of {name}=CARD`."
            )
        if isinstance(chosen, BaseChatModel):
            kept[name] = {"object": object_facts(chosen)}
        else:
            kept[name] = {"card": checked_card(_card_of(name, chosen)), "adapter": role.adapter}
    return kept


def _card_of(role: str, given: object) -> str:
    if isinstance(given, str | Path):
        return str(given)
    raise BadInput(
        f"The model of the role {role!r} is {given!r:.100}; expected a card's name or path, or a LangChain chat model "
        "(an instance of `BaseChatModel`)."
    )


def open_models(kept: Mapping[str, Any], given: Given | None, images: BlobReader) -> dict[str, ModelHandle]:
    """The models of a session that is begun, resumed or replayed.

    Raises:
        UnknownName: `given` names a role that the session has not.
    """
    given = given or {}
    if unknown := given.keys() - kept.keys():
        raise UnknownName("role", min(unknown), kept)
    return {name: _handle(name, one, given.get(name), images) for name, one in kept.items()}


def _handle(
    role: str, kept: Mapping[str, Any], given: "str | Path | BaseChatModel | None", images: BlobReader
) -> ModelHandle:
    if isinstance(given, BaseChatModel):
        scores = hasattr(given, "score_choices_of")
        return ModelHandle(object_facts(given), can_score=scores, open_=lambda: given)
    if "card" in kept or given is not None:
        card = ModelCard.model_validate(kept["card"] if given is None else checked_card(_card_of(role, given)))
        return of_card(card, kept.get("adapter"), images)

    return ModelHandle(kept["object"], can_score=False, open_=lambda: _refuse(role, kept))


def require_models(kept: Mapping[str, Any], given: Given | None) -> None:
    """Check that every role of a session that is resumed has a model, before any of them is asked.

    Raises:
        BadInput: a role was begun with a model object, and no model is passed for it.
    """
    for role, one in kept.items():
        if "object" in one and role not in (given or {}):
            _refuse(role, one)


def _refuse(role: str, kept: Mapping[str, Any]) -> NoReturn:
    raise BadInput(
        f"The role {role!r} was begun with the model object {kept['object']['model']!r}, which no record can hold. "
        f"Resume with it: `Loop.resume(id, models={{{role!r}: model}})`, or with a card: `--model-of {role}=CARD`."
    )


def of_card(card: ModelCard, adapter: str | None, images: BlobReader | None) -> ModelHandle:
    """The model of a card, with the card's adapter called `adapter` where it has one."""
    chosen = adapter if adapter in card.adapters else None

    def open_it() -> BaseChatModel:
        if card.kind != "local":
            return open_model(card, images=images)
        from loopwright.models.local.chat import LocalChatModel

        engine = _engine(card.model_dump_json(include=set(card.in_force())))
        return LocalChatModel(card=card, engine=engine, images=images).with_adapter(chosen)

    facts = {"model": card.name, "adapter": chosen, "seed": card.decoding.seed}
    return ModelHandle(facts, can_score=card.kind == "local", open_=open_it, card=card)


def object_facts(model: BaseChatModel) -> dict[str, Any]:
    """What identifies a model object in the record."""
    named = getattr(model, "model_name", None) or getattr(model, "model", None) or ""
    return {"model": f"{type(model).__name__} {named}".strip(), "adapter": None, "seed": getattr(model, "seed", None)}


def checked_card(name_or_path: str) -> dict[str, Any]:
    """A model's card as JSON, after a look at whether what it names is there and fits together.

    Raises:
        UnknownName: there is no such card.
        BadInput: the card, its weights, an adapter or its endpoint will not do.
    """
    card = load_card(name_or_path)
    _check(card.model_dump_json(include=set(card.in_force())))
    return card.in_force()


@lru_cache(maxsize=4)
def _check(card_json: str) -> None:
    from loopwright.models.check import check_card

    card = ModelCard.model_validate_json(card_json)
    for found in check_card(card):
        if not found.ok:
            raise BadInput(f"`model` {card.name!r} cannot be used, its {found.what} will not do: {found.said}")


@lru_cache(maxsize=1)
def _engine(card_json: str) -> "Engine":
    """Kept loaded for the next session of this process."""
    from loopwright.models.local.engine import load_engine

    return load_engine(ModelCard.model_validate_json(card_json))


def find_model(models: Mapping[str, ModelHandle], role: str) -> ModelHandle:
    """The model in `role`."""
    if role not in models:
        raise DeveloperError(
            f"A node asks the role {role!r}, which the loop does not declare. Add it: `roles={{{role!r}: Role()}}`. "
            f"Declared: {', '.join(models) or 'none'}."
        )
    return models[role]
