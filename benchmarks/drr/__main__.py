"""Times the CPU renderer beside RTK, nanodrr and DiffDRR on the real chest CT at full resolution.

    python -m benchmarks.drr [--rounds 7] [--size 256] [--envs DIR] [--out DIR] [--volume FILE]

Every competitor is a process of its own, in an environment made under --envs at the first run, kept warm with the
volume resident. One round draws each view with each of them in turn, so that whatever else the machine does hits all
alike; the order changes from round to round. Figures are medians over rounds x views of the ratio to our own time for
the same view in the same round, and the greatest difference from a picture drawn with steps of 0.1 mm.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.drr.competitors import COMPETITORS, OURS, Competitor, NotInstalled
from benchmarks.drr.reference import STEP_MM, fine_step
from numpy.typing import NDArray

from loopwright.settings import settings
from loopwright.tools.carm.chest import load_chest
from loopwright.tools.carm.geometry import Optics, Pose, source_world, view_axes
from loopwright.tools.carm.render import attenuation_per_mm
from loopwright.tools.carm.volume import Volume
from loopwright.tools.carm.volume_files import load_volume

OPTICS = Optics()
ANGLES_DEG = ((0, 0), (30, 0), (90, 0), (0, 25), (45, 20))
TARGETS = {"RTK Joseph": 1.0, "nanodrr, 500 samples": 8.0, "DiffDRR trilinear, 500 samples": 15.0}
"""Times our speed that each competitor must at least take."""


class Worker:
    """A competitor's process."""

    def __init__(self, command: list[str], volume: Path, out: Path) -> None:
        self._out = out
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._send({"volume": str(volume)})

    def draw(self, view: dict[str, Any]) -> tuple[float, NDArray[np.float32]]:
        """Seconds and picture."""
        self._send({**view, "out": str(self._out)})
        assert self._process.stdout
        reply = self._process.stdout.readline()
        if not reply:
            raise NotInstalled(f"its worker ended with exit code {self._process.wait()}")
        return json.loads(reply)["seconds"], np.load(self._out)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()


