"""What every world promises (`loopwright.schema.World`), whatever it is made of. A new world is one entry of WORLDS."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from tests.worlds import Room

from loopwright.errors import SessionBusy
from loopwright.schema import Act, World
from loopwright.settings import CArmSettings
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.volume import Volume
from loopwright.tools.carm.world import CArmWorld
from loopwright.tools.drive.world import DriveWorld
from loopwright.tools.recipe.dish import RecordedDish
from loopwright.tools.recipe.recipe import Recipe
from loopwright.tools.recipe.world import KitchenWorld
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.video import RecordedVideo
from loopwright.tools.surgery.vocabulary import ACTIONS
from loopwright.tools.surgery.world import SurgicalVideoWorld


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A world and what to try on it: `open(device)` opens the device kept under that path, new or used."""

    open: Callable[[Path | None], World]
    move: Act
    other_move: Act
    refused: Act


@cache
def _case() -> Case:
    hounsfield = np.full((20, 20, 20), -1000, dtype=np.int16)
    hounsfield[4:16, 4:16, 4:16] = 300
    affine = np.diag([10.0, 10.0, 10.0, 1.0])
    return Case(name="cube", volume=Volume(hounsfield=hounsfield, affine_world=affine, name="cube"))


def _carm(device: Path | None) -> World:
    return CArmWorld(_case(), device=device, settings=CArmSettings(image_size_px=32))


def _surgery(device: Path | None) -> World:
    return SurgicalVideoWorld("simulated:7", device=device, frame_px=32)


def _recorded_surgery(device: Path | None) -> World:
    clips = [
        Clip(video="VID01", index=i, action=action, start_s=5 * i, end_s=5 * i + 4, labelled_s=5)
        for i, action in enumerate(ACTIONS)
    ]
    return SurgicalVideoWorld(RecordedVideo(clips), device=device, frame_px=32)


def _recorded_kitchen(device: Path | None) -> World:
    toast = Recipe(title="Toast", ingredients=("bread",), instructions=("Toast the bread.",))
    return KitchenWorld(RecordedDish(toast), device=device, image_px=32)


def _ahead(metres: float, aside: float = 0.0) -> Act:
    """Drive straight on, `metres` within 3 s."""
    return Act(tool="drive", arguments={"waypoints": [[metres * k / 6, aside * k / 6] for k in range(1, 7)]})


WORLDS = {
    "room": Sample(
        open=lambda device: Room(device=device),
        move=Act(tool="set_heater", arguments={"on": True}),
        other_move=Act(tool="set_heater", arguments={"on": False}),
        refused=Act(tool="set_heater", arguments={"on": "perhaps"}),
    ),
    "carm": Sample(
        open=_carm,
        move=Act(tool="move_c_arm", arguments={"left_mm": 10.0}),
        other_move=Act(tool="move_c_arm", arguments={"caudal_mm": 5.0}),
        refused=Act(tool="move_c_arm", arguments={"left_mm": 1e6}),
    ),
    "surgery": Sample(
        open=_surgery,
        move=Act(tool="next_clip"),
        other_move=Act(tool="record_plan", arguments={"actions": ["Dissection", "Coagulation", "Aspiration"]}),
        refused=Act(tool="record_plan", arguments={"actions": ["Suturing"]}),
    ),
    "recorded surgery": Sample(
        open=_recorded_surgery,
        move=Act(tool="next_clip"),
        other_move=Act(tool="record_plan", arguments={"actions": ["Dissection"]}),
        refused=Act(tool="next_clip", arguments={"instead": "Dissection"}),
    ),
    "drive": Sample(
        open=lambda device: DriveWorld("intersection", 7, device=device),
        move=_ahead(24.0),
        other_move=_ahead(24.0, aside=0.5),
        refused=_ahead(500.0),
    ),
    "kitchen": Sample(
        open=lambda device: KitchenWorld("simulated:7", device=device, image_px=32),
        move=Act(tool="record_labels", arguments={"actions": ["boil"], "ingredients": ["egg", "salt"]}),
        other_move=Act(tool="write_instructions", arguments={"steps": ["Boil the egg."]}),
        refused=Act(tool="record_labels", arguments={"ingredients": ["unicorn"]}),
    ),
    "recorded kitchen": Sample(
        open=_recorded_kitchen,
        move=Act(tool="record_labels", arguments={"actions": ["toast"]}),
        other_move=Act(tool="write_instructions", arguments={"steps": ["Toast the bread."]}),
        refused=Act(tool="write_instructions", arguments={"steps": []}),
    ),
}


