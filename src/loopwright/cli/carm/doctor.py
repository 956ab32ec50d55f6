"""What `loopwright doctor` looks at for the C-arm: renderers, the bundled network, the chest CT."""

from collections.abc import Iterator
from typing import Literal

from loopwright.cli.output import stderr, stdout
from loopwright.cli.plugin import Check
from loopwright.errors import LoopwrightError
from loopwright.settings import settings


def renderers() -> Iterator[Check]:
    """Each renderer draws one small picture: nothing less shows that it works."""
    from loopwright.tools.carm.render import RENDERERS

    chosen = settings().carm.renderer
    for name in dict.fromkeys((chosen, *RENDERERS)):
        reason = _why_it_draws_nothing(name)
        missing: Literal["absent", "broken"] = "broken" if name == chosen else "absent"
        yield Check(
            name=f"renderer {name}",
            status=missing if reason else "ok",
            found=reason or "drew a picture",
            needed=name == chosen,
        )


def _why_it_draws_nothing(renderer: str) -> str:
    import numpy as np

    from loopwright.tools.carm.geometry import Optics, Pose
    from loopwright.tools.carm.render import make_renderer
    from loopwright.tools.carm.volume import Volume

    bone = Volume(hounsfield=np.full((16, 16, 16), 1000, dtype=np.int16), affine_world=np.eye(4), name="doctor")
    try:
        picture = make_renderer(renderer, bone, Optics()).render(Pose(x_mm=7.5, y_mm=7.5, z_mm=7.5), size_px=32)
    except LoopwrightError as error:
        return str(error)
    return "" if picture[16, 16] > 0 else "it drew an empty picture of a block of bone"


def network_and_data() -> Iterator[Check]:
    """The localiser that comes with the package, and the fetched chest CT."""
    from loopwright.models.networks.carm import BUNDLED, load_carm_network
    from loopwright.tools.carm.chest import damaged_members

    try:
        load_carm_network()
    except LoopwrightError as error:
        yield Check(name="C-arm network", status="broken", found=str(error), needed=True)
    else:
        yield Check(name="C-arm network", status="ok", found=str(BUNDLED), needed=True)
    folder = settings().cache_dir / "chest"
    lacking = damaged_members(folder)
    yield Check(
        name="chest CT",
        status="absent" if lacking else "ok",
        found=f"{folder} lacks {', '.join(lacking)}" if lacking else str(folder),
        repair="loopwright data fetch chest",
    )


def set_up_deepdrr() -> int:
    """Make the environment of DeepDRR, and say how to choose it."""
    from loopwright.tools.carm.render.deepdrr.setup import set_up

    python = set_up(settings().data_dir / "environments" / "deepdrr", lambda line: stderr().print(line, markup=False))
    stdout().print("DeepDRR works. Choose it with these variables, or the same settings in the TOML file:")
    stdout().print(f"LOOPWRIGHT_CARM__DEEPDRR_PYTHON={python}\nLOOPWRIGHT_CARM__RENDERER=deepdrr", markup=False)
    return 0
