"""Seeds that depend on named places, so that a run that goes on after a kill draws what it would have drawn."""

import hashlib


def seed_of(*place: int) -> int:
    """A seed for one place, such as (the run's seed, the step, the candidate)."""
    return int.from_bytes(hashlib.sha256(repr(place).encode()).digest()[:7], "big")
