"""Pages where things are not as usual: hostile text, odd ids, hasty fingers, files, pauses, a token that runs out."""

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.web.browser import CONTRAST, NEEDS_BROWSER, Tab
from tests.web.serving import MAX_FILE_MB, Api, Server

from loopwright.web.access import cookie_name, issue_token, key_of

pytestmark = NEEDS_BROWSER
HOSTILE = "<img src=x onerror='window.hit=1'>\"><script>window.hit=1</script>${7*7}{{7*7}}"
NAME_OF_FOCUS = "(document.activeElement.innerText || document.activeElement.ariaLabel || '').trim()"
MARK_NEW_QUESTIONS = """() => {
    window.armed = [];
    new MutationObserver((records) => records.flatMap((r) => [...r.addedNodes])
        .filter((node) => node.matches?.('.lw-ask'))
        .forEach((node) => window.armed.push(getComputedStyle(node).pointerEvents)))
        .observe(document.body, { subtree: true, childList: true });
}"""


def is_unharmed(page: Page) -> bool:
    """Whether nobody's text was run."""
    return bool(page.evaluate("window.hit === undefined && !document.querySelector('.lw-main img[onerror]')"))


@pytest.fixture
def hostile(api: Api) -> Iterator[str]:
    """A session in which whatever anybody may write is hostile, its id and a model's reply too."""
    session = f"{HOSTILE}{time.monotonic_ns()}"
    turn = {"role": "human", "content": [{"type": "text", "text": HOSTILE}, {"type": HOSTILE}]}
    usage = {"input_tokens": 1, "output_tokens": 1}
    question = {"id": "q1", "about": HOSTILE, "text": HOSTILE, "options": [HOSTILE]}
    with api.server.memory() as memory:
        memory.sessions.create(HOSTILE, {"scopes": {"": {"config": {"room": HOSTILE}}}}, session_id=session)
        with memory.sessions.acquire(session):
            replied: dict[str, Any] = {
                "role": HOSTILE,
                "model": HOSTILE,
                "adapter": None,
                "prompt": [turn],
                "reply": HOSTILE,
            }
            replied |= {"is_exact": True, "attempts": 1}
            for kind, payload in (
                ("replied", {**replied, "usage": usage}),
                ("asked", {"question": question}),
                ("error", {"type": HOSTILE, "text": HOSTILE}),
            ):
                memory.events.append(session, kind, payload, branch=0, step=0)
            memory.sessions.set_status(session, "waiting")
    yield session
    api.http.post(f"/sessions/{quote(session, safe='')}/stop", json={})


def test_hostile_text_is_shown_and_never_run(browser: Browser, server: Server, hostile: str) -> None:
    tab = Tab(browser, server, quote(HOSTILE, safe=""))
    page = tab.session(quote(hostile, safe=""))
    expect(page.get_by_role("heading", name=hostile)).to_be_visible()
    expect(page.get_by_label("Your name")).to_have_value(HOSTILE)
    expect(page.locator(".lw-ask")).to_contain_text(HOSTILE)
    expect(page.locator(".lw-feed")).to_contain_text(HOSTILE)
    page.get_by_role("tab", name="Model").click()
    page.get_by_text("Asked", exact=True).click()
    expect(page.locator(".lw-said")).to_contain_text(HOSTILE)
    page.get_by_label("Say something to the session").fill(f"note: {HOSTILE}")
    page.keyboard.press("Enter")
    expect(page.locator(".q-notification")).to_contain_text("Unknown loop '<img")
    assert is_unharmed(page)
    for path in ("/", "/inbox"):
        expect(tab.open(path).locator(".lw-item", has_text=hostile)).to_contain_text(f"room {HOSTILE}")
        assert is_unharmed(page)
    tab.open(f"/sessions/{quote(hostile, safe='')}/compare")
    expect(page.locator(".lw-compare .lw-card").first).to_contain_text("onerror")
    expect(tab.open(f"/sessions/{quote(HOSTILE, safe='')}").locator(".lw-error")).to_contain_text("Unknown session")
    assert is_unharmed(page)
    tab.context.close()


