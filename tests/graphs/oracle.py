"""A model behind a real HTTP server that answers the C-arm's roles from where the landmarks truly are."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tests.graphs.carm.reports import reported_estimate
from tests.models.chat_server import MODEL, ChatServer, Turn
from tests.scenario import Patient, Run, payloads

from loopwright.agents.carm.formats import CORRECTION, NAVIGATION, Correction, Ladder, Navigation
from loopwright.agents.carm.places import FARTHEST_MM, NEAREST, say_place
from loopwright.agents.carm.prompts import in_sentence
from loopwright.graphs.loop.session import Session
from loopwright.memory import Memory
from loopwright.schema import Event
from loopwright.tools.carm.geometry import Pose, in_plane_offset_mm
from loopwright.tools.carm.landmarks import LANDMARKS

HALF_VIEW_MM = 77.4


Card = Callable[..., Path]
"""Writes a model card."""
Replays = Callable[[Session], None]
"""Asserts that a session comes out of its log again."""


class Oracle:
    """Reads the newest session's last observation, as if it were the picture.

    Attributes:
        asked: how often each question was asked, by its text.
        says: from a question and the answer to it to what is said.
        believes: where it takes itself to be, until the clinician says what is to be seen.
    """

    def __init__(self, patient: Patient, memory: Memory) -> None:
        self.asked: Counter[str] = Counter()
        self.says: Callable[[str, str], str] = lambda question, answer: answer
        self.believes: Callable[[Pose], Pose] = lambda pose: pose
        self._patient, self._memory = patient, memory
        self._one = threading.Lock()
        self.server = ChatServer(answer=self._answer)

    def card(self, folder: Path, name: str = "oracle") -> Path:
        """A card of the server."""
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"kind": "served", "base": MODEL, "base_url": self.server.url}))
        return path

    def _answer(self, body: dict[str, Any]) -> Turn:
        said = [turn["content"] for turn in body["messages"] if turn["role"] == "user"]
        texts = [turn if isinstance(turn, str) else turn[-1]["text"] for turn in said]
        text = next(t for t in reversed(texts) if "is no `" not in t)  # the question, not a complaint about the answer
        with self._one:
            self.asked[text] += 1
            return Turn(pieces=(self.says(text, self._right(text)),))

    def _right(self, question: str) -> str:
        pose = self._pose() if "The clinician says" in question else self.believes(self._pose())
        offsets = {name: in_plane_offset_mm(self._patient.landmarks[name], pose) for name in LANDMARKS}
        order = sorted(LANDMARKS, key=lambda name: float(np.hypot(*offsets[name])))
        if "Where is the" in question:
            (name,) = [name for name in LANDMARKS if f"Where is the {in_sentence(name)}?" in question]
            step_mm = 5 if np.abs(offsets[name]).max() <= HALF_VIEW_MM else 25
            return say_place(offsets[name].clip(-FARTHEST_MM, FARTHEST_MM), step_mm)
        if "Which landmark is nearest" in question:
            return NEAREST.render(order[0])
        if "<visual_reasoning>" in question:
            pair = order[0], order[2]  # the two nearest may be the very pair that was rejected
            return CORRECTION.render(Correction(landmarks=pair, visual_reasoning="Ribs and spine."))
        return self._step(question, offsets, order[0])

    def _step(self, question: str, offsets: dict[str, Any], nearest: str) -> str:
        """What the prompt's estimate asks for; without one, what the truth does."""
        (target,) = [name for name in LANDMARKS if f"Target: {name}." in question]
        told = reported_estimate(question)
        left_mm, caudal_mm = (told.left_mm, told.caudal_mm) if told else offsets[target].tolist()
        command = Ladder().command(left_mm, caudal_mm)
        why = {"reason_x": f"{target} lies there.", "reason_y": "So I think."}
        return NAVIGATION.render(Navigation(context=nearest, **why, **command.model_dump()))

    def _pose(self) -> Pose:
        events = self._memory.events.read(self._memory.sessions.list()[0].id)
        newest = next(e for e in reversed(events) if e.kind in ("observed", "forked"))
        seen = newest.payload["output"] if newest.kind == "observed" else newest.payload["state"]["observation"]
        return Pose.model_validate(seen["pose"])


def with_model(patient: Patient, model: Path, start: str, target: str, **options: Any) -> Run:
    """A run that asks the model of this card."""
    return patient.run(start, (target,), model=str(model), **options)


def end_distance_mm(patient: Patient, session: Session, landmark: str) -> float:
    """How far the C-arm stands from a landmark in truth."""
    return patient.distance_mm(landmark, Pose.model_validate(session.state["observation"]["pose"]))


def prompts(events: Sequence[Event], role: str) -> list[str]:
    """The last turn of each question to `role`, as text."""
    last = [p["prompt"][-1]["content"] for p in payloads(events, "replied") if p["role"] == role]
    return [turn if isinstance(turn, str) else turn[-1]["text"] for turn in last]
