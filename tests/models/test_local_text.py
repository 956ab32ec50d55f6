"""Text while it is drawn: what is shown, put together, is the text, and never more of it than is certain."""

from hypothesis import given
from hypothesis import strategies as st

from loopwright.models.local.text import TextStream

BYTES = st.lists(st.binary(max_size=3), max_size=30)
LETTERS = st.lists(st.text("ab<", min_size=1, max_size=3), max_size=20)


def show(
    pieces: list[bytes], stops: tuple[str, ...] = (), hold_from: str | None = None
) -> tuple[list[str], TextStream]:
    """What a stream shows of tokens that stand for `pieces`, one entry for each token and one for the close."""

    def decode(token_ids: list[int]) -> str:
        return b"".join(pieces[i] for i in token_ids).decode(errors="replace")

    stream = TextStream(decode, stops, hold_from)
    shown = []
    for i in range(len(pieces)):
        shown.append(stream.push(i))
        if stream.stopped:
            break
    return [*shown, stream.close()], stream


@given(BYTES)
def test_all_of_it_is_shown(pieces: list[bytes]) -> None:
    shown, stream = show(pieces)
    assert "".join(shown) == stream.text == b"".join(pieces).decode(errors="replace")


def test_no_character_is_torn() -> None:
    assert show(["né".encode()[:2], "é".encode()[1:], b"!"])[0] == ["n", "é", "!", ""]


@given(LETTERS)
def test_nothing_from_a_stop_on_is_shown(pieces: list[str]) -> None:
    whole, stops = "".join(pieces), ("<b", "aab")
    shown, stream = show([piece.encode() for piece in pieces], stops)
    first = min((at for stop in stops if (at := whole.find(stop)) >= 0), default=len(whole))
    assert "".join(shown) == stream.text == whole[:first]
    assert stream.stopped == (first < len(whole))


@given(LETTERS)
def test_nothing_from_the_mark_on_is_shown_but_all_is_kept(pieces: list[str]) -> None:
    whole = "".join(pieces)
    shown, stream = show([piece.encode() for piece in pieces], hold_from="<ab")
    assert "".join(shown) == whole.partition("<ab")[0]
    assert stream.text == whole
    assert not stream.stopped


def test_only_what_may_become_a_mark_is_held_back() -> None:
    assert show([b"x<", b"a", b"c", b"<"], hold_from="<ab")[0] == ["x", "", "<ac", "", "<"]
