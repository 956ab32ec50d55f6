"""Clips: what each rule makes of the same seconds, and that nothing is lost uncounted."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tools.surgery.cholec_files import labels_of, seconds_of

from loopwright.errors import BadInput, UnknownName
from loopwright.tools.surgery.cholec import FrameLabels, read_labels
from loopwright.tools.surgery.clips import Clip, ClipRules, Counts, clips_of, load_rules
from loopwright.tools.surgery.samples import HistoryRules, samples_of

SHORT = {
    "Aspiration": "A",
    "Coagulation": "C",
    "Dissection": "D",
    "Tissue Retraction": "R",
    "Vessel Clipping": "V",
}


def said(clips: list[Clip]) -> str:
    return " ".join(f"{SHORT[clip.action]}{clip.start_s}-{clip.end_s}" for clip in clips)


@pytest.mark.parametrize(
    ("letters", "rules", "expected"),
    [
        ("RRRDDDRRR", {}, "R0-2 D3-5 R6-8"),
        ("RRRDDRRR", {}, "R0-7"),  # too short a run goes, and its neighbours are one
        ("RRRDDRRR", {"min_s": 2}, "R0-2 D3-4 R5-7"),
        ("RRR..RRR", {}, "R0-7"),
        ("RRR..RRR", {"join_gap_s": 2}, "R0-7"),
        ("RRR..RRR", {"join_gap_s": 1}, "R0-2 R5-7"),
        ("RRRXXXDDD", {}, "R0-2 D6-8"),
        ("RRRXXXDDD", {"overlap": "rank"}, "R0-2 C3-5 D6-8"),
        ("RRRDDD", {"background": None}, "R0-2"),  # retraction goes on beside, so all is overlap
        ("RRRDDD", {"background": None, "overlap": "rank"}, "R0-2 D3-5"),
        ("RRRVVV", {"verb_actions": {"clip": "Vessel Clipping"}}, "V3-5"),
        ("......", {}, ""),
        ("", {}, ""),
    ],
)
def test_each_rule(letters: str, rules: dict[str, Any], expected: str) -> None:
    clips, _ = clips_of(labels_of(seconds_of(letters)), ClipRules.model_validate(rules))
    assert said(clips) == expected


letters = st.text(alphabet="RDCVAX.", max_size=60)
any_rules = st.builds(
    ClipRules,
    overlap=st.sampled_from(["drop", "rank"]),
    min_s=st.integers(1, 5),
    join_gap_s=st.none() | st.integers(0, 6),
)


@given(letters, any_rules)
def test_every_second_is_in_a_clip_or_counted(letters: str, rules: ClipRules) -> None:
    clips, counts = clips_of(labels_of(seconds_of(letters)), rules)
    dropped = counts.no_action + counts.too_short_frames + (counts.overlapping if rules.overlap == "drop" else 0)
    assert counts.frames == len(letters) == sum(clip.labelled_s for clip in clips) + dropped
    assert counts.runs == counts.clips + counts.joined + counts.too_short
    assert [clip.index for clip in clips] == list(range(len(clips)))
    for before, after in itertools.pairwise(clips):
        assert before.end_s < after.start_s
        assert rules.join_gap_s is not None or before.action != after.action
    assert all(rules.min_s <= clip.duration_s and clip.labelled_s <= clip.duration_s for clip in clips)


@given(letters)
def test_a_clip_tells_what_was_in_view_in_its_own_seconds(letters: str) -> None:
    clips, _ = clips_of(labels_of(seconds_of(letters)), ClipRules())
    for clip in clips:
        assert all(0 < seconds <= clip.labelled_s for seconds in clip.instruments.values())
        if clip.action == "Dissection":
            assert clip.main_instruments == ("grasper", "hook")
            assert clip.targets == {"gallbladder": clip.labelled_s}


def test_seconds_that_nobody_labelled_do_not_break_a_run() -> None:
    """Key frames at 0, 7, 14, ...: three of one action make one clip, not three that are too short."""
    dense = labels_of(seconds_of("RRRDD"))
    sparse = FrameLabels(**{**vars(dense), "frames": dense.frames * 7})
    clips, counts = clips_of(sparse, ClipRules())
    assert said(clips) == "R0-14 D21-28"
    assert (clips[0].labelled_s, clips[0].duration_s, counts.too_short) == (3, 15, 0)


def test_phases_are_filtered_and_their_absence_is_a_rule() -> None:
    labels = labels_of(seconds_of("RRRDDDRRRDDD"), phases=[0] * 3 + [1] * 3 + [3] * 3 + [-1] * 3)
    clips, counts = clips_of(labels, ClipRules())
    assert said(clips) == "D3-5 R6-8 D9-11"
    assert [clip.phase for clip in clips] == ["calot-triangle-dissection", "gallbladder-dissection", None]
    assert (counts.other_phase, counts.unknown_phase) == (3, 3)
    assert said(clips_of(labels, ClipRules(unknown_phase="drop"))[0]) == "D3-5 R6-8"
    assert said(clips_of(labels, ClipRules(phases=None))[0]) == "R0-2 D3-5 R6-8 D9-11"


def test_counts_add_up_over_videos() -> None:
    one, two = (clips_of(labels_of(seconds_of(text)), ClipRules())[1] for text in ("RRRD.", "VVVX"))
    assert one + two == clips_of(labels_of(seconds_of("RRRD.VVVX")), ClipRules())[1]
    assert one + Counts() == one


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("verb_actions: {sing: Dissection}", UnknownName, "Unknown verb 'sing'"),
        ("verb_actions: {clip: Clipping}", BadInput, "`verb_actions.clip` = 'Clipping'"),
        ("phases: [closing]", UnknownName, "Unknown phase 'closing'"),
        ("min_s: 0", BadInput, "`min_s` = 0"),
        ("minimum: 3", BadInput, "Its keys are verb_actions"),
        ("overlap: rank\nrank: [Dissection]", BadInput, "name each action once"),
        ("{", BadInput, "expected YAML"),
    ],
)
def test_wrong_rules_are_refused_by_name(tmp_path: Path, text: str, error: type[BadInput], message: str) -> None:
    (tmp_path / "rules.yaml").write_text(text)
    with pytest.raises(error) as refused:
        load_rules(tmp_path / "rules.yaml")
    assert message in str(refused.value)


def test_rules_in_a_file_replace_the_usual_ones(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("min_s: 5\njoin_gap_s: 0\nphases: null\n")
    assert load_rules(tmp_path / "rules.yaml") == ClipRules(min_s=5, join_gap_s=0, phases=None)
    (tmp_path / "rules.yaml").write_text("")
    assert load_rules(tmp_path / "rules.yaml") == ClipRules()


@given(letters, st.integers(1, 4), st.integers(1, 4))
def test_samples_know_the_past_only(letters: str, near: int, least: int) -> None:
    clips, _ = clips_of(labels_of(seconds_of(letters)), ClipRules(min_s=1))
    samples = list(samples_of(clips, HistoryRules(near_clips=near, min_clips=least)))
    assert len(samples) == max(0, len(clips) - least)
    for sample in samples:
        known = clips[: sample.index + 1]
        assert sample.actions == tuple(clip.action for clip in known)
        assert sample.near == tuple(known[-near:])
        assert sample.next == clips[sample.index + 1].action
        after = clips[sample.index + 2 :]
        assert sample.after_next == (after[0].action if after else None)


@pytest.mark.parametrize(("name", "rules"), [("merged", ClipRules()), ("raw", ClipRules(min_s=1, join_gap_s=0))])
def test_real_clips_are_the_reference_ones(real_data: Path, name: str, rules: ClipRules) -> None:
    """34 videos of CholecT45: every clip of the reference file, to the second."""
    expected = json.loads((real_data / "surgery" / "derived_action_clips.json").read_text())[name]
    videos = read_labels(real_data / "surgery", "cholect45")
    assert {video.video for video in videos} == set(expected)
    for video in videos:
        clips, _ = clips_of(video, rules)
        wanted = [(clip["action"], clip["start"], clip["end"]) for clip in expected[video.video]]
        assert [(clip.action, clip.start_s, clip.end_s) for clip in clips] == wanted
