"""Who is let in, by what, and for how long; what a browser may be made to send; and names that look like paths."""

import time
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
from tests.web.serving import SLOW_MACHINE_S, Api, Server, until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from loopwright.web.access import HEADERS, cookie_name, issue_token, key_of

ODD = ('a/b ü?#%2F" <b>', "..", "a/../b", "x/stop", "x/events", "%", "%25")
"""Ids that another program may give a session, as a LangGraph server names its threads."""


@pytest.fixture
def odd(api: Api) -> Iterator[str]:
    """A session of a loop that is not here, with an odd id."""
    name = f"{ODD[0]}{time.monotonic_ns()}"
    with api.server.memory() as memory:
        memory.sessions.create("elsewhere", {}, session_id=name)
    yield name
    api.http.post(f"/sessions/{quote(name, safe='')}/stop", json={})


def token_of(server: Server, lifetime_s: float) -> str:
    return issue_token(key_of(server.folder / "console"), lifetime_s)


@pytest.mark.parametrize("others", ["", 'a/b=1; x={"q": "a b"}; =; ;', "loopwright_token_1=x.y;"])
def test_cookies_of_other_programs_on_this_machine_do_not_matter(server: Server, others: str) -> None:
    cookie = f"{others} {cookie_name(server.port)}={server.token}".strip()
    assert httpx.get(f"{server.url}/api/sessions", headers={"cookie": cookie}).status_code == 200


def test_pages_of_other_origins_command_nothing(api: Api) -> None:
    """Cookies go to every port of a machine; `SameSite` does not tell ports apart."""
    session = api.start()
    url, cookie = api.server.url, f"{cookie_name(api.server.port)}={api.server.token}"
    for origin, status in (("http://127.0.0.1:1", 403), ("null", 403), ("https://a.example", 403), (url, 200)):
        headers = {"cookie": cookie, "origin": origin}
        answer = httpx.post(f"{url}/api/sessions/{session}/feedback", json={"text": "note: hello"}, headers=headers)
        assert answer.status_code == status, (origin, answer.text)
        handshake = {
            **headers, "connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        }  # fmt: skip
        if status == 403:
            where = f"{url}/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
            assert httpx.get(where, headers=handshake).status_code == 403
    rebound = httpx.get(f"{url}/api/sessions", headers={"host": "a.example"})  # its cookie is 127.0.0.1's
    assert rebound.status_code == 401
    api.post(session, "stop")


@pytest.mark.parametrize("path", ["//a.example", "/\\a.example", "/%0d%0aset-cookie:x=y", "/%2F/a.example"])
def test_a_token_in_the_address_leads_nowhere_else(server: Server, path: str) -> None:
    target = f"{path}/?token={server.token}".encode()
    answer = httpx.Client().send(httpx.Request("GET", server.url, extensions={"target": target}))
    assert answer.status_code == 303
    assert httpx.URL(server.url).join(answer.headers["location"]).host == "127.0.0.1"
    assert len(answer.headers.get_list("set-cookie")) == 1


def test_every_answer_keeps_the_console_out_of_frames(server: Server) -> None:
    for answer in (httpx.get(server.url), server.client().get("/sessions"), server.client().get("/nothing")):
        assert HEADERS.items() <= dict(answer.headers).items()


def test_a_token_that_has_expired_can_still_stop_a_session(api: Api) -> None:
    session = api.start()
    api.asks(session, "q1")
    late = api.server.client(token_of(api.server, -5))
    assert late.get("/sessions").status_code == 401
    assert late.post(f"/sessions/{session}/questions/stop", json={"answer": "approve"}).status_code == 401
    assert late.post(f"/sessions/{session}/feedback", json={"text": "stop"}).status_code == 401
    assert late.post(f"/sessions/{session}/stop", json={"author": "Ann"}).is_success
    api.rests(session, "stopped")
    assert api.server.client("1.abc").post(f"/sessions/{session}/stop", json={}).status_code == 401


def test_a_stream_ends_with_its_token(api: Api) -> None:
    session = api.start()
    api.asks(session, "q1")
    short = api.server.client(token_of(api.server, 2))
    begun = time.monotonic()
    with short.stream("GET", f"/sessions/{session}/stream") as answer:
        assert answer.status_code == 200
        assert len(list(answer.iter_lines())) > 10
    assert time.monotonic() - begun < SLOW_MACHINE_S
    api.post(session, "stop")


def test_a_page_s_socket_ends_with_its_token(server: Server) -> None:
    where = f"ws://127.0.0.1:{server.port}/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    headers = {"authorization": f"Bearer {token_of(server, 2)}"}
    with connect(where, additional_headers=headers, open_timeout=SLOW_MACHINE_S) as socket:
        assert "pingInterval" in str(socket.recv(timeout=SLOW_MACHINE_S))
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=SLOW_MACHINE_S)


def test_a_stop_is_heard_whatever_its_author_is_called(api: Api) -> None:
    for author in ("", "\0", "x" * 500):
        session = api.start()
        assert api.post(session, "stop", author=author).is_success
        api.rests(session, "stopped")


def test_a_session_may_be_called_like_a_path(api: Api, odd: str) -> None:
    found = api.http.get(f"/sessions/{quote(odd, safe='')}")
    assert found.json()["id"] == odd
    assert api.http.get(f"/sessions/{quote(odd, safe='')}/events").json() == []
    assert api.http.get(f"/sessions/{quote(odd, safe='')}/report").status_code == 200
    assert api.http.post(f"/sessions/{quote(odd, safe='')}/feedback", json={"text": "note: x"}).is_success
    for name in ODD[2:]:
        answer = api.http.get(f"/sessions/{quote(name, safe='')}")
        assert (answer.status_code, repr(name)[1:-1] in answer.json()["error"]) == (404, True), answer.text


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "said"),
    [
        ("GET", "/nothing", None, 404, "The API has no GET '/api/nothing'"),
        ("DELETE", "/sessions", None, 404, "The API has no DELETE"),
        ("POST", "/sessions", b"[" * 500_000, 400, "parsing"),
        ("POST", "/sessions", b'{"loop": ' + b"9" * 5_000 + b"}", 400, "parsing"),
        ("POST", "/sessions", b'{"loop": "thermostat"}', 422, "body"),  # not said to be JSON
        ("GET", "/sessions/%ff%00", None, 404, "Unknown session"),
        ("GET", "/loops/..%2F..%2Fx", None, 404, "The API has no GET"),
    ],
)
def test_whatever_will_not_do_is_answered_in_json(
    api: Api, method: str, path: str, content: bytes | None, status: int, said: str
) -> None:
    headers = {"content-type": "application/json"} if content and content[:9] != b'{"loop": "' else {}
    headers = headers if status != 422 else {}
    answer = api.http.request(method, path, content=content, headers=headers)
    assert (answer.status_code, said in answer.json()["error"]) == (status, True), answer.text


def test_clients_that_never_read_hold_up_nobody(api: Api) -> None:
    session = api.start()
    api.asks(session, "q1")
    streams = [api.server.client() for _ in range(12)]
    for client in streams:
        client.send(client.build_request("GET", f"/sessions/{session}/stream"), stream=True)
    assert api.post(session, "questions/q1", answer="approve").is_success
    api.asks(session, "q2")
    for client in streams:
        client.close()
    until(lambda: api.post(session, "stop").is_success)
