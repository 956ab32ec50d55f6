"""A small patient on disk and a localiser that knows the truth: what tests of the loop itself need."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.session import Session
from loopwright.models.networks.localisation import Localisation
from loopwright.schema import Event, ImageRef
from loopwright.tools.carm.geometry import Pose, in_plane_offset_mm
from loopwright.tools.carm.landmarks import LANDMARKS
from loopwright.tools.carm.phantom import make_phantom
from loopwright.tools.carm.tools import Exposure

See = Callable[[Pose], Localisation]
Use = Callable[[See], None]
Run = dict[str, Any]
"""Settings of a run of the C-arm loop."""
Begin = Callable[[Run], Session]


class Patient:
    """A phantom saved as a NIfTI file, with its landmarks beside it."""

    def __init__(self, folder: Path) -> None:
        case = make_phantom(7, truncated=False, voxel_mm=4.0)
        self.volume, self.landmarks_file = folder / "patient.nii.gz", folder / "patient.json"
        nib.save(nib.Nifti1Image(case.volume.hounsfield, case.volume.affine_world), self.volume)
        self.landmarks = {name: np.asarray(point) for name, point in case.landmarks.items()}
        self.landmarks_file.write_text(json.dumps({n: p.tolist() for n, p in self.landmarks.items()}))

    def run(self, start: str = "Carina", target: tuple[str, ...] = ("T12",), **options: Any) -> Run:
        """A run of the C-arm loop over this patient."""
        place = {"volume": str(self.volume), "landmarks": self.landmarks_file}
        return {**place, "start": start, "target": target, **options}

    def over(self, landmark: str) -> Pose:
        """The AP view centred on a landmark."""
        x_mm, y_mm, z_mm = (float(v) for v in self.landmarks[landmark])
        return Pose(x_mm=x_mm, y_mm=y_mm, z_mm=z_mm)

    def distance_mm(self, landmark: str, pose: Pose) -> float:
        """True distance from a landmark to the central ray."""
        return float(np.linalg.norm(in_plane_offset_mm(self.landmarks[landmark], pose)))

    def truth(self, pose: Pose) -> Localisation:
        """What a perfect localiser says at `pose`."""
        offsets = {n: in_plane_offset_mm(self.landmarks[n], pose) for n in LANDMARKS}
        closeness = {n: float(np.exp(-np.linalg.norm(o) / 20)) for n, o in offsets.items()}
        total = sum(closeness.values())
        return Localisation(
            nearest={n: c / total for n, c in closeness.items()},
            offsets_mm={n: (float(o[0]), float(o[1])) for n, o in offsets.items()},
            sigma_mm=dict.fromkeys(LANDMARKS, 3.0),
            coverage=0.95,
            nearest_set=(max(closeness, key=closeness.__getitem__),),
            radius_mm=dict.fromkeys(LANDMARKS, 8.0),
        )


def network_that(see: See) -> Callable[[Context, ImageRef], Localisation]:
    """In the place of `roles.network_sees`: what `see` says of the pose at which the picture was taken."""

    def network_sees(ctx: Context, image: ImageRef) -> Localisation:
        seen = Exposure.model_validate(ctx.state["observation"])
        assert image == seen.image
        return see(seen.pose)

    return network_sees


def exposures(events: Sequence[Event]) -> list[dict[str, Any]]:
    """The outputs of `take_exposure`: pose, exposures, image."""
    return [p["output"] for p in payloads(events, "observed")]


def moved(events: Sequence[Event]) -> list[dict[str, Any]]:
    """What became of each motion that was tried."""
    return [p for p in payloads(events, "acted") if p["tool"] == "move_c_arm"]


def words(events: Sequence[Event]) -> list[dict[str, Any]]:
    """What was heard, as it was understood."""
    return [m["words"] for e in events for m in e.payload.get("messages", ()) if e.key is not None]


def payloads(events: Sequence[Event], kind: str) -> list[dict[str, Any]]:
    """The payloads of one kind of event."""
    return [e.payload for e in events if e.kind == kind]


def saying(session: Session, words: dict[tuple[str, int], str]) -> list[Event]:
    """Stream, and say each of `words` when an event of that (kind, step) goes by."""
    events: list[Event] = []
    for event in session.stream():
        events.append(event)
        if text := words.pop((event.kind, event.step), None):
            session.say(text)
    return events
