"""The base's tokenizer and chat template: byte-level BPE trained on what the worlds say, and Qwen's special tokens.

Digits stand alone, so that a number is read and written place by place. The template is ChatML with tool calls in the
Hermes form, which is also Qwen's; `generation` marks what an assistant says, so that a loss can be put on it alone.
"""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from loopwright.errors import BadInput

SPECIALS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>",
    "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
PAD = SPECIALS[0]
TOOL_TAGS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
"""One token each, but text: they show in a decoded reply, where the chat model reads them."""

CHAT_TEMPLATE = r"""
{%- macro show(content) -%}
    {%- if content is string -%}
        {{- content -}}
    {%- else -%}
        {%- for part in content or [] -%}
            {{- '<|vision_start|><|image_pad|><|vision_end|>' if part.type == 'image' else part.text -}}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro -%}
{%- set has_system = messages[0].role == 'system' -%}
{%- if tools or has_system -%}
    {{- '<|im_start|>system\n' -}}
    {{- show(messages[0].content) if has_system -}}
    {%- if tools -%}
        {{- '\n\n' if has_system -}}
        {{- '# Tools\n\nYou may call these functions:\n<tools>\n' -}}
        {%- for tool in tools -%}
            {{- tool | tojson ~ '\n' -}}
        {%- endfor -%}
        {{- '</tools>\n\nFor each call, return within <tool_call></tool_call> a JSON object ' -}}
        {{- '{"name": NAME, "arguments": ARGUMENTS}.' -}}
    {%- endif -%}
    {{- '<|im_end|>\n' -}}
{%- endif -%}
{%- for message in messages -%}
    {%- if message.role == 'assistant' -%}
        {{- '<|im_start|>assistant\n' -}}
        {%- generation -%}
        {{- show(message.content) -}}
        {%- for call in message.tool_calls or [] -%}
            {%- set function = call.function or call -%}
            {%- set given = function.arguments -%}
            {{- '\n' if message.content or not loop.first -}}
            {{- '<tool_call>\n{"name": "' ~ function.name ~ '", "arguments": ' -}}
            {{- (given if given is string else given | tojson) ~ '}\n</tool_call>' -}}
        {%- endfor -%}
        {{- '<|im_end|>' -}}
        {%- endgeneration -%}
        {{- '\n' -}}
    {%- elif message.role == 'tool' -%}
        {{- '\n' if loop.previtem is defined and loop.previtem.role == 'tool' else '<|im_start|>user\n' -}}
        {{- '<tool_response>\n' ~ show(message.content) ~ '\n</tool_response>' -}}
        {{- '<|im_end|>\n' if loop.last or loop.nextitem.role != 'tool' -}}
    {%- elif not (loop.first and has_system) -%}
        {{- '<|im_start|>' ~ message.role ~ '\n' ~ show(message.content) ~ '<|im_end|>\n' -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\n' -}}
{%- endif -%}
"""


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE of at most `vocab_size` tokens in all, with the special tokens and the template.

    The same texts in the same order give the same tokenizer.

    Raises:
        BadInput: `vocab_size` has no room for the 256 bytes and the special tokens.
    """
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    least = len(alphabet) + len(SPECIALS) + len(TOOL_TAGS)
    if vocab_size < least:
        raise BadInput(f"`vocab_size` is {vocab_size!r}; expected at least {least}: bytes and special tokens.")
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\p{N}"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(TOOL_TAGS),
        special_tokens=list(SPECIALS),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token=PAD,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )
    tokenizer.add_tokens(list(TOOL_TAGS))
    return tokenizer


def token_id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    """The id of one token."""
    return int(tokenizer.get_vocab()[token])
