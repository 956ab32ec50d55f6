"""A server for each module of tests; its own sessions are ended with it."""

import os
import signal
from collections.abc import Iterator

import psutil
import pytest
from tests.web.serving import Api, Server

LOOPS = ("tests.loops.thermostat:thermostat", "tests.web.gauge:gauge", "tests.web.gauge:windows")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that knows three loops that are not installed."""
    served = Server(tmp_path_factory.mktemp("console"), LOOPS)
    yield served
    served.end()
    end_workers(served)


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
