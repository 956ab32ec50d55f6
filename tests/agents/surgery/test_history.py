"""The four memory modes are views: each shows what it should, and nothing that it should not."""

from collections import Counter
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from loopwright.agents.surgery.history import (
    MemoryMode,
    MemorySettings,
    MemoryView,
    NearAs,
    Step,
    imagined,
    step_of,
    steps_of,
    view,
)
from loopwright.schema import ImageRef
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.samples import HistoryRules, samples_of
from loopwright.tools.surgery.vocabulary import ACTIONS, Action

ORDER: tuple[Action, ...] = ("Tissue Retraction", "Dissection", "Coagulation", "Dissection", "Vessel Clipping")


def pictures(step: int) -> tuple[ImageRef, ...]:
    return tuple(ImageRef(sha256=f"{10 * step + i:064x}", width_px=128, height_px=128) for i in range(2))


STEPS = tuple(
    Step(action=action, duration_s=10 + i, caption=f"caption {i}", images=pictures(i)) for i, action in enumerate(ORDER)
)
pasts = st.lists(st.sampled_from(ACTIONS), max_size=30).map(
    lambda actions: tuple(
        Step(action=a, duration_s=i + 1, caption=f"caption {i}", images=pictures(i)) for i, a in enumerate(actions)
    )
)
choices = st.builds(
    MemorySettings,
    mode=st.sampled_from(get_args(MemoryMode)),
    near_as=st.sampled_from(get_args(NearAs)),
    near_steps=st.integers(1, 6),
    distant_steps=st.integers(0, 10),
)


def shown(mode: MemoryMode, near_as: NearAs = "captions", near_steps: int = 2) -> MemoryView:
    return view(STEPS, MemorySettings(mode=mode, near_as=near_as, near_steps=near_steps))


def test_i_the_last_picture_and_its_action() -> None:
    found = shown("image-action", "pictures")
    assert [step.action for step in found.near] == ["Vessel Clipping"]
    assert found.images == pictures(4)[-1:] and found.near[0].duration_s is None
    assert (found.distant, found.earlier) == ((), {})


def test_ii_near_steps_without_their_actions() -> None:
    found = shown("near")
    assert [(step.action, step.caption) for step in found.near] == [(None, "caption 3"), (None, "caption 4")]
    assert not any(action in found.model_dump_json() for action in ACTIONS)


def test_iii_near_steps_with_their_actions() -> None:
    found = shown("near-action")
    assert [(step.action, step.duration_s) for step in found.near] == [("Dissection", 13), ("Vessel Clipping", 14)]
    assert found.distant == ()


def test_iv_the_actions_of_all_steps_before_too() -> None:
    found = shown("all")
    assert found.near == shown("near-action").near
    assert found.distant == ("Tissue Retraction", "Dissection", "Coagulation")


def test_the_paper_shows_the_last_step_in_detail() -> None:
    found = view(STEPS)
    assert len(found.near) == 1 and found.distant == ORDER[:-1]


@given(steps=pasts, settings=choices)
def test_a_view_shows_pictures_or_captions_and_never_both(steps: tuple[Step, ...], settings: MemorySettings) -> None:
    found = view(steps, settings)
    if settings.near_as == "captions":
        assert found.images == ()
    else:
        assert not any(step.caption for step in found.near)
    near = min(len(steps), 1 if settings.mode == "image-action" else settings.near_steps)
    assert len(found.near) == near


@given(steps=pasts, settings=choices)
def test_nothing_is_forgotten_or_told_twice_in_the_last_mode(steps: tuple[Step, ...], settings: MemorySettings) -> None:
    found = view(steps, settings.model_copy(update={"mode": "all"}))
    told = Counter(found.earlier) + Counter(found.distant) + Counter(step.action for step in found.near if step.action)
    assert told == Counter(step.action for step in steps)
    assert len(found.distant) <= settings.distant_steps
    assert not found.earlier or len(found.distant) == settings.distant_steps


def test_imagined_steps_follow_what_was_seen_last() -> None:
    steps = imagined(STEPS, ["Dissection", "Coagulation"])
    found = view(steps, MemorySettings(near_steps=1))
    assert [(step.action, step.is_imagined) for step in found.near] == [
        ("Vessel Clipping", False),
        ("Dissection", True),
        ("Coagulation", True),
    ]
    assert found.near[0].caption == "caption 4" and found.distant == ORDER[:-1]
    assert view(steps, MemorySettings(mode="near")) == view(STEPS, MemorySettings(mode="near"))
    assert [step.is_imagined for step in view(imagined((), ["Dissection"])).near] == [True]


def test_a_sample_is_a_past_whose_last_clips_are_described() -> None:
    clips = [
        Clip(video="VID01", index=i, action=action, start_s=10 * i, end_s=10 * i + 9, labelled_s=10)
        for i, action in enumerate((*ORDER, "Aspiration"))
    ]
    sample = list(samples_of(clips, HistoryRules(near_clips=2)))[-1]
    steps = steps_of(sample, lambda clip: step_of(clip, caption=f"clip {clip.index}"))
    assert tuple(step.action for step in steps) == ORDER and sample.next == "Aspiration"
    assert [step.caption for step in steps] == ["", "", "", "clip 3", "clip 4"]
    assert [step.duration_s for step in steps] == [None, None, None, 10, 10]
    assert steps_of(sample)[:3] == steps[:3]


@pytest.mark.parametrize("wrong", [{"near_steps": 0}, {"distant_steps": -1}, {"mode": "some"}, {"near_as": "sound"}])
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MemorySettings.model_validate(wrong)
