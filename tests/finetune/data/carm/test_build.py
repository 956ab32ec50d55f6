"""The C-arm's conversations: true answers in strict forms, built once, resumed after a kill, parts kept apart."""

import csv
import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel.loadsave import save
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray
from PIL import Image
from tests.graphs.carm.reports import reported_estimate

from loopwright.agents.carm.formats import CENTRED, CORRECTION, NAVIGATION, RETRIEVAL, Ladder
from loopwright.agents.carm.places import PLACE
from loopwright.agents.carm.prompts import in_sentence, retrieval_messages
from loopwright.errors import BadInput
from loopwright.finetune.data.carm.build import CArmData, Source, TableCase, Volume, build, phantoms, table_cases
from loopwright.finetune.data.carm.tasks import TASKS, Draw, Task, TaskSettings, Truth, best_step, questions
from loopwright.finetune.data.files import check_file, read_examples
from loopwright.finetune.data.rows import IMAGE, Example
from loopwright.schema import ImageRef
from loopwright.settings import CArmSettings
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.dataset import write_dataset
from loopwright.tools.carm.geometry import Pose, in_plane_offset_mm
from loopwright.tools.carm.landmarks import LANDMARKS, canonical_name

IMAGE_REF = ImageRef(sha256="c" * 64, width_px=8, height_px=8)
SMALL = CArmData(views_per_volume=3, size_px=32)

SaveCase = Callable[[str], Source]


def truth_of(seed: int, n_absent: int = 0) -> Truth:
    rng = np.random.default_rng(seed)
    offsets = rng.normal(0, 120, size=(14, 2))
    offsets[rng.permutation(14)[:n_absent]] = np.nan
    return Truth(image=IMAGE_REF, offsets_mm=offsets, distance_mm=np.hypot(*offsets.T))


def asked(truth: Truth, *tasks: Task, seed: int = 0) -> list[tuple[str, str]]:
    found = questions(truth, TaskSettings(tasks=tasks), np.random.default_rng(seed))
    return [(prompt[-1].text, answer) for prompt, answer in found]