@pytest.fixture(params=WORLDS)
def sample(request: pytest.FixtureRequest) -> Sample:
    return WORLDS[str(request.param)]


@pytest.fixture
def device(tmp_path: Path) -> Path:
    return tmp_path / "device.sqlite"


def test_it_is_a_gymnasium_environment_and_a_world(sample: Sample, device: Path) -> None:
    world = sample.open(device)
    assert isinstance(world, World)
    assert isinstance(world, gym.Env)


def test_the_same_key_twice_moves_once(sample: Sample, device: Path) -> None:
    world = sample.open(device)
    start = world.snapshot()
    first = world.apply("k", sample.move, 1)
    assert (first.key, first.status) == ("k", "done")
    moved = world.snapshot()
    assert moved != start
    assert world.apply("k", sample.move, 1) == first
    assert world.apply("k", sample.other_move, 1) == first, "a key names one act for ever"
    assert world.snapshot() == moved


def test_two_keys_are_two_moves(sample: Sample, device: Path) -> None:
    world = sample.open(device)
    world.apply("a", sample.move, 1)
    once = world.snapshot()
    world.apply("b", sample.move, 1)
    assert world.snapshot() != once


def test_an_outcome_is_known_exactly_when_its_act_was_applied(sample: Sample, device: Path) -> None:
    world = sample.open(device)
    assert world.outcome_of("k") is None
    outcome = world.apply("k", sample.move, 1)
    assert world.outcome_of("k") == outcome
    assert world.outcome_of("K") is None


def test_a_refused_act_leaves_no_trace_but_its_record(sample: Sample, device: Path) -> None:
    world = sample.open(device)
    before = world.snapshot()
    outcome = world.apply("k", sample.refused, 1)
    assert outcome.status == "refused"
    assert outcome.reason
    assert world.snapshot() == before
    assert world.outcome_of("k") == outcome
    assert world.apply("k", sample.refused, 1) == outcome
    assert world.apply("next", sample.move, 1).status == "done"


def test_another_instance_on_the_same_device_sees_everything(sample: Sample, device: Path) -> None:
    world = sample.open(device)
    outcome = world.apply("k", sample.move, 1)
    other = sample.open(device)
    assert other.snapshot() == world.snapshot()
    assert other.outcome_of("k") == outcome
    other.apply("j", sample.other_move, 1)
    assert world.snapshot() == other.snapshot()


