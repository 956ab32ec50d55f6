"""The bundled procedure, fitted once."""

import pytest

from loopwright.tools.surgery.procedure import Procedure, bundled_procedure


@pytest.fixture(scope="session")
def procedure() -> Procedure:
    """The procedure that is fitted to the bundled statistics."""
    return bundled_procedure()
