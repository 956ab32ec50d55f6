"""A real headless Chromium that reaches this machine only."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from tests.web.serving import SLOW_MACHINE_S, Server

from loopwright.web.access import cookie_name

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
NEEDS_BROWSER = pytest.mark.skipif(CHROMIUM is None, reason="no `chromium` on the path: `apt-get install chromium`")


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser."""
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *as_root])
        yield browser
        browser.close()


class Tab:
    """A tab of somebody's. `requests` are all that it made, `problems` what its console said is wrong."""

    def __init__(self, browser: Browser, server: Server, author: str, *, width: int = 1366, height: int = 900) -> None:
        self.server = server
        self.context: BrowserContext = browser.new_context(viewport={"width": width, "height": height})
        self.context.set_default_timeout(SLOW_MACHINE_S * 1000)
        self.context.add_cookies(
            [
                {"name": cookie_name(server.port), "value": server.token, "url": server.url},
                {"name": "loopwright_author", "value": author, "url": server.url},
            ]
        )
        self.page: Page = self.context.new_page()
        self.requests: list[str] = []
        self.problems: list[str] = []
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda said: self.problems.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))

    def open(self, path: str) -> Page:
        """Go there."""
        self.page.goto(f"{self.server.url}{path}")
        self.page.get_by_text("Research software").wait_for(state="attached")
        return self.page

    def session(self, session_id: str) -> Page:
        """A session's page, connected."""
        page = self.open(f"/sessions/{session_id}")
        page.locator(".lw-line").first.wait_for(state="attached")
        return page

    def screenshot(self, folder: Path | None, name: str) -> None:
        """Keep a picture of the page, where a folder for them is named."""
        if folder is not None:
            self.page.wait_for_timeout(600)
            self.page.screenshot(path=folder / f"{name}.png")


CONTRAST = """() => {
  const channel = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const rgba = (text) => (text.match(/[0-9.]+/g) || [0, 0, 0, 0]).map(Number);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const [r, g, b, a = 1] = rgba(getComputedStyle(e).backgroundColor);
      if (a > 0.5) return [r, g, b];
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll('.lw-top *, .lw-main *')]
    .filter((e) => e.checkVisibility() && !e.closest('svg'))
    .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()))
    .map((e) => {
      const [a, b] = [light(rgba(getComputedStyle(e).color)), light(ground(e))];
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.textContent.trim().slice(0, 40)];
    })
    .filter(([ratio]) => ratio < 4.5);
}"""
"""Texts whose contrast to what is behind them is below WCAG's AA."""
