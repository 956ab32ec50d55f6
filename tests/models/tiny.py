"""Tiny, randomly initialised models of the real architectures, saved as folders: what `from_pretrained` reads.

Each folder is complete: safetensors, configuration, image processor where the family has one, a tokenizer of the
family's kind made here, and a chat template as that family's. Nothing is fetched.
"""

from collections.abc import Callable, Collection
from functools import cache, partial
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from tests.models.templates import (
    CHATML_SPECIALS,
    CHATML_TEMPLATE,
    CORPUS,
    GEMMA2_TEMPLATE,
    GEMMA_SPECIALS,
    GEMMA_TEMPLATE,
    HERMES_TEMPLATE,
    LLAVA_SPECIALS,
    LLAVA_TEMPLATE,
    QWEN_SPECIALS,
    QWEN_TEMPLATE,
    SMOLLM2_LACKS,
)
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPVisionConfig,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3Config,
    Gemma3ForCausalLM,
    Gemma3ForConditionalGeneration,
    Gemma3Processor,
    Gemma3TextConfig,
    GemmaConfig,
    GemmaForCausalLM,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from loopwright.errors import IntegrityError
from loopwright.schema import ImageRef


class Pictures:
    """A `BlobReader` over a dictionary."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def add(self, data: bytes) -> ImageRef:
        """Keep encoded bytes; the size comes from the image itself."""
        width_px, height_px = Image.open(BytesIO(data)).size
        ref = ImageRef(sha256=sha256(data).hexdigest(), width_px=width_px, height_px=height_px)
        self.blobs[ref.sha256] = data
        return ref

    def read(self, ref: ImageRef) -> bytes:
        """As the memory does it."""
        if ref.sha256 not in self.blobs:
            raise IntegrityError(f"Image `{ref.sha256}` is not there.")
        return self.blobs[ref.sha256]


def png(seed: int, width_px: int = 56, height_px: int = 56) -> bytes:
    """A random RGB picture, encoded."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)
    out = BytesIO()
    Image.fromarray(pixels).save(out, format="PNG")
    return out.getvalue()


def tokenizer(
    specials: tuple[str, ...], vocab_size: int = 400, lacking: Collection[int] = (), **names: Any
) -> PreTrainedTokenizerFast:
    """Byte-level BPE with every byte but `lacking`, digits one by one, `specials` first. `names` as in transformers."""
    bpe = Tokenizer(models.BPE())
    pieces = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    bpe.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"\n"), "isolated"), *pieces])
    bpe.decoder = decoders.ByteLevel()
    alphabet = [letter for byte, letter in enumerate(_byte_letters()) if byte not in lacking]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(specials), initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, padding_side="left", clean_up_tokenization_spaces=False, **names
    )


