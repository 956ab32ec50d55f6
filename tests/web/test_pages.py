"""The pages in a real browser: what a person sees and does, in one tab or two, with a connection that may be cut."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.models.chat_server import MODEL, ChatServer, Turn
from tests.web.browser import CONTRAST, NEEDS_BROWSER, Tab
from tests.web.serving import SLOW_MACHINE_S, Api, Server, until

from loopwright.memory.events import NewEvent

pytestmark = NEEDS_BROWSER


def happened(page: Page) -> str:
    """All that the record on the page says."""
    return " ".join(page.locator(".lw-feed").inner_text().split())


def point(page: Page, at: tuple[float, float], to: tuple[float, float] | None = None) -> None:
    """Point at the picture of 300 x 200 px, in its own pixels."""
    svg = page.locator("svg.lw-picture").first
    box = svg.bounding_box()
    assert box is not None
    scale = min(box["width"] / 300, box["height"] / 200)
    x0, y0 = box["x"] + (box["width"] - 300 * scale) / 2, box["y"] + (box["height"] - 200 * scale) / 2
    page.mouse.move(x0 + at[0] * scale, y0 + at[1] * scale)
    page.mouse.down()
    if to is not None:
        page.mouse.move(x0 + to[0] * scale, y0 + to[1] * scale, steps=4)
    page.mouse.up()


def test_a_session_is_begun_by_a_form_and_is_in_list_and_inbox(ann: Tab, api: Api) -> None:
    page = ann.open("/start?loop=gauge")
    page.get_by_label("room").fill("cellar")
    page.get_by_label("model of the navigator").fill(str(api.server.card))
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/sessions/gauge-*")
    session = page.url.rpartition("/")[2]
    expect(page.get_by_text("May I switch the heater on?", exact=True)).to_be_visible()
    listed = ann.open("/").locator(".lw-item", has_text=session)
    expect(listed).to_contain_text("room cellar")
    expect(listed).to_contain_text("waiting")
    expect(listed.locator("img")).to_have_js_property("naturalWidth", 300)
    waiting = ann.open("/inbox").locator(".lw-item", has_text=session)
    expect(waiting).to_contain_text("May I switch the heater on?")
    api.post(session, "stop")
    expect(page.locator(".lw-item", has_text=session)).to_have_count(0)


def test_several_questions_at_once(ann: Tab, api: Api) -> None:
    body = {"loop": "windows", "config": {"approval": "human"}}
    session = api.http.post("/sessions", json=body).json()["session"]
    page = ann.session(session)
    expect(page.locator(".lw-ask")).to_have_count(2)
    page.locator(".lw-ask", has_text="right window").get_by_role("button", name="Approve").click()
    expect(page.locator(".lw-ask")).to_have_count(1)
    page.locator(".lw-ask", has_text="left window").get_by_role("button", name="Reject").click()
    page.get_by_role("button", name="Send the no").click()
    expect(page.locator(".lw-feed")).to_contain_text("left reject, right approve")
    expect(page.locator(".lw-badge")).to_have_text("succeeded")
    page.keyboard.press("Escape")
    expect(page.locator("#lw-banner")).to_contain_text("it hears nothing any more")


def test_a_form_says_what_will_not_do(ann: Tab) -> None:
    page = ann.open("/start?loop=gauge")
    page.get_by_label("model of the navigator").fill("nobody")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("Unknown model card 'nobody'")).to_be_visible()


def test_an_act_is_approved_rejected_and_edited(ann: Tab, waiting: str, api: Api) -> None:
    page = ann.session(waiting)
    card = page.locator(".lw-ask")
    expect(card).to_contain_text("A yes expires after 10 min")
    expect(card.locator(".lw-act")).to_contain_text("true")
    card.get_by_role("button", name="Approve").click()
    expect(card).to_contain_text("q2")
    card.get_by_role("button", name="Reject").click()
    page.get_by_label("Reason").fill("too early")
    page.keyboard.press("Enter")
    expect(card).to_contain_text("q3")
    card.get_by_role("button", name="Edit").click()
    page.get_by_role("checkbox", name="on").click()
    page.get_by_role("button", name="Do this instead").click()
    expect(card).to_contain_text("q4")
    said = happened(page)
    assert "Ann: “q1: approve”" in said
    assert "the human said no: too early" in said
    assert re.search(r"acted switch the heater off heater_on false", said)


def test_what_is_pointed_at_becomes_feedback(ann: Tab, waiting: str, api: Api) -> None:
    page = ann.session(waiting)
    point(page, (165, 30))
    page.get_by_role("button", name=re.compile(r"^target 16\.[45]")).click()
    expect(page.locator(".lw-feed")).to_contain_text("set target: target_c 16.")
    expect(page.locator(".lw-ask")).to_contain_text("q2")
    expect(page.locator(".q-dialog__backdrop")).to_have_count(0)
    point(page, (20, 100), (250, 100))
    page.get_by_role("button", name=re.compile(r"^target 2[45]")).wait_for()
    page.get_by_role("button", name="Nothing").click()
    svg = page.locator("svg.lw-picture").first
    svg.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="target 16.2").click()
    expect(page.locator(".lw-ask")).to_contain_text("q3")
    events = api.http.get(f"/sessions/{waiting}/events", params={"limit": 500}).json()
    heard = [m["words"] for e in events for m in e["payload"].get("messages", ())]
    assert [words["kind"] for words in heard] == ["set_target", "set_target"]
    assert heard[0]["target_c"] == pytest.approx(16.5, abs=0.15)


def test_free_text_is_heard_and_asked_about_where_it_is_not_understood(ann: Tab, waiting: str) -> None:
    page = ann.session(waiting)
    box = page.get_by_label("Say something to the session")
    box.fill("perhaps")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".q-notification")).to_contain_text("I did not understand that")
    expect(page.locator(".lw-ask", has_text="perhaps")).to_be_visible()
    box.fill("target 19")
    page.keyboard.press("Enter")
    expect(page.locator(".lw-feed")).to_contain_text("set target: target_c 19")


@pytest.mark.parametrize("how", ["button", "key while typing"])
def test_stop(ann: Tab, waiting: str, how: str, api: Api) -> None:
    page = ann.session(waiting)
    page.set_viewport_size({"width": 1366, "height": 400})
    page.mouse.move(300, 300)
    page.mouse.wheel(0, 5000)
    expect(page.locator(".lw-top")).not_to_be_in_viewport()
    expect(page.locator(".lw-stop")).to_be_in_viewport(ratio=1)
    if how == "button":
        page.locator(".lw-stop").click()
    else:
        page.get_by_label("Say something to the session").fill("target 2")
        page.keyboard.press("Escape")
    expect(page.locator("#lw-banner")).to_contain_text("STOP was delivered")
    expect(page.locator(".lw-badge")).to_have_text("stopped")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator(".lw-badge")).to_have_text("waiting")
    expect(page.locator(".lw-ask")).to_have_count(1)


def test_a_stop_is_tried_until_it_is_delivered(ann: Tab, waiting: str, api: Api) -> None:
    page = ann.session(waiting)
    ann.context.set_offline(True)
    page.keyboard.press("Escape")
    expect(page.locator("#lw-banner")).to_contain_text("STOP is NOT delivered")
    assert api.get(waiting)["status"] == "waiting"
    ann.context.set_offline(False)
    expect(page.locator("#lw-banner")).to_contain_text("STOP was delivered")
    api.rests(waiting, "stopped")


def test_looks_back_goes_back_forks_and_compares(ann: Tab, waiting: str, api: Api) -> None:
    for n in (1, 2):
        api.post(waiting, f"questions/q{n}", answer="approve")
        api.asks(waiting, f"q{n + 1}")
    page = ann.session(waiting)
    expect(page.locator(".lw-step")).to_have_count(3)
    page.locator(".lw-step").nth(0).click()
    expect(page.locator("h2", has_text="Step 0")).to_be_visible()
    expect(page.locator("svg.lw-picture line.arrow")).to_have_attribute("x1", "150.0")
    page.get_by_role("tab", name="Model").click()
    page.get_by_text("Asked", exact=True).click()
    expect(page.locator(".lw-said")).to_contain_text("15.0 of 20.0")
    expect(page.locator(".lw-said")).to_contain_text("set_heater")
    page.get_by_role("button", name="Go back to this step").click()
    expect(page.locator(".lw-badge")).to_have_text("paused")
    expect(page.locator(".lw-step.left-behind")).to_have_count(3)
    first = page.locator(".lw-step").nth(0)
    first.focus()
    page.keyboard.press("Enter")
    expect(first).to_have_class(re.compile("chosen"))
    expect(first).to_be_focused()  # whoever has no mouse goes on from there
    expect(page.get_by_text("Step 1:0 has taken its place")).to_be_visible()
    expect(page.get_by_role("button", name="Go back to this step")).to_have_count(0)
    page.get_by_role("button", name="Go on").click()
    expect(page.locator(".lw-ask")).to_contain_text("q4")
    page.get_by_role("button", name="Compare").click()
    cells = page.locator(".lw-compare > .lw-card")
    expect(cells).to_have_count(6)
    expect(cells.nth(0)).to_contain_text("acted")
    expect(cells.nth(5)).to_contain_text("no such step")
    page = ann.session(waiting)
    page.get_by_role("button", name="Fork here").click()
    page.get_by_text(f"forked from {waiting}").wait_for()
    assert page.url.rpartition("/")[2] != waiting


def test_the_graph_shows_where_the_loop_stands(ann: Tab, waiting: str) -> None:
    page = ann.session(waiting)
    page.get_by_role("tab", name="Graph").click()
    expect(page.locator(".lw-graph svg")).to_be_visible()
    expect(page.get_by_text("The loop stands at: heat")).to_be_visible()
    lit = page.locator(".lw-graph .node", has_text="heat").locator("rect").first
    expect(lit).to_have_attribute("style", re.compile("fill: ?#ffd83d"))


def test_two_people_see_the_same_and_one_answer_counts(ann: Tab, browser: Browser, waiting: str) -> None:
    bob = Tab(browser, ann.server, "Bob")
    mine, his = ann.session(waiting), bob.session(waiting)
    his.get_by_role("button", name="Approve").click()
    expect(mine.locator(".lw-feed")).to_contain_text("Bob: “q1: approve”")
    expect(mine.locator(".lw-ask")).to_contain_text("q2")
    mine.get_by_label("Say something to the session").fill("note: it is getting warm")
    mine.keyboard.press("Enter")
    expect(his.locator(".lw-feed")).to_contain_text("Ann: “note: it is getting warm”")
    bob.context.close()


def test_a_reload_shows_the_same(ann: Tab, waiting: str) -> None:
    page = ann.session(waiting)
    before = happened(page)
    page.reload()
    expect(page.locator(".lw-ask")).to_contain_text("q1")
    expect(page.locator(".lw-line").first).to_be_visible()
    assert happened(page) == before


def test_a_restart_of_the_server_loses_nothing(ann: Tab, waiting: str) -> None:
    page = ann.session(waiting)
    with page.expect_navigation():  # the page comes back by itself
        ann.server.restart()
    page.get_by_role("button", name="Approve").click()
    expect(page.locator(".lw-ask")).to_contain_text("q2")
    assert "Ann: “q1: approve”" in happened(page)


def test_a_slow_connection(ann: Tab, waiting: str) -> None:
    ann.context.new_cdp_session(ann.page).send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 300, "downloadThroughput": 400_000, "uploadThroughput": 40_000},
    )
    page = ann.session(waiting)
    page.get_by_role("button", name="Approve").click()
    expect(page.locator(".lw-ask")).to_contain_text("q2")


def test_a_tablet_shows_question_and_picture_without_scrolling_sideways(
    browser: Browser, server: Server, waiting: str
) -> None:
    tablet = Tab(browser, server, "Ann", width=820, height=1180)
    page = tablet.session(waiting)
    for part in (".lw-stop", ".lw-ask", "svg.lw-picture"):
        expect(page.locator(part).first).to_be_in_viewport(ratio=1)
    tops = [page.locator(part).first.bounding_box() for part in ("svg.lw-picture", ".lw-ask", ".lw-timeline")]
    assert [box["y"] for box in tops if box] == sorted(box["y"] for box in tops if box)
    assert page.evaluate("document.documentElement.scrollWidth") <= 820
    tablet.context.close()


def test_everything_has_a_name_enough_contrast_and_a_focus(ann: Tab, waiting: str) -> None:
    page = ann.session(waiting)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, a, input, textarea, [role=button], [role=tab], svg[role=img]')]
            .filter((e) => e.checkVisibility())
            .filter((e) => !(e.ariaLabel || e.textContent.trim() || e.labels?.[0]?.textContent.trim()))
            .map((e) => e.outerHTML.slice(0, 120))"""
    )
    assert nameless == []
    assert page.evaluate(CONTRAST) == []
    assert page.locator("html").get_attribute("lang") == "en-US"
    page.get_by_role("button", name="Approve").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Reject")).to_be_focused()


