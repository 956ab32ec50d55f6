"""The simulated roads by name, what differs between them, and their seeds. Knows no simulator."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from loopwright.errors import BadInput
from loopwright.tools.drive.scene import Command

ScenarioName = Literal["highway", "merge", "roundabout", "intersection"]
SCENARIOS: tuple[ScenarioName, ...] = get_args(ScenarioName)
Part = Literal["train", "validation", "test"]
FIRST_SEED: Mapping[Part, int] = {"train": 0, "validation": 1_000_000, "test": 2_000_000}
"""Of the simulated drives of each part."""
SEEDS_A_PART = 1_000_000


class Scenario(NamedTuple):
    """What differs between the roads."""

    cruise_mps: float
    """What the ego drives at where nothing is in its way."""
    limit_s: float
    """How long a drive may take."""
    exits: dict[Command, str]
    """The node that each command leads to; none: commands name lanes."""


SCENARIO: Mapping[ScenarioName, Scenario] = {
    "highway": Scenario(28.0, 30.0, {}),
    "merge": Scenario(28.0, 20.0, {}),
    "roundabout": Scenario(10.0, 25.0, {"right": "exr", "straight": "nxr", "left": "wxr"}),
    "intersection": Scenario(9.0, 20.0, {"right": "o3", "straight": "o2", "left": "o1"}),
}


def seeds_of(part: Part, count: int) -> range:
    """The first `count` simulated drives of a part, the same in every scenario.

    Raises:
        BadInput: a part has not so many.
    """
    if not 0 <= count <= SEEDS_A_PART:
        raise BadInput(f"`count` = {count}; a part has 0 to {SEEDS_A_PART} simulated drives.")
    return range(FIRST_SEED[part], FIRST_SEED[part] + count)