def _byte_letters() -> list[str]:
    """How byte-level tokenizers write the bytes 0 to 255: printable ones as themselves, others from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte if byte in printable else 0x100 + others.index(byte)) for byte in range(256)]


def byte_fallback_tokenizer(
    specials: tuple[str, ...], prepend_scheme: Literal["first", "never"] = "never", **names: Any
) -> PreTrainedTokenizerFast:
    """As Llama 2's and Gemma's: pieces with a mark for the space, and a token for each byte."""
    pieces = [*specials, *(f"<0x{i:02X}>" for i in range(256))]
    pieces += ["▁", *map(chr, range(0x21, 0x7F)), "▁a", "ab", '{"', '":', "é"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    merges = [("▁", "a"), ("a", "b"), ("{", '"'), ('"', ":")]
    bpe = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True, fuse_unk=True))
    bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend_scheme, split=False)
    bpe.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=bpe, padding_side="left", clean_up_tokenization_spaces=False, **names
    )
    fast.add_special_tokens({"additional_special_tokens": [s for s in specials if s not in fast.all_special_tokens]})
    return fast


def id_of(words: PreTrainedTokenizerFast, token: str) -> int:
    """The id of one token."""
    return int(words.encode(token, add_special_tokens=False)[0])


def make_qwen2vl(folder: Path, *, seed: int = 0) -> Path:
    """Qwen2-VL. A 56 x 56 picture makes 4 visual tokens."""
    from loopwright.models.local.processor import ImageOnlyQwen2VLProcessor

    words = tokenizer(QWEN_SPECIALS, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(words), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048,
            "initializer_range": 0.2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]},
            "pad_token_id": words.pad_token_id, "eos_token_id": words.eos_token_id, "bos_token_id": None,
        },
        vision_config={"depth": 2, "embed_dim": 16, "num_heads": 2, "mlp_ratio": 2, "hidden_size": 32},
        image_token_id=id_of(words, "<|image_pad|>"), video_token_id=id_of(words, "<|video_pad|>"),
        vision_start_token_id=id_of(words, "<|vision_start|>"), vision_end_token_id=id_of(words, "<|vision_end|>"),
        tie_word_embeddings=False,
    )  # fmt: skip
    images = Qwen2VLImageProcessorPil(size={"shortest_edge": 28 * 28, "longest_edge": 112**2})
    processor = ImageOnlyQwen2VLProcessor(images, words, chat_template=QWEN_TEMPLATE)
    torch.manual_seed(seed)
    return _save(folder, Qwen2VLForConditionalGeneration(config), processor, words)


def make_qwen25vl(
    folder: Path,
    *,
    hidden: int = 32,
    head: int = 8,
    layers: int = 2,
    vision_hidden: int = 16,
    longest_px: int = 112,
    seed: int = 0,
) -> Path:
    """Qwen2.5-VL. A 56 x 56 picture makes 4 visual tokens."""
    from loopwright.models.local.processor import ImageOnlyQwen25VLProcessor

    words = tokenizer(QWEN_SPECIALS, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    sections = [head // 4, head // 8, head // 8]
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(words), "hidden_size": hidden, "intermediate_size": 2 * hidden,
            "num_hidden_layers": layers, "num_attention_heads": hidden // head,
            "num_key_value_heads": hidden // (2 * head), "max_position_embeddings": 2048, "initializer_range": 0.2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": sections},
            "pad_token_id": words.pad_token_id, "eos_token_id": words.eos_token_id, "bos_token_id": None,
        },
        vision_config={
            "depth": 2, "hidden_size": vision_hidden, "intermediate_size": 2 * vision_hidden, "num_heads": 2,
            "out_hidden_size": hidden, "fullatt_block_indexes": [1], "window_size": 56,
        },
        image_token_id=id_of(words, "<|image_pad|>"), video_token_id=id_of(words, "<|video_pad|>"),
        vision_start_token_id=id_of(words, "<|vision_start|>"),
        tie_word_embeddings=False,
    )  # fmt: skip
    images = Qwen2VLImageProcessorPil(size={"shortest_edge": 28 * 28, "longest_edge": longest_px**2})
    processor = ImageOnlyQwen25VLProcessor(images, words, chat_template=QWEN_TEMPLATE)
    torch.manual_seed(seed)
    return _save(folder, Qwen2_5_VLForConditionalGeneration(config), processor, words)


def make_qwen3vl(folder: Path, *, seed: int = 0) -> Path:
    """Qwen3-VL: interleaved positions, and visual features that enter the language model's first layer as well."""
    from loopwright.models.local.processor import ImageOnlyQwen3VLProcessor

    words = tokenizer(QWEN_SPECIALS, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1], "mrope_interleaved": True}
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(words), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 2048,
            "initializer_range": 0.2, "rope_parameters": rope,
            "pad_token_id": words.pad_token_id, "eos_token_id": words.eos_token_id, "bos_token_id": None,
        },
        vision_config={
            "depth": 2, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32,
            "patch_size": 14, "num_position_embeddings": 16, "deepstack_visual_indexes": [0],
        },
        image_token_id=id_of(words, "<|image_pad|>"), video_token_id=id_of(words, "<|video_pad|>"),
        vision_start_token_id=id_of(words, "<|vision_start|>"), vision_end_token_id=id_of(words, "<|vision_end|>"),
        tie_word_embeddings=False,
    )  # fmt: skip
    images = Qwen2VLImageProcessorPil(size={"shortest_edge": 28 * 28, "longest_edge": 112**2})
    processor = ImageOnlyQwen3VLProcessor(images, words, chat_template=QWEN_TEMPLATE)
    torch.manual_seed(seed)
    return _save(folder, Qwen3VLForConditionalGeneration(config), processor, words)


def make_gemma3(folder: Path, *, seed: int = 0) -> Path:
    """Gemma 3 with sliding and full attention. A picture makes 4 visual tokens."""
    extra = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    words = tokenizer(
        GEMMA_SPECIALS, pad_token="<pad>", eos_token="<end_of_turn>", bos_token="<bos>", unk_token="<unk>",
        extra_special_tokens=extra,
    )  # fmt: skip
    config = Gemma3Config(
        text_config={
            "vocab_size": len(words), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 2048,
            "sliding_window": 24, "layer_types": ["sliding_attention", "full_attention"],
            "pad_token_id": words.pad_token_id, "eos_token_id": words.eos_token_id, "bos_token_id": words.bos_token_id,
        },
        vision_config={
            "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 56, "patch_size": 14,
        },
        mm_tokens_per_image=4,
        boi_token_index=id_of(words, "<start_of_image>"),
        eoi_token_index=id_of(words, "<end_of_image>"),
        image_token_index=id_of(words, "<image_soft_token>"),
    )  # fmt: skip
    images = Gemma3ImageProcessorPil(size={"height": 56, "width": 56})
    processor = Gemma3Processor(images, words, chat_template=GEMMA_TEMPLATE, image_seq_length=4)
    torch.manual_seed(seed)
    return _save(folder, Gemma3ForConditionalGeneration(config), processor, words)