@pytest.fixture(scope="session")
def volumes(phantom: Case, tmp_path_factory: pytest.TempPathFactory) -> SaveCase:
    """Writes the coarse phantom under a name, as a file with landmarks."""
    folder = tmp_path_factory.mktemp("volumes")
    points = {name: point.tolist() for name, point in phantom.landmarks.items()}
    (folder / "points.json").write_text(json.dumps(points))

    def write(name: str) -> Source:
        path = folder / f"{name}.nii"
        save(Nifti1Image(phantom.volume.hounsfield, phantom.volume.affine_world), path)
        return Volume(part="train", spec=str(path), landmarks=folder / "points.json")

    return write


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".part")
    return {path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def contents(folder: Path) -> dict[str, bytes]:
    return {name: data for name, (_, data) in snapshot(folder).items()}


@given(seed=st.integers(0, 10_000), n_absent=st.integers(0, 11))
def test_answers_are_strict_and_true(seed: int, n_absent: int) -> None:
    truth = truth_of(seed, n_absent)
    ((_, retrieved),) = asked(truth, "retrieval", seed=seed)
    assert list(RETRIEVAL.parse(retrieved).landmarks) == truth.nearest[:3]
    ((_, centred),) = asked(truth, "centred", seed=seed)
    assert list(CENTRED.parse(centred).landmarks) == truth.centred[:2]
    ((prompt, corrected),) = asked(truth, "correction", seed=seed)
    assert list(CORRECTION.parse(corrected).landmarks) == truth.centred[:2]
    (untold, nearest), (told, again) = asked(truth, "nearest", seed=seed)
    assert nearest == again == truth.nearest[0]
    named = told.partition('The clinician says: "that is the ')[2].partition('"')[0]
    assert canonical_name(named) == nearest and "The clinician says" not in untold
    for prompt, answer in asked(truth, "place", seed=seed):
        (name,) = [name for name in LANDMARKS if f"Where is the {in_sentence(name)}?" in prompt]
        step_mm = 5 if name in truth.in_view else 25
        assert re.fullmatch(PLACE.pattern, answer)
        assert np.abs(np.subtract(PLACE.parse(answer), truth.offset(name))).max() <= step_mm / 2
    for prompt, answer in asked(truth, "navigation", seed=seed):
        said = NAVIGATION.parse(answer)
        (target,) = [name for name in LANDMARKS if f"Target: {name}." in prompt]
        left_mm, caudal_mm = truth.offset(target)
        assert said.landmark == truth.nearest[0]
        assert (
            said.model_dump(include={"x", "extent_x", "y", "extent_y"})
            == Ladder().command(left_mm, caudal_mm).model_dump()
        )


@given(seed=st.integers(0, 10_000))
def test_a_rejected_answer_is_never_the_right_one(seed: int) -> None:
    truth = truth_of(seed)
    settings = TaskSettings(tasks=("correction",))
    ((prompt, answer),) = questions(truth, settings, np.random.default_rng(seed))
    right = set(CORRECTION.parse(answer).landmarks)
    said = [message.text for message in prompt]
    for doubted, objection in zip(said[2::2], said[3::2], strict=True):
        form = CORRECTION if doubted.startswith("<") else CENTRED
        if "incorrect" in objection:
            assert set(form.parse(doubted).landmarks) != right


def test_what_is_drawn_varies() -> None:
    truth = truth_of(3)
    for task in TASKS:
        answers = Counter(answer for seed in range(40) for _, answer in asked(truth, task, seed=seed))
        assert len(answers) == 1 if task in ("centred", "nearest") else len(answers) > 10
    prompts = [prompt for seed in range(60) for prompt, _ in asked(truth, "correction", seed=seed)]
    for phrase in ("incorrect", "re-evaluate", "The clinician says"):
        assert 5 < sum(phrase in prompt for prompt in prompts) < 60
    steps = [prompt for seed in range(60) for prompt, _ in asked(truth, "navigation", seed=seed)]
    assert 0.4 < np.mean(["Previous: " in prompt for prompt in steps]) < 0.6
    assert 0.65 < np.mean(["Estimate: " in prompt for prompt in steps]) < 0.85


def test_the_step_before_is_no_answer_and_targets_are_mostly_in_view() -> None:
    """In a loop that went too far, the step before points the wrong way."""
    agreed, in_view = [], []
    for seed in range(150):
        truth = truth_of(seed)
        for prompt, answer in asked(truth, "navigation", seed=seed):
            (target,) = re.findall(r"Target: ([^.]+)\.", prompt)
            in_view.append(target in truth.in_view)
            before, now = re.search(r"Previous: [^.]+ (up|down)", prompt), re.search(r"<y>(UP|DOWN)", answer)
            if before and now:
                agreed.append(before[1].upper() == now[1])
    assert len(agreed) > 100
    assert 0.5 < np.mean(agreed) < 0.8
    shown = np.mean([len(truth_of(seed).in_view) / len(LANDMARKS) for seed in range(150)])
    assert np.mean(in_view) > 1.5 * shown


def estimates_of(truth: Truth, name: str, n: int) -> tuple[NDArray[np.float64], list[float], list[str]]:
    """(m, 2) errors of the estimates that `n` questions about one target are told, their sd and what they go by."""
    settings = TaskSettings(tasks=("navigation",), targets_per_view=14, report_share=1.0)
    errors, sds, bases = [], [], []
    for seed in range(n):
        for prompt, _ in questions(truth, settings, np.random.default_rng(seed)):
            told = reported_estimate(prompt[-1].text)
            if told and f"Target: {name}." in prompt[-1].text:
                errors.append(np.subtract((told.left_mm, told.caudal_mm), truth.offset(name)))
                sds.append(told.sd_mm)
                bases.append(told.basis)
    return np.array(errors), sds, bases


def test_estimates_err_as_much_as_they_say_and_now_and_then_far_more() -> None:
    offsets = np.full((14, 2), np.nan)
    for name, offset in {"T1": (10.0, -20.0), "Carina": (2.0, 30.0), "Skull": (-40.0, -260.0)}.items():
        offsets[LANDMARKS.index(name)] = offset
    truth = Truth(image=IMAGE_REF, offsets_mm=offsets, distance_mm=np.hypot(*offsets.T))
    errors, sds, bases = estimates_of(truth, "T1", 400)
    apart = np.hypot(*errors.T)
    assert 0.01 < np.mean(apart > 40) < 0.1
    assert 2 < np.median(apart) < 6 and 1.5 < np.median(sds) < 4
    assert bases.count("in view") > 350
    errors, sds, bases = estimates_of(truth, "Skull", 400)
    assert 35 < np.hypot(*errors.T).mean() < 75 and 35 < np.median(sds) < 45
    assert bases.count("in view") < 8 and any(basis == "expected from T1, Carina" for basis in bases)


def test_a_reason_says_which_way_and_how_far() -> None:
    offsets = np.full((14, 2), np.nan)
    for name, offset in {"T1": (3.0, -60.0), "Carina": (2.0, 5.0), "T12": (-400.0, 260.0)}.items():
        offsets[LANDMARKS.index(name)] = offset
    truth = Truth(image=IMAGE_REF, offsets_mm=offsets, distance_mm=np.hypot(*offsets.T))
    for seed in range(10):
        near, far = (best_step(truth, name, Ladder(), Draw(np.random.default_rng(seed))) for name in ("T1", "T12"))
        assert (near.x, near.y, near.extent_y) == ("CENTER", "UP", "MODERATE")
        assert ("60 mm towards the head" in near.reason_y and "centre" in near.reason_x) or "in line" in near.reason_x
        assert (far.x, far.extent_x, far.y) == ("RIGHT", "LARGE", "DOWN")
        assert "400 mm towards the patient's right" in far.reason_x and "260 mm towards the feet" in far.reason_y


def test_a_case_of_two_landmarks_is_asked_nothing() -> None:
    assert asked(truth_of(0, n_absent=12), *TASKS) == []


def pose_in(path: str) -> Pose:
    x, y, z, alpha, beta = (float(v) for v in Path(path).stem.split("_")[1:])
    return Pose(x_mm=x, y_mm=y, z_mm=z, alpha_deg=alpha, beta_deg=beta)


def test_what_is_built_is_good_true_and_asked_as_at_inference(volumes: SaveCase, phantom: Case, tmp_path: Path) -> None:
    written = build(tmp_path, [volumes("one")], SMALL)
    assert [path.name for path in written] == ["train.messages.jsonl", "train.sharegpt.jsonl"]
    checked = check_file(tmp_path / "train.messages.jsonl")
    assert not checked.problems and checked == check_file(tmp_path / "train.sharegpt.jsonl")
    assert set(written.values()) == {len(checked.examples)} == {3 * 10}
    for example in checked.examples:
        (path,) = example.images
        assert Image.open(tmp_path / path).size == (32, 32)
        if example.turns[-1].text.startswith("[") and ":" in example.turns[-1].text:
            assert_nearest(example, phantom, pose_in(path))


def assert_nearest(example: Example, phantom: Case, pose: Pose) -> None:
    asked_at_inference = [message.text for message in retrieval_messages(IMAGE_REF)]
    assert [turn.text.removeprefix(IMAGE) for turn in example.turns[:-1]] == asked_at_inference
    distance = {n: float(np.linalg.norm(p - pose.isocentre_world)) for n, p in phantom.landmarks.items()}
    said = [distance[name] for name in RETRIEVAL.parse(example.turns[-1].text).landmarks]
    assert said == pytest.approx(sorted(distance.values())[:3], abs=0.05)


def test_built_navigation_moves_towards_the_target(volumes: SaveCase, phantom: Case, tmp_path: Path) -> None:
    data = SMALL.model_copy(update={"asked": TaskSettings(tasks=("navigation",))})
    build(tmp_path, [volumes("one")], data)
    for example in read_examples(tmp_path / "train.messages.jsonl"):
        (target,) = [name for name in LANDMARKS if f"Target: {name}." in example.turns[1].text]
        pose = pose_in(example.images[0])
        motion = Ladder().motion(NAVIGATION.parse(example.turns[-1].text))
        before, after = (
            np.hypot(*in_plane_offset_mm(phantom.landmarks[target], p))
            for p in (pose, pose.moved(left_mm=motion.left_mm, caudal_mm=motion.caudal_mm))
        )
        assert after <= before


def test_building_again_changes_nothing_and_mends_what_is_missing(volumes: SaveCase, tmp_path: Path) -> None:
    sources = [volumes("one"), volumes("two")]
    said: list[str] = []
    build(tmp_path, sources, SMALL, on_progress=said.append)
    assert said == ["built train/one, 1 of 2", "built train/two, 2 of 2"]
    before = snapshot(tmp_path)
    build(tmp_path, sources, SMALL, on_progress=said.append)
    assert len(said) == 2 and snapshot(tmp_path) == before
    next((tmp_path / "train" / "two").glob("*.png")).unlink()
    build(tmp_path, sources, SMALL, on_progress=said.append)
    assert said[2:] == ["built train/two, 1 of 1"]
    assert contents(tmp_path) == {name: data for name, (_, data) in before.items()}


def test_workers_change_nothing(volumes: SaveCase, tmp_path: Path) -> None:
    sources = [volumes("one"), volumes("two")]
    build(tmp_path / "one", sources, SMALL)
    build(tmp_path / "two", sources, SMALL, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_build_that_is_killed_goes_on(volumes: SaveCase, tmp_path: Path) -> None:
    sources = [volumes("one"), volumes("two")]
    data = CArmData(views_per_volume=100, size_px=32)
    script = (
        "import sys; from pathlib import Path; from pydantic import TypeAdapter;"
        "from loopwright.finetune.data.carm.build import CArmData, Volume, build;"
        "sources = TypeAdapter(list[Volume]).validate_json(sys.argv[1]);"
        "build(Path(sys.argv[2]), sources, CArmData.model_validate_json(sys.argv[3]))"
    )
    listed = json.dumps([source.model_dump(mode="json") for source in sources])
    out = tmp_path / "killed"
    child = subprocess.Popen([sys.executable, "-c", script, listed, str(out), data.model_dump_json()])
    while not len(list(out.glob("train/two/*.png"))) > 3:
        assert child.poll() is None
        time.sleep(0.002)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    assert not (out / "train.messages.jsonl").exists()
    said: list[str] = []
    build(out, sources, data, on_progress=said.append)
    assert said == ["built train/two, 1 of 1"]
    build(tmp_path / "whole", sources, data)
    assert contents(out) == contents(tmp_path / "whole")


def test_other_parameters_need_another_folder(volumes: SaveCase, tmp_path: Path) -> None:
    build(tmp_path, [volumes("one")], SMALL)
    before = snapshot(tmp_path)
    with pytest.raises(BadInput, match=r"`seed` = 0, now 1.*another folder"):
        build(tmp_path, [volumes("one")], SMALL.model_copy(update={"seed": 1}))
    words = json.loads((tmp_path / "parameters.json").read_text())
    assert snapshot(tmp_path) == before
    (tmp_path / "parameters.json").write_text(json.dumps({**words, "words": "other prompts"}))
    with pytest.raises(BadInput, match="`words` = 'other prompts'"):
        build(tmp_path, [volumes("one")], SMALL)


def test_no_case_is_in_two_parts(volumes: SaveCase, tmp_path: Path) -> None:
    one = volumes("one")
    build(tmp_path, [one], SMALL)
    with pytest.raises(BadInput, match="cannot be in 'test' too"):
        build(tmp_path, [one.model_copy(update={"part": "test"})], SMALL)
    with pytest.raises(BadInput, match="Two cases are called `one`"):
        build(tmp_path, [one, one.model_copy(update={"part": "test"})], SMALL)
    with pytest.raises(BadInput, match="`phantom:5` is no phantom of the part 'test'; its seeds are 30000 to 39999"):
        build(tmp_path, [Volume(part="test", spec="phantom:5")], SMALL)
    with pytest.raises(BadInput, match="nothing to build"):
        build(tmp_path, [], SMALL)
    assert [source.folder for source in phantoms("validation", 2)] == ["phantom-10000", "phantom-10001"]


def test_a_volume_without_landmarks_is_refused(volumes: SaveCase, tmp_path: Path) -> None:
    bare = volumes("one").model_copy(update={"landmarks": None})
    with pytest.raises(BadInput, match=r"one\.nii` has 0 landmarks; expected at least 3"):
        build(tmp_path, [bare], SMALL)


def test_the_seeds_own_data_set_is_read(phantom: Case, tmp_path: Path) -> None:
    table = write_dataset([phantom], tmp_path / "seed", n_per_case=4, settings=CArmSettings(image_size_px=32))
    assert table_cases(table.parent, "test") == [TableCase(part="test", table=table, case=phantom.name)]
    written = build(tmp_path / "out", table_cases(table, "test"), SMALL, formats=["messages"])
    assert list(written.values()) == [4]
    checked = check_file(tmp_path / "out" / "test.messages.jsonl")
    assert not checked.problems
    with table.open(newline="") as file:
        for row, example in zip(csv.DictReader(file), checked.examples, strict=True):
            assert Path(row["filename"]).name == Path(example.images[0]).name
            learnt = RETRIEVAL.parse(example.turns[-1].text).landmarks
            assert learnt == RETRIEVAL.parse(row["top3_landmarks"]).landmarks
            assert (tmp_path / "out" / example.images[0]).read_bytes() == (table.parent / row["filename"]).read_bytes()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["filename,case"], "no column `top3_landmarks`"),
        (["filename,top3_landmarks,case", "a.png,,one"], "row 1: `top3_landmarks` is empty"),
        (["filename,top3_landmarks,case", 'a.png,"[1: Skull, 10: T1, 11: Carina]",one'], "row 1: picture .*a.png"),
        (["filename,top3_landmarks,case", 'b.png,"[1: Skull, 10: T1]",one'], "row 1: The answer"),
    ],
)
def test_a_wrong_table_is_named_with_its_row(tmp_path: Path, lines: list[str], said: str) -> None:
    table = tmp_path / "dataset.csv"
    table.write_text("\n".join(lines))
    Image.new("L", (8, 8)).save(tmp_path / "b.png")
    with pytest.raises(BadInput, match=said):
        build(tmp_path / "out", table_cases(table, "train"), SMALL)


