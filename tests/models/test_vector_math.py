"""Equal numbers give equal bytes in every process: MKL's kernels are chosen before two threads can ask for them."""

import subprocess
import sys

import pytest
import torch

from loopwright.models.vector_math import settle_kernels

ROOTS_AFTER_A_LATE_CHANGE = """
import importlib, os, sys
import torch
if sys.argv[1]:
    importlib.import_module(sys.argv[1])
os.environ["MKL_VML_DEBUG_CPU_TYPE"] = "3"  # MKL reads it when it chooses, so it tells whether MKL has chosen
sys.stdout.buffer.write(torch.linspace(0, 1, 16384).sqrt().numpy().tobytes())
"""


def roots_after_a_late_change(module: str) -> bytes:
    """What a fresh process computes that imports `module` and is then told of another processor."""
    code = [sys.executable, "-c", ROOTS_AFTER_A_LATE_CHANGE, module]
    return subprocess.run(code, check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def roots() -> bytes:
    """What processes compute that are not told anything."""
    settle_kernels()
    roots = torch.linspace(0, 1, 16384).sqrt().numpy().tobytes()
    if roots_after_a_late_change("") == roots:
        pytest.skip("this torch computes without MKL, or on a processor for which MKL has one kernel only")
    return roots


@pytest.mark.parametrize("module", ["loopwright.models.networks.carm", "loopwright.models.local.chat"])
def test_importing_what_runs_a_model_settles_the_kernels(module: str, roots: bytes) -> None:
    assert roots_after_a_late_change(module) == roots
