"""Models as predictors: asked as the loop asks, never with an adapter that may know who is tested, held to bars."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.finetune.sft import sft_runs
from tests.models import tiny

from loopwright import cli
from loopwright.agents.surgery.formats import caption_of
from loopwright.agents.surgery.history import MemorySettings, step_of, steps_of
from loopwright.agents.surgery.policies import ModelPolicy
from loopwright.errors import BadInput
from loopwright.finetune.data.surgery.build import Recorded, SurgeryChat, build
from loopwright.finetune.data.surgery.tasks import TaskSettings
from loopwright.finetune.evaluate.pictures import PngStore
from loopwright.finetune.evaluate.surgery.bars import bars_of
from loopwright.finetune.evaluate.surgery.baselines import Predictor, Training, history_of
from loopwright.finetune.evaluate.surgery.fit import fit_surgeon
from loopwright.finetune.evaluate.surgery.memory import BEST_OF, evaluate_memory
from loopwright.finetune.evaluate.surgery.memory import DIFFERENCE as MEMORY_DIFFERENCE
from loopwright.finetune.evaluate.surgery.models import (
    Sights,
    Surgeon,
    open_surgeons,
    refuse_who_knows_the_tested,
)
from loopwright.finetune.evaluate.surgery.next_action import (
    DIFFERENCE,
    WHAT,
    evaluate_recorded,
    folds_of,
    simulated_fold,
)
from loopwright.finetune.evaluate.surgery.tables import markdown
from loopwright.finetune.measure.rows import Row
from loopwright.finetune.sft.config import DataConfig
from loopwright.finetune.sft.train import train
from loopwright.models.cards import ModelCard
from loopwright.models.scripted import ScriptedChatModel
from loopwright.tools.surgery.procedure import Procedure, bundled_procedure
from loopwright.tools.surgery.samples import HistoryRules, Sample, samples_of
from loopwright.tools.surgery.simulator import FIRST_SEED, simulate
from loopwright.tools.surgery.splits import patient_of, video_of
from loopwright.tools.surgery.statistics import bundled_statistics
from loopwright.tools.surgery.vocabulary import ACTIONS

EVERYBODY = (79, 2, 51, 6, 80, 32, 5, 15, 31, 57, 36, 18)  # of folds 1 to 3


@pytest.fixture(scope="module")
def procedure() -> Procedure:
    return bundled_procedure()


@pytest.fixture(scope="module")
def samples(procedure: Procedure) -> list[Sample]:
    """A few of each of twelve patients in three official folds."""
    found: list[Sample] = []
    for seed, patient in enumerate(EVERYBODY):
        changes = {"video": video_of(patient), "phase": None}
        clips = [moment.clip.model_copy(update=changes) for moment in simulate(procedure, seed)][:12]
        found += samples_of(clips, HistoryRules())
    return found


@pytest.fixture(scope="module")
def card() -> ModelCard:
    return ModelCard(name="tiny", kind="local", base=str(tiny.folder_of("qwen2.5-vl")), device="cpu")


@pytest.fixture(scope="module")
def adapters(samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`indir/fold1`: an adapter that was truly trained, for two steps, on fold 1's training patients."""
    home = tmp_path_factory.mktemp("adapters")
    training, _ = folds_of(samples)[0]
    recorded = Recorded({"train": training.samples, "validation": training.choosing}, bundled_statistics())
    chat = SurgeryChat(asked=TaskSettings(tasks=("next",)))
    build(home / "data", chat, recorded, formats=("messages",))
    config = sft_runs.config(batch=2, max_steps=2, lr=0.1)
    data = DataConfig(train=Path("none")).of_folder(home / "data")
    train(config.model_copy(update={"data": data, "validate_every": 100}), home / "indir" / "fold1")
    return home


def surgeon_of(surgeons: Sequence[Surgeon], name: str) -> Surgeon:
    return next(surgeon for surgeon in surgeons if surgeon.name == name)


def test_many_moments_get_the_odds_that_the_loop_gets_one_by_one(card: ModelCard, samples: list[Sample]) -> None:
    base = surgeon_of(open_surgeons(card, PngStore()), "indir-base")
    training, test = folds_of(samples)[0]
    told: list[object] = []
    predict = base.fit(Sights(PngStore()), on_progress=told.append)(training)
    asked = [test[i] for i in (0, 5, 9)]
    odds = predict([history_of(sample) for sample in asked])
    policy = ModelPolicy(base.model_for(training), MemorySettings())
    for row, sample in zip(odds, asked, strict=True):
        steps = steps_of(sample, lambda clip: step_of(clip, caption=caption_of(clip)))
        one = policy.next_action(steps)
        assert row == pytest.approx([one.get(action, 0.0) for action in ACTIONS], abs=1e-4)
    assert len(told) == 1