def test_a_session_may_be_called_like_a_path(ann: Tab, api: Api) -> None:
    name = 'surgery/case 7/../8?#<b>%2F"'
    with api.server.memory() as memory:
        memory.sessions.create("elsewhere", {}, session_id=name)
        with memory.sessions.acquire(name):
            memory.events.append(name, "error", {"type": "E", "text": "it broke"}, branch=0, step=0)
    ann.open("/").locator(".lw-item", has_text=name).click()
    page = ann.page
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect(page.locator(".lw-feed")).to_contain_text("it broke")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="Compare")).to_be_visible()
    page.get_by_role("link", name=name).click()
    expect(page.locator(".lw-feed")).to_contain_text("it broke")
    page.keyboard.press("Escape")
    expect(page.locator("#lw-banner")).to_contain_text("STOP was delivered")
    expect(page.locator(".lw-badge")).to_have_text("stopped")


def test_a_page_that_is_not_there(browser: Browser, server: Server) -> None:
    tab = Tab(browser, server, "Ann")
    expect(tab.open("/nowhere").get_by_text("The console has no page '/nowhere'")).to_be_visible()
    tab.page.get_by_role("link", name="Sessions").click()
    expect(tab.page.get_by_role("heading", name="Sessions")).to_be_visible()
    tab.context.close()


def test_a_page_whose_token_has_expired_says_so(browser: Browser, server: Server) -> None:
    tab = Tab(browser, server, "Ann")
    page = tab.open("/inbox")
    assert float(page.locator("[data-lasts]").get_attribute("data-lasts") or 0) == pytest.approx(12 * 3600, rel=0.1)
    expired = issue_token(key_of(server.folder / "console"), -1)
    tab.context.add_cookies([{"name": cookie_name(server.port), "value": expired, "url": server.url}])
    page.evaluate("document.querySelector('[data-lasts]').dataset.lasts = 0")
    expect(page.get_by_text("This token has expired")).to_be_visible()
    tab.context.close()


def test_a_button_that_has_just_come_is_not_pressed(ann: Tab, waiting: str) -> None:
    """A second click on the Approve of one question is no answer to the next, which comes to the same place."""
    page = ann.session(waiting)
    page.evaluate(MARK_NEW_QUESTIONS)
    page.get_by_role("button", name="Approve").click()
    expect(page.locator(".lw-ask")).to_contain_text("q2")
    assert page.evaluate("window.armed") == ["none"]
    page.get_by_role("button", name="Approve").click()
    expect(page.locator(".lw-ask")).to_contain_text("q3")


def test_an_answer_that_is_not_heard_yet_takes_the_buttons_away(ann: Tab, waiting: str, api: Api) -> None:
    page = ann.session(waiting)
    held = re.search(r"is run by process (\d+)", api.post(waiting, "resume").json()["error"])
    assert held is not None
    pid = int(held[1])
    os.kill(pid, signal.SIGSTOP)
    try:
        assert api.post(waiting, "questions/q1", answer="approve", author="Bob").is_success
        expect(page.locator(".lw-ask")).to_contain_text("Bob said “q1: approve”, which the session has not heard yet")
        expect(page.get_by_role("button", name="Approve")).to_be_hidden()
    finally:
        os.kill(pid, signal.SIGCONT)
    expect(page.locator(".lw-ask")).to_contain_text("q2")


