"""Lets MKL choose the kernels of its vector mathematics while one thread alone asks for them.

torch's CPU builds compute `sqrt`, `exp` and the like with MKL's vector library, on several threads at once. The first
call in a process finds out which processor it runs on and writes the answer into a shared variable in two steps, first
in another numbering (seen in MKL 2024.2). A thread that reads it between the two takes another kernel for its share of
the numbers, one with half of the bits: the localiser's first answer in a process then differed by 4e-6.

Modules that run models call `settle_kernels` when they are imported.
"""

import threading

import torch

_one_at_a_time = threading.Lock()


def settle_kernels() -> None:
    """Make the choice now, for the rest of the process. Cheap, and for any thread at any time."""
    with _one_at_a_time:
        torch.ones(1).sqrt()  # so few numbers are not shared among threads
