"""The estimate in a navigator's question, read back."""

import re
from typing import NamedTuple

_REPORT = re.compile(
    r"Estimate: x (?:CENTER|(LEFT|RIGHT) [A-Z]+ (\d+) mm), y (?:CENTER|(UP|DOWN) [A-Z]+ (\d+) mm), "
    r"sd (\d+) mm, ([^.]+)\."
)


class ReportedEstimate(NamedTuple):
    """Patient-left and caudal offset of the target, its standard deviation along an axis, and what it goes by."""

    left_mm: float
    caudal_mm: float
    sd_mm: float
    basis: str


def reported_estimate(question: str) -> ReportedEstimate | None:
    """None where no estimate is told; an assertion fails where one is told in other words."""
    if "Estimate: " not in question:
        return None
    found = _REPORT.search(question)
    assert found, question
    x, left, y, caudal, sd, basis = found.groups()
    left_mm = float(left or 0) * (1 if x == "LEFT" else -1)
    return ReportedEstimate(left_mm, float(caudal or 0) * (1 if y == "DOWN" else -1), float(sd), basis)
