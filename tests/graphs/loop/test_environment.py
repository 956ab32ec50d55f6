"""A loop as an environment: the trainer's model in one role, the rest the loop itself."""

import inspect
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env
from tests.loops.kiln import kiln
from tests.loops.thermostat import thermostat
from transformers.utils.chat_template_utils import get_json_schema

from loopwright.errors import BadInput
from loopwright.graphs.loop.environment import Environment, Finished
from loopwright.models.scripted import ScriptedChatModel

ON = '{"name":"set_heater","arguments":{"on":true}}'


def test_the_loops_tools_are_methods_that_trainers_can_read() -> None:
    made = thermostat.environment("navigator")
    public = [n for n, _ in inspect.getmembers(made, inspect.isfunction) if not n.startswith("_")]
    assert public == ["get_reward", "read_room", "reset", "set_heater"]
    schema = get_json_schema(made().set_heater)["function"]  # type: ignore[attr-defined]
    assert schema["description"] == "Switch the heater and wait ten minutes."
    on = {"type": "boolean", "description": "whether to heat"}
    assert schema["parameters"] == {"type": "object", "properties": {"on": on}, "required": ["on"]}


def test_an_episode_is_a_session_of_the_loop() -> None:
    seen: list[Finished] = []

    def reward(finished: Finished) -> float:
        seen.append(finished)
        return -finished.state["kit"] if "kit" in finished.state else float(len(finished.events))

    env: Any = thermostat.environment("navigator", tools=thermostat.tools[1:], reward=reward, approval="guard")()
    assert env.reset(prompt="of the row, and no setting") == "15.0 of 20.0"
    assert env.set_heater(on=True) == "16.5 of 20.0"
    assert "Expected one call" in env._call("set_heater", {"on": "perhaps"})  # the loop itself says what is wrong
    assert not env.done
    env.set_heater(on=True)
    assert not env.done
    assert env.set_heater(on=True) == "The episode has ended: succeeded. it is 19.5 degrees"
    assert env.done and env.get_reward() > 5
    kinds = [event.kind for event in seen[0].events]
    assert kinds.count("acted") == 3 and kinds.count("guarded") == 3 and seen[0].status == "succeeded"
    with pytest.raises(BadInput, match="`reset` begins another"):
        env.set_heater(on=True)
    assert env.reset() == "15.0 of 20.0"
    assert not env.done


def test_an_episode_that_is_broken_off_leaves_nothing() -> None:
    env = thermostat.environment("navigator")()
    for _ in range(3):
        env.reset()
    assert len(env._episodes._memory.sessions.list()) == 1
    env._episodes.close()


def test_other_roles_keep_their_models_and_rows_set_what_the_loop_can_be_told() -> None:
    marker = ScriptedChatModel(replies=("cold",) * 99)
    env: Any = kiln.environment("navigator", models={"marker": marker})()
    assert env.reset(marks=["low"]) == "15.0 of 15.5"
    assert env._episodes.finished.state["marks"] == ["cold"]
    assert env.set_heater(on=True).startswith("The episode has ended: succeeded")
    assert env.get_reward() == 1.0


def test_a_role_that_answers_in_words_has_one_method() -> None:
    marked = kiln.environment("marker", tools=(), models={"navigator": ScriptedChatModel(replies=(ON,) * 9)})
    env: Any = marked()
    assert env.reset(marks=["low"]) == "low at 15.0"
    assert env.answer("cold") == "low at 16.5"
    assert env.answer("warm").startswith("The episode has ended: succeeded")
    assert get_json_schema(env.answer)["function"]["parameters"]["required"] == ["text"]


def test_a_setting_that_will_not_do_is_refused() -> None:
    env: Environment = kiln.environment("navigator", models={"marker": ScriptedChatModel(replies=("x",))})()
    with pytest.raises(BadInput, match="marks"):
        env.reset(marks=3)


def test_it_is_a_gymnasium_environment_too() -> None:
    env = thermostat.gymnasium_env("navigator")
    try:
        asked, _ = env.reset()
        assert asked == [{"type": "text", "text": "15.0 of 20.0"}]
        rewards = [env.step(ON)[1:4] for _ in range(3)]
        assert rewards == [(0.0, False, False), (0.0, False, False), (1.0, True, False)]
        check_env(env, skip_render_check=True)
    finally:
        env.close()
    assert isinstance(env, gym.Env)
