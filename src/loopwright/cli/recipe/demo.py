"""`loopwright demo recipe`."""

from loopwright.cli.demo import Demo, Out, show

DISH = "simulated:2000007"


def demo(out: Out = None) -> int:
    """Write how a simulated dish is made, from its picture."""
    introduction = f"The recipe loop on [bold]{DISH}[/bold]: what is in the picture, and how it is made."
    return show("recipe", Demo(introduction, {"dish": DISH}, at=("selected", 0), words="add basil"), out)
