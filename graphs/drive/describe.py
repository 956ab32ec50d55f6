"""How the drive loop's own events read: what was seen, predicted, imagined, thought, rejected and driven."""

from collections.abc import Callable, Mapping
from typing import Any

from loopwright.agents.drive.driver import Thought
from loopwright.graphs.loop.lines import Line
from loopwright.schema import Event
from loopwright.tools.drive.imagination import decode_frame, imagine_road
from loopwright.tools.drive.tools import SeenRoad, drive, look_at_road

Payload = Mapping[str, Any]


def describe(event: Event) -> Line | list[Line] | None:
    """The lines of an event; none for one whose outcome another event tells, None for what is not the loop's own."""
    payload = event.payload
    match event.kind:
        case "observed" if "error" not in payload and payload["tool"] == look_at_road.name:
            return _seen(SeenRoad.model_validate(payload["output"]))
        case "observed" if payload["tool"] in (imagine_road.name, decode_frame.name):
            return _imagined(payload)
        case "encoded" | "predicted":
            return []
        case "guarded" if payload["ok"]:
            return []
        case "replied" if payload["is_exact"] and payload["attempts"] == 1:
            return []
        case "acted" if payload["tool"] == drive.name and payload["status"] == "done":
            return _driven(payload)
    tell = _OWN.get(event.kind)
    return None if tell is None else tell(payload)


def _seen(seen: SeenRoad) -> Line:
    scene, totals = seen.scene, seen.totals
    so_far = f"{totals.time_s:g} s, {totals.progress_m:.0f} m so far"
    if scene is None:
        return Line("road", "the ego's own motion is not known", so_far, "warn")
    told = f"{scene.speed_mps:.1f} m/s, {scene.command}, {len(scene.agents)} road users in sight"
    return Line("road", told, so_far)


def _imagined(payload: Payload) -> list[Line]:
    return [Line("imagined", f"nothing: {payload['error']}", tone="warn")] if "error" in payload else []


def _came(payload: Payload) -> Line:
    alike = f"PSNR {payload['psnr_db']:.1f} dB, SSIM {payload['ssim']:.3f}, road users' IoU {payload['iou']:.2f}"
    return Line("came", f"what was imagined {payload['horizon_s']:g} s ago", alike, "quiet")


def _thought(payload: Payload) -> Line:
    thought = Thought.model_validate(payload)
    if thought.by == "fallback":
        return Line("fallback", "brake along the path", thought.why, "warn")
    return Line("thought", f"{thought.think}: {thought.action}", thought.why, "model" if thought.by == "model" else "")


def _verified(payload: Payload) -> list[Line]:
    if payload["ok"]:
        return []
    return [Line("rejected", f"{payload['rule']}: {payload['reason']}", tone="warn")]


def _faulty(payload: Payload) -> Line:
    return Line("fault", "; ".join(payload["faults"]), f"{payload['so_far']} so far", "warn")


def _unread(payload: Payload) -> Line:
    return Line("unread", f"the driver's answer: {payload['why']}", f"{payload['so_far']} so far", "warn")


def _driven(payload: Payload) -> Line:
    words = drive.in_words(payload["arguments"])
    done = payload["output"]
    ended = f", and the drive is over: {done['ended'].replace('_', ' ')}" if done["ended"] else ""
    bad = done["ended"] in ("crashed", "off_road")
    return Line("drove", f"{words}{ended}", f"{done['progress_m']:.0f} m so far", "bad" if bad else "ok")


_OWN: dict[str, Callable[[Payload], Line | list[Line]]] = {
    "came": _came,
    "thought": _thought,
    "verified": _verified,
    "faulty": _faulty,
    "unread": _unread,
}
