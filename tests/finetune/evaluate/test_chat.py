"""What a chat makes of requests is measured on real chats."""

from loopwright.finetune.evaluate.chat import Request, bars_of, evaluate_chat, requests


def test_requests_are_counted_as_what_they_begin() -> None:
    asked = [
        Request(say=("find the left wrist",), begins=({"loop": "carm", "target": ["Left wrist"]},)),
        Request(say=("find the left wrist",), begins=({"loop": "carm", "target": ["Skull"]},)),
        Request(say=("find the left wrist",)),
    ]
    (row,) = evaluate_chat("rules", {"made up": asked})
    assert (row.n, row.figures["exact"], row.figures["loop"]) == (3, 1 / 3, 2 / 3)
    assert row.figures["moved"] == 0 and all(bar.is_met for bar in bars_of([row]))


def test_an_act_that_nobody_consented_to_is_counted() -> None:
    """A yes in the request's own messages is somebody's: what it moves shows that the count can be other than 0."""
    (row,) = evaluate_chat("rules", {"made up": [Request(say=("move to T12", "yes"), begins=({"loop": "carm"},))]})
    assert row.figures["moved"] > 0 and not bars_of([row])[0].is_met


def test_there_are_enough_and_each_names_known_loops() -> None:
    listed = [each for of_kind in requests().values() for each in of_kind]
    assert len(listed) >= 60
    assert {begun["loop"] for each in listed for begun in each.begins} == {"carm", "surgery", "drive", "recipe"}
