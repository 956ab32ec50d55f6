"""`loopwright demo surgery`."""

from loopwright.cli.demo import Demo, Out, show


def demo(out: Out = None) -> int:
    """Foresee a simulated surgeon, clip by clip."""
    video, at_bleeding = "simulated:2000038", 7
    introduction = (
        f"The surgery loop on [bold]{video}[/bold]: what comes next, clip by clip, until the vessels are clipped."
    )
    settings = {"video": video, "goal": "the vessels are clipped", "perform": "asked"}
    words = "No, it is bleeding, coagulate first!"
    return show("surgery", Demo(introduction, settings, at=("captioned", at_bleeding), words=words), out)
