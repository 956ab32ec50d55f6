"""What every test gets: no network, its own settings and folders, and the real chest CT where it has been fetched."""

import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from loopwright.settings import Settings, settings

if TYPE_CHECKING:
    from loopwright.tools.carm.case import Case

pytest_plugins = ["tests.databases", "tests.loops.bench"]

CACHE_DIR = Settings().cache_dir
"""The user's real cache, read before any test isolates its variables: `make test` fetches the chest CT into it."""

TEST_DATA = os.environ.get("LOOPWRIGHT_TEST_DATA")


class NetworkBlocked(OSError):
    """A test tried to leave this machine."""


def _is_local(host: Any) -> bool:
    if host in (None, "", "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host).is_loopback
    except ValueError:
        return False


def _block_network(event: str, args: tuple[Any, ...]) -> None:
    """Audit hook: every connection of this process passes here, whichever library makes it."""
    if event in ("socket.connect", "socket.sendto"):
        sock, address = args[0], args[1]
        if sock.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address[0]):
            raise NetworkBlocked(f"Tests have no network, but this one called `{event}` with {address!r}.")
    elif event == "socket.getaddrinfo" and not _is_local(args[0]):
        raise NetworkBlocked(f"Tests have no network, but this one looked up {args[0]!r}.")


sys.addaudithook(_block_network)

hypothesis.settings.register_profile("patient", deadline=None)  # machines are busy; a slow example is no failure
hypothesis.settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No `LOOPWRIGHT_*` variable of the developer, no configuration file, and folders of the test's own."""
    for name in [n for n in os.environ if n.upper().startswith("LOOPWRIGHT_")]:
        monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    (home / "loopwright.toml").touch()
    monkeypatch.setenv("LOOPWRIGHT_CONFIG", str(home / "loopwright.toml"))
    monkeypatch.setenv("LOOPWRIGHT_DATA_DIR", str(home / "data"))
    monkeypatch.setenv("LOOPWRIGHT_CACHE_DIR", str(home / "cache"))
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture(scope="session")
def chest() -> "Case":
    """The real chest CT, with its landmarks."""
    if not (CACHE_DIR / "chest").is_dir():
        pytest.skip("the chest CT is not here: `loopwright data fetch chest` gets it")
    from loopwright.tools.carm.chest import load_chest

    return load_chest(CACHE_DIR)


@pytest.fixture
def chest_cache(chest: "Case", monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder that holds the chest CT, made this test's `cache_dir` (for `--volume chest`). Read only."""
    monkeypatch.setenv("LOOPWRIGHT_CACHE_DIR", str(CACHE_DIR))
    settings.cache_clear()
    return CACHE_DIR


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of further real data that `LOOPWRIGHT_TEST_DATA` names."""
    if TEST_DATA is None:
        pytest.skip("`LOOPWRIGHT_TEST_DATA` names no folder of further real data")
    return Path(TEST_DATA)
