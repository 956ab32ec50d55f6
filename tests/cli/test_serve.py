"""`loopwright serve` where it cannot listen, and `sessions report --open`; the rest of it is in tests/web."""

import socket
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.loops.thermostat import thermostat

import loopwright as lw
from loopwright.memory import open_memory
from loopwright.settings import settings

Cli = Callable[..., Any]


def test_a_port_that_is_taken(loopwright: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = loopwright("serve", "--port", str(taken.getsockname()[1]))
    assert said.code == 2
    assert "Name another port" in said.err


def test_an_address_of_another_machine(loopwright: Cli) -> None:
    said = loopwright("serve", "--host", "192.0.2.1", "--port", "0")
    assert said.code == 2
    assert "'192.0.2.1'" in said.err


class Opened(webbrowser.BaseBrowser):
    """A browser that remembers where it was led."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def open(self, url: str, new: int = 0, autoraise: bool = True) -> bool:
        """Remember."""
        self.urls.append(url)
        return True


def test_a_report_is_opened(loopwright: Cli, tmp_path: Path) -> None:
    browser = Opened()
    webbrowser.register("remembers", None, browser, preferred=True)
    settings().data_dir.mkdir(parents=True)
    with open_memory(settings().memory_url) as memory:
        model = lw.ScriptedChatModel(replies=())
        session = thermostat.start(memory, models={"navigator": model}).id
    out = tmp_path / "page.html"
    where = "tests.loops.thermostat:thermostat"
    assert loopwright("sessions", "report", session, "--out", str(out), "--open", "--loop", where).code == 0
    assert browser.urls == [out.as_uri()]
    assert "<h2>Graph</h2>" in out.read_text()
