"""What `loopwright doctor` looks at for the drive loop."""

from collections.abc import Iterator

from loopwright.cli.plugin import Check
from loopwright.errors import BadInput


def tokenizer() -> Iterator[Check]:
    """The bundled image tokenizer."""
    from loopwright.models.networks.drive import BUNDLED, load_network

    try:
        load_network()
    except BadInput as error:
        repair = "Restore the file from the repository, or train it: `loopwright train drive-tokens`."
        yield Check(name="drive tokenizer", status="broken", found=str(error), repair=repair, needed=True)
    else:
        yield Check(name="drive tokenizer", status="ok", found=str(BUNDLED), needed=True)
