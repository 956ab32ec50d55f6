"""The protocol: tools, resources, and questions to the person behind the client.

A client of the 2026-07-28 revision gets a question back in place of a result (`InputRequiredResult`) and calls again
with the answer; an older one that can show forms is asked while its call waits; any other is told what is asked. The
state that a client carries between two calls is sealed with a key that outlives the process.
"""

import base64
import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import mcp_types as types
from anyio.to_thread import run_sync
from mcp.server import Server, ServerRequestContext
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError

from loopwright.errors import BadInput, LoopwrightError, UnknownName
from loopwright.mcp.catalogue import catalogue
from loopwright.mcp.service import Service, Waiting
from loopwright.web.access import key_of
from loopwright.web.reading import Asked

NAME = "loopwright"
MODERN = "2026-07-28"
SCHEME = "loopwright://sessions/"
INSTRUCTIONS = (
    "Closed perception-action loops. `run_LOOP` runs a whole session; `open_LOOP` opens one whose tools you call "
    "yourself. Every act is checked by code, and approved by a person where the session says `approval=human`. `stop` "
    "halts a session at once."
)
_DECISION = {
    "type": "object",
    "properties": {
        "decision": {"type": "string", "enum": ["approve", "reject"], "title": "Your decision"},
        "reason": {"type": "string", "title": "Why not (where you reject)"},
    },
    "required": ["decision"],
}


def make_server(service: Service, folder: Path, version: str) -> "Server[Any]":
    """The server over one service; `folder` keeps its key."""
    tools = catalogue(service.loops)

    async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=list(tools.values()))

    async def call_tool(
        ctx: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        try:
            if params.name not in tools:
                raise UnknownName("tool", params.name, tools)
            return await _called(service, ctx, params, tools[params.name])
        except LoopwrightError as error:
            return types.CallToolResult(content=[types.TextContent(text=str(error))], is_error=True)

    async def list_resources(_: Any, __: Any) -> types.ListResourcesResult:
        newest = await run_sync(partial(service.console.sessions, limit=20))
        found = [
            types.Resource(
                name=f"{one.row.id} ({one.row.loop}, {one.status})",
                uri=f"{SCHEME}{one.row.id}/record",
                description=one.about,
                mime_type="application/json",
            )
            for one in newest
        ]
        return types.ListResourcesResult(resources=found)

    async def list_templates(_: Any, __: Any) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(resource_templates=list(_TEMPLATES))

    async def read(_: Any, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        try:
            return types.ReadResourceResult(contents=[await run_sync(_resource, service, params.uri)])
        except LoopwrightError as error:
            raise MCPError(code=types.INVALID_PARAMS, message=str(error)) from error

    server: Server[Any] = Server(
        NAME,
        version=version,
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read,
    )
    security = RequestStateSecurity(keys=[key_of(folder)])
    server.middleware.append(RequestStateBoundary(security, default_audience=NAME))
    return server


async def _called(
    service: Service, ctx: ServerRequestContext[Any], params: types.CallToolRequestParams, tool: types.Tool
) -> types.CallToolResult | types.InputRequiredResult:
    if params.request_state:
        waiting = Waiting(**json.loads(params.request_state))
        for question, response in (params.input_responses or {}).items():
            if isinstance(response, types.ElicitResult) and not await _heard(service, waiting, question, response):
                return await run_sync(service.result, waiting)
    else:
        missing = [name for name in tool.input_schema.get("required", ()) if name not in (params.arguments or {})]
        if missing:
            raise BadInput(f"`{tool.name}` lacks `{'`, `'.join(missing)}`. Its schema says what each is.")
        begun = await run_sync(service.begin, params.name, params.arguments or {})
        if isinstance(begun, types.CallToolResult):
            return begun
        waiting = begun
    while True:
        await run_sync(service.settle, waiting)
        asked = await run_sync(service.questions, waiting.session)
        if not asked or not _shows_forms(ctx):
            return await run_sync(service.result, waiting)
        if ctx.protocol_version >= MODERN:
            requests: types.InputRequests = {one.question.id: types.ElicitRequest(params=_form(one)) for one in asked}
            return types.InputRequiredResult(input_requests=requests, request_state=json.dumps(asdict(waiting)))
        form = _form(asked[0])
        response = await ctx.session.elicit_form(form.message, form.requested_schema, ctx.request_id)
        if not await _heard(service, waiting, asked[0].question.id, response):
            return await run_sync(service.result, waiting)


async def _heard(service: Service, waiting: Waiting, question: str, response: types.ElicitResult) -> bool:
    """Pass a person's answer on; whether there is one. One that another person gave first counts."""
    if response.action == "cancel":
        return False
    given = response.content or {}
    if response.action == "decline":
        text = "reject"
    elif "decision" in given:
        text = str(given["decision"])
        text = f"reject: {given['reason']}" if text == "reject" and given.get("reason") else text
    else:
        text = str(given.get("answer", ""))
    await run_sync(service.answer, waiting.session, question, text)
    return True


def _shows_forms(ctx: ServerRequestContext[Any]) -> bool:
    capabilities = ctx.session.client_capabilities
    elicitation = capabilities.elicitation if capabilities is not None else None
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


def _form(asked: Asked) -> types.ElicitRequestFormParams:
    """The form of a question: yes or no to an act, words to anything else."""
    if asked.act is not None:
        return types.ElicitRequestFormParams(message=asked.question.text, requested_schema=_DECISION)
    options = f"For example: {'; '.join(asked.question.options)}" if asked.question.options else "In your own words"
    answer = {"type": "string", "title": "Your answer", "description": options}
    schema = {"type": "object", "properties": {"answer": answer}, "required": ["answer"]}
    return types.ElicitRequestFormParams(message=asked.question.text, requested_schema=schema)


_TEMPLATES = tuple(
    types.ResourceTemplate(name=name, uri_template=f"{SCHEME}{{session}}/{path}", description=about, mime_type=kind)
    for name, path, about, kind in (
        ("record", "record", "every event of a session, one JSON object a line", "application/jsonl"),
        ("report", "report", "a session as one HTML page that needs nothing else", "text/html"),
        ("picture", "pictures/{sha256}", "a picture of a session", None),
    )
)


def _resource(service: Service, uri: str) -> types.TextResourceContents | types.BlobResourceContents:
    """What lies at a URI.

    Raises:
        UnknownName, LoopwrightError: nothing does.
    """
    session, _, what = uri.removeprefix(SCHEME).partition("/")
    session = unquote(session)
    if what == "record":
        lines = [event.model_dump_json() for event in service.console.events(session)]
        return types.TextResourceContents(uri=uri, mime_type="application/jsonl", text="\n".join(lines))
    if what == "report":
        text = service.console.report(session).decode()
        return types.TextResourceContents(uri=uri, mime_type="text/html", text=text)
    kind, _, sha256 = what.partition("/")
    if not uri.startswith(SCHEME) or kind != "pictures":
        raise UnknownName("resource", uri, [template.uri_template for template in _TEMPLATES])
    ref, data = service.console.image(session, sha256)
    return types.BlobResourceContents(uri=uri, mime_type=ref.media_type, blob=base64.b64encode(data).decode())