def test_what_a_model_says_is_shown_as_it_says_it(ann: Tab, api: Api, tmp_path: Path) -> None:
    pieces = ('{"name": "set_heater", ', '"arguments": ', '{"on": true}}')
    with ChatServer(Turn(pieces=pieces, held_after=2), answer=lambda _: Turn(pieces=pieces)) as model:
        card = tmp_path / "speaks.yaml"
        card.write_text(f"kind: served\nbase: {MODEL}\nbase_url: {model.url}\n")
        body = {"loop": "gauge", "config": {"approval": "human"}, "models": {"navigator": str(card)}}
        session = api.http.post("/sessions", json=body).json()["session"]
        page = ann.session(session)
        expect(page.locator(".lw-speaking")).to_contain_text('{"name": "set_heater", "arguments":')
        expect(page.locator(".lw-badge")).to_have_text("running")
        page.keyboard.press("Escape")
        expect(page.locator(".lw-badge")).to_have_text("stopped")
        assert model.left.wait(SLOW_MACHINE_S)  # a STOP reaches a model that is speaking
        page.get_by_role("button", name="Go on").click()
        expect(page.locator(".lw-ask")).to_contain_text("May I switch the heater on?")
        expect(page.locator(".lw-speaking")).to_be_hidden()
        api.post(session, "stop")


