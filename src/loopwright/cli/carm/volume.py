"""`loopwright data volume` and `loopwright data landmarks`: what a CT is like, and which landmarks there are."""

from typing import Annotated

import typer

from loopwright.cli.output import json_line, stdout, table


def volume(
    volume: Annotated[str, typer.Argument(help="A NIfTI file, a DICOM folder, `phantom:SEED` or `chest`.")],
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Read a CT as a run would, and say how it lies, how large it is and where a run over it could begin."""
    import nibabel as nib
    import numpy as np

    from loopwright.tools.carm.sources import open_case

    case = open_case(volume)
    read = case.volume
    low, high = read.bounds_world
    centre = (low + high) / 2
    start = ",".join(f"{x:.0f}" for x in (centre[0], read.mid_coronal_y_mm, centre[2]))
    values = np.percentile(read.hounsfield, (0, 50, 100))
    facts = {
        "volume": read.name,
        "voxels": " x ".join(map(str, read.shape)),
        "axes": "".join(nib.aff2axcodes(read.affine_world)),
        "voxel_mm": " x ".join(f"{x:.3g}" for x in read.voxel_mm),
        "extent_mm": " x ".join(f"{x:.0f}" for x in high - low),
        "from_mm": ", ".join(f"{x:.0f}" for x in low),
        "to_mm": ", ".join(f"{x:.0f}" for x in high),
        "hounsfield": f"{values[0]:.0f} to {values[2]:.0f}, median {values[1]:.0f}",
        "landmarks": ", ".join(case.landmarks) or "none known; give them by --landmarks",
        "start": f'--start "{start}"',
    }
    if as_json:
        json_line(facts)
        return
    shown = table("what", "value")
    for name, value in facts.items():
        shown.add_row(name, value)
    stdout().print(shown, markup=False)


def landmarks(as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False) -> None:
    """The landmarks of the C-arm loop: their names, and other words for them."""
    from loopwright.tools.carm.landmarks import LANDMARKS, SYNONYMS

    if as_json:
        for name in LANDMARKS:
            json_line({"landmark": name, "synonyms": list(SYNONYMS[name])})
        return
    shown = table("landmark", "or")
    for name in LANDMARKS:
        shown.add_row(name, ", ".join(SYNONYMS[name]))
    stdout().print(shown)
