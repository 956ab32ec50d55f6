"""Which compiled functions are cached on disk: those that Python calls. What other kernels call is part of these."""

from types import ModuleType
from typing import Any

import pytest
from numba.core.caching import NullCache
from numba.core.dispatcher import Dispatcher

from loopwright.tools.carm.phantom import abdomen, paint, thorax
from loopwright.tools.carm.render import joseph


def kernels(module: ModuleType) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if isinstance(value, Dispatcher)}


@pytest.mark.parametrize("module", [joseph, paint, thorax, abdomen], ids=lambda module: module.__name__)
def test_no_kernel_is_compiled_over_a_cached_one(module: ModuleType) -> None:
    """Else its last bits depend on which process compiled what, and two processes draw two pictures."""
    found = kernels(module)
    called = {name for kernel in found.values() for name in kernel.py_func.__code__.co_names if name in found}
    assert [name for name in sorted(called) if not isinstance(found[name]._cache, NullCache)] == []
    assert any(not isinstance(kernel._cache, NullCache) for kernel in found.values())


@pytest.mark.parametrize("module", [joseph, paint, thorax, abdomen], ids=lambda module: module.__name__)
def test_what_a_kernel_calls_is_inlined(module: ModuleType) -> None:
    """Else who has just compiled it runs the callee's own code, and who loads it from the cache the copy in there."""
    found = kernels(module)
    called = {name for kernel in found.values() for name in kernel.py_func.__code__.co_names if name in found}
    inlined = {n for n in called if {"forceinline", "inline"} & set(found[n].targetoptions)}
    assert called - inlined == set()
