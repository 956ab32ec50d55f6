"""How long a fresh Python takes to `import loopwright` and to print `loopwright --help`, beside one that does nothing.

Prints one JSON object a line, the last one a summary. Runs are interleaved, so that a busy machine disturbs all alike.
"""

import json
import statistics
import subprocess
import sys
import time

N = 30
BAR_S = 0.15
PROGRAMS = {
    "nothing": "pass",
    "import loopwright": "import loopwright",
    "loopwright --help": "from loopwright.cli import main; main(['--help'])",
}


def seconds(code: str) -> float:
    """Wall time of one fresh interpreter."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def main() -> int:
    """Measure, print, and return 1 where the bar is missed."""
    for code in PROGRAMS.values():
        seconds(code)  # byte code is written once
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(N):
        for name, code in PROGRAMS.items():
            times[name].append(seconds(code))
    for name, taken in times.items():
        quantiles = statistics.quantiles(taken, n=20)
        print(
            json.dumps(
                {
                    "program": name,
                    "n": N,
                    "median_s": round(statistics.median(taken), 4),
                    "p95_s": round(quantiles[18], 4),
                }
            )
        )
    median_s = statistics.median(times["import loopwright"])
    print(
        json.dumps(
            {
                "summary": "import loopwright",
                "median_s": round(median_s, 4),
                "bar_s": BAR_S,
                "bars_met": median_s < BAR_S,
            }
        )
    )
    return 0 if median_s < BAR_S else 1


if __name__ == "__main__":
    sys.exit(main())
