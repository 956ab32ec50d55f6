"""The kitchen world beyond the shared contract: simulated and recorded dishes, what is written, gymnasium's checker."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from PIL import Image

from loopwright.errors import BadInput
from loopwright.schema import Act
from loopwright.tools.recipe.dish import Dish, RecordedDish, SimulatedDish, open_dish
from loopwright.tools.recipe.extract import Vocabularies
from loopwright.tools.recipe.labels import Labels
from loopwright.tools.recipe.loaders import read_recipes
from loopwright.tools.recipe.recipe import Recipe
from loopwright.tools.recipe.vocabulary import plain_vocabulary
from loopwright.tools.recipe.world import ENV_ID, KitchenWorld

TOAST = Recipe(title="Toast", ingredients=("2 slices bread", "butter"), instructions=("Toast the bread.", "Serve."))


def labelled(world: KitchenWorld, labels: Labels) -> dict[str, Any]:
    """The action that says `labels`."""
    known = world.dish.known
    return {
        "actions": np.array([name in labels.actions for name in sorted(known.actions.counts)], dtype=np.int8),
        "ingredients": np.array(
            [name in labels.ingredients for name in sorted(known.ingredients.counts)], dtype=np.int8
        ),
    }


def test_gymnasium_accepts_it() -> None:
    world = gym.make(ENV_ID, render_mode="rgb_array").unwrapped
    check_env(world, skip_render_check=True)
    image = world.render()
    assert isinstance(image, np.ndarray) and image.shape == (128, 128, 3)


def test_a_seed_draws_a_training_dish_and_the_truth_earns_all() -> None:
    world = KitchenWorld(image_px=64)
    observation, info = world.reset(seed=4)
    assert observation["image"].shape == (64, 64, 3) and observation["has_image"] == 1
    assert info["dish"] == world.dish.name != "simulated-0"
    again, _ = world.reset(seed=4)
    assert (again["image"] == observation["image"]).all()
    _, reward, terminated, _, info = world.step(labelled(world, world.dish.labels))
    assert (reward, terminated) == (1.0, True)
    assert world.labels == world.dish.labels
    assert info["labels"]["actions"] == sorted(world.dish.labels.actions)


def test_half_the_truth_earns_less_and_nothing_is_refused() -> None:
    world = KitchenWorld("simulated:7", image_px=32)
    world.reset()
    _, reward, *_ = world.step(labelled(world, world.dish.labels._replace(actions=frozenset())))
    assert reward == 0.5
    world.reset()
    _, reward, terminated, _, info = world.step(labelled(world, Labels()))
    assert (reward, terminated) == (0.0, True)
    assert "one label at least" in info["refused"]


def test_what_is_written_replaces_what_was_written() -> None:
    world = KitchenWorld("simulated:7")
    assert (world.labels, world.instructions) == (None, None)
    for key, steps in (("a", ["Boil it."]), ("b", [" Fry it. ", "Serve."])):
        world.apply(key, Act(tool="write_instructions", arguments={"steps": steps}), 1)
    world.apply("c", Act(tool="record_labels", arguments={"actions": ["fry"], "ingredients": ["egg"]}), 1)
    assert world.instructions == ("Fry it.", "Serve.")
    assert world.labels == Labels(frozenset({"fry"}), frozenset({"egg"}))
    assert world.snapshot()["writings"] == 3


@pytest.mark.parametrize(
    ("tool", "arguments", "reason"),
    [
        ("record_labels", {"ingredients": ["unicorn", "onion"]}, "Unknown ingredient 'unicorn'"),
        ("record_labels", {"actions": ["fly"]}, "Unknown action 'fly'. Did you mean `fry`"),
        ("record_labels", {"actions": ["fry", "fry"]}, "each label may be named once"),
        ("record_labels", {}, "both sets are empty"),
        ("write_instructions", {"steps": []}, "at least 1 item"),
        ("write_instructions", {"steps": ["  "]}, "at least 1 character"),
        ("write_instructions", {"steps": ["x" * 2001]}, "at most 2000"),
        ("eat", {}, "Unknown act 'eat'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(tool: str, arguments: dict[str, Any], reason: str) -> None:
    outcome = KitchenWorld().apply("k", Act(tool=tool, arguments=arguments), 1)
    assert outcome.status == "refused"
    assert reason in (outcome.reason or "")


def test_a_device_is_at_one_dish(tmp_path: Path) -> None:
    KitchenWorld("simulated:7", device=tmp_path / "d.sqlite")
    with pytest.raises(BadInput, match="is at 'simulated-7', not at 'simulated-8'"):
        KitchenWorld("simulated:8", device=tmp_path / "d.sqlite")


def test_recorded_dishes_have_their_photo_and_the_labels_of_their_text(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), (200, 30, 30)).save(tmp_path / "toast.png")
    dish: Dish = RecordedDish(TOAST.model_copy(update={"image": tmp_path / "toast.png"}))
    assert dish.posterior() is None
    assert dish.labels == Labels(frozenset({"toast"}), frozenset({"bread", "butter"}))
    world = KitchenWorld(dish, image_px=64)
    observation, _ = world.reset(seed=1)
    assert world.dish is dish, "a seed draws no other recorded dish"
    assert observation["has_image"] == 1
    assert tuple(observation["image"][32, 32]) == (200, 30, 30) and tuple(observation["image"][2, 32]) == (0, 0, 0)


def test_a_dish_without_a_photo_is_black_and_says_so() -> None:
    observation, _ = KitchenWorld(RecordedDish(TOAST), image_px=32).reset()
    assert observation["has_image"] == 0 and not observation["image"].any()


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n truncated"])
def test_a_damaged_photo_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "toast.png"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"toast\.png`, the photo of Toast, cannot be decoded"):
        RecordedDish(TOAST.model_copy(update={"image": path})).image(64)


def test_a_photo_too_large_to_open_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "toast.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(BadInput, match="cannot be decoded"):
        RecordedDish(TOAST.model_copy(update={"image": tmp_path / "toast.png"})).image(64)


def test_labels_of_other_vocabularies_need_a_world_of_their_own() -> None:
    known = Vocabularies(plain_vocabulary("actions", ["toast"]), plain_vocabulary("ingredients", ["bread"]))
    world = KitchenWorld(RecordedDish(TOAST, known))
    assert world.dish.labels == Labels(frozenset({"toast"}), frozenset({"bread"}))
    with pytest.raises(BadInput, match="other vocabularies"):
        world.reset(options={"dish": SimulatedDish(3)})


@pytest.mark.parametrize("spec", ["7", "simulated:x", "simulated:", ":3", "simulated:-1"])
def test_what_is_no_dish_is_refused(spec: str) -> None:
    with pytest.raises(BadInput, match=r"expected a whole number|Expected `simulated:SEED`"):
        open_dish(spec)


def test_a_recorded_dish_is_opened_by_id_title_or_number(real_data: Path) -> None:
    path = real_data / "recipes" / "recipes.json"
    if not path.is_file():
        pytest.skip(f"`{path}` is not there")
    title = next(iter(read_recipes(path))).title
    found = [open_dish(f"{path}:{name}") for name in ("aelplermagronen", title, "1")]
    assert {dish.name for dish in found} == {"recipes.json:aelplermagronen"}
    image = found[0].image(128)
    assert image is not None and image.std() > 20
    assert {"bacon", "onion", "potato", "milk"} <= found[0].labels.ingredients
    with pytest.raises(BadInput, match="has no recipe 'nothing'"):
        open_dish(f"{path}:nothing")
