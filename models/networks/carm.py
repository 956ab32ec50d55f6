"""The C-arm localiser: one radiograph in, where all landmarks are out.

A small residual network (He et al. 2016) with two heads, as in the seed paper's baseline (Arrabi et al., "Automated
C-arm positioning via conformal landmark localization", ICCVW 2025): the posterior of being the nearest landmark, and
per landmark the in-plane displacement from the image centre with its scale. Every cell of a fused feature map votes for
each landmark with a displacement from *itself*, and the votes are averaged with learned weights: near landmarks are
found by the cells that show them, far ones by the cells that know best. `RESNET34` is the size of the seed's
network (21 M parameters); the bundled weights are smaller.

Knows nothing of volumes, poses or the names of landmarks: the names come with the weights. Imports torch, so import
this module where it is used.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu

from loopwright.errors import BadInput
from loopwright.models.conformal import Calibration
from loopwright.models.load_lock import MODEL_LOAD_LOCK
from loopwright.models.networks.localisation import Localisation
from loopwright.models.vector_math import settle_kernels
from loopwright.schema import Frozen

settle_kernels()

INPUT_PX = 128
SCALE_MM = 100.0
"""One unit of the network's displacements."""
FIELD_OF_VIEW_MM = 154.8
"""Edge of the square that the standard C-arm sees in the plane through the isocentre."""
LOG_SIGMA_RANGE = (-4.5, 2.0)
"""Bounds of log(scale / SCALE_MM): 1.1 mm to 739 mm."""
LAPLACE_SD = 3**0.5
"""Over its scale s, the standard deviation along one axis of the 2-D Laplace density exp(-|e| / s) / (2 pi s^2)."""
FORMAT = "loopwright.carm_network.v1"
BUNDLED = Path(__file__).parents[1] / "weights" / "carm_network.safetensors"


class NetworkConfig(Frozen):
    """Size of the network. `widths` and `blocks` have one entry for each stage, each stage halving the resolution."""

    widths: tuple[int, ...] = Field(default=(32, 64, 128, 256), min_length=3)
    blocks: tuple[int, ...] = Field(default=(2, 2, 2, 2), min_length=3)
    neck: int = Field(default=96, ge=8, description="channels of the fused map that votes")
    n_landmarks: int = Field(default=14, ge=2)


RESNET34 = NetworkConfig(widths=(64, 128, 256, 512), blocks=(3, 4, 6, 3), neck=64)
"""The seed's size, 21 M parameters."""


class Prediction(NamedTuple):
    """A batch of raw outputs for B pictures and L landmarks."""

    logits: Tensor
    """(B, L) unnormalised log posterior of being the nearest."""
    offsets: Tensor
    """(B, L, 2) displacement in units of `SCALE_MM`, image right and image down."""
    log_sigma: Tensor
    """(B, L) log scale of the displacement's error, in the same unit."""
    log_share: Tensor
    """(B, L, h, w) log weight of each cell's vote; over a landmark in view it peaks where the landmark is seen."""


def prepare(images: NDArray[np.uint8] | Tensor) -> Tensor:
    """Radiographs of any size, (N, N) or (B, N, N) uint8, to the network's (B, 1, 128, 128) float32 in [0, 1].

    Resized by area. The one function of training, evaluation and inference.

    Raises:
        BadInput: not uint8, not square, or smaller than 16 pixels.
    """
    tensor = torch.as_tensor(images)
    if tensor.ndim == 2:
        tensor = tensor[None]
    if tensor.dtype != torch.uint8 or tensor.ndim != 3 or tensor.shape[1] != tensor.shape[2] or tensor.shape[1] < 16:
        raise BadInput(
            f"`images` has shape {tuple(tensor.shape)} and type {tensor.dtype}; expected square uint8 radiographs, "
            "(N, N) or (B, N, N) with N >= 16, as `to_uint8` makes them."
        )
    scaled = tensor[:, None].float() / 255.0
    return scaled if tensor.shape[1] == INPUT_PX else interpolate(scaled, size=(INPUT_PX, INPUT_PX), mode="area")


class Estimate(NamedTuple):
    """What a batch of B predictions means."""

    posterior: NDArray[np.float32]
    """(B, L) of being the nearest landmark."""
    offsets_mm: NDArray[np.float32]
    """(B, L, 2) image right, image down."""
    sigma_mm: NDArray[np.float32]
    """(B, L) standard deviation of the offset's error along one axis."""


