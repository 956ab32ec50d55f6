"""Vision-language models in the evaluation of localisation: a tiny random one with an adapter, and a served one."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tests.finetune.sft.sft_runs import whole_run
from tests.models import tiny
from tests.models.chat_server import MODEL, ChatServer, Turn

from loopwright.agents.carm.formats import RETRIEVAL, Centred, Retrieval
from loopwright.errors import BadInput, UnknownName
from loopwright.finetune.evaluate.carm import answers
from loopwright.finetune.evaluate.carm.answers import hear, ranking_of
from loopwright.finetune.evaluate.carm.fit import fit, pooled_posteriors
from loopwright.finetune.evaluate.carm.localisation import evaluate_localisation
from loopwright.finetune.evaluate.carm.pictures import PictureSets, take_pictures
from loopwright.finetune.evaluate.carm.plot import plot_confusion, shares
from loopwright.finetune.evaluate.carm.preservation import adapted, evaluate_preservation, probed_worlds
from loopwright.finetune.evaluate.carm.rankings import Ranked, after_incorrect, chance_row, of_scores
from loopwright.finetune.evaluate.carm.tables import markdown
from loopwright.finetune.evaluate.carm.vlm import Vlm, open_vlms
from loopwright.finetune.evaluate.language import evaluate_language
from loopwright.finetune.evaluate.pictures import PngStore
from loopwright.finetune.measure.rows import CHANGE, Bar, Row
from loopwright.models.cards import ModelCard
from loopwright.models.networks.carm import CArmLocaliser, CArmNetwork, NetworkConfig
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.landmarks import LANDMARKS

N_VIEWS, SIZE_PX, HALF_VIEW_MM = 4, 56, 77.4
OTHERS = ("T12", "Skull", "Left elbow")


@pytest.fixture(scope="module")
def trunk(phantom: Case) -> Case:
    """The phantom, of which five landmarks are annotated."""
    names = ("Skull", "T1", "Carina", "Left humeral head", "T12")
    return Case(name="trunk", volume=phantom.volume, landmarks={name: phantom.landmarks[name] for name in names})


@pytest.fixture(scope="module")
def pictures(trunk: Case) -> PictureSets:
    return take_pictures([trunk], N_VIEWS, size_px=SIZE_PX)


@pytest.fixture(scope="module")
def network() -> CArmLocaliser:
    torch.manual_seed(0)
    small = CArmNetwork(NetworkConfig(widths=(8, 8, 16), blocks=(1, 1, 1), neck=8))
    return CArmLocaliser(small, LANDMARKS, metadata={"prior": json.dumps(dict.fromkeys(LANDMARKS, 1 / 14))})


@pytest.fixture(scope="module")
def vlms() -> list[Vlm]:
    """`vlm-base` and `vlm-sft`: a random model, and the same after six steps of training."""
    base = str(tiny.folder_of("qwen2.5-vl"))
    card = ModelCard(name="tiny", kind="local", base=base, adapters={"carm": whole_run().adapter})
    return open_vlms(card, PngStore())


@pytest.fixture(scope="module")
def measured(network: CArmLocaliser, trunk: Case, vlms: list[Vlm]) -> Iterator[tuple[list[Row], list[Bar]]]:
    """The whole evaluation of one case, timed on one picture only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "TIMED", 1)
        yield evaluate_localisation(
            network, [trunk], N_VIEWS, world="phantom", size_px=SIZE_PX, vlms=vlms, confusion=True
        )


def test_base_tuned_and_hybrid_stand_beside_the_network(measured: tuple[list[Row], list[Bar]]) -> None:
    rows, bars = measured
    by = {(r.what, r.model, r.variant): r.figures for r in rows}
    for model in ("vlm-base", "vlm-sft"):
        said = by["localisation", model, "all"]
        assert said["strict_format"] == said["repaired_format"] == 1.0
        assert 0 <= said["h2_re_evaluated"] <= said["h2_incorrect"] <= 1
        assert 0 <= by["format", model, "drawn freely"]["strict_format"] <= 1
        assert by["latency", model, "retrieval"]["median_s"] > 0 < by["latency", model, "scored choices"]["median_s"]
        assert "p1" in by["localisation", model, "annotated, scored choices"]
    assert {"h1", "h2_incorrect", "exact_nearest"} <= by["localisation", "hybrid", "annotated"].keys()
    assert by["latency", "hybrid", ""]["median_s"] > 0 < by["latency", "network", ""]["median_s"]
    assert {bar.name.split()[1] for bar in bars} == {"network", "hybrid", "vlm-sft"}
    assert "phantom vlm-sft over vlm-base p3" in {bar.name for bar in bars}


