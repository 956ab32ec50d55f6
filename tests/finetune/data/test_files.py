"""Files of conversations: both formats say the same, either is read, and what is wrong is named with file and row."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from PIL import Image

from loopwright.errors import BadInput
from loopwright.finetune.data.files import check_file, read_examples, write_dataset_info, write_examples
from loopwright.finetune.data.rows import FORMATS, IMAGE, Example, FormatName, Turn, example_of, read_row
from loopwright.models.images import image_block
from loopwright.schema import ImageRef

words = st.text(min_size=1, max_size=30).filter(lambda text: text.strip() and IMAGE not in text)
shown = st.tuples(words, st.integers(0, 2)).map(lambda drawn: IMAGE * drawn[1] + drawn[0])
formats: tuple[FormatName, ...] = ("messages", "sharegpt")

USER: dict[str, Any] = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}
ASSISTANT: dict[str, Any] = {"role": "assistant", "content": "A skull."}
GOOD: dict[str, Any] = {"messages": [USER, ASSISTANT], "images": ["a.png"]}


@st.composite
def examples(draw: st.DrawFn) -> Example:
    turns = [Turn(role="system", text=draw(words))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        turns += [Turn(role="user", text=draw(shown)), Turn(role="assistant", text=draw(words))]
    n_images = sum(turn.text.count(IMAGE) for turn in turns)
    return Example(turns=tuple(turns), images=tuple(f"train/{i}.png" for i in range(n_images)))


@given(example=examples())
def test_both_formats_say_the_same(example: Example) -> None:
    for form in FORMATS.values():
        assert read_row(json.loads(json.dumps(form.write(example)))) == example


@given(many=st.lists(examples(), min_size=1, max_size=4))
def test_a_file_can_be_turned_into_the_other_format_and_back(
    tmp_path_factory: pytest.TempPathFactory, many: list[Example]
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    for one, other in (formats, formats[::-1]):
        write_examples(folder / "one.jsonl", many, one)
        write_examples(folder / "other.jsonl", read_examples(folder / "one.jsonl"), other)
        assert read_examples(folder / "other.jsonl") == tuple(many)


def test_the_formats_are_those_of_trl_and_llama_factory() -> None:
    example = Example(
        turns=(
            Turn(role="system", text="Be brief."),
            Turn(role="user", text=f"{IMAGE}What is it?"),
            Turn(role="assistant", text="A skull."),
        ),
        images=("a.png",),
    )
    assert FORMATS["messages"].write(example) == {
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "A skull."}]},
        ],
        "images": ["a.png"],
    }
    assert FORMATS["sharegpt"].write(example) == {
        "conversations": [{"from": "human", "value": f"{IMAGE}What is it?"}, {"from": "gpt", "value": "A skull."}],
        "system": "Be brief.",
        "images": ["a.png"],
    }


def test_other_tags_are_read_too() -> None:
    said = [{"from": "system", "value": "S"}, {"from": "user", "value": "U"}, {"from": "assistant", "value": "A"}]
    assert read_row({"conversations": said, "id": 3, "images": None}) == read_row(
        {"messages": [{"role": turn["from"], "content": turn["value"]} for turn in said]}
    )


def test_trl_takes_the_messages_as_they_are() -> None:
    from trl.data_utils import prepare_multimodal_messages

    row = FORMATS["messages"].write(read_row(GOOD))
    picture = Image.new("L", (8, 8))
    prepared = prepare_multimodal_messages(row["messages"], images=[picture])
    assert prepared[0]["content"][0] == {"type": "image", "image": picture}


def test_an_example_is_made_of_the_messages_of_inference() -> None:
    ref = ImageRef(sha256="b" * 64, width_px=8, height_px=8)
    prompt = [
        SystemMessage("S"),
        HumanMessage(content=[image_block(ref), {"type": "text", "text": "What is it?"}]),
        AIMessage("A hand."),
        HumanMessage("No."),
    ]
    example = example_of(prompt, "A skull.", {ref.sha256: "train/b.png"})
    assert [turn.text for turn in example.turns] == ["S", f"{IMAGE}What is it?", "A hand.", "No.", "A skull."]
    assert example.images == ("train/b.png",)


def changed(**fields: Any) -> str:
    return json.dumps({**GOOD, **fields})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "no JSON"),
        ("[]", "a JSON object is expected, not list"),
        ('{"text": "x"}', "the row has `text`; expected `messages` or `conversations`"),
        (changed(images=[]), "<image> stands there 1 times, but there are 0 images"),
        (changed(images=["a.png", "b.png"]), "1 times, but there are 2 images"),
        (changed(images=["/a.png"]), "'/a.png' is no path below the data set's folder"),
        (changed(images=["../a.png"]), "'../a.png' is no path below"),
        (changed(images="a.png"), "`images`"),
        (changed(videos=[]), "the key `videos` is unknown"),
        (changed(messages=[]), "here speak nobody"),
        (changed(messages="x"), "expected a list of turns"),
        (changed(messages=[USER]), "here speak user"),
        (changed(messages=[ASSISTANT, USER]), "here speak assistant, user"),
        (changed(messages=[USER, USER, ASSISTANT]), "here speak user, user, assistant"),
        (changed(messages=[USER, {"role": "assistant", "content": " "}]), "the assistant's text is empty"),
        (changed(messages=[USER, {"role": "assistant", "content": [{"type": "image"}]}]), "only the user can"),
        (changed(messages=[USER, {"role": "bot", "content": "x"}]), "`role` = 'bot'; expected one of system, user"),
        (changed(messages=[USER, {"role": "assistant"}]), "expected `role` and `content`"),
        (changed(messages=[USER, {"role": "assistant", "content": 3}]), "neither text nor a list of parts"),
        (changed(messages=[USER, {"role": "assistant", "content": [{"type": "video"}]}]), "neither an image part"),
    ],
)
def test_a_wrong_row_is_named_with_its_file(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n\n{line}\n")
    with pytest.raises(BadInput) as raised:
        read_examples(path)
    assert str(raised.value).startswith(f"`{path}`, row 3: ") and said in str(raised.value)
    (problem,) = [p for p in check_file(path).problems if p.row == 3]
    assert said in problem.message


def test_every_picture_is_opened_and_every_problem_listed(tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 50).save(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:1000])
    (tmp_path / "text.png").write_text("no picture")
    rows = [GOOD, *(json.loads(changed(images=[f"{name}.png"])) for name in ("cut", "text", "gone"))]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    checked = check_file(tmp_path / "rows.jsonl")
    assert len(checked.examples) == 1
    assert [problem.row for problem in checked.problems] == [2, 3, 4]
    for problem, said in zip(checked.problems, ("cannot be decoded", "cannot be decoded", "is not there"), strict=True):
        assert said in problem.message


@pytest.mark.parametrize(("content", "said"), [(None, "is not there"), (b"\n", "holds no row"), (b"\xff", "not UTF-8")])
def test_a_file_that_is_none_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "rows.jsonl"
    if content is not None:
        path.write_bytes(content)
    for read in (read_examples, check_file):
        with pytest.raises(BadInput, match=said):
            read(path)


def test_a_file_that_says_the_same_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "rows.jsonl"
    example = read_row(GOOD)
    assert write_examples(path, [example], "messages")
    before = path.stat().st_mtime_ns
    assert not write_examples(path, [example], "messages")
    assert path.stat().st_mtime_ns == before
    assert write_examples(path, [example, example], "messages")


def test_llama_factory_is_told_what_is_there(tmp_path: Path) -> None:
    write_dataset_info(tmp_path, ["train.sharegpt.jsonl"])
    info = json.loads((tmp_path / "dataset_info.json").read_text())
    assert info["train.sharegpt"]["file_name"] == "train.sharegpt.jsonl"
    assert info["train.sharegpt"]["columns"] == {"messages": "conversations", "system": "system", "images": "images"}
