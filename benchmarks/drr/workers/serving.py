"""The loop that every worker runs. Knows nothing of loopwright: it runs in the competitors' environments.

The first line on stdin names the volume, an .npz with `attenuation` (nx, ny, nz) float32 per mm, `hounsfield` int16 and
`affine_world` (4, 4). Every further line is a view; the answer is the seconds that drawing took, and the picture lies
in `out`.
"""

import json
import os
import sys
import time

import numpy as np


def serve(prepare):
    """`prepare(volume)` gives a function from a view to its (N, N) picture."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    draw = prepare(dict(np.load(json.loads(sys.stdin.readline())["volume"])))
    for line in sys.stdin:
        view = json.loads(line)
        began = time.perf_counter()
        picture = draw(view)
        seconds = time.perf_counter() - began
        np.save(view["out"], np.asarray(picture, dtype=np.float32))
        replies.write(json.dumps({"seconds": seconds}) + "\n")
        replies.flush()