def test_the_adapter_is_what_tells_tuned_from_base(vlms: list[Vlm], pictures: PictureSets) -> None:
    base, tuned = (vlm.score_nearest(vlm.show(pictures.body.views.images[:2])) for vlm in vlms)
    assert base.probabilities.shape == (2, 14) and base.probabilities.sum(1) == pytest.approx(1)
    assert not np.allclose(base.log_probs, tuned.log_probs)


def test_each_landmark_has_a_row_of_what_it_is_taken_for(measured: tuple[list[Row], list[Bar]], tmp_path: Path) -> None:
    of_network = [r for r in measured[0] if r.what == "confusion" and r.model == "network"]
    assert [r.variant for r in of_network] == ["Skull", "Left humeral head", "T1", "Carina", "T12"]
    table = shares(of_network)
    assert np.nansum(table, axis=1)[[LANDMARKS.index("T1"), LANDMARKS.index("T12")]] == pytest.approx(1)
    assert np.isnan(table[LANDMARKS.index("Left wrist")]).all()
    plot_confusion([r for r in measured[0] if r.what == "confusion"], tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


def test_tables_have_a_column_a_model_and_the_papers_figures(measured: tuple[list[Row], list[Bar]]) -> None:
    written = markdown("localisation", *measured)
    head = "|  | chance | prior-frequency | vlm-base | vlm-base, scored choices | vlm-sft | vlm-sft, scored choices |"
    assert f"{head} network | network, by place | hybrid | paper |" in written
    line = next(line for line in written.splitlines() if line.startswith("| P@1 |"))
    assert line.startswith("| P@1 | .214 |") and line.endswith("| network .995, tuned .96, base .64 |")
    assert 'H@2 after "incorrect"' in written and "| **no** |" in written


def test_a_fence_is_repaired_and_nonsense_is_wrong(pictures: PictureSets) -> None:
    strict = RETRIEVAL.render(Retrieval(names=OTHERS))
    with ChatServer(Turn(pieces=(strict,)), Turn(pieces=(f"```\n{strict}\n```",))) as server:
        [vlm] = open_vlms(served(server), PngStore())
        assert vlm.name == "vlm-base" and vlm.local is None
        found = vlm.retrieve(vlm.show(pictures.body.views.images))
    assert sorted(map(np.mean, found.formats.values())) == [1 / 4, 2 / 4]
    assert sorted(ranking_of(found.values, 3).tolist()) == [[-1] * 3] * 2 + [[LANDMARKS.index(n) for n in OTHERS]] * 2


def test_a_served_model_that_talks_nonsense_scores_nothing(
    pictures: PictureSets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "TIMED", 1)
    with ChatServer() as server:
        [vlm] = open_vlms(served(server), PngStore())
        said = hear(vlm, "phantom", pictures, HALF_VIEW_MM)
    [ranked] = said.ranked
    figures = ranked.row("phantom", pictures).figures
    assert {figures[name] for name in ("p1", "r3", "h2", "h2_incorrect", "strict_format", "repaired_format")} == {0.0}
    assert said.posteriors is None
    assert {next(iter(row.figures.items())) for row in ranked.confusion("phantom", pictures)} == {("malformed", 1.0)}
    assert "| median, mm | - |" in markdown("localisation", said.rows, [])


def served(server: ChatServer) -> ModelCard:
    return ModelCard(name="served", kind="served", base=MODEL, base_url=server.url)


def test_the_truth_scores_everything_and_elimination_is_what_chance_says(pictures: PictureSets) -> None:
    perfect = of_scores("m", "all", -np.nan_to_num(pictures.body.views.distance_mm, nan=1e4), truth_of(pictures))
    row = perfect.row("phantom", pictures)
    assert {row.figures[name] for name in ("p3", "r3", "exact_nearest", "ordered_triple", "h1", "h2")} == {1.0}
    assert (row.n, row.figures["n_centred"]) == (N_VIEWS, 5)
    rng = np.random.default_rng(0)
    truth = rng.integers(14, size=4000)
    random = Ranked(
        "m", "all", np.empty((0, 3), dtype=np.intp), rng.permuted(np.tile(np.arange(14), (4000, 1)), axis=1)
    )
    expected = chance_row("phantom", "all", pictures).figures
    for k in (1, 2):
        hit = after_incorrect(random.centred[:, :2], random.centred[:, 2:4], truth)[f"h{k}_incorrect"].mean()
        assert hit == pytest.approx(expected[f"h{k}_incorrect"], abs=0.025)


def truth_of(pictures: PictureSets) -> np.ndarray:
    return np.eye(len(LANDMARKS))[pictures.centred.centred_on]


def test_a_malformed_answer_is_minus_one() -> None:
    assert ranking_of([Centred(landmarks=("T1", "T12")), None], 2).tolist() == [[9, 13], [-1, -1]]
    assert ranking_of([], 3).shape == (0, 3)


def test_only_pairs_without_the_truth_are_called_incorrect() -> None:
    before, after = np.array([[1, 2], [2, 1], [3, 4]]), np.array([[5, 6], [5, 6], [1, 7]])
    found = after_incorrect(before, after, np.array([1, 1, 1]))
    assert [v.tolist() for v in found.values()] == [[1, 0, 1], [1, 1, 1]]


def test_what_is_fitted_is_the_best_of_the_grid(network: CArmLocaliser, trunk: Case, vlms: list[Vlm]) -> None:
    found = fit(network, vlms[1], [trunk], 3, size_px=SIZE_PX)
    assert (found.n, found.n_cases) == (3 + 5, 1)
    assert found.choice_temperature.keys() == {"carm"} and found.choice_temperature["carm"] > 0
    (weight,) = found.pool_weight.values()
    assert found.by_weight[str(weight)] == max(found.by_weight.values())
    assert found.log_likelihood["hybrid"] >= found.log_likelihood["network"]
    assert sum(error.n for error in found.places.values()) == 4 * found.n


def test_posteriors_are_pooled_as_the_hybrid_does() -> None:
    network, model = np.random.default_rng(0).dirichlet(np.ones(14), size=(2, 5))
    product = network * model**0.3
    assert pooled_posteriors(network, model, 0.3) == pytest.approx(product / product.sum(1, keepdims=True))
    assert pooled_posteriors(network, model, 0.0) == pytest.approx(network)


def test_a_served_model_has_nothing_to_fit(network: CArmLocaliser, trunk: Case) -> None:
    with ChatServer() as server:
        [vlm] = open_vlms(served(server), PngStore())
        with pytest.raises(BadInput, match="is not local"):
            fit(network, vlm, [trunk], 1)
        with pytest.raises(BadInput, match="has no adapter 'carm'"):
            evaluate_preservation(vlm, {}, 1, Path("nowhere"))


def test_language_is_asked_before_and_after_by_the_harness(vlms: list[Vlm], tmp_path: Path) -> None:
    questions = [
        {"question": f"Which landmark is number {i}?", "choices": ["Skull", "Carina", "T1"], "answer": i % 3}
        for i in range(9)
    ]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(q) + "\n" for q in questions))
    task = {
        "task": "landmarks",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "q.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}} ",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    (tmp_path / "landmarks.yaml").write_text(yaml.safe_dump(task))
    local, adapter = adapted(vlms[0])
    rows = evaluate_language(local, adapter, [str(tmp_path / "landmarks.yaml")], 6)
    assert [(row.model, row.variant, row.n) for row in rows] == [
        ("vlm-base", "landmarks, acc", 6), ("vlm-sft", "landmarks, acc", 6), (CHANGE, "landmarks, acc", 6)
    ]  # fmt: skip
    was, now, change = (row.figures["score"] for row in rows)
    assert change == pytest.approx(now - was) and 0 <= was <= 1
    assert "landmarks, acc" in markdown("preservation", rows, [])
    with pytest.raises(UnknownName, match="Did you mean `mmlu_pro`"):
        evaluate_language(local, adapter, ["mmlu-pro"], 6)


def test_preservation_is_a_change_question_by_question(vlms: list[Vlm], tmp_path: Path) -> None:
    probed = probed_worlds(1, views_per_phantom=3)
    rows = evaluate_preservation(vlms[0], probed, 1, tmp_path)
    by = {(r.model, r.variant): r for r in rows}
    assert by["vlm-base", "all"].n == len({r.variant for r in rows}) - 1
    for kind in ("all", "nearest", "caption"):
        before, after, change = (by[m, kind].figures["word_f1"] for m in ("vlm-base", "vlm-sft", CHANGE))
        assert change == pytest.approx(after - before)
    assert "| caption |" in markdown("preservation", rows, [])
