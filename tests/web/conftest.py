"""One server for all tests of the console, and a browser for each module; its sessions are ended with it."""

import os
import signal
from collections.abc import Iterator
from urllib.parse import urlsplit

import psutil
import pytest
from playwright.sync_api import Browser, expect
from tests.web.browser import Tab, chromium
from tests.web.serving import SLOW_MACHINE_S, Api, Server

expect.set_options(timeout=SLOW_MACHINE_S * 1000)

LOOPS = ("tests.loops.thermostat:thermostat", *(f"tests.web.gauge:{name}" for name in ("gauge", "windows", "strip")))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that knows loops that are not installed."""
    served = Server(tmp_path_factory.mktemp("console"), LOOPS)
    yield served
    served.end()
    end_workers(served)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def ann(browser: Browser, server: Server) -> Iterator[Tab]:
    """Ann's tab. Nothing goes wrong in it, and nothing that it asks for is elsewhere."""
    tab = Tab(browser, server, "Ann")
    yield tab
    tab.context.close()
    outside = [url for url in tab.requests if urlsplit(url).netloc not in ("", f"127.0.0.1:{server.port}")]
    assert outside == []
    assert [said for said in tab.problems if "ERR_" not in said and "409" not in said] == []


@pytest.fixture
def waiting(api: Api) -> Iterator[str]:
    """A session of the gauge that awaits the approval of its first act."""
    session = api.start("gauge", room="kitchen")
    api.asks(session, "q1")
    yield session
    api.post(session, "stop")


@pytest.fixture
def api(server: Server) -> Api:
    """The server's API."""
    return Api(server)


def end_workers(server: Server) -> None:
    """End the workers over a server's folder: they outlive it."""
    for process in psutil.process_iter(["cmdline", "environ"]):
        words, variables = process.info["cmdline"] or [], process.info["environ"] or {}
        is_here = variables.get("LOOPWRIGHT_DATA_DIR") == str(server.folder)
        if "loopwright.web.worker" in words and is_here and process.ppid() != server.pid:
            os.kill(process.pid, signal.SIGKILL)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the pictures of the docs go."""
    parser.addoption("--screenshots", metavar="FOLDER", help="keep the pictures that docs/console.md shows here")
