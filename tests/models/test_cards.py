"""Model cards: what is read, what is refused, and with which words."""

from collections.abc import Callable
from pathlib import Path

import pytest

from loopwright.errors import BadInput, UnknownName
from loopwright.models.cards import BUNDLED, Decoding, ModelCard, list_cards, load_card
from loopwright.settings import settings

WriteCard = Callable[[str, str], Path]


@pytest.fixture
def own_card() -> WriteCard:
    """Writes a card into the user's folder of cards."""

    def write(name: str, text: str) -> Path:
        folder = settings().models_dir
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.yaml").write_text(text)
        return folder / f"{name}.yaml"

    return write


def test_bundled_cards_cover_the_families_and_a_server() -> None:
    cards = {card.name: card for card in list_cards()}
    assert set(cards) == {path.stem for path in BUNDLED.glob("*.yaml")}
    assert {"qwen2vl-7b", "qwen25vl-7b", "medgemma-4b", "llava15-7b", "qwen25-0.5b", "smollm2-135m"} <= {
        n for n, c in cards.items() if c.kind == "local"
    }
    assert any(card.kind == "served" for card in cards.values())
    assert all(card.description for card in cards.values())


def test_a_users_card_is_found_by_name_and_a_file_by_path(own_card: WriteCard, tmp_path: Path) -> None:
    file = own_card("mine", "kind: local\nbase: org/name\ndecoding: {temperature: 0.5, seed: 3}\n")
    card = load_card("mine")
    assert (
        card
        == ModelCard(name="mine", kind="local", base="org/name", decoding=Decoding(temperature=0.5, seed=3))
        == load_card(file)
    )
    assert "mine" in {card.name for card in list_cards()}
    elsewhere = tmp_path / "other.yaml"
    elsewhere.write_text(file.read_text())
    assert load_card(str(elsewhere)).name == "other"


def test_paths_of_a_card_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "cards").mkdir()
    file = tmp_path / "cards" / "tiny.yaml"
    file.write_text("kind: local\nbase: ../weights/base\nadapters: {carm: ../weights/carm}\n")
    card = load_card(file)
    assert card.base_folder == tmp_path / "weights" / "base"
    assert card.adapters == {"carm": tmp_path / "weights" / "carm"}
    assert ModelCard(name="x", kind="local", base="org/name").base_folder is None


def test_an_unknown_card_suggests_the_nearest(own_card: WriteCard) -> None:
    own_card("my-navigator", "kind: scripted\nreplies: ['yes']\n")
    with pytest.raises(UnknownName, match="Did you mean `my-navigator`"):
        load_card("my_navigator")
    with pytest.raises(UnknownName, match=r"Did you mean .*`qwen25vl-7b`"):
        load_card("qwen25-vl-7b")


def test_a_users_card_cannot_hide_a_bundled_one(own_card: WriteCard) -> None:
    file = own_card("qwen25vl-7b", "kind: local\nbase: org/name\n")
    with pytest.raises(BadInput, match="Rename the file") as raised:
        load_card("qwen25vl-7b")
    assert str(file) in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: locl\nbase: x", "`kind` = 'locl'"),
        ("kind: local", "a local model needs `base`"),
        ("kind: served\nbase: x", "a served model needs `base_url`"),
        ("kind: scripted", "a scripted model needs `replies`"),
        ("kind: local\nbase: x\nbase_url: http://localhost/v1", "a local model has no `base_url`"),
        ("kind: served\nbase: x\nbase_url: u\nadapters: {a: b}", "a served model has no `adapters`"),
        ("kind: local\nbse: x", "Did you mean `base`"),
        ("kind: local\nbase: x\nname: other", "Unknown key"),
        ("kind: local\nbase: x\ndecoding: {temprature: 1}", r"`decoding\.temprature` = 1"),
        ("kind: local\nbase: x\ndecoding: {temperature: -1}", r"`decoding\.temperature` = -1"),
        ("kind: local\nbase: x\nquantisation: int3", "'nf4'"),
        ("kind: served\nbase: x\nbase_url: u\nbudget: {max_cost_usd: 1}", "needs `prompt_usd_per_million`"),
        ("- kind: local", "expected keys such as `kind`"),
        ("kind: [", "is not valid YAML"),
    ],
)
def test_what_is_no_card_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "card.yaml"
    file.write_text(text)
    with pytest.raises(BadInput, match=said) as raised:
        load_card(file)
    assert str(file) in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no model card .*none\.yaml"):
        load_card(tmp_path / "none.yaml")