def local_contrast(images: Tensor) -> Tensor:
    """(B, 1, N, N) with local mean 0 and local deviation at most 1: a scapula's edge counts as much as a rib's.

    Local contrast normalisation (Jarrett et al. 2009) over 17 x 17 pixels; what is flatter than 2 % is not blown up.
    """
    centred = images - _local_mean(images)
    return centred / (_local_mean(centred.square()).sqrt() + 0.02)


def _local_mean(images: Tensor) -> Tensor:
    rows = avg_pool2d(images, (17, 1), 1, (8, 0), count_include_pad=False)
    return avg_pool2d(rows, (1, 17), 1, (0, 8), count_include_pad=False)


class _Block(nn.Module):
    """The basic residual block: two 3 x 3 convolutions."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(n_out)
        self.second = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(n_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        hidden = relu(self.first_norm(self.first(x)))
        return relu(self.second_norm(self.second(hidden)) + self.shortcut(x))


class CArmNetwork(nn.Module):
    """Residual trunk, a fused map whose cells vote for every landmark, and the nearest-landmark head."""

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or NetworkConfig()
        widths, neck, n = self.config.widths, self.config.neck, self.config.n_landmarks
        if len(widths) != len(self.config.blocks):
            raise BadInput(f"`widths` {widths!r} and `blocks` {self.config.blocks!r} must be of equal length.")
        self.stem = nn.Sequential(
            nn.Conv2d(2, widths[0], 7, 2, 3, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        ins = (widths[0], *widths[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(*(_Block(i if b == 0 else o, o, 2 if s and b == 0 else 1) for b in range(count)))
            for s, (i, o, count) in enumerate(zip(ins, widths, self.config.blocks, strict=True))
        )
        self.laterals = nn.ModuleList(nn.Conv2d(w, neck, 1) for w in widths[1:])
        self.votes = nn.Sequential(nn.Conv2d(neck, neck, 3, 1, 1), nn.ReLU(), nn.Conv2d(neck, 4 * n, 1))
        self.nearest = nn.Sequential(nn.Linear(widths[-1] + 3 * n, 128), nn.ReLU(), nn.Linear(128, n))

    def forward(self, x: Tensor) -> Prediction:
        """(B, 1, 128, 128) in [0, 1], from `prepare`."""
        x = self.stem(torch.cat([x, local_contrast(x)], dim=1))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        fused = self._fuse(maps[1:])
        offsets, log_sigma, log_share = self._vote(self.votes(fused).float())
        features = torch.cat([x.mean((2, 3)), offsets.detach().flatten(1), log_sigma.detach()], dim=1)
        return Prediction(self.nearest(features).float(), offsets, log_sigma, log_share)

    def _fuse(self, maps: list[Tensor]) -> Tensor:
        """Sum of all stages but the first at the finest one's resolution: detail and the whole picture's context."""
        size = maps[0].shape[-2:]
        fused = self.laterals[0](maps[0])
        for lateral, coarse in zip(self.laterals[1:], maps[1:], strict=True):
            fused = fused + interpolate(lateral(coarse), size=size, mode="bilinear", align_corners=False)
        return relu(fused)

    def _vote(self, votes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 4 L, h, w) -> offsets (B, L, 2), log sigma (B, L), log weights (B, L, h, w)."""
        b, _, h, w = votes.shape
        weight, right, down, log_sigma = votes.view(b, 4, self.config.n_landmarks, h * w).unbind(1)
        log_share = weight.log_softmax(-1)
        share, cells = log_share.exp(), cell_centres(h, w).to(votes)
        x = (share * (right + cells[:, 0])).sum(-1)
        y = (share * (down + cells[:, 1])).sum(-1)
        spread = (share * log_sigma).sum(-1).clamp(*LOG_SIGMA_RANGE)
        return torch.stack([x, y], dim=-1), spread, log_share.view(b, -1, h, w)


def cell_centres(height: int, width: int) -> Tensor:
    """(height * width, 2) centres of a map's cells from the image centre, right and down, in units of `SCALE_MM`.

    Measured in the plane through the isocentre, for the standard field of view.
    """
    half = FIELD_OF_VIEW_MM / 2 / SCALE_MM
    rows = torch.linspace(-half + half / height, half - half / height, height)
    columns = torch.linspace(-half + half / width, half - half / width, width)
    return torch.stack([columns.repeat(height), rows.repeat_interleave(width)], dim=-1)


