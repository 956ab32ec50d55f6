"""The dish network: one picture in, how probable each action and each ingredient is out.

A small convolutional network with one sigmoid a label, over the mean and the maximum of its last map: a cue counts
wherever it lies. Knows nothing of kitchens: the names of labels come with the weights. Imports torch, so import this
module where it is used.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate

from loopwright.errors import BadInput
from loopwright.models.load_lock import MODEL_LOAD_LOCK
from loopwright.models.vector_math import settle_kernels
from loopwright.schema import Frozen

settle_kernels()

INPUT_PX = 128
FORMAT = "loopwright.recipe_network.v1"
_FAMILIAR = "familiar."
BUNDLED = Path(__file__).parents[1] / "weights" / "recipe_network.safetensors"


class NetworkConfig(Frozen):
    """Size of the network, and what its outputs are."""

    width: int = Field(
        default=32, ge=4, description="channels of the first stage; the others have 2 and 4 times as many"
    )
    labels: dict[str, tuple[str, ...]] = Field(description="the names of each set, in the order of the outputs")

    @property
    def n_labels(self) -> int:
        """Of all sets."""
        return sum(map(len, self.labels.values()))


class DishNetwork(nn.Module):
    """(B, 3, 128, 128) in [-1, 1] to (B, L) logits."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        self.body = nn.Sequential(
            *_layer(3, w, kernel=4, stride=4),
            *_layer(w, w),
            *_layer(w, 2 * w, stride=2),
            *_layer(2 * w, 2 * w),
            *_layer(2 * w, 4 * w, stride=2),
            *_layer(4 * w, 4 * w),
        )
        self.head = nn.Linear(8 * w, config.n_labels)

    def features(self, images: Tensor) -> Tensor:
        """(B, F) mean and maximum of the last map."""
        found = self.body(images)
        return torch.cat([found.mean((2, 3)), found.amax((2, 3))], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        logits: Tensor = self.head(self.features(images))
        return logits


class Familiar(NamedTuple):
    """What features of pictures like those of the training are: one that is farther off than `limit` is unlike them.

    The distance is Mahalanobis': `mean` (F,), `precision` (F, F) the inverse of a slightly shrunk covariance.
    """

    mean: Tensor
    precision: Tensor
    limit: float

    @classmethod
    def of(cls, seen: Tensor, unseen: Tensor) -> "Familiar":
        """From features of training pictures (N, F); two in a thousand of others' (M, F) are beyond the limit."""
        covariance = torch.cov(seen.T)
        shrunk = covariance + 0.01 * covariance.diagonal().mean() * torch.eye(len(covariance))
        found = cls(seen.mean(0), torch.linalg.inv(shrunk), 0.0)
        return found._replace(limit=float(found.distance(unseen).quantile(0.998)))

    def distance(self, features: Tensor) -> Tensor:
        """(B,) of (B, F)."""
        off = features - self.mean
        return (off @ self.precision * off).sum(1).clamp(min=0).sqrt()


def prepare(images: NDArray[np.uint8]) -> Tensor:
    """Pictures (B, N, N, 3) uint8 as the network takes them. The one function of training and inference.

    Raises:
        BadInput: they are of another shape or type.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
        raise BadInput(f"`images` has shape {images.shape} and type {images.dtype}; expected (B, N, N, 3) uint8.")
    scaled = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    return scaled if scaled.shape[2] == INPUT_PX else interpolate(scaled, size=(INPUT_PX, INPUT_PX), mode="area")


class Recognised(NamedTuple):
    """Of one set: how probable each label is, those that are said to be there, the surest first, and whether the
    picture is like those of the training: else both mean nothing.
    """

    odds: dict[str, float]
    labels: tuple[str, ...]
    is_familiar: bool


class DishRecogniser:
    """A trained network with the odds from which on a label of each set is said to be there."""

    def __init__(
        self, network: DishNetwork, thresholds: Mapping[str, float], familiar: Familiar, metadata: Mapping[str, str]
    ) -> None:
        self.network = network.eval()
        self.thresholds, self.familiar, self.metadata = dict(thresholds), familiar, dict(metadata)

    @torch.inference_mode()
    def recognise(self, image: NDArray[np.uint8], *, turned: bool = False) -> dict[str, Recognised]:
        """What one (N, N, 3) uint8 picture shows, by set; `turned`: the mean over its seven turned and mirrored views,
        which is another look at it.
        """
        features = self.network.features(prepare(_turned(image) if turned else image[None]))
        row = iter(self.network.head(features).sigmoid().double().mean(0).tolist())
        is_familiar = float(self.familiar.distance(features).median()) <= self.familiar.limit
        found = {}
        for what, names in self.network.config.labels.items():
            odds = {name: round(next(row), 4) for name in names}
            said = [name for name in odds if odds[name] >= self.thresholds[what]]
            labels = tuple(sorted(said, key=lambda name: (-odds[name], name)))
            found[what] = Recognised(odds, labels, is_familiar)
        return found


def save_network(
    path: Path, network: DishNetwork, thresholds: Mapping[str, float], familiar: Familiar, notes: Mapping[str, str]
) -> None:
    """Write weights (matrices in fp16, vectors in fp32), size and names as safetensors, with `notes` about them."""
    state = {
        key: (value.half() if value.is_floating_point() and value.ndim > 1 else value).contiguous()
        for key, value in network.state_dict().items()
    }
    state |= {f"{_FAMILIAR}mean": familiar.mean, f"{_FAMILIAR}precision": familiar.precision.contiguous()}
    told = {"format": FORMAT, "config": network.config.model_dump_json(), "thresholds": json.dumps(dict(thresholds))}
    told["familiar_limit"] = repr(familiar.limit)
    partial = path.with_suffix(".partial")
    save_file(state, partial, metadata={**told, **notes})
    partial.replace(path)


def load_network(path: Path | None = None) -> DishRecogniser:
    """The network in `path`, by default the bundled one, in fp32 on the CPU.

    Raises:
        BadInput: the file is missing, pickled, damaged, or of another network.
    """
    path = BUNDLED if path is None else path
    if not path.is_file():
        raise BadInput(f"`{path}` is not there; expected weights as `loopwright train recipe-network` writes them.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 - safe_open is no mapping
        if metadata.get("format") != FORMAT:
            raise BadInput(f"`{path}` has format {metadata.get('format')!r}; expected {FORMAT!r}.")
        with MODEL_LOAD_LOCK:
            network = DishNetwork(NetworkConfig.model_validate_json(metadata["config"]))
            familiar = Familiar(state.pop(f"{_FAMILIAR}mean"), state.pop(f"{_FAMILIAR}precision"), _limit(metadata))
            network.load_state_dict(state)
    except (SafetensorError, RuntimeError, KeyError, ValueError) as error:
        raise BadInput(f"`{path}` is no whole network ({error}). Train it again; pickles are never loaded.") from error
    return DishRecogniser(network, json.loads(metadata["thresholds"]), familiar, metadata)


@lru_cache(maxsize=1)
def bundled_network() -> DishRecogniser:
    """The bundled one, kept for the next session of this process."""
    return load_network()


def _turned(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(7, N, N, 3) the views of a square picture but itself."""
    views = [np.rot90(side, turns) for side in (image, image.transpose(1, 0, 2)) for turns in range(4)]
    return np.stack(views[1:])


def _limit(metadata: Mapping[str, str]) -> float:
    return float(metadata["familiar_limit"])


def _layer(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> tuple[nn.Module, ...]:
    padding = kernel // 2 if kernel == 3 else 0
    return (
        nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