def main() -> None:
    """Measure, print, write `drr.json` and `drr.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=256, help="edge of the picture in pixels")
    parser.add_argument("--envs", type=Path, default=settings().cache_dir / "benchmarks" / "drr")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the results")
    parser.add_argument("--volume", type=Path, help="a CT; by default the chest CT that was fetched")
    arguments = parser.parse_args()
    volume = load_volume(arguments.volume) if arguments.volume else load_chest(settings().cache_dir).volume
    views = list(_views(volume, arguments.size))
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        file, reasons = Path(scratch) / "volume.npz", {}
        attenuation = attenuation_per_mm(volume.hounsfield)
        np.savez(file, attenuation=attenuation, hounsfield=volume.hounsfield, affine_world=volume.affine_world)
        workers: dict[str, Worker] = {}
        for competitor in (OURS, *COMPETITORS):
            try:
                workers[competitor.name] = _start(competitor, arguments.envs, file, views[0])
                stack.callback(workers[competitor.name].close)
            except NotInstalled as error:
                reasons[competitor.name] = str(error)
        seconds = _interleaved(workers, views, arguments.rounds)
        errors = _errors(workers, views, attenuation, volume)
    result = _summary(seconds, errors, reasons, arguments.size, volume)
    (arguments.out / "drr.json").write_text(json.dumps(result, indent=1) + "\n")
    (arguments.out / "drr.md").write_text(_markdown(result))
    print(_markdown(result))


def _views(volume: Volume, size_px: int) -> Iterator[dict[str, Any]]:
    """Through the middle of the volume, from five sides."""
    x_mm, _, z_mm = volume.bounds_world.mean(axis=0)
    for alpha_deg, beta_deg in ANGLES_DEG:
        pose = Pose(x_mm=x_mm, y_mm=volume.mid_coronal_y_mm, z_mm=z_mm, alpha_deg=alpha_deg, beta_deg=beta_deg)
        yield {
            "pose": pose.model_dump(),
            "source": source_world(pose, OPTICS).tolist(),
            **{name: axis.tolist() for name, axis in view_axes(pose)._asdict().items()},
            "source_detector_mm": OPTICS.source_detector_mm,
            "pixel_mm": OPTICS.pixel_mm(size_px),
            "size_px": size_px,
        }


def _start(competitor: Competitor, envs: Path, file: Path, view: dict[str, Any]) -> Worker:
    """A worker that has drawn one picture."""
    worker = Worker(competitor.command(envs), file, file.with_name(f"{competitor.worker}.npy"))
    print(f"{competitor.name}: first picture after {worker.draw(view)[0]:.2f} s", flush=True)
    return worker


def _interleaved(workers: dict[str, Worker], views: list[dict[str, Any]], rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    names = list(workers)
    for turn in range(rounds):
        for view in views:
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                seconds[name].append(workers[name].draw(view)[0])
        print(f"round {turn + 1} of {rounds}", flush=True)
    return seconds


def _errors(
    workers: dict[str, Worker], views: list[dict[str, Any]], attenuation: NDArray[np.float32], volume: Volume
) -> dict[str, float]:
    """Greatest difference from the reference over all views, as a share of full scale."""
    errors = dict.fromkeys(workers, 0.0)
    inverse = np.linalg.inv(volume.affine_world)
    for view in views:
        across = (np.arange(view["size_px"]) + 0.5 - view["size_px"] / 2) * view["pixel_mm"]
        source = np.array(view["source"])
        middle = source + view["source_detector_mm"] * np.array(view["forward"])
        detector = middle + across[:, None] * view["u"] + across[:, None, None] * view["v"]
        truth = fine_step(attenuation, inverse, source, detector)
        for name, worker in workers.items():
            difference = np.abs(worker.draw(view)[1] - truth).max() / truth.max()
            errors[name] = max(errors[name], float(difference))
    return errors


def _summary(
    seconds: dict[str, list[float]], errors: dict[str, float], reasons: dict[str, str], size_px: int, volume: Volume
) -> dict[str, Any]:
    ours = seconds[OURS.name]
    rows = []
    for name, taken in seconds.items():
        ratios = [theirs / own for theirs, own in zip(taken, ours, strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4)
        rows.append(
            {
                "name": name,
                "median_ms": 1000 * statistics.median(taken),
                "best_ms": 1000 * min(taken),
                "ratio": statistics.median(ratios),
                "ratio_quartiles": [low, high],
                "target": TARGETS.get(name),
                "max_error": errors[name],
            }
        )
    return {
        "size_px": size_px,
        "volume": {"shape": volume.shape, "voxel_mm": volume.voxel_mm.tolist()},
        "cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[0],
        "n": len(ours),
        "rows": rows,
        "not_installed": reasons,
    }


def _markdown(result: dict[str, Any]) -> str:
    shape, voxel = (" x ".join(f"{value:g}" for value in result["volume"][key]) for key in ("shape", "voxel_mm"))
    lines = [
        f"One {result['size_px']} x {result['size_px']} DRR of a CT of {shape} voxels of {voxel} mm; "
        f"{result['cores']} cores, load {result['load_average']:.1f}; N = {result['n']} interleaved pictures each.",
        "",
        "| renderer | median ms | best ms | times ours (quartiles) | target | greatest error |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        low, high = row["ratio_quartiles"]
        target = f">= {row['target']:g}" if row["target"] else ""
        lines.append(
            f"| {row['name']} | {row['median_ms']:.0f} | {row['best_ms']:.0f} | {row['ratio']:.2f} ({low:.2f} to "
            f"{high:.2f}) | {target} | {100 * row['max_error']:.2f} % |"
        )
    lines += [f"| {name} | | | not run: {reason} | | |" for name, reason in result["not_installed"].items()]
    lines += [
        "",
        f"Errors are shares of full scale, against trilinear steps of {STEP_MM} mm. `python -m benchmarks.drr`",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