class CArmLocaliser:
    """A trained network with the names of its landmarks and, where there is one, its conformal calibration."""

    def __init__(
        self,
        network: CArmNetwork,
        names: tuple[str, ...],
        calibration: Calibration | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.network: CArmNetwork = network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.names = names
        self.calibration = calibration
        self.metadata = dict(metadata or {})

    @torch.inference_mode()
    def estimate(self, images: NDArray[np.uint8]) -> Estimate:
        """Both heads for (N, N) or (B, N, N) uint8 radiographs, uncalibrated."""
        raw = self.network(prepare(images).to(memory_format=torch.channels_last))
        posterior, offsets = raw.logits.softmax(-1), raw.offsets * SCALE_MM
        sigma = raw.log_sigma.exp() * (SCALE_MM * LAPLACE_SD)
        return Estimate(posterior.numpy(), offsets.numpy(), sigma.numpy())

    def localise(self, image_uint8: NDArray[np.uint8], coverage: float = 0.95) -> Localisation:
        """What one (N, N) uint8 radiograph shows; set and radii at `coverage`, one of the calibrated levels."""
        posterior, offsets, sigma = (part[0] for part in self.estimate(image_uint8))
        nearest = {name: float(p) for name, p in zip(self.names, posterior, strict=True)}
        sigma_mm = {name: float(s) for name, s in zip(self.names, sigma, strict=True)}
        rule = self.calibration
        gate = rule.gate if rule else None
        return Localisation(
            nearest=nearest,
            offsets_mm={name: (float(x), float(y)) for name, (x, y) in zip(self.names, offsets, strict=True)},
            sigma_mm=sigma_mm,
            coverage=coverage if rule else None,
            nearest_set=rule.prediction_set(nearest, coverage) if rule else None,
            radius_mm={n: rule.radius_mm(n, s, coverage) for n, s in sigma_mm.items()} if rule else None,
            known_sigma_mm=gate.known_sigma_mm if gate else None,
            known_jump_mm=gate.known_jump_mm if gate else None,
        )


def save_carm_network(path: Path, network: CArmNetwork, names: tuple[str, ...], notes: Mapping[str, str]) -> str:
    """Write weights (matrices in fp16, vectors in fp32), size and names as safetensors; returns the file's SHA-256.

    `notes` are further text metadata, such as how the weights were trained.
    """
    state = {
        key: (value.half() if value.is_floating_point() and value.ndim > 1 else value).contiguous().cpu()
        for key, value in network.state_dict().items()
    }
    metadata = {"format": FORMAT, "config": network.config.model_dump_json(), "landmarks": json.dumps(names), **notes}
    partial = path.with_suffix(".partial")
    save_file(state, partial, metadata=metadata)
    partial.replace(path)
    return weights_sha256(path)


def weights_sha256(path: Path) -> str:
    """Hex SHA-256 of a weights file, by which a calibration names it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_carm_network(path: Path | None = None) -> CArmLocaliser:
    """The localiser in `path`, by default the bundled one, computing in fp32 on the CPU.

    A `*.conformal.json` beside the weights is its calibration.

    Raises:
        BadInput: the file is missing, pickled, damaged, or of another network.
        IntegrityError: the calibration beside it belongs to other weights.
    """
    path = BUNDLED if path is None else path
    if not path.is_file():
        raise BadInput(
            f"`{path}` is not there; expected the localiser's weights. "
            "Name a .safetensors file, or make one with `loopwright train carm-network`."
        )
    state, metadata = _read(path)
    try:
        config = NetworkConfig.model_validate_json(metadata["config"])
        names = tuple(json.loads(metadata["landmarks"]))
        with MODEL_LOAD_LOCK:
            network = CArmNetwork(config)
            network.load_state_dict({key: value.float() if value.ndim else value for key, value in state.items()})
    except (ValidationError, RuntimeError, json.JSONDecodeError) as error:
        raise BadInput(f"`{path}` does not fit its own description: {error}. Train or fetch it again.") from error
    if len(names) != config.n_landmarks:
        raise BadInput(f"`{path}` names {len(names)} landmarks for {config.n_landmarks} outputs. Train it again.")
    beside = calibration_path(path)
    calibration = Calibration.load(beside, weights_sha256(path)) if beside.is_file() else None
    return CArmLocaliser(network, names, calibration, metadata)


def calibration_path(weights: Path) -> Path:
    """Where the calibration of `weights` lies."""
    return weights.with_suffix(".conformal.json")


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - safe_open is no mapping
    except SafetensorError as error:
        raise BadInput(
            f"`{path}` is no safetensors file ({error}). Pickled weights are never loaded, because they can run code: "
            "convert them with `safetensors.torch.save_file`, or train again."
        ) from error
    if metadata.get("format") != FORMAT:
        raise BadInput(
            f"`{path}` has format {metadata.get('format')!r}; expected {FORMAT!r}: weights written by "
            "`loopwright train carm-network`."
        )
    return state, metadata
