"""`loopwright demo drive`."""

from loopwright.cli.demo import Demo, Out, show

SCENARIO, SEED, STEPS = "highway", 2_000_003, 40


def demo(out: Out = None) -> int:
    """Drive through simulated traffic, imagining each moment before it is driven."""
    introduction = (
        f"The drive loop on the [bold]{SCENARIO}[/bold], drive {SEED}: what is to come is imagined before each act, "
        "and held against what then came."
    )
    settings = {"scenario": SCENARIO, "seed": SEED, "steps": STEPS}
    return show("drive", Demo(introduction, settings, at=("observed", 12), words="Slower, please."), out)
