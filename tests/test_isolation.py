"""The promises of the root conftest: a test cannot leave the machine, nor see or touch the developer's own sessions."""

import socket
import urllib.request
from pathlib import Path

import pytest

from loopwright.settings import Settings, origins, settings


@pytest.mark.parametrize("host", ["192.0.2.1", "pypi.org", "2001:db8::1"])
def test_tests_have_no_network(host: str) -> None:
    with pytest.raises(OSError, match="Tests have no network"):
        socket.create_connection((host, 80), timeout=1)


def test_libraries_have_no_network() -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(OSError, match="Tests have no network"):
        opener.open("http://example.org/", timeout=1)


def test_this_machine_can_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), timeout=5):
        pass


def test_settings_are_the_tests_own() -> None:
    given = {row.name for row in origins() if row.origin != "default"}
    assert given == {"data_dir", "cache_dir"}
    assert not Path(settings().data_dir).is_relative_to(Settings.model_construct().data_dir)
