"""The event API over a real server: commands, events, and answers to what will not do."""

import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from tests.web.conftest import end_workers
from tests.web.serving import Api, Server, until

from loopwright.web.access import MAX_BODY_BYTES, issue_token, key_of
from loopwright.web.console import MAX_UNREAD


def test_a_session_is_begun_approved_and_ends(api: Api) -> None:
    session = api.start()
    asked = api.asks(session, "q1")
    (question,) = asked["questions"]
    assert question["text"] == "May I switch the heater on?"
    assert question["act"] == {"tool": "set_heater", "arguments": {"on": True}}
    assert api.post(session, "feedback", text="target 16.5", author="Ann").json()["target_c"] == 16.5
    asked = api.asks(session, "q2")
    assert api.post(session, "questions/q2", answer="approve", author="Bob").status_code == 200
    assert api.rests(session, "succeeded")["n_events"] > 10
    events = api.http.get(f"/sessions/{session}/events", params={"limit": 500}).json()
    said = [(m["author"], m["text"]) for e in events for m in e["payload"].get("messages", ())]
    assert said == [("Ann", "target 16.5"), ("Bob", "q2: approve")]


def test_events_come_as_they_are_written_and_none_twice(api: Api) -> None:
    session = api.start()
    api.asks(session, "q1")
    n_events = api.get(session)["n_events"]
    first = list(api.frames(session, 0, n_events))
    assert [frame["id"] for frame in first] == [str(seq + 1) for seq in range(n_events)]
    assert first[-1]["data"]["kind"] == "asked"
    assert first[-1]["data"]["lines"][0]["text"].startswith("q1: May I")
    status, *fresh = api.frames(session, n_events, 1)
    assert (status["event"], status["data"]["status"], fresh) == ("status", "waiting", [])
    api.post(session, "stop", author="Ann")
    api.rests(session, "stopped")
    after = [frame["data"]["kind"] for frame in api.frames(session, n_events, 1)]
    assert after == ["stopped"]


def test_an_act_is_edited_and_rejected_with_a_reason(api: Api) -> None:
    session = api.start()
    api.asks(session, "q1")
    wrong = api.post(session, "questions/q1", answer="instead", arguments={"on": "perhaps"})
    assert wrong.status_code == 400 and "on" in wrong.json()["error"]
    assert api.post(session, "questions/q1", answer="instead", arguments={"on": False}).is_success
    api.asks(session, "q2")
    assert api.post(session, "questions/q2", answer="reject", text="too early").is_success
    api.asks(session, "q3")
    events = api.http.get(f"/sessions/{session}/events", params={"limit": 500}).json()
    acted = [(e["payload"]["arguments"]["on"], e["payload"]["status"]) for e in events if e["kind"] == "acted"]
    assert acted == [(True, "refused"), (False, "done"), (True, "refused")]
    assert "too early" in [e["payload"].get("reason") for e in events if e["kind"] == "acted"][-1]
    api.post(session, "stop")


def test_rewinds_forks_and_goes_on(api: Api) -> None:
    session = api.start(approval="guard")
    api.rests(session, "succeeded")
    assert api.post(session, "rewind", step=1).is_success
    assert api.get(session)["status"] == "paused"
    child = api.post(session, "fork", step=0).json()["session"]
    assert api.get(child)["parent"] == session
    card = {"navigator": str(api.server.card)}
    assert api.post(child, "resume", models=card).is_success
    api.rests(child, "succeeded")
    listed = {each["id"]: each for each in api.http.get("/sessions").json()}
    assert listed[session]["status"] == "paused" and listed[child]["status"] == "succeeded"
    page = api.http.get(f"/sessions/{child}/report")
    assert page.headers["content-disposition"] == f'attachment; filename="{child}.html"'
    assert api.get(child)["head_hash"] in page.text


def test_a_killed_worker_leaves_a_session_that_the_inbox_names(api: Api) -> None:
    session = api.start()
    api.asks(session, "q1")
    end_workers(api.server)
    until(lambda: not api.get(session)["is_held"])
    (waiting,) = [each for each in api.http.get("/inbox").json() if each["id"] == session]
    assert waiting["needs"].startswith("May I switch the heater on?")
    assert api.post(session, "questions/q1", answer="approve").is_success  # a new worker hears it
    api.asks(session, "q2")
    api.post(session, "stop")


