"""What the C-arm loop's own events tell a person: what was seen, decided and moved."""

from collections.abc import Iterator
from typing import Any

from rich.markup import escape

from loopwright.cli.describe import consulted_unless
from loopwright.cli.plugin import Description


def _observed(p: dict[str, Any]) -> Iterator[str]:
    pose = p["pose"]
    where = ", ".join(f"{pose[f'{axis}_mm']:.0f}" for axis in "xyz")
    angles = "" if pose["alpha_deg"] == pose["beta_deg"] == 0 else f" at {pose['alpha_deg']:g}/{pose['beta_deg']:g} deg"
    yield f"[bold]exposure {p['exposures']}[/bold]  isocentre ({where}) mm{angles}"


def _localised(p: dict[str, Any], label: str = "saw") -> Iterator[str]:
    top = sorted(p["nearest"].items(), key=lambda kv: -kv[1])[:3]
    seen = ", ".join(f"{escape(name)} {share:.0%}" for name, share in top)
    sure = (
        f"; conformal set at {p['coverage']:.0%}: {len(p['nearest_set'])}" if p.get("nearest_set") is not None else ""
    )
    yield f"  {label:<9} nearest {seen}{sure}"


def _relocalised(p: dict[str, Any]) -> Iterator[str]:
    yield from _localised(p, "revised")


def _reviewed(p: dict[str, Any]) -> Iterator[str]:
    if p["uncertain"]:
        candidates = ", ".join(p["nearest_set"]) or "none fits"
        yield f"  [yellow]review    not sure which is nearest: {escape(candidates)}[/yellow]"


def _decided(p: dict[str, Any]) -> Iterator[str]:
    if p["arrived"]:
        return
    about = "" if p["source"] == "clinician" and not p["sd_mm"] else f", about {p['distance_mm']:.0f} mm to go"
    motion, why = motion_in_words(p["motion"]), p["rationale"]
    yield f"  decided   {escape(motion)} towards {escape(p['target'])}: {escape(why)}{about}"


def _moved(p: dict[str, Any]) -> Iterator[str]:
    yield "  moved" if p["status"] == "done" else f"  [red]not moved {escape(p['status'])}: {escape(p['reason'])}[/red]"


def _reached(p: dict[str, Any]) -> Iterator[str]:
    yield f"  [bold green]reached   {escape(p['target'])}[/bold green] (estimated {p['distance_mm']:.1f} mm off centre)"


def motion_in_words(motion: dict[str, Any]) -> str:
    """A motion of the view in patient directions, for example '35 mm left, 20 mm cranial'."""
    pairs = (("left_mm", "left", "right"), ("caudal_mm", "caudal", "cranial"), ("anterior_mm", "anterior", "posterior"))
    parts = [f"{abs(motion[k]):g} mm {plus if motion[k] > 0 else minus}" for k, plus, minus in pairs if motion[k]]
    parts += [f"{motion[k]:+g} deg {k.removesuffix('_deg')}" for k in ("alpha_deg", "beta_deg") if motion[k]]
    return ", ".join(parts) or "stay"


DESCRIBE: dict[str, Description] = {
    "consulted": consulted_unless("localiser"),
    "observed": _observed,
    "localised": _localised,
    "relocalised": _relocalised,
    "reviewed": _reviewed,
    "decided": _decided,
    "moved": _moved,
    "reached": _reached,
}