def test_a_mode_that_shows_no_action_rules_none_out(card: ModelCard, samples: list[Sample]) -> None:
    base = surgeon_of(open_surgeons(card, PngStore()), "indir-base")
    training, test = folds_of(samples)[0]
    histories = [history_of(sample) for sample in test[:4]]
    last = [ACTIONS.index(history.actions[-1]) for history in histories]
    odds = {
        mode: base.fit(Sights(PngStore()), mode=mode)(training)(histories) for mode in ("near", "near-action", "all")
    }
    assert (odds["near"][range(4), last] > 0).all()
    assert (odds["near-action"][range(4), last] == 0).all() and (odds["all"][range(4), last] == 0).all()
    assert not np.allclose(odds["near-action"], odds["all"])


def test_what_a_picture_shows_changes_the_odds_and_its_absence_is_said(
    card: ModelCard, samples: list[Sample], tmp_path: Path
) -> None:
    (tmp_path / "a.png").parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(255 - pixels).save(tmp_path / "b.png")
    store = PngStore()
    base = surgeon_of(open_surgeons(card, store), "dir-base")
    training, test = folds_of(samples)[0]

    def shown(*names: str) -> list[float]:
        near = [clip.model_copy(update={"frames": names}) for clip in test[3].near]
        history = history_of(test[3].model_copy(update={"near": tuple(near)}))
        odds: list[float] = base.fit(Sights(store, frames=tmp_path))(training)([history])[0].tolist()
        return odds

    one, other, none = shown("a.png"), shown("b.png"), shown()
    assert one == shown("a.png")
    assert np.abs(np.subtract(one, other)).max() > 1e-6 and np.abs(np.subtract(one, none)).max() > 1e-6


def test_simulated_clips_are_shown_as_they_truly_are(procedure: Procedure) -> None:
    store = PngStore()
    sights = Sights(store, procedure)
    moment = list(simulate(procedure, FIRST_SEED["test"]))[4]
    assert sights.in_words(moment.clip).caption == caption_of(moment.clip, moment.state)
    (ref,) = sights.in_pictures(moment.clip).images
    assert (ref.width_px, ref.height_px) == (128, 128) and store.read(ref)
    assert sights.in_pictures(moment.clip).images == (ref,)


def test_captions_are_written_of_the_pictures_once_where_they_are_not_the_labels(
    card: ModelCard, procedure: Procedure
) -> None:
    store = PngStore()
    sights = Sights(store, procedure)
    fold, (moments,) = simulated_fold(procedure, 1)
    caption = "Seen: nothing to speak of."
    scribe = ScriptedChatModel(replies=(caption, caption))
    base = surgeon_of(open_surgeons(card, store), "indir-base")
    reader = base._replace(captioner_for=lambda _: scribe)
    asked = [history_of(fold.test[2])]
    odds = reader.fit(sights)(fold.training)(asked)
    describe = sights.captioned_by(scribe)
    assert describe(moments[2].clip) == describe(moments[2].clip)  # from what was kept: the script has run out
    assert describe(moments[2].clip).caption == caption
    assert np.abs(odds - base.fit(sights)(fold.training)(asked)).max() > 1e-6
    recorded = moments[2].clip.model_copy(update={"video": "VID01"})
    assert describe(recorded).caption == ""  # no picture, no caption, and nobody is asked


def test_a_model_that_cannot_be_scored_is_asked(samples: list[Sample]) -> None:
    training, test = folds_of(samples)[0]
    first = "Coagulation" if test[0].actions[-1] != "Coagulation" else "Dissection"
    model = ScriptedChatModel(replies=(first,))
    odds = Surgeon("served", "indir", lambda _: model).fit(Sights(PngStore()))(training)([history_of(test[0])])
    assert ACTIONS[int(odds[0].argmax())] == first and odds[0, ACTIONS.index(test[0].actions[-1])] == 0