def test_a_session_is_paused_and_goes_on_with_another_model(ann: Tab, waiting: str, api: Api) -> None:
    page = ann.session(waiting)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".lw-badge")).to_have_text("paused")
    expect(page.locator(".lw-feed")).to_contain_text("paused by Ann")
    expect(page.locator(".lw-ask")).to_contain_text("Nobody runs the session now: answer, and go on.")
    page.get_by_role("button", name="Reject").click()
    page.keyboard.type("too early")  # the field has the focus
    page.keyboard.press("Enter")
    expect(page.locator(".lw-ask")).to_contain_text("has not heard yet")
    other = api.server.folder / "other.yaml"
    other.write_text(api.server.card.read_text())
    page.get_by_role("button", name="Models").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("empty: heats")
    dialog.get_by_label("model of the navigator").fill("nobody")
    dialog.get_by_role("button", name="Go on with these").click()
    expect(page.locator(".q-notification")).to_contain_text("Unknown model card 'nobody'")
    page.get_by_role("button", name="Models").click()
    dialog.get_by_label("model of the navigator").fill(str(other))
    dialog.get_by_role("button", name="Go on with these").click()
    expect(page.locator(".lw-ask")).to_contain_text("q2")
    page.get_by_role("tab", name="Model").click()
    expect(page.locator(".lw-said")).to_contain_text("navigator other")


def test_a_file_is_sent_by_the_form_and_refused_where_it_will_not_do(ann: Tab, tmp_path: Path) -> None:
    page = ann.open("/start?loop=carm")
    start = page.get_by_role("button", name="Start", exact=True)
    start.click()
    expect(page.locator(".lw-error")).to_have_text("Please fill in `volume`, `start`, `target`.")
    expect(page.get_by_label("coverage")).to_be_hidden()
    chooser = page.locator("input[data-to*=volume]")
    for name, n_bytes, said in (
        ("scan.exe", 10, "takes a file named *.nii or *.nii.gz"),
        ("scan.nii", MAX_FILE_MB * 1_000_000 + 1, f"more than {MAX_FILE_MB} MB"),
        ("scan.nii", 1000, "Sent: scan.nii"),
    ):
        file = tmp_path / name
        file.write_bytes(b"x" * n_bytes)
        chooser.set_input_files(file)
        expect(page.locator(".lw-row [role=status]").first).to_contain_text(said)
    expect(page.get_by_label("volume *")).to_have_value(re.compile(r"/console/files/\w+/scan.nii$"))
    page.get_by_label("start *").fill("T12")
    page.get_by_label("target *").fill("T1")
    start.click()
    expect(page.locator(".lw-error")).to_contain_text("is not a NIfTI file")
    page.get_by_text("More settings").click()
    page.get_by_label("coverage").fill("nan")
    start.click()
    expect(page.locator(".lw-error")).to_contain_text("`coverage` 'nan': expected a finite number")
    assert page.evaluate(CONTRAST) == []
    ann.problems[:] = [said for said in ann.problems if "415" not in said]


def test_every_loop_shows_its_own_pictures_and_titles(ann: Tab, api: Api) -> None:
    """A film strip, as a loop that imagines what comes next has one."""
    session = api.start("strip")
    api.asks(session, "q1")
    page = ann.session(session)
    expect(page.locator("h2", has_text="Step 0")).to_contain_text("seen")
    expect(page.locator(".lw-views figcaption")).to_have_text(["imagined", "came"])
    expect(page.get_by_text("0.9 m to the car in front")).to_be_visible()
    ann.open(f"/sessions/{session}/compare")
    expect(page.locator(".lw-compare figcaption")).to_have_text(["imagined", "came"] * 2)
    api.post(session, "stop")


@pytest.mark.parametrize("name", ["%E0%A4%A", quote("x" * 500), "%00"])
def test_a_broken_name_stops_no_stop(browser: Browser, server: Server, waiting: str, name: str) -> None:
    """Any program on this machine can set cookies."""
    tab = Tab(browser, server, name)
    page = tab.session(waiting)
    page.keyboard.press("Escape")
    expect(page.locator("#lw-banner")).to_contain_text("STOP was delivered")
    tab.context.close()


def test_a_session_is_worked_with_by_the_keyboard_alone(ann: Tab, waiting: str) -> None:
    page = ann.session(waiting)
    reached = []
    page.locator(".lw-top .brand").click()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(NAME_OF_FOCUS))
        if reached[-1] == "Approve":
            break
    page.keyboard.press("Enter")
    expect(page.locator(".lw-ask")).to_contain_text("q2")
    assert reached.index("STOP\nor press Escape") < reached.index("Approve")
    assert any(said.startswith("The gauge. Point at it") for said in reached)
