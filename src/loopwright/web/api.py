"""The event API: REST for commands, server-sent events for the log. Any client may use it; the pages do too."""

from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from starlette.exceptions import HTTPException

from loopwright.errors import LoopwrightError
from loopwright.graphs.loop.config import problems
from loopwright.graphs.loop.loop import Loop
from loopwright.graphs.step_view import Pointed
from loopwright.settings import settings
from loopwright.web.access import EXPIRES, SessionId
from loopwright.web.console import AnswerKind, Console, Overview
from loopwright.web.files import check_name, keep_file
from loopwright.web.live import stream
from loopwright.web.refusal import Refusal, status_of

MAX_PAGE = 500
"""Events, or sessions, of one answer."""
Author = Annotated[str, Field(default="clinician", min_length=1, max_length=200, description="who speaks")]
FileName = Annotated[str, Query(min_length=1, max_length=500, description="how the file is called")]
_FILE = {"requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}
FOREVER = {"cache-control": "private, max-age=31536000, immutable"}
"""A picture is named by its content."""


_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StartBody(_Body):
    """A run to begin."""

    loop: str
    config: dict[str, Any] = {}
    models: dict[str, str] = Field(default={}, description="a model card's name or path, by role")


class ModelsBody(_Body):
    """Models of a session that goes on, where they are not those that it began with."""

    models: dict[str, str] = {}


class FeedbackBody(_Body):
    """A message."""

    text: str
    author: Author


class PauseBody(_Body):
    """Who asks for a pause."""

    author: Author


class StopBody(_Body):
    """Who says STOP: whatever their name is like, it is heard."""

    author: str = "clinician"


class AnswerBody(_Body):
    """An answer to a question."""

    answer: AnswerKind
    text: str = Field(default="", description="the reason of a no, or the words of an answer in words")
    arguments: dict[str, Any] | None = Field(default=None, description="of the act that is to be done instead")
    author: Author


class StepBody(_Body):
    """A step, counted from 0."""

    step: int = Field(ge=0)


class PointBody(_Body):
    """A place on the picture of a step, px, or the two ends of a drag."""

    branch: int = Field(default=0, ge=0)
    step: int = Field(ge=0)
    at_px: tuple[FiniteFloat, FiniteFloat]
    to_px: tuple[FiniteFloat, FiniteFloat] | None = None


def add_api(app: FastAPI, console: Console) -> None:
    """Add the API to an application, and its way to say what is wrong."""
    api = APIRouter(prefix="/api")
    for add in (_reading, _speaking, _running, _agui):
        add(api, console)
    api.add_api_route("/{rest:path}", _nothing_there, methods=_METHODS, include_in_schema=False)
    app.include_router(api)
    app.add_exception_handler(LoopwrightError, _refused)
    app.add_exception_handler(HTTPException, _failed)
    app.add_exception_handler(RequestValidationError, _invalid)


def _reading(api: APIRouter, console: Console) -> None:
    @api.get("/loops")
    def loops() -> list[dict[str, Any]]:
        return [_loop_json(name, loop) for name, loop in console.loops.items()]

    @api.get("/sessions")
    def sessions(
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50, offset: Annotated[int, Query(ge=0)] = 0
    ) -> list[dict[str, Any]]:
        return [_overview_json(each) for each in console.sessions(limit=limit, offset=offset)]

    @api.get("/inbox")
    def inbox() -> list[dict[str, Any]]:
        return [_overview_json(each) for each in console.inbox()]

    @api.get("/sessions/{session_id}")
    def session(session_id: SessionId) -> dict[str, Any]:
        view = console.view(session_id)
        return {
            **view.row.model_dump(mode="json"),
            "status": view.status,
            "is_held": view.is_held,
            "questions": [each.json() for each in view.questions],
            "steps": [{"branch": one.branch, "step": one.step} for one in console.steps(session_id)],
        }

    @api.get("/sessions/{session_id}/events")
    def events(
        session_id: SessionId,
        after: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    ) -> list[dict[str, Any]]:
        return [each.model_dump(mode="json") for each in console.events(session_id, after)[:limit]]

    @api.get("/sessions/{session_id}/stream")
    def live(
        session_id: SessionId, request: Request, last_event_id: Annotated[str, Header()] = "0"
    ) -> StreamingResponse:
        console.row(session_id)
        if not last_event_id.isdecimal():
            raise Refusal(f"`Last-Event-ID` is {last_event_id!r}; expected the `seq` of an event.", 400)
        frames = stream(console, session_id, int(last_event_id), request.scope[EXPIRES])
        return StreamingResponse(frames, media_type="text/event-stream", headers={"cache-control": "no-store"})

    @api.get("/sessions/{session_id}/images/{sha256}")
    def image(session_id: SessionId, sha256: str) -> Response:
        ref, data = console.image(session_id, sha256)
        return Response(data, media_type=ref.media_type, headers=FOREVER)

    @api.get("/sessions/{session_id}/report")
    def report(session_id: SessionId) -> Response:
        page = console.report(session_id)
        named = "".join(c if c.isalnum() or c in "-_" else "_" for c in session_id)
        headers = {"content-disposition": f'attachment; filename="{named}.html"'}
        return Response(page, media_type="text/html; charset=utf-8", headers=headers)


def _agui(api: APIRouter, console: Console) -> None:
    @api.post("/agui/{loop}")
    async def agui(loop: str, body: dict[str, Any]) -> StreamingResponse:
        try:
            from ag_ui.core import RunAgentInput

            from loopwright.web import agui as bridge
        except ModuleNotFoundError as error:
            raise Refusal("AG-UI needs its types: `pip install 'loopwright[agui]'`.", 501) from error
        try:
            asked = RunAgentInput.model_validate(body)
        except ValidationError as error:
            raise Refusal(f"That is no `RunAgentInput`: {problems(error)}.", 422) from error
        frames = await bridge.run(console, loop, asked, "person at the ag-ui client")
        return StreamingResponse(frames, media_type="text/event-stream", headers={"cache-control": "no-store"})


def _speaking(api: APIRouter, console: Console) -> None:
    @api.post("/sessions/{session_id}/feedback")
    def feedback(session_id: SessionId, body: FeedbackBody) -> dict[str, Any]:
        return console.say(session_id, body.text, body.author)

    @api.post("/sessions/{session_id}/stop")
    def stop(session_id: SessionId, body: StopBody) -> dict[str, Any]:
        return console.stop(session_id, body.author)

    @api.post("/sessions/{session_id}/pause")
    def pause(session_id: SessionId, body: PauseBody) -> dict[str, Any]:
        return console.pause(session_id, body.author)

    @api.post("/sessions/{session_id}/questions/{question_id}")
    def answer(session_id: SessionId, question_id: str, body: AnswerBody) -> dict[str, Any]:
        return console.answer(
            session_id, question_id, body.answer, body.author, text=body.text, arguments=body.arguments
        )

    @api.post("/sessions/{session_id}/point")
    def point(session_id: SessionId, body: PointBody) -> list[dict[str, str]]:
        found = console.point(session_id, body.branch, body.step, Pointed(body.at_px, body.to_px))
        return [each._asdict() for each in found]


def _running(api: APIRouter, console: Console) -> None:
    @api.post("/sessions", status_code=201)
    def start(body: StartBody) -> dict[str, str]:
        return {"session": console.start(body.loop, body.config, body.models)}

    @api.put("/loops/{loop}/files/{setting}", status_code=201, openapi_extra=_FILE)
    async def file(loop: str, setting: str, name: FileName, request: Request) -> dict[str, Any]:
        checked = check_name(console.loop(loop), setting, name)
        limit = settings().console.max_file_mb
        kept = await keep_file(console.folder / "files", checked, request.stream(), max_mb=limit)
        return {"path": str(kept.path), "bytes": kept.n_bytes, "sha256": kept.sha256}

    @api.post("/sessions/{session_id}/resume")
    def resume(session_id: SessionId, body: ModelsBody) -> dict[str, str]:
        return {"session": console.resume(session_id, body.models)}

    @api.post("/sessions/{session_id}/rewind")
    def rewind(session_id: SessionId, body: StepBody) -> dict[str, str]:
        return {"session": console.rewind(session_id, body.step)}

    @api.post("/sessions/{session_id}/fork", status_code=201)
    def fork(session_id: SessionId, body: StepBody) -> dict[str, str]:
        return {"session": console.fork(session_id, body.step)}


def _loop_json(name: str, loop: Loop | str) -> dict[str, Any]:
    if isinstance(loop, str):
        return {"name": name, "error": loop}
    return {
        "name": name,
        "summary": loop.summary,
        "nodes": list(loop.all_nodes),
        "config": loop.config.model_json_schema(),
        "roles": roles_of(loop),
        "examples": loop.language.examples,
        "takes_pointing": loop.pointed is not None,
    }


def roles_of(loop: Loop) -> dict[str, str | None] | None:
    """The card of each role by default; None where the roles depend on the run's configuration."""
    return None if callable(loop.roles) else {name: role.card for name, role in loop.roles.items()}


def _overview_json(each: Overview) -> dict[str, Any]:
    return {
        **each.row.model_dump(mode="json", exclude={"config"}),
        "status": each.status,
        "about": each.about,
        "picture": None if each.picture is None else each.picture.sha256,
        "questions": [asked.json() for asked in each.questions],
        "needs": each.needs,
    }


def _nothing_there(request: Request) -> None:
    raise Refusal(
        f"The API has no {request.method} {request.url.path!r}. `GET /api/openapi.json` says what it has.", 404
    )


def _failed(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code)


def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, LoopwrightError)
    return JSONResponse({"error": str(error)}, status_of(error))


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    told = [f"`{'.'.join(map(str, each['loc'][1:])) or 'body'}`: {each['msg']}" for each in error.errors()]
    return JSONResponse({"error": f"The request will not do. {'; '.join(told)}."}, 422)