def test_each_fold_is_asked_of_its_own_adapter_and_nobody_is_tested_by_who_knows_them(
    card: ModelCard, samples: list[Sample], adapters: Path, tmp_path: Path
) -> None:
    surgeons = open_surgeons(card, PngStore(), adapters)
    assert [surgeon.name for surgeon in surgeons] == ["indir-base", "dir-base", "indir-sft"]
    tuned, base = surgeon_of(surgeons, "indir-sft"), surgeon_of(surgeons, "indir-base")
    (training, test), (other, _), _ = folds_of(samples)
    histories = [history_of(sample) for sample in test[:3]]
    odds = [surgeon.fit(Sights(PngStore()))(training)(histories) for surgeon in (tuned, base)]
    assert not np.allclose(odds[0], odds[1], rtol=0.05, atol=1e-9)
    with pytest.raises(BadInput, match=r"There is no adapter `.*fold2`"):
        tuned.fit(Sights(PngStore()))(other)
    bundled = card.model_copy(update={"adapters": {"surgery_indir": adapters / "indir" / "fold1" / "adapter"}})
    with pytest.raises(BadInput, match=r"There is no adapter `.*fold2`"):  # nor does the card's stand in for it
        surgeon_of(open_surgeons(bundled, PngStore(), adapters), "indir-sft").fit(Sights(PngStore()))(other)
    with pytest.raises(BadInput, match="nowhere` holds no adapters"):
        open_surgeons(bundled, PngStore(), tmp_path / "nowhere")
    (tmp_path / "indir").mkdir()
    (tmp_path / "indir" / "fold2").symlink_to(adapters / "indir" / "fold1")
    careless = surgeon_of(open_surgeons(card, PngStore(), tmp_path), "indir-sft")
    with pytest.raises(BadInput, match="no training patients of fold2"):
        careless.fit(Sights(PngStore()))(other)
    (own,) = (s for s in open_surgeons(bundled, PngStore()) if s.name == "indir-sft")
    assert own.model_for(training)
    with pytest.raises(BadInput, match="no training patients of fold2"):
        own.model_for(other)


@pytest.mark.parametrize(
    ("cases", "fold", "said"),
    [
        ((), "fold1", "does not say whom it was fitted to"),
        (("VID80", "VID79"), "fold1", "VID79"),
        (("VID999",), "fold1", "VID999"),
        (("simulated-2000000",), "simulated", "simulated-2000000"),
        (("simulated-2000000",), "fold1", "simulated-2000000"),
    ],
)
def test_who_may_know_the_tested_is_refused(
    samples: list[Sample], cases: tuple[str, ...], fold: str, said: str
) -> None:
    training = folds_of(samples)[0].training._replace(fold=fold)
    with pytest.raises(BadInput, match=said):
        refuse_who_knows_the_tested(Path("adapter"), cases, training)


def test_who_may_not_is_taken(samples: list[Sample], procedure: Procedure) -> None:
    training = folds_of(samples)[0].training
    known = sorted({sample.video for sample in (*training.samples, *training.choosing)})
    refuse_who_knows_the_tested(Path("adapter"), [*known, "simulated-3", "simulated-1000000"], training)
    fold, _ = simulated_fold(procedure, 1)
    refuse_who_knows_the_tested(Path("adapter"), ["VID79", "simulated-3"], fold.training)


def test_only_samples_with_pictures_are_tested_on_where_that_is_asked(samples: list[Sample]) -> None:
    with_picture = samples[0].near[-1].model_copy(update={"frames": ("a.png",)})
    given = [samples[0].model_copy(update={"near": (with_picture,)}), *samples[1:]]
    trained: set[int] = set()

    def fit(training: Training) -> Predictor:
        trained.update(patient_of(sample.video) for sample in training.samples)
        return lambda histories: np.full((len(histories), 5), 0.2)

    rows = evaluate_recorded(given, {"even": fit}, world="video", only=lambda s: bool(s.near[-1].frames))
    assert [(row.world, row.n) for row in rows] == [("video", 1)] and trained
    with pytest.raises(BadInput, match="No sample is left"):
        evaluate_recorded(samples, {}, only=lambda s: bool(s.near[-1].frames))


def test_memory_modes_stand_beside_the_best_that_each_allows(procedure: Procedure) -> None:
    rows = evaluate_memory(procedure, 6, [], Sights(PngStore(), procedure))
    assert [row.variant for row in rows if row.what == "memory"] == list(BEST_OF)
    best = {row.variant: row.figures["slacc1"] for row in rows}
    assert best["all minus near-action"] == pytest.approx(best["all"] - best["near-action"])
    assert best["image-action"] == best["near-action"] and best["all"] > best["near"]
    assert "## Memory modes" in (text := markdown(rows)) and "(iv) all" in text