def test_sessions_outlive_a_server_that_is_killed(api: Api) -> None:
    session = api.start()
    api.asks(session, "q1")
    api.server.restart(signal.SIGKILL)
    api = Api(api.server)
    assert api.get(session)["is_held"]
    assert api.post(session, "questions/q1", answer="approve").is_success
    api.asks(session, "q2")
    api.post(session, "stop")


def test_a_session_is_paused_keeps_its_question_and_goes_on_with_another_model(api: Api) -> None:
    session = api.start()
    api.asks(session, "q1")
    assert api.post(session, "pause", author="Ann").is_success
    paused = api.rests(session, "paused")
    assert [each["id"] for each in paused["questions"]] == ["q1"]
    until(lambda: not api.get(session)["is_held"])
    again = api.post(session, "pause")
    assert again.status_code == 409 and "nothing to pause" in again.json()["error"]
    events = api.http.get(f"/sessions/{session}/events", params={"limit": 500}).json()
    assert events[-1]["payload"] == {"reason": "paused by Ann"}
    other = api.server.folder / "another.yaml"
    other.write_text(api.server.card.read_text())
    assert api.post(session, "questions/q1", answer="approve").is_success
    assert api.post(session, "resume", models={"navigator": str(other)}).is_success
    api.asks(session, "q2")
    events = api.http.get(f"/sessions/{session}/events", params={"limit": 500}).json()
    assert [e["payload"]["model"] for e in events if e["kind"] == "replied"] == ["heats", "another"]
    api.post(session, "stop")


def test_a_process_that_the_console_did_not_start_is_not_paused(api: Api) -> None:
    with api.server.memory() as memory:
        session = memory.sessions.create("thermostat", {}).id
        with memory.sessions.acquire(session):
            refused = api.post(session, "pause")
    assert refused.status_code == 409 and "Ctrl-C" in refused.json()["error"]


