"""`loopwright demo recipe`."""

from loopwright.cli.demo import Demo, Out, show

DISH = "simulated:2000027"


def demo(out: Out = None) -> int:
    """Write how a simulated dish is made, from its picture, beside what a model writes that is told no labels."""
    introduction = f"The recipe loop on [bold]{DISH}[/bold]: what is in the picture, and how it is made."
    return show(
        "recipe",
        Demo(introduction, {"dish": DISH, "compare": True}, at=("observed", 0), words="There is cream in it."),
        out,
    )
