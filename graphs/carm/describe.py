"""How the C-arm loop's own events read: what was exposed, seen, decided, moved and reached."""

from collections.abc import Mapping
from typing import Any

from loopwright.agents.carm.doubts import why_unknown
from loopwright.agents.carm.navigator import Decision
from loopwright.graphs.loop.describe import reply_flaws
from loopwright.graphs.loop.lines import Line
from loopwright.models.networks.localisation import Localisation
from loopwright.schema import Event
from loopwright.tools.carm.guard import Motion
from loopwright.tools.carm.tools import Exposure, move_c_arm, take_exposure

Payload = Mapping[str, Any]


def describe(event: Event) -> Line | list[Line] | None:
    """The line of an event; no line for one that another tells of, None for what is not the loop's own."""
    payload = event.payload
    match event.kind:
        case "observed" if payload["tool"] == take_exposure.name and payload["status"] == "done":
            return _exposed(Exposure.model_validate(payload["output"]))
        case "localised":
            return _seen("saw", Localisation.model_validate(payload))
        case "relocalised":
            return _seen("revised", Localisation.model_validate(payload))
        case "replied" if payload["role"] == "localiser" and not reply_flaws(payload):
            return []  # what it saw is told as localised
        case "corrected":
            shown = f"shows {payload['landmark']}" if payload["landmark"] else f"does not show {payload['nearest']}"
            return Line("learned", f"the picture {shown} in its middle", "kept as a labelled example", "human")
        case "decided":
            return _decided(Decision.model_validate(payload))
        case "guarded" if payload["tool"] == take_exposure.name and payload["ok"]:
            return []
        case "acted" if payload["tool"] == move_c_arm.name and payload["status"] == "done":
            return Line("moved", f"the view {Motion.model_validate(payload['arguments']).describe()}", tone="ok")
        case "reached":
            off = f"estimated {payload['distance_mm']:.1f} mm off"
            return Line("reached", f"{payload['target']} is centred", off, "ok")
        case "contradicted":
            text = f"the known place of {payload['target']} is {payload['known_mm']:.0f} mm away: it is not centred"
            return Line("WARNING", text, "by the landmarks that came with the volume", "bad")
        case "measured":
            return []
    return None


def _exposed(seen: Exposure) -> Line:
    pose = seen.pose
    angles = f" at {pose.alpha_deg:g}/{pose.beta_deg:g} deg" if pose.alpha_deg or pose.beta_deg else ""
    where = f"isocentre ({pose.x_mm:.0f}, {pose.y_mm:.0f}, {pose.z_mm:.0f}) mm{angles}"
    return Line(f"exposure {seen.exposures}", where)


def _seen(label: str, seen: Localisation) -> Line:
    nearest = ", ".join(f"{name} {seen.nearest[name]:.0%}" for name in seen.ranking[:3])
    is_sure_of = "" if seen.nearest_set is None else f"conformal set at {seen.coverage:.0%}: {len(seen.nearest_set)}"
    if why := why_unknown(seen):
        is_sure_of = f"unknown anatomy: {why}"
    return Line(label, f"nearest {nearest}", is_sure_of, "warn" if label == "revised" or why else "")


def _decided(decision: Decision) -> Line:
    about = f"{decision.target} is taken to be {decision.distance_mm:.0f} ± {decision.sd_mm:.0f} mm away"
    if decision.arrived:
        return Line("decided", f"stay: {decision.target} is taken to be centred", f"{decision.rationale}; {about}")
    claims_nothing = decision.source == "clinician" and decision.sd_mm == 0
    text = f"move the view {decision.motion.describe()}, towards {decision.target}"
    return Line("decided", text, decision.rationale if claims_nothing else f"{decision.rationale}; {about}")