def test_a_session_of_ten_thousand_events_opens(ann: Tab, waiting: str, api: Api) -> None:
    api.post(waiting, "stop")
    until(lambda: not api.get(waiting)["is_held"])
    with api.server.memory() as memory, memory.sessions.acquire(waiting):
        many = [NewEvent(0, 0, "paused", {"reason": f"pause {n}"}) for n in range(10_000)]
        memory.events.append_all(waiting, many)
    page = ann.session(waiting)
    expect(page.locator(".lw-feed")).to_contain_text("pause 9999")
    assert page.locator(".lw-line").count() <= 200
    expect(page.get_by_text("earlier events are in the export")).to_be_visible()


def test_a_session_of_a_loop_that_is_not_here(ann: Tab, api: Api) -> None:
    with api.server.memory() as memory:
        session = memory.sessions.create("elsewhere", {}).id
        with memory.sessions.acquire(session):
            memory.events.append(session, "error", {"type": "E", "text": "it <b>broke</b>"}, branch=0, step=0)
    page = ann.session(session)
    expect(page.locator(".lw-feed")).to_contain_text("it <b>broke</b>")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator(".q-notification")).to_contain_text("Unknown loop 'elsewhere'")


def test_a_session_that_is_not_there(ann: Tab) -> None:
    expect(ann.open("/sessions/nobody").get_by_text("Unknown session 'nobody'")).to_be_visible()


