"""Reads a base model and its processor from a folder or the hub's cache, and says clearly why it cannot.

Weights are read from safetensors alone: pickled ones can run code. No code that comes with a model is run either.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from safetensors import SafetensorError
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    BitsAndBytesConfig,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
)

from loopwright.errors import BadInput, MissingDependency, OperatorError
from loopwright.models.local.processor import load_processor, takes_images, tokenizer_of
from loopwright.models.vector_math import settle_kernels

settle_kernels()

PICKLED = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


class Base(NamedTuple):
    """A model that is ready to run, its processor (a text-only model's tokenizer), and the tokens that end a reply."""

    model: PreTrainedModel
    processor: ProcessorMixin | PreTrainedTokenizerFast
    eos_token_ids: frozenset[int]

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The processor's, or the processor itself. Has a padding token."""
        return tokenizer_of(self.processor)

    @property
    def takes_images(self) -> bool:
        """Whether messages may hold images."""
        return takes_images(self.model.config)


def load_base(
    base: str,
    *,
    folder: Path | None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    dtype: Literal["auto", "float32", "bfloat16"] = "auto",
    quantisation: Literal["nf4"] | None = None,
) -> Base:
    """The language model `base`, vision-language or text-only: a hub id in the hub's cache, or what lies in `folder`.

    Nothing is downloaded. `auto` takes CUDA with bfloat16 where there is a GPU, else the CPU with float32.

    Raises:
        BadInput: a missing folder, missing, pickled or torn weights, or no model that can chat.
        MissingDependency: CUDA or bitsandbytes is asked for and not there, or a hub id is not in the cache.
        OperatorError: not enough memory.
    """
    if folder is not None:
        check_weights(folder, f"`base` = {base!r}", config_name="config.json")
    at = _device(device)
    precision = _dtype(dtype, at)
    source = base if folder is None else str(folder)
    with _explained(base, folder), out_of_memory(f"Loading `{base}`", "Free some, or set `quantisation: nf4`."):
        config = load_config(source)
        processor = load_processor(source, config)
        loaded: Any = auto_model(config).from_pretrained(
            source,
            config=config,
            local_files_only=True,
            trust_remote_code=False,
            dtype=precision,
            device_map={"": at},
            use_safetensors=True,
            quantization_config=_quantisation(quantisation, precision),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that the report names them
        )
    model, report = loaded
    if strange := sorted([*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])]):
        raise BadInput(
            f"The weights of `{base}` lack {len(strange)} tensors or hold them in other shapes, `{strange[0]}` first. "
            "They belong to another configuration, or the download is incomplete: fetch them again."
        )
    model.eval().requires_grad_(False)
    tokenizer = tokenizer_of(processor)
    eos = _eos_token_ids(model, tokenizer)
    if not eos:
        raise BadInput(f"Nothing ends a reply of `{base}`: set `eos_token` in its tokenizer's configuration.")
    if tokenizer.pad_token is None:  # Llama's have none, and what pads is masked
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(min(eos))
    # the folder's own sampling defaults, a repetition penalty for one, would change what a card's decoding says
    model.generation_config = GenerationConfig(pad_token_id=tokenizer.pad_token_id)
    return Base(model, processor, eos)


def load_config(source: str | Path) -> PreTrainedConfig:
    """The configuration at `source`, a folder or a cached hub id.

    Raises:
        OSError, ValueError: it is missing or malformed, or of a model that only code beside it could make.
    """
    config: PreTrainedConfig = AutoConfig.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    return config


def auto_model(config: PreTrainedConfig) -> type[AutoModelForImageTextToText] | type[AutoModelForCausalLM]:
    """The auto class for `config`: of vision-language models where the architecture is one, else of causal ones.

    Raises:
        ValueError: it is no language model.
    """
    if takes_images(config):
        return AutoModelForImageTextToText
    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return AutoModelForCausalLM
    raise ValueError(f"transformers has no causal or image-text-to-text model of the type {config.model_type!r}")


def check_weights(folder: Path, what: str, *, config_name: str) -> None:
    """Refuse a folder without `config_name`, or whose weights are missing or pickled. `what` names it in messages.

    Raises:
        BadInput: with the repair.
    """
    if not (folder / config_name).is_file():
        raise BadInput(f"{what} is no model: `{folder}` has no `{config_name}`. Correct the path.")
    files = sorted(path.name for path in folder.iterdir() if path.is_file())
    if any(name.endswith(".safetensors") for name in files):
        return
    if pickled := [name for name in files if name.endswith(PICKLED)]:
        raise BadInput(
            f"{what} has pickled weights, `{pickled[0]}`, which are never loaded because they can run code. Convert "
            "them on a machine that you can lose: load with transformers there and `save_pretrained` again."
        )
    raise BadInput(f"{what} has no weights: `{folder}` holds no `.safetensors` file. Fetch or train them again.")


@contextmanager
def out_of_memory(doing: str, advice: str) -> Iterator[None]:
    """Within, running out of the GPU's or the machine's memory becomes an `OperatorError` that ends in `advice`."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OperatorError(f"{doing} ran out of memory: {_first_line(error)} {advice}") from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # how torch says it of the CPU
            raise
        raise OperatorError(f"{doing} ran out of memory: {_first_line(error)} {advice}") from error


def _device(device: Literal["auto", "cpu", "cuda"]) -> str:
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise MissingDependency(
            "`device: cuda` needs an NVIDIA GPU and a CUDA build of torch, and torch sees none "
            f"(torch {torch.__version__}). Install a CUDA build, or set `device: auto`."
        )
    return "cuda" if there and device != "cpu" else "cpu"


def _dtype(dtype: Literal["auto", "float32", "bfloat16"], device: str) -> torch.dtype:
    if dtype == "auto":  # bfloat16 is more than ten times slower than float32 on most CPUs
        return torch.bfloat16 if device == "cuda" else torch.float32
    return torch.bfloat16 if dtype == "bfloat16" else torch.float32


def _quantisation(kind: Literal["nf4"] | None, compute: torch.dtype) -> BitsAndBytesConfig | None:
    if kind is None:
        return None
    if find_spec("bitsandbytes") is None:
        raise MissingDependency(
            "`quantisation: nf4` needs bitsandbytes, which is not installed: `pip install 'loopwright[gpu]'`."
        )
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute
    )


def _eos_token_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> frozenset[int]:
    told = model.generation_config.eos_token_id if model.generation_config is not None else None
    several = told if isinstance(told, list) else [told]
    own: Any = tokenizer.eos_token_id
    return frozenset(int(i) for i in (*several, own) if i is not None)


@contextmanager
def _explained(base: str, folder: Path | None) -> Iterator[None]:
    """Turn what transformers raises about files into what a caller can repair."""
    try:
        yield
    except SafetensorError as error:
        raise BadInput(f"The weights of `{base}` are torn ({error}). Fetch or train them again.") from error
    except OSError as error:
        if folder is None:
            raise MissingDependency(
                f"`base` = {base!r} is not in the hub's cache, and nothing is downloaded unasked: {_first_line(error)} "
                f"Fetch it with `hf download {base}`; a folder is written `./{base}`."
            ) from error
        raise BadInput(f"`base` = {base!r} is incomplete: {_first_line(error)}") from error
    except ValueError as error:
        raise BadInput(f"`base` = {base!r} is no language model that can run: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
