"""What `loopwright doctor` looks at for the recipe loop."""

from collections.abc import Iterator

from loopwright.cli.plugin import Check
from loopwright.errors import BadInput


def network() -> Iterator[Check]:
    """The bundled network that recognises dishes' labels."""
    from loopwright.models.networks.recipe import BUNDLED, load_network

    try:
        load_network()
    except BadInput as error:
        repair = "Restore the file from the repository, or train it: `loopwright train recipe-network`."
        yield Check(name="dish network", status="broken", found=str(error), repair=repair, needed=True)
    else:
        yield Check(name="dish network", status="ok", found=str(BUNDLED), needed=True)