def test_the_export_is_one_page_that_needs_nothing(ann: Tab, waiting: str, api: Api, tmp_path: Path) -> None:
    page = ann.session(waiting)
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Export").click()
    file = tmp_path / "run.html"
    downloading.value.save_as(file)
    offline = ann.context.new_page()
    before = len(ann.requests)
    offline.goto(file.as_uri())
    expect(offline.get_by_text(api.get(waiting)["head_hash"]).first).to_be_visible()
    expect(offline.locator("img").first).to_have_js_property("naturalWidth", 300)
    expect(offline.get_by_role("heading", name="Graph")).to_be_visible()
    assert [url for url in ann.requests[before:] if not url.startswith(("file:", "data:"))] == []


def test_one_talks_with_the_chat(ann: Tab, api: Api) -> None:
    """The chat is a session like any other; what it says is in the feed, and questions are answered by typing."""
    session = api.http.post("/sessions", json={"loop": "chat", "config": {}}).json()["session"]
    page = ann.session(session)
    expect(page.locator(".lw-ask")).to_contain_text("What shall we do?")
    page.get_by_label("Say something to the session").fill("what can you do?")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator(".lw-feed")).to_contain_text("I can begin, by name or in plain words")
    page.get_by_label("Say something to the session").fill("bye")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator(".lw-badge")).to_have_text("succeeded")
