"""Volumes that no network was trained on."""

import pytest

from loopwright.errors import BadInput, UnknownName
from loopwright.tools.carm.landmarks import LANDMARKS
from loopwright.tools.carm.phantom.strangers import STRANGERS, make_stranger
from loopwright.tools.carm.sources import open_case


@pytest.mark.parametrize("kind", STRANGERS)
def test_a_stranger_is_made_from_its_kind_and_seed(kind: str) -> None:
    first, again, other = make_stranger(kind, 3), open_case(f"stranger:{kind}:3"), make_stranger(kind, 4)
    assert first.name == f"{kind}-3"
    assert first.volume.sha256 == again.volume.sha256 != other.volume.sha256
    assert set(first.landmarks) <= (set(LANDMARKS) if kind == "scale" else set())


def test_one_of_another_scale_is_much_smaller_or_larger_than_a_person() -> None:
    spans = [
        abs(case.landmarks["T12"][2] - case.landmarks["T1"][2])
        for case in (make_stranger("scale", n) for n in range(2))
    ]
    assert all(span < 180 or span > 380 for span in spans)


def test_what_is_no_stranger_is_named() -> None:
    with pytest.raises(UnknownName, match="Did you mean `pelvis`"):
        open_case("stranger:pelvic:3")
    with pytest.raises(BadInput, match=r"expected a whole number, 0 or more: `stranger:pelvis:7`"):
        open_case("stranger:pelvis:x")
