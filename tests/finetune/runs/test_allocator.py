"""A training process keeps the memory that it frees."""

import os
import platform
import subprocess
import sys

import pytest

MIB = 2**20
FREED = """
import sys
import numpy as np
from loopwright.finetune.runs.allocator import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()
block = np.ones(64 * 2**20, dtype=np.uint8)
del block
with open("/proc/self/statm") as file:
    print(int(file.read().split()[1]))
"""


def resident_mib(kept: str) -> float:
    ran = subprocess.run([sys.executable, "-c", FREED, kept], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return int(ran.stdout) * os.sysconf("SC_PAGE_SIZE") / MIB


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked to")
def test_what_is_freed_stays_with_the_process() -> None:
    assert resident_mib("kept") - resident_mib("returned") > 50