def row(what: str, world: str, model: str, slacc1: float, variant: str = "", low: float | None = None) -> Row:
    bounds = {} if low is None else {"slacc1": (low, 1.0)}
    figures = {"slacc1": slacc1, "of_bayes1": slacc1 / 0.8}
    return Row(what=what, world=world, model=model, variant=variant, n=9, n_cases=3, figures=figures, intervals=bounds)


def test_the_bars_are_those_of_the_tuned_models() -> None:
    rows = [
        row(WHAT, "simulated", "dir-sft", 0.77),
        row(WHAT, "simulated", "dir-base", 0.30),
        row(WHAT, "recorded", "bigram", 0.72),
        row(WHAT, "recorded", "trigram", 0.75),
        row(WHAT, "recorded", "indir-sft", 0.77),
        row(DIFFERENCE, "recorded", "indir-sft", -0.01, "minus boosting+seen", -0.015),
        row(MEMORY_DIFFERENCE, "simulated", "dir-sft", 0.1, "all minus near-action", 0.05),
        row(MEMORY_DIFFERENCE, "simulated", "dir-sft", 0.1, "near-action minus near", 0.0),
    ]
    bars = {bar.name: (round(bar.value, 4), bar.is_met) for bar in bars_of(rows)}
    assert bars == {
        "dir-sft, simulated: share of Bayes' top-1": (0.9625, True),
        "indir-sft, recorded: top-1 over the best n-gram": (0.02, False),
        "indir-sft, recorded: lower end of top-1 minus boosting": (-0.015, True),
        "dir-sft: lower end of memory all minus near-action": (0.05, True),
        "dir-sft: lower end of memory near-action minus near": (0.0, False),
    }
    alone = bars_of([row(WHAT, "recorded", "indir-sft", 0.77)])
    assert all(math.isnan(bar.value) and not bar.is_met for bar in alone) and len(alone) == 2
    assert bars_of(rows[1:4]) == []
    left_out = bars_of([*rows[:1], *rows[2:4]])
    assert [bar.is_met for bar in left_out] == [
        True,
        False,
        False,
    ]  # recorded patients were asked for, and nobody tuned


def test_a_temperature_is_fitted_on_validation_patients_and_never_makes_it_worse(
    card: ModelCard, procedure: Procedure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = PngStore()
    base = surgeon_of(open_surgeons(card, store), "indir-base")
    found = fit_surgeon(base, procedure, 1, Sights(store, procedure))
    assert found.n == len(list(simulate(procedure, FIRST_SEED["validation"]))) - 1 and found.n_cases == 1
    assert list(found.choice_temperature) == ["surgery_indir"]
    assert found.log_likelihood["after"] >= found.log_likelihood["before"]
    (tmp_path / "tiny.yaml").write_text(f"kind: local\nbase: {card.base}\ndevice: cpu\n")
    assert cli.main(["eval", "surgery", "--what", "fit", "--model", str(tmp_path / "tiny.yaml")]) == 2
    assert "has no adapter of indir-sft or dir-sft" in capsys.readouterr().err


def test_the_command_measures_models_and_says_which_rows_there_are(
    card: ModelCard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.yaml").write_text(f"kind: local\nbase: {card.base}\ndevice: cpu\n")
    command = ["eval", "surgery", "--what", "memory", "--patients", "1", "--model", str(tmp_path / "tiny.yaml")]
    assert cli.main([*command, "--row", "indir-base", "--json", "--out", str(tmp_path / "out")]) == 0
    *rows, last = map(json.loads, capsys.readouterr().out.splitlines())
    modes = {(r["model"], r["variant"]) for r in rows if r["what"] == "memory"}
    assert modes == {(name, mode) for name in ("indir-base", "bayes") for mode in BEST_OF} and last["bars_met"] is None
    written = json.loads((tmp_path / "out" / "surgery-memory.json").read_text())
    assert len(written["rows"]) == len(rows)
    assert cli.main([*command, "--row", "indir-sft"]) == 2
    assert "Unknown row of a model 'indir-sft'" in capsys.readouterr().err
    assert cli.main(["eval", "surgery", "--what", "video"]) == 2
    assert "Give `--data DIR`: a folder that was built with pictures" in capsys.readouterr().err
