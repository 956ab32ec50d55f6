"""Which compiled functions may be cached on disk: those that Python calls, never those that other kernels call."""

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