class TestBadInput:
    def test_without_a_token_or_with_a_wrong_one_or_an_old_one(self, server: Server) -> None:
        key = key_of(server.folder / "console")
        for token, said in (
            ("", "No token"),
            ("1.abc", "not made here"),
            (f"x{server.token}", "not made here"),
            (issue_token(key, -1), "has expired"),
        ):
            answer = server.client(token).get("/sessions")
            assert (answer.status_code, said in answer.json()["error"]) == (401, True), answer.text
        page = httpx.get(server.url)
        assert page.status_code == 401 and "loopwright serve" in page.text

    def test_a_token_in_the_address_becomes_a_cookie(self, server: Server) -> None:
        answer = httpx.get(f"{server.url}/?token={server.token}&a=b")
        assert (answer.status_code, answer.headers["location"]) == (303, "/?a=b")
        assert "HttpOnly; SameSite=Strict" in answer.headers["set-cookie"]

    @pytest.mark.parametrize(
        ("method", "path", "body", "status", "said"),
        [
            ("GET", "/sessions/nobody", None, 404, "Unknown session 'nobody'"),
            ("GET", "/sessions/nobody/events", None, 404, "Unknown session 'nobody'"),
            ("GET", "/sessions/nobody/stream", None, 404, "Unknown session 'nobody'"),
            ("POST", "/sessions/nobody/stop", {}, 404, "Unknown session 'nobody'"),
            ("GET", "/sessions/..%2F..%2Fetc%2Fpasswd/report", None, 404, ""),
            ("GET", "/../../../../etc/passwd", None, 404, ""),
            ("POST", "/sessions", {"loop": "thermostatt"}, 404, "Did you mean `thermostat`"),
            ("POST", "/sessions", {"loop": "thermostat", "config": {"approval": "x"}}, 400, "`approval` = 'x'"),
            ("POST", "/sessions", {"loop": "thermostat"}, 400, "'navigator' has no model"),
            ("POST", "/sessions", {"loop": "thermostat", "models": {"navigator": "../../x"}}, 400, "../../x"),
            ("POST", "/sessions", {"loop": "../loops"}, 404, "Unknown loop"),
            ("POST", "/sessions", {"lop": "thermostat"}, 422, "`lop`"),
            ("POST", "/sessions", None, 422, "`body`"),
            ("GET", "/sessions?limit=100000", None, 422, "`limit`"),
        ],
    )
    def test_what_is_not_there_or_will_not_do(
        self, api: Api, method: str, path: str, body: dict[str, Any] | None, status: int, said: str
    ) -> None:
        answer = api.http.request(method, path, json=body)
        assert (answer.status_code, said in answer.text) == (status, True), answer.text

    def test_bodies_that_are_too_long_or_no_json(self, api: Api) -> None:
        too_long = api.http.post("/sessions", content=b"x" * (MAX_BODY_BYTES + 1))
        assert too_long.status_code == 413 and "at most 1000000 bytes" in too_long.json()["error"]
        pieces = api.http.post("/sessions", content=(b"x" * 100_000 for _ in range(20)))  # no length is declared
        assert pieces.status_code == 413
        upload = api.http.post("/sessions", files={"file": ("scan.nii", b"\0" * 1000)})
        assert upload.status_code == 422

    def test_messages_that_will_not_do(self, api: Api) -> None:
        session = api.start()
        api.asks(session, "q1")
        for text, author in (("", "Ann"), ("x" * 2001, "Ann"), ("a\0b", "Ann"), ("hello", "x" * 201)):
            assert api.post(session, "feedback", text=text, author=author).status_code in (400, 422)
        assert api.post(session, "point", step=0, at_px=[1, 2]).status_code == 400
        assert api.post(session, "point", step=99, at_px=[1, 2]).status_code == 404
        assert api.http.get(f"/sessions/{session}/images/{'0' * 64}").status_code == 404
        assert api.http.get(f"/sessions/{session}/stream", headers={"last-event-id": "-1"}).status_code == 400
        api.post(session, "stop")

    def test_one_question_is_answered_once(self, api: Api) -> None:
        session = api.start()
        api.asks(session, "q1")
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: api.post(session, "questions/q1", answer="approve"), range(8)))
        assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
        assert all("answer" in answer.json().get("error", "answer") for answer in answers)
        api.asks(session, "q2")
        again = api.post(session, "questions/q1", answer="approve")
        assert again.status_code == 409 and "not open" in again.json()["error"]
        acted = [e for e in api.http.get(f"/sessions/{session}/events").json() if e["kind"] == "acted"]
        assert len(acted) == 1
        api.post(session, "stop")

    def test_two_resumers_and_a_rewind_of_what_runs(self, api: Api) -> None:
        session = api.start()
        api.asks(session, "q1")
        for what, body in (("resume", {}), ("rewind", {"step": 0})):
            refused = api.post(session, what, **body)
            assert refused.status_code == 409 and "is run by process" in refused.json()["error"]
        api.post(session, "stop")
        api.rests(session, "stopped")
        until(lambda: not api.get(session)["is_held"])
        with ThreadPoolExecutor(2) as threads:
            resumed = list(threads.map(lambda _: api.post(session, "resume"), range(2)))
        assert sorted(answer.status_code for answer in resumed) == [200, 409]
        api.post(session, "stop")

    def test_a_session_that_has_ended_hears_nothing(self, api: Api) -> None:
        session = api.start(approval="guard")
        api.rests(session, "succeeded")
        answered = api.post(session, "feedback", text="why did you stop?").json()
        assert answered["kind"] == "query" and answered["answer"].startswith("Finished: succeeded")
        for what, body in (
            ("feedback", {"text": "target 20"}),
            ("stop", {}),
            ("questions/q1", {"answer": "approve"}),
            ("resume", {}),
        ):
            refused = api.post(session, what, **body)
            assert refused.status_code == 409 and "has succeeded" in refused.json()["error"], what

    def test_ten_thousand_messages(self, api: Api) -> None:
        """They are refused once too many wait to be read; a STOP is taken all the same."""
        session = api.start()
        api.asks(session, "q1")
        end_workers(api.server)
        until(lambda: not api.get(session)["is_held"])
        with api.server.memory() as memory:
            for n in range(MAX_UNREAD):
                memory.inbox.put(session, f"note: {n}")
        refused = [api.post(session, "feedback", text="note: more") for _ in range(20)]
        assert {answer.status_code for answer in refused} == {429}
        assert api.post(session, "stop").json()["status"] == "stopped"
