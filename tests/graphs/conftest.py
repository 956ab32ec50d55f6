"""Sessions of the C-arm loop over a phantom, with a localiser that knows the truth."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.graphs.oracle import Card, Oracle, Replays
from tests.scenario import Begin, Patient, See, Use, network_that

from loopwright.graphs.carm import LOOP, roles
from loopwright.graphs.loop import models
from loopwright.graphs.loop.session import Session
from loopwright.graphs.loop.starting import replay
from loopwright.memory import Memory, open_memory
from loopwright.settings import settings


@pytest.fixture(scope="session")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Patient:
    """One phantom for all tests of the loop."""
    return Patient(tmp_path_factory.mktemp("patient"))


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    """A memory of the test's own."""
    with open_memory(f"sqlite:///{tmp_path / 'memory.sqlite'}") as opened:
        yield opened


@pytest.fixture
def truth(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> Use:
    """Replace the network by a function of the pose; the perfect one until told otherwise."""

    def use(see: See) -> None:
        monkeypatch.setattr(roles, "network_sees", network_that(see))

    use(patient.truth)
    return use


@pytest.fixture
def begin(memory: Memory, tmp_path: Path, truth: Use, monkeypatch: pytest.MonkeyPatch) -> Begin:
    """Start a session of the C-arm loop; small pictures, for these tests look at none."""
    monkeypatch.setenv("LOOPWRIGHT_CARM__IMAGE_SIZE_PX", "64")
    settings.cache_clear()
    return lambda run: LOOP.start(memory, devices=tmp_path / "devices", **run)


@pytest.fixture
def oracle(patient: Patient, memory: Memory) -> Iterator[Oracle]:
    """A served model that knows the truth."""
    found = Oracle(patient, memory)
    with found.server:
        yield found


@pytest.fixture
def card(tmp_path: Path) -> Card:
    """Writes a model card."""

    def write(**values: Any) -> Path:
        path = tmp_path / "card.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


@pytest.fixture
def replays(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> Replays:
    """Asserts that a session is whole, and comes out of its log again where no model is to be had."""

    def check(session: Session) -> None:
        def nobody(*_: Any, **__: Any) -> Any:
            raise AssertionError("a replay asks no model")

        assert memory.verify(session.id).ok
        with monkeypatch.context() as patch:
            patch.setattr(models, "open_model", nobody)
            patch.setattr(models, "_engine", nobody)
            assert replay(session.loop, memory, session.id).difference is None

    return check
