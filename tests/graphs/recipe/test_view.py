"""A dish in the console: its picture, and its labels with scores."""

from tests.loops.bench import Bench
from tests.loops.cases import CASES

from loopwright.graphs.step_view import step_view
from loopwright.graphs.steps import SessionStep, read_steps_as


def test_a_step_shows_the_dish_and_its_labels(bench: Bench) -> None:
    case = CASES["recipe"]
    session = bench.begin(case)
    session.run()
    step = read_steps_as(SessionStep, session.events)[0]
    shown = step_view(session.loop, bench.memory.sessions.get(session.id), step)
    assert len(shown.pictures) == 1
    labels = [label for e in step.events if e.kind == "predicted" for label in e.payload["labels"]]
    assert labels
    assert all(label.replace("_", " ") in shown.html for label in labels)
