"""Starts numba's threads without changing anybody else's.

Numba's OpenMP layer sets the OpenMP thread count of whichever thread first needs it to the number of logical cores, and
torch then runs on as many there, and on its own choice in all other threads. Its last bits depend on that count, so a
localiser's answer depended on the thread that had drawn the first picture.
"""

import threading
from functools import cache

import numba


@cache
def start_threads() -> None:
    """Have a thread of its own start them, once in a process. Whatever runs parallel kernels calls it first."""
    starter = threading.Thread(target=numba.get_num_threads, name="loopwright-numba")
    starter.start()
    starter.join()