def make_llava(folder: Path, *, seed: int = 0) -> Path:
    """LLaVA: CLIP and Llama. A picture makes 16 visual tokens."""
    words = tokenizer(
        LLAVA_SPECIALS, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        extra_special_tokens={"image_token": "<image>"},
    )  # fmt: skip
    config = LlavaConfig(
        text_config={
            "model_type": "llama", "vocab_size": len(words), "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048,
            "pad_token_id": words.pad_token_id, "eos_token_id": words.eos_token_id, "bos_token_id": words.bos_token_id,
        },
        vision_config=CLIPVisionConfig(
            hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=56,
            patch_size=14, projection_dim=16,
        ),
        image_token_index=id_of(words, "<image>"), image_seq_length=16,
        vision_feature_select_strategy="default", vision_feature_layer=-1,
    )  # fmt: skip
    images = CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
    processor = LlavaProcessor(
        images, words, patch_size=14, vision_feature_select_strategy="default", chat_template=LLAVA_TEMPLATE,
        num_additional_image_tokens=1,
    )  # fmt: skip
    torch.manual_seed(seed)
    return _save(folder, LlavaForConditionalGeneration(config), processor, words)


def make_qwen2(folder: Path, *, seed: int = 0) -> Path:
    """Qwen2 and Qwen2.5, text-only."""
    words = tokenizer(CHATML_SPECIALS, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    words.chat_template = HERMES_TEMPLATE
    return _save_text(folder, Qwen2ForCausalLM, Qwen2Config, words, seed)


def make_llama(folder: Path, *, seed: int = 0) -> Path:
    """Llama in SmolLM2's shape: embeddings are tied, and the tokenizer lacks some bytes."""
    words = tokenizer(
        CHATML_SPECIALS, lacking=SMOLLM2_LACKS, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>"
    )
    words.chat_template = CHATML_TEMPLATE
    return _save_text(folder, LlamaForCausalLM, LlamaConfig, words, seed, tie_word_embeddings=True)


def make_gemma(
    folder: Path, model: type[PreTrainedModel], config: type[PreTrainedConfig], *, seed: int = 0, **settings: Any
) -> Path:
    """Gemma of any generation, text-only."""
    specials = GEMMA_SPECIALS[:6]
    words = byte_fallback_tokenizer(specials, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>")
    words.chat_template = GEMMA2_TEMPLATE
    ends = [words.eos_token_id, id_of(words, "<end_of_turn>")]
    context = 8192  # in this vocabulary a prompt takes a token for nearly every letter
    settings |= {"head_dim": 8, "eos_token_id": ends, "max_position_embeddings": context}
    return _save_text(folder, model, config, words, seed, **settings)


def _save_text(
    folder: Path,
    model: type[PreTrainedModel],
    config: type[PreTrainedConfig],
    words: PreTrainedTokenizerFast,
    seed: int,
    **settings: Any,
) -> Path:
    given: dict[str, Any] = {
        "vocab_size": len(words), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048, "initializer_range": 0.2,
        "pad_token_id": words.pad_token_id, "eos_token_id": words.eos_token_id, "bos_token_id": words.bos_token_id,
        "tie_word_embeddings": False,
    }  # fmt: skip
    torch.manual_seed(seed)
    return _save(folder, model(config(**(given | settings))), words, words)


def _save(folder: Path, model: PreTrainedModel, processor: Any, words: PreTrainedTokenizerFast) -> Path:
    model.generation_config = GenerationConfig(
        eos_token_id=model.config.get_text_config().eos_token_id,
        pad_token_id=words.pad_token_id,
        repetition_penalty=1.5,
        do_sample=True,
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


_HOME = TemporaryDirectory(prefix="tiny-models-")


@cache
def folder_of(family: str) -> Path:
    """The folder of one of `FAMILIES`, made on first use and gone with the process. Read only."""
    return FAMILIES[family](Path(_HOME.name) / family)


VISION_FAMILIES: dict[str, Callable[[Path], Path]] = {
    "qwen2-vl": make_qwen2vl,
    "qwen2.5-vl": make_qwen25vl,
    "qwen3-vl": make_qwen3vl,
    "gemma3": make_gemma3,
    "llava": make_llava,
}
"""One maker for each vision-language architecture."""
_SLIDING: dict[str, Any] = {"sliding_window": 24, "layer_types": ["sliding_attention", "full_attention"]}
TEXT_FAMILIES: dict[str, Callable[[Path], Path]] = {
    "qwen2": make_qwen2,
    "llama": make_llama,
    "gemma": partial(make_gemma, model=GemmaForCausalLM, config=GemmaConfig),
    "gemma2": partial(make_gemma, model=Gemma2ForCausalLM, config=Gemma2Config, **_SLIDING),
    "gemma3-text": partial(make_gemma, model=Gemma3ForCausalLM, config=Gemma3TextConfig, **_SLIDING),
}
"""One maker for each text-only architecture."""
FAMILIES = VISION_FAMILIES | TEXT_FAMILIES
