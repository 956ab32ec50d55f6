"""An image tokenizer for views of the road: a square picture in, an 8 x 8 grid of codes out, and back.

A patch's code is the nearest of N vectors to what the patch looks like at half the resolution (vector quantisation; the
vectors are found by k-means), so a code means the same wherever it stands. The decoder is a convolutional network that
sees where a code stands and what is beside it. Knows nothing of roads and language models. Imports torch, so import
this module where it is used.
"""

from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, einsum, nn
from torch.nn.functional import avg_pool2d, gelu, unfold

from loopwright.errors import BadInput
from loopwright.models.load_lock import MODEL_LOAD_LOCK
from loopwright.models.vector_math import settle_kernels
from loopwright.schema import Frozen

settle_kernels()

FORMAT = "loopwright.drive_tokens.v1"
BUNDLED = Path(__file__).parents[1] / "weights" / "drive_tokens.safetensors"
SIZE_PX, GRID = 128, 8
"""Edge of a picture, and patches along it."""
CELLS = 8
"""Cells along a patch, in which its colours are averaged before they are compared."""


class ImageTokenizer(Protocol):
    """Turns pictures into codes and back: `DriveTokenizer`, or a user's own VQGAN."""

    @property
    def size_px(self) -> int:
        """Edge of a picture."""
        ...

    @property
    def n_tokens(self) -> int:
        """Codes of a picture."""
        ...

    @property
    def n_codes(self) -> int:
        """Size of the codebook: codes are 0 to `n_codes` - 1."""
        ...

    def encode(self, pictures: NDArray[np.uint8]) -> NDArray[np.int64]:
        """(B, N, N, 3) pictures to (B, T) codes, row by row."""
        ...

    def decode(self, codes: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(B, T) codes to (B, N, N, 3) pictures."""
        ...


class TokenizerConfig(Frozen):
    """Size of the network, and what counts as alike.

    Patches are compared by `colours`: each row weighs red, green and blue, from 0 to 1. The default sees colours as
    they are, and red, in which road users are drawn, much more.
    """

    codes: int = Field(default=512, ge=2, le=100_000, description="size of the codebook")
    width: int = Field(default=128, ge=16, multiple_of=16, description="channels at 8 x 8")
    colours: tuple[tuple[float, float, float], ...] = ((0.6, 0, 0), (0, 0.6, 0), (0, 0, 0.6), (5, -5, 0))


class TokenNetwork(nn.Module):
    """(B, 3, 128, 128) in [-1, 1] to (B, 64) codes, and codes to pictures."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        self.register_buffer("codebook", torch.zeros(config.codes, len(config.colours) * CELLS**2))
        self.vectors = nn.Embedding(config.codes, w)
        self.places = nn.Parameter(torch.zeros(1, w, GRID, GRID))
        self.decoder = nn.Sequential(
            *(_Residual(w), _Residual(w)),
            *(nn.ConvTranspose2d(w, w // 2, 2, stride=2), nn.GELU(), _Residual(w // 2)),
            *(nn.ConvTranspose2d(w // 2, w // 4, 2, stride=2), nn.GELU(), _Residual(w // 4)),
            *(nn.Conv2d(w // 4, 3 * 4 * 4, 1), nn.PixelShuffle(4)),
        )

    def looks(self, pictures: Tensor) -> Tensor:
        """(B, 64, F) what each patch looks like, row by row."""
        cells = avg_pool2d(pictures, SIZE_PX // (GRID * CELLS)) / 2
        weighed = einsum("oc,bchw->bohw", torch.tensor(self.config.colours, dtype=cells.dtype), cells)
        return unfold(weighed, CELLS, stride=CELLS).transpose(1, 2)

    def codes(self, pictures: Tensor) -> Tensor:
        """(B, 64) of (B, 3, 128, 128)."""
        return nearest(self.looks(pictures).flatten(0, 1), self.get_buffer("codebook")).view(len(pictures), -1)

    def forward(self, codes: Tensor) -> Tensor:
        """(B, 64) codes to (B, 3, 128, 128) pictures in about [-1, 1]."""
        grid = self.vectors(codes).transpose(1, 2).unflatten(2, (GRID, GRID))
        decoded: Tensor = self.decoder(grid + self.places)
        return decoded


def nearest(looks: Tensor, codebook: Tensor) -> Tensor:
    """(M,) the row of `codebook` (N, F) that is nearest to each of `looks` (M, F)."""
    return torch.addmm((codebook**2).sum(1), looks, codebook.T, alpha=-2).argmin(1)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(4, width)
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.second(gelu(self.first(self.norm(x))))
        return x + changed


def prepare(pictures: NDArray[np.uint8]) -> Tensor:
    """Pictures (B, 128, 128, 3) uint8 as the network takes them. The one function of training and inference.

    Raises:
        BadInput: they are of another shape or type.
    """
    if pictures.dtype != np.uint8 or pictures.shape[1:] != (SIZE_PX, SIZE_PX, 3):
        raise BadInput(
            f"`pictures` have shape {pictures.shape} and type {pictures.dtype}; expected (B, {SIZE_PX}, {SIZE_PX}, 3) "
            "uint8."
        )
    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


class DriveTokenizer:
    """A trained network as an `ImageTokenizer`. Codes of other weights mean other pictures."""

    size_px, n_tokens = SIZE_PX, GRID * GRID

    def __init__(self, network: TokenNetwork, metadata: dict[str, str]) -> None:
        self.network = network.eval()
        self.metadata = metadata
        self.n_codes = network.config.codes

    @torch.inference_mode()
    def encode(self, pictures: NDArray[np.uint8]) -> NDArray[np.int64]:
        """See `ImageTokenizer`."""
        return np.asarray(self.network.codes(prepare(pictures)).numpy(), dtype=np.int64)

    @torch.inference_mode()
    def decode(self, codes: NDArray[np.int64]) -> NDArray[np.uint8]:
        """See `ImageTokenizer`. Raises `BadInput` where the codes are not (B, 64), or outside of the codebook."""
        if codes.shape[1:] != (self.n_tokens,) or (codes.size and not (0 <= codes.min() <= codes.max() < self.n_codes)):
            raise BadInput(
                f"`codes` have shape {codes.shape} and go from {codes.min(initial=0)} to {codes.max(initial=0)}; "
                f"expected (B, {self.n_tokens}) from 0 to {self.n_codes - 1}."
            )
        found = self.network(torch.from_numpy(np.array(codes, dtype=np.int64)))
        pixels = found.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
        return np.asarray(pixels.permute(0, 2, 3, 1).numpy())


def save_network(path: Path, network: TokenNetwork, notes: dict[str, str]) -> None:
    """Write weights (matrices in fp16, vectors in fp32) and size as safetensors, with `notes` about them."""
    state = {
        key: (value.half() if value.is_floating_point() and value.ndim > 1 else value).contiguous()
        for key, value in network.state_dict().items()
    }
    partial = path.with_suffix(".partial")
    save_file(state, partial, metadata={"format": FORMAT, "config": network.config.model_dump_json(), **notes})
    partial.replace(path)


def load_network(path: Path | None = None) -> DriveTokenizer:
    """The tokenizer in `path`, by default the bundled one, in fp32 on the CPU.

    Raises:
        BadInput: the file is missing, pickled, damaged, or of another network.
    """
    path = BUNDLED if path is None else path
    if not path.is_file():
        raise BadInput(f"`{path}` is not there; expected weights as `loopwright train drive-tokens` writes them.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 - safe_open is no mapping
        if metadata.get("format") != FORMAT:
            raise BadInput(f"`{path}` has format {metadata.get('format')!r}; expected {FORMAT!r}.")
        with MODEL_LOAD_LOCK:
            network = TokenNetwork(TokenizerConfig.model_validate_json(metadata["config"]))
            network.load_state_dict(state)
    except (SafetensorError, RuntimeError, KeyError, ValueError) as error:
        raise BadInput(f"`{path}` is no whole network ({error}). Train it again; pickles are never loaded.") from error
    return DriveTokenizer(network, metadata)


@lru_cache(maxsize=1)
def bundled_tokenizer() -> DriveTokenizer:
    """The bundled one, kept for the next session of this process."""
    return load_network()
