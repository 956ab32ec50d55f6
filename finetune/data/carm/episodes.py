"""Runs of the C-arm loop to train in: start and target are landmarks of phantoms of one part."""

import itertools
import json
import random
from pathlib import Path

from loopwright.finetune.data.carm.rendered import FIRST_SEED, Part
from loopwright.graphs.carm.run import LocaliserName, NavigatorName
from loopwright.tools.carm.phantom import make_phantom
from loopwright.tools.files import write_whole


def write_episodes(
    out_file: Path,
    part: Part,
    *,
    phantoms: int,
    n: int,
    first: int = 0,
    together: int = 4,
    seed: int = 0,
    localiser: LocaliserName = "network",
    navigator: NavigatorName = "vlm",
) -> Path:
    """Write `n` runs, JSON lines as `Loop.start` takes them, evenly over phantoms and without repeats in one.

    Opening a phantom takes seconds, so a training step of `together` runs is over one: train on them in this order.

    Args:
        out_file: the file, its folder made if need be.
        part: whose phantoms.
        phantoms: how many of them.
        n: how many runs.
        first: phantoms of the part to pass over.
        together: runs over one phantom that follow each other.
        seed: of the choice.
        localiser: who sees.
        navigator: who steers.
    """
    rng = random.Random(seed)
    pairs: list[list[tuple[str, str, str]]] = []
    for phantom in range(FIRST_SEED[part] + first, FIRST_SEED[part] + first + phantoms):
        names = make_phantom(phantom).landmarks
        own = [(f"phantom:{phantom}", start, target) for start, target in itertools.permutations(names, 2)]
        rng.shuffle(own)
        pairs.append(own)
    most = max(map(len, pairs))
    rounds = range(0, most, together)
    chosen = [run for at in rounds for own in pairs for run in own[at : at + together]][:n]
    common = {"localiser": localiser, "navigator": navigator}
    rows = [{"volume": v, "start": start, "target": [target], **common} for v, start, target in chosen]
    out_file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out_file, "".join(json.dumps(row) + "\n" for row in rows).encode())
    return out_file
