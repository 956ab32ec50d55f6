"""The pictures of docs/console.md, taken of real sessions: `pytest tests/web -m slow --screenshots docs/images`."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from tests.web.browser import NEEDS_BROWSER, Tab, chromium
from tests.web.serving import SLOW_MACHINE_S, Api, Server

pytestmark = [NEEDS_BROWSER, pytest.mark.slow]
MAX_BYTES = 150_000
COLOURS = 160
C_ARM = {"volume": "phantom:30000", "start": "T12", "target": ["Left hemidiaphragm"]}
SURGERY = {"video": "simulated:2000007", "clips": 4}


def keep(page: Page, folder: Path, name: str) -> None:
    """A small picture of what the page shows."""
    page.wait_for_timeout(1500)
    file = folder / f"{name}.png"
    page.screenshot(path=file)
    with Image.open(file) as picture:
        picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
    assert file.stat().st_size < MAX_BYTES


def begin(api: Api, loop: str, config: Mapping[str, object]) -> str:
    asked = {"approval": "human", "on_uncertain": "ask", **config}
    return str(api.http.post("/sessions", json={"loop": loop, "config": asked}).raise_for_status().json()["session"])


def test_the_pictures_of_the_docs(server: Server, api: Api, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder = Path(request.config.getoption("--screenshots", default=None) or tmp_path)
    expect.set_options(timeout=SLOW_MACHINE_S * 1000)
    c_arm, surgery = begin(api, "carm", C_ARM), begin(api, "surgery", SURGERY)
    api.asks(c_arm, "q1")
    api.post(c_arm, "feedback", text="note: the patient breathes in", author="Ann")
    api.post(c_arm, "questions/q1", answer="approve", author="Bob")
    api.asks(c_arm, "q2")
    api.asks(surgery, "q1")
    room = api.start("gauge", room="kitchen")
    api.asks(room, "q1")
    with chromium() as browser:
        tab = Tab(browser, server, "Ann", width=1366, height=960)
        page = tab.session(c_arm)
        keep(page, folder, "console-session")
        picture = page.locator("svg.lw-picture").first.bounding_box()
        assert picture is not None
        page.mouse.click(picture["x"] + picture["width"] * 0.62, picture["y"] + picture["height"] * 0.3)
        page.get_by_role("button", name="go here").wait_for()
        keep(page, folder, "console-pointing")
        page.get_by_role("button", name="Nothing").click()
        keep(tab.session(surgery), folder, "console-surgery")
        keep(tab.open("/inbox"), folder, "console-inbox")
        tab.context.close()
    for session in (c_arm, surgery, room):
        api.post(session, "stop")