def test_another_process_on_the_same_device_sees_everything(
    sample: Sample, device: Path, request: pytest.FixtureRequest
) -> None:
    """The child imports this very file, applies one act to the used device and is killed."""
    world = sample.open(device)
    outcome = world.apply("k", sample.move, 1)
    name = next(n for n, s in WORLDS.items() if s is sample)
    script = (
        "import importlib.util, json, os, signal, sys; from pathlib import Path;"
        "spec = importlib.util.spec_from_file_location('contract', sys.argv[1]);"
        "contract = sys.modules['contract'] = importlib.util.module_from_spec(spec);"
        "spec.loader.exec_module(contract);"
        "sample = contract.WORLDS[sys.argv[2]]; world = sample.open(Path(sys.argv[3]));"
        "world.apply('j', sample.other_move, 1);"
        "print(json.dumps([world.outcome_of('k').model_dump(), world.snapshot()]), flush=True);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    child = subprocess.run(
        [sys.executable, "-c", script, str(request.path), name, str(device)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == -9, child.stderr
    seen_outcome, seen_snapshot = json.loads(child.stdout)
    assert seen_outcome == outcome.model_dump()
    assert world.snapshot() == seen_snapshot
    assert world.outcome_of("j") is not None


def test_a_snapshot_is_json_and_restoring_it_forgets_no_key(sample: Sample, device: Path) -> None:
    world = sample.open(device)
    world.apply("a", sample.move, 1)
    kept = json.loads(json.dumps(world.snapshot(), allow_nan=False))
    assert kept == world.snapshot()
    outcome = world.apply("b", sample.move, 1)
    moved = world.snapshot()
    assert world.restore(kept, "back", 1).status == "done"
    assert world.snapshot() == kept
    assert world.outcome_of("b") == outcome
    assert world.apply("b", sample.move, 1) == outcome
    assert world.snapshot() == kept
    world.restore(moved, "forth", 1)
    assert sample.open(device).snapshot() == moved


def test_restoring_is_an_act_like_any_other(sample: Sample, device: Path) -> None:
    world = sample.open(device)
    kept = world.snapshot()
    world.apply("a", sample.move, 1)
    outcome = world.restore(kept, "back", 1)
    assert (outcome.key, outcome.status, world.last_key()) == ("back", "done", "back")
    world.apply("b", sample.move, 1)
    moved = world.snapshot()
    assert world.restore(kept, "back", 1) == outcome == sample.open(device).outcome_of("back")
    assert world.snapshot() == moved, "a key that was applied before restores nothing"
    refused = world.restore({"no": "snapshot"}, "nowhere", 1)
    assert refused.status == "refused" and refused.reason
    assert world.snapshot() == moved


def test_the_last_key_is_that_of_the_newest_act(sample: Sample, device: Path) -> None:
    world = sample.open(device)
    assert world.last_key() is None
    for key, act in (("b", sample.move), ("a", sample.other_move), ("b", sample.move), ("c", sample.refused)):
        world.apply(key, act, 1)
    assert world.last_key() == sample.open(device).last_key() == "c"


def test_a_smaller_token_moves_nothing(sample: Sample, device: Path) -> None:
    """An overtaken holder's, whether the newer one has already acted or has only said that it holds the device."""
    old, new = sample.open(device), sample.open(device)
    kept = old.snapshot()
    old.apply("a", sample.move, 1)
    new.hold(2)
    before = new.snapshot()
    late: tuple[Callable[[], object], ...] = (
        lambda: old.apply("b", sample.move, 1),
        lambda: old.apply("a", sample.move, 1),
        lambda: old.restore(kept, "back", 1),
        lambda: old.hold(1),
    )
    for call in late:
        with pytest.raises(SessionBusy, match="token 2, this comes with token 1"):
            call()
    assert (new.snapshot(), new.last_key(), new.outcome_of("b")) == (before, "a", None)
    new.apply("c", sample.move, 4)
    with pytest.raises(SessionBusy, match="token 4, this comes with token 3"):
        sample.open(device).apply("d", sample.move, 3)


def test_a_held_device_is_no_training_environment(sample: Sample, device: Path) -> None:
    world = sample.open(device)
    assert isinstance(world, gym.Env)
    world.reset(seed=1)
    world.hold(1)
    before = world.snapshot()
    with pytest.raises(SessionBusy):
        world.reset(seed=1)
    assert world.snapshot() == before


def test_a_world_without_a_file_lives_and_dies_with_its_process(sample: Sample) -> None:
    world, other = sample.open(None), sample.open(None)
    world.apply("a", sample.move, 1)
    assert world.snapshot() != other.snapshot()
    assert other.last_key() is None
    with pytest.raises(SessionBusy):
        world.apply("b", sample.move, 0)
