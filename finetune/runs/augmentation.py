"""What real detectors and patients do to a clean DRR, on batches of tensors. Never a flip: left is not right.

All functions take (B, C, H, W) float32 in [0, 1] and a generator, and return the same shape.
"""

import torch
from pydantic import Field
from torch import Generator, Tensor
from torch.nn.functional import conv2d, interpolate

from loopwright.schema import Frozen


class AugmentConfig(Frozen):
    """How far a clean DRR is bent towards what real detectors and patients do. No flips: left is not right."""

    gamma: float = Field(default=0.35, ge=0, description="exponent is exp(+-gamma)")
    window: float = Field(default=0.08, ge=0, le=0.4, description="how far black and white points move")
    shading: float = Field(default=0.12, ge=0, description="amplitude of a smooth field")
    noise_sd: float = Field(default=0.012, ge=0, description="largest; grows where little gets through")
    blur_sd_px: float = Field(default=0.8, ge=0, description="largest")
    shutter_p: float = Field(default=0.2, ge=0, le=1, description="circular or rectangular collimation")
    line_p: float = Field(default=0.2, ge=0, le=1, description="a cable or needle across the picture")


def augment(images: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """The whole chain, in the order of the imaging chain: patient, object in the beam, optics, detector, display."""
    images = shade(images, config.shading, generator)
    images = draw_lines(images, config.line_p, generator)
    images = blur(images, config.blur_sd_px, generator)
    images = add_noise(images, config.noise_sd, generator)
    images = window(images, config.window, config.gamma, generator)
    return shutter(images, config.shutter_p, generator)


def shade(images: Tensor, amplitude: float, generator: Generator) -> Tensor:
    """Add a smooth random field: scatter, heel effect, overlying soft tissue."""
    field = torch.randn(images.shape[0], 1, 4, 4, generator=generator) * _uniform(images, 0, amplitude / 2, generator)
    return images + interpolate(field, size=images.shape[-2:], mode="bicubic", align_corners=True)


def draw_lines(images: Tensor, probability: float, generator: Generator) -> Tensor:
    """Draw a straight line, brighter or darker, one to four pixels wide."""
    x, y = _grid(images)
    angle = _uniform(images, 0, torch.pi, generator)
    shift = _uniform(images, -0.8, 0.8, generator)
    half_width = _uniform(images, 1, 4, generator) / images.shape[-1]
    contrast = _uniform(images, -0.4, 0.6, generator) * _chosen(images, probability, generator)
    distance = (x * angle.cos() + y * angle.sin() - shift).abs()
    return images + contrast * (distance < half_width)


def blur(images: Tensor, max_sd_px: float, generator: Generator) -> Tensor:
    """Blur each picture with a Gaussian of its own width."""
    if max_sd_px == 0:
        return images
    reach = torch.arange(-3, 4, dtype=torch.float32)
    sd = _uniform(images, 0.05, max(max_sd_px, 0.06), generator).flatten()[:, None]
    kernel = torch.exp(-0.5 * (reach / sd) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    flat = images.transpose(0, 1)
    count = images.shape[0]
    flat = conv2d(flat, kernel[:, None, None, :], padding=(0, 3), groups=count)
    flat = conv2d(flat, kernel[:, None, :, None], padding=(3, 0), groups=count)
    return flat.transpose(0, 1)


def add_noise(images: Tensor, max_sd: float, generator: Generator) -> Tensor:
    """Add quantum noise: more of it where less gets through, which a DRR shows bright."""
    sd = _uniform(images, 0, max_sd, generator) * (0.4 + images.clamp(0, 1))
    return images + sd * torch.randn(images.shape, generator=generator)


def window(images: Tensor, reach: float, gamma: float, generator: Generator) -> Tensor:
    """Move the black and white points, then bend the curve between them."""
    black = _uniform(images, -reach, reach, generator)
    white = _uniform(images, 1 - reach, 1 + reach, generator)
    exponent = _uniform(images, -gamma, gamma, generator).exp()
    return ((images - black) / (white - black)).clamp(0, 1) ** exponent


def shutter(images: Tensor, probability: float, generator: Generator) -> Tensor:
    """Collimate: nothing outside a rectangle or a circle that keeps at least the central 60 %."""
    x, y = _grid(images)
    left, right, top, bottom = (_uniform(images, 0.6, 1.1, generator) for _ in range(4))
    inside_box = (x > -left) & (x < right) & (y > -top) & (y < bottom)
    inside_disc = x**2 + y**2 < _uniform(images, 0.75, 1.3, generator) ** 2
    inside = torch.where(_chosen(images, 0.5, generator), inside_box, inside_disc)
    return images * (inside | ~_chosen(images, probability, generator))


def _grid(images: Tensor) -> tuple[Tensor, Tensor]:
    """Pixel centres, x right and y down, the picture spanning [-1, 1]: (1, W) and (H, 1)."""
    y, x = ((torch.arange(n, dtype=torch.float32) + 0.5) * 2 / n - 1 for n in images.shape[-2:])
    return x[None, :], y[:, None]


def _uniform(images: Tensor, low: float, high: float, generator: Generator) -> Tensor:
    return low + (high - low) * torch.rand(images.shape[0], 1, 1, 1, generator=generator)


def _chosen(images: Tensor, probability: float, generator: Generator) -> Tensor:
    return torch.rand(images.shape[0], 1, 1, 1, generator=generator) < probability
