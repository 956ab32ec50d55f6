"""The base's tokenizer and template: lossless, digits apart, ChatML, and tool calls that are read back as they were."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from loopwright.errors import BadInput
from loopwright.finetune.base.tokenizer import SPECIALS, TOOL_TAGS, train_tokenizer

TEXTS = ("Where is the carina? left 35 mm, down 110 mm", "Name the three nearest landmarks.", "<x>LEFT</x>") * 5
WORDS = train_tokenizer(TEXTS, 320)
TOOL = {
    "type": "function",
    "function": {"name": "move_view", "description": "Move.", "parameters": {"type": "object", "properties": {}}},
}


def shown(messages: list[dict[str, Any]], **options: Any) -> str:
    text = WORDS.apply_chat_template(messages, tokenize=False, **options)
    assert isinstance(text, str)
    return text


@given(st.text())
def test_any_text_survives(text: str) -> None:
    assert WORDS.decode(WORDS(text)["input_ids"], skip_special_tokens=False) == text


def test_special_tokens_are_one_token_each_and_digits_stand_alone() -> None:
    assert len(WORDS) <= 320
    for token in (*SPECIALS, *TOOL_TAGS):
        assert len(WORDS(token)["input_ids"]) == 1
    assert [WORDS.decode(i) for i in WORDS("1104")["input_ids"]] == ["1", "1", "0", "4"]
    assert WORDS.decode(WORDS("a<tool_call>b<|im_end|>")["input_ids"], skip_special_tokens=True) == "a<tool_call>b"


def test_the_same_texts_give_the_same_tokenizer() -> None:
    assert train_tokenizer(TEXTS, 320).get_vocab() == WORDS.get_vocab()


def test_a_vocabulary_without_room_for_the_bytes_is_refused() -> None:
    with pytest.raises(BadInput, match="at least 267"):
        train_tokenizer(TEXTS, 266)


def test_a_chat_is_chatml() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "You read X-rays."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Where?"}]},
        {"role": "assistant", "content": "left 5 mm"},
        {"role": "user", "content": "Sure?"},
    ]
    assert shown(messages, add_generation_prompt=True) == (
        "<|im_start|>system\nYou read X-rays.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Where?<|im_end|>\n"
        "<|im_start|>assistant\nleft 5 mm<|im_end|>\n"
        "<|im_start|>user\nSure?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_only_what_the_assistant_says_bears_a_loss() -> None:
    messages = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "left 5 mm"}]
    done: Any = WORDS.apply_chat_template(messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    said = [token for token, says in zip(done["input_ids"], done["assistant_masks"], strict=True) if says]
    assert WORDS.decode(said) == "left 5 mm<|im_end|>"


@pytest.mark.parametrize("system", [None, "Be brief."])
def test_tools_and_their_calls_are_in_the_hermes_form(system: str | None) -> None:
    arguments = {"left_mm": 25, "why": 'it "is"'}
    called = [{"type": "function", "function": {"name": "move_view", "arguments": a}} for a in (arguments, "{}")]
    messages: list[dict[str, Any]] = [
        *([{"role": "system", "content": system}] if system else []),
        {"role": "user", "content": "Go."},
        {"role": "assistant", "content": "", "tool_calls": called},
        {"role": "tool", "content": "moved"},
        {"role": "tool", "content": "moved again"},
        {"role": "assistant", "content": "Done."},
    ]
    text = shown(messages, tools=[TOOL])
    head, _, rest = text.partition("<|im_end|>\n")
    assert head.startswith(f"<|im_start|>system\n{system or ''}")
    [listed] = re.findall(r"<tools>\n(.*)\n</tools>", head)
    assert json.loads(listed) == TOOL
    calls = [json.loads(call) for call in re.findall(r"<tool_call>\n(.*?)\n</tool_call>", rest)]
    assert calls == [{"name": "move_view", "arguments": arguments}, {"name": "move_view", "arguments": {}}]
    assert rest.endswith(
        "</tool_call><|im_end|>\n"
        "<|im_start|>user\n<tool_response>\nmoved\n</tool_response>\n<tool_response>\nmoved again\n</tool_response>"
        "<|im_end|>\n<|im_start|>assistant\nDone.<|im_end|>\n"
    )


def test_the_tokenizer_is_read_back_from_its_folder(tmp_path: Any) -> None:
    WORDS.save_pretrained(tmp_path)
    again = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert again.get_vocab() == WORDS.get_vocab()
    assert (again.chat_template, again.padding_side) == (WORDS.chat_template, "left")
