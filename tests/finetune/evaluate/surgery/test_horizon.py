"""Plans to a goal against what was done: fitted to nobody they are tested on, begun at the right clip, truly tried."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from langchain_core.language_models import BaseChatModel
from tests.models.tiny import make_qwen25vl

from loopwright import cli
from loopwright.agents.surgery.goals import read_goal
from loopwright.agents.surgery.history import Step
from loopwright.agents.surgery.horizon import Roll, likeliest
from loopwright.agents.surgery.policies import BayesPolicy, ModelPolicy
from loopwright.cli.surgery import evaluate as evaluate_surgery
from loopwright.errors import BadInput
from loopwright.finetune.evaluate.surgery.baselines import Training
from loopwright.finetune.evaluate.surgery.horizon import (
    DIFFERENCE,
    JUDGED,
    NGRAMS,
    WHAT,
    Case,
    Fit,
    Fold,
    Planned,
    Planner,
    by_beam,
    evaluate_recorded_horizon,
    evaluate_simulated_horizon,
    markdown,
    of_surgeons,
    straight,
)
from loopwright.finetune.evaluate.surgery.models import Surgeon
from loopwright.finetune.measure.rows import Row
from loopwright.models.cards import ModelCard
from loopwright.models.open import open_model
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.procedure import Procedure, bundled_procedure
from loopwright.tools.surgery.simulator import simulate
from loopwright.tools.surgery.splits import patient_of, split_of
from loopwright.tools.surgery.statistics import fit_statistics
from loopwright.tools.surgery.vocabulary import Action

A: Action = "Aspiration"
C: Action = "Coagulation"
D: Action = "Dissection"
R: Action = "Tissue Retraction"
V: Action = "Vessel Clipping"
PATIENTS = (79, 2, 51, 6, 80, 32, 5, 15, 31, 57, 36, 18)
"""Of three official folds."""


@pytest.fixture(scope="module")
def procedure() -> Procedure:
    return bundled_procedure()


@pytest.fixture(scope="module")
def videos(procedure: Procedure) -> dict[str, list[Clip]]:
    """Clips of twelve patients, without phases, as CholecT45's."""
    found = {}
    for seed, patient in enumerate(PATIENTS):
        changes = {"video": f"VID{patient:02d}", "phase": None}
        found[f"VID{patient:02d}"] = [m.clip.model_copy(update=changes) for m in simulate(procedure, seed)]
    return found


class Spy:
    """Plans nothing, and notes what it was fitted to and asked."""

    def __init__(self) -> None:
        self.fitted: list[Fold] = []
        self.asked: list[tuple[int, Case]] = []

    def __call__(self, given: Fold) -> Planner:
        self.fitted.append(given)
        fold = len(self.fitted)

        def plan(case: Case) -> Planned:
            self.asked.append((fold, case))
            return Planned((), reaches_goal=False)

        return plan


def oracle(case: Case) -> Planned:
    return Planned(case.following, reaches_goal=True)


def test_nobody_is_trained_on_who_is_tested_and_plans_begin_where_they_should(videos: dict[str, list[Clip]]) -> None:
    spy = Spy()
    rows = evaluate_recorded_horizon(videos, {"spy": spy})
    for fold, (training, statistics) in enumerate(spy.fitted, 1):
        split = split_of(training.fold, PATIENTS)
        assert {patient_of(sample.video) for sample in training.samples} == split.train
        assert {patient_of(sample.video) for sample in training.choosing} == split.validation
        assert statistics == fit_statistics([clips for v, clips in videos.items() if patient_of(v) in split.train])
        tested = {patient_of(case.video) for n, case in spy.asked if n == fold}
        assert tested <= split.test and not tested & split.train
    for _, case in spy.asked:
        actions: list[Action] = [clip.action for clip in videos[case.video]]
        past: list[Action] = [step.action for step in case.past]
        assert past and len(case.following) in (3, 6, 12)
        assert [*past, *case.following] == actions[: len(past) + len(case.following)]
        assert case.goal.reached_after(past, case.following) == len(case.following)
        assert case.past[-1].caption.startswith("Instruments:") and case.past[-1].truth is None
    pooled, *by_goal = rows
    assert (pooled.variant, pooled.n) == ("all goals", len(spy.asked)) and sum(row.n for row in by_goal) == pooled.n
    assert all(row.figures == {"edit": 1.0, "reached": 0.0, "length": 0.0} for row in rows)


def test_a_perfect_plan_is_perfect_and_differences_are_paired_with_the_straight_one(
    videos: dict[str, list[Clip]],
) -> None:
    rows = evaluate_recorded_horizon(videos, {"straight": NGRAMS["straight"], "oracle": lambda _: oracle})
    found = {(row.what, row.model, row.variant): row for row in rows}
    for variant in {row.variant for row in rows}:
        perfect, plain = found[WHAT, "oracle", variant], found[WHAT, "straight", variant]
        assert perfect.figures == {"edit": 0.0, "reached": 1.0, "length": 1.0}
        difference = found[DIFFERENCE, "oracle", variant].figures
        assert difference == pytest.approx({"edit": -plain.figures["edit"]})
    assert {row.model for row in rows if row.what == DIFFERENCE} == {"oracle"}


@pytest.fixture(scope="module")
def simulated(procedure: Procedure) -> list[Row]:
    fits: dict[str, Fit] = {"nothing": Spy(), "oracle": lambda _: oracle, "straight": NGRAMS["straight"]}
    return evaluate_simulated_horizon(procedure, 3, fits)