def test_the_command_builds_and_checks(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from loopwright import cli

    def run(*arguments: str) -> tuple[int, list[dict[str, Any]], str]:
        code = cli.main(arguments)
        captured = capsys.readouterr()
        return code, [json.loads(line) for line in captured.out.splitlines()], captured.err

    out = tmp_path / "chats"
    command = ["data", "build", "carm", "--out", str(out), "--size-px", "32", "--views", "2", "--json"]
    code, lines, _ = run(*command, "--validation", "1", "--task", "centred", "--format", "messages")
    rows = out / "validation.messages.jsonl"
    assert (code, lines) == (0, [{"file": str(rows), "rows": 2}])
    assert run("data", "check", str(rows), "--json") == (0, [{"file": str(rows), "rows": 2, "problems": 0}], "")
    next(out.glob("validation/phantom-10000/*.png")).unlink()
    code, lines, _ = run("data", "check", str(rows), "--json")
    assert code == 1 and lines[0]["row"] in (1, 2) and "is not there" in lines[0]["problem"]
    assert lines[1] == {"file": str(rows), "rows": 1, "problems": 1}
    code, _, _ = run(*command, "--validation", "1", "--ladder", "60", "50", "150")
    assert code == 2
    for arguments, said in (
        ((), "nothing to build"),
        (("--train", "1", "--task", "centered"), "Did you mean `centred`"),
    ):
        code, lines, _ = run(*command, *arguments)
        assert code == 2 and said in lines[0]["error"]["message"]
