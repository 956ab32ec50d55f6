"""What the tiny models' tokenizers are made of: a corpus, and special tokens and chat templates like the real ones'."""

CORPUS = (
    "You are the navigator of a C-arm. Which landmark is nearest to the centre of the view?",
    "The right humeral head lies lateral of the scapula, above the carina and the left hemidiaphragm.",
    '{"landmark": "Carina", "move_mm": 25, "reason": "the target is caudal of the view"}',
    "<output><step1><context>T1</context></step1><step2><x>LEFT</x><extent_x>SMALL</extent_x></step2></output>",
    '[1: Skull, 10: T1, 11: Carina] # Tools {"name": <function-name>, "arguments": <args-json-object>}',
)
QWEN_SPECIALS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>",
)  # fmt: skip
GEMMA_SPECIALS = (
    "<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>",
    "<image_soft_token>",
)  # fmt: skip
CHATML_SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
SMOLLM2_LACKS = frozenset({0x04, 0x06, 0x13, 0x14, 0x16, 0x1D, 0xF1, 0xF2})
"""Bytes without a token in SmolLM2's vocabulary: control characters, and what begins unassigned planes of Unicode."""
LLAVA_SPECIALS = ("<pad>", "<s>", "</s>", "<image>")

_CONTENT = (
    "{%- macro show(content) -%}{%- if content is string -%}{{ content }}{%- else -%}{%- for part in content -%}"
    "{{ IMAGE if part.type == 'image' else part.text }}{%- endfor -%}{%- endif -%}{%- endmacro -%}"
)
QWEN_TEMPLATE = (
    _CONTENT.replace("IMAGE", "'<|vision_start|><|image_pad|><|vision_end|>'")
    + "{%- for m in messages -%}<|im_start|>{{ m.role }}\n{{ show(m.content) }}<|im_end|>\n{% endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n{% endif -%}"
)
"""As Qwen2.5-VL's: it knows images and turns, and nothing of tools."""
GEMMA_TEMPLATE = (
    _CONTENT.replace("IMAGE", "'<start_of_image>'")
    + "{{ bos_token }}{%- for m in messages -%}{%- if loop.previtem and loop.previtem.role == m.role -%}"
    "{{ raise_exception('Conversation roles must alternate') }}{%- endif -%}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ show(m.content) | trim }}<end_of_turn>\n{% endfor -%}"
    "{%- if add_generation_prompt -%}<start_of_turn>model\n{% endif -%}"
)
"""As Gemma's: turns have to alternate."""
LLAVA_TEMPLATE = (
    _CONTENT.replace("IMAGE", "'<image>\n'") + "{%- for m in messages -%}{{ m.role | upper }}: {{ show(m.content) }} "
    "{% endfor -%}{%- if add_generation_prompt -%}ASSISTANT:{%- endif -%}"
)
CHATML_TEMPLATE = (
    "{%- if messages[0].role != 'system' -%}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif -%}"
    "{%- for m in messages -%}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n{% endif -%}"
)
"""As SmolLM2's: contents are strings, and a system turn is put where there is none."""
HERMES_TEMPLATE = (
    "{%- if tools -%}<|im_start|>system\n<tools>{% for t in tools %}\n{{ t | tojson }}{% endfor %}\n</tools>"
    "<|im_end|>\n{% endif -%}{%- for m in messages -%}"
    "{{ '<|im_start|>' + ('user' if m.role == 'tool' else m.role) + '\n' + m.content }}"
    '{%- for call in m.tool_calls -%}{{ \'<tool_call>\n{"name": "\' + call.function.name + \'", "arguments": \' }}'
    "{{ call.function.arguments | tojson }}{{ '}\n</tool_call>' }}{%- endfor -%}<|im_end|>\n{% endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n{% endif -%}"
)
"""As Qwen2.5's: contents are strings, and it knows tools."""
GEMMA2_TEMPLATE = (
    "{{ bos_token }}{%- if messages[0].role == 'system' -%}{{ raise_exception('System role not supported') }}"
    "{%- endif -%}{%- for m in messages -%}{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}"
    "{{ raise_exception('Conversation roles must alternate') }}{%- endif -%}"
    "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' + m.content | trim }}"
    "<end_of_turn>\n{% endfor -%}{%- if add_generation_prompt -%}<start_of_turn>model\n{% endif -%}"
)
"""As Gemma's and Gemma 2's: contents are strings, turns alternate, and a system turn is refused."""