def test_simulated_plans_are_performed_on_their_patient(simulated: list[Row]) -> None:
    rows = simulated
    plans = [row for row in rows if row.what == WHAT]
    assert {row.model for row in plans} == {"nothing", "oracle", "straight", "beam bayes", "typical bayes"}
    for row in plans:
        about_tissue = "Coagulation" not in row.variant
        assert ("performed" in row.figures) == about_tissue
        if about_tissue:
            others = [other for other in plans if other.model == row.model and other.variant != "all goals"]
            on_tissue = [other.n for other in others if "Coagulation" not in other.variant]
            assert row.figures["n_performed"] == (sum(on_tissue) if row.variant == "all goals" else row.n)
        if about_tissue and row.model in ("nothing", "oracle"):
            assert row.figures["performed"] == (row.model == "oracle")
    mean = {
        model: sum(row.figures["performed"] for row in plans if row.model == model and "performed" in row.figures)
        for model in ("straight", "beam bayes")
    }
    assert mean["straight"] < mean["beam bayes"]
    assert [(row.what, row.variant) for row in rows[-3:]] == [
        (JUDGED, goal) for goal in ("the artery is clipped", "the vessels are clipped", "the gallbladder is detached")
    ]
    assert all(0 <= row.figures["same_clip"] + row.figures["too_soon"] <= 1 for row in rows[-3:])


@pytest.mark.parametrize(
    ("past", "said", "planned"),
    [
        ([R, D], "the artery is clipped", [V]),
        ([R, V], "the vessels are clipped", [R, V]),
        ([R, D], "2 more dissections", [R, D, R, D]),
        ([R], "2 more retractions", [D, R, D, R]),
    ],
)
def test_the_straight_plan_never_repeats_an_action(
    past: Sequence[Action], said: str, planned: Sequence[Action]
) -> None:
    case = Case("VID01", read_goal(said), tuple(Step(action=action) for action in past), ())
    assert list(straight(case).actions) == list(planned)


def test_the_exact_odds_need_a_simulated_patient(procedure: Procedure) -> None:
    case = Case("VID01", read_goal("the artery is clipped"), (Step(action=R),), (V,))
    with pytest.raises(BadInput, match="only a simulated patient"):
        by_beam(BayesPolicy(procedure))(case)


def test_videos_that_come_to_no_goal_are_refused(videos: dict[str, list[Clip]]) -> None:
    short = {video: clips[:2] for video, clips in videos.items()}
    with pytest.raises(BadInput, match="No video comes to any of the goals: the artery is clipped, "):
        evaluate_recorded_horizon(short)


def test_the_command_prints_rows_with_their_n_and_tables(
    videos: dict[str, list[Clip]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluate_surgery, "MODEL", "absent")  # a model's beams take a minute
    lines = [clip.model_dump_json() + "\n" for clips in videos.values() for clip in clips[:20]]
    (tmp_path / "clips.jsonl").write_text("".join(lines), encoding="utf-8")
    command = ["eval", "surgery", "--what", "horizon", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert cli.main([*command, "--json"]) == 0
    *rows, last = map(json.loads, capsys.readouterr().out.splitlines())
    plans = [row for row in rows if row["what"] == WHAT]
    assert {row["model"] for row in plans} == set(NGRAMS) and all(row["n"] >= row["n_cases"] > 0 for row in plans)
    assert (last["summary"], last["bars_met"]) == ("surgery horizon", None)  # no bar is set for plans
    assert json.loads((tmp_path / "out" / "surgery-horizon.json").read_text(encoding="utf-8")) == {"rows": rows, **last}
    assert (tmp_path / "out" / "surgery-horizon.md").is_file()
    assert {line["model"] for line in last["headline"]} == set(NGRAMS)
    assert all(line["edit_ci"] and line["variant"] == "all goals" for line in last["headline"])


def test_a_model_that_sees_frames_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["eval", "surgery", "--what", "horizon", "--simulated", "--patients", "1", "--row", "dir-sft"]) == 2
    assert "leave out `--row dir-sft`" in " ".join(capsys.readouterr().err.split())


def test_tables_have_a_line_a_goal_and_a_column_a_planner(simulated: list[Row]) -> None:
    shown = markdown(simulated)
    assert "|  | nothing | oracle | straight | beam bayes | typical bayes | N, of patients |" in shown
    assert "| the artery is clipped, 3 ahead | 1.00 [1.00, 1.00] | .00 [.00, .00] |" in shown
    for title in (
        "Edit distance less that of `straight`",
        "Share that truly bring the goal about",
        "Share of goals told",
    ):
        assert f"### {title}" in shown


def test_a_model_of_the_fold_plans_by_its_own_odds(tmp_path: Path, videos: dict[str, list[Clip]]) -> None:
    make_qwen25vl(tmp_path / "base")
    model = open_model(ModelCard(name="tiny", kind="local", base=str(tmp_path / "base")))
    asked: list[str] = []

    def of_fold(training: Training) -> BaseChatModel:
        asked.append(training.fold)
        return model

    told = Surgeon("indir-base", "indir", of_fold)
    fits = of_surgeons([told, Surgeon("dir-base", "dir", of_fold)])
    assert list(fits) == ["beam indir-base"]
    train = list(videos.values())[:2]
    plan = fits["beam indir-base"](Fold(Training("fold3", [], []), fit_statistics(train)))
    case = Case("VID79", read_goal("the next Coagulation"), (Step(action=R), Step(action=D, caption="Hook.")), (C,))
    found = plan(case)
    assert asked == ["fold3"] and found.reaches_goal
    best = likeliest(Roll(ModelPolicy(model), case.past, case.goal), width=1).best
    assert list(found.actions) == list(best.actions)
