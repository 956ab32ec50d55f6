"""Steps of the simulated roads per second of one core: the traffic alone, with a scene, with pictures, and as a world.

    python benchmarks/drive.py [--steps 100] [--scenario highway merge roundabout intersection]

A step is half a second of driving. Times are the process's own (CPU), so that a busy machine changes little. Ways, each
from the same seeds, the ego driven by IDM in the first three and along its route at its speed in the last:

- `traffic`: `Simulation.follow`.
- `scene`: and `Simulation.scene`.
- `views`: and the view from above and through the front camera.
- `futures`: and the six scenes that come of a trajectory, as an oracle knows them.
- `world`: `DriveWorld.step` of gymnasium, with both pictures.
"""

import argparse
import json
import time
from collections.abc import Callable

import numpy as np

from loopwright.tools.drive.scenarios import SCENARIOS
from loopwright.tools.drive.simulator import Simulation
from loopwright.tools.drive.views import camera_view, top_view
from loopwright.tools.drive.world import DriveWorld


def look(simulation: Simulation) -> None:
    """Draw what is seen."""
    scene = simulation.scene()
    top_view(scene)
    camera_view(scene, "F")


WAYS: dict[str, Callable[[Simulation], object]] = {
    "traffic": lambda simulation: None,
    "scene": Simulation.scene,
    "views": look,
    "futures": lambda simulation: simulation.futures(None),
}


def steps_per_s(scenario: str, way: Callable[[Simulation], object], steps: int) -> float:
    """Of a simulation."""
    simulation, seed, spent_s = Simulation(scenario), 0, 0.0
    for _ in range(steps):
        if simulation.ended:
            seed += 1
            simulation = Simulation(scenario, seed)
        begin = time.process_time()
        simulation.follow(None)
        way(simulation)
        spent_s += time.process_time() - begin
    return steps / spent_s


def world_steps_per_s(scenario: str, steps: int) -> float:
    """Of a world."""
    world = DriveWorld(scenario)
    world.reset(seed=0)
    spent_s, over = 0.0, False
    for _ in range(steps):
        if over:
            world.reset()
        ahead = world.scene.speed_mps * 0.5 * np.arange(1, 7)
        begin = time.process_time()
        *_, terminated, truncated, _ = world.step(np.column_stack([ahead, np.zeros(6)]).astype(np.float32))
        spent_s += time.process_time() - begin
        over = terminated or truncated
    return steps / spent_s


def main() -> None:
    """One JSON line a scenario."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--scenario", nargs="+", choices=SCENARIOS, default=SCENARIOS)
    given = parser.parse_args()
    for scenario in given.scenario:
        rates = {name: steps_per_s(scenario, way, given.steps) for name, way in WAYS.items()}
        rates["world"] = world_steps_per_s(scenario, given.steps)
        rounded = {name: round(rate, 1) for name, rate in rates.items()}
        print(json.dumps({"scenario": scenario, "n": given.steps, **rounded}), flush=True)


if __name__ == "__main__":
    main()
