"""Turns, stretches and shears the person of a view: pictures and truth together."""

import torch
from torch import Generator, Tensor
from torch.nn.functional import affine_grid, grid_sample

from loopwright.finetune.networks.carm.config import DeformConfig


def deform(
    images: Tensor, offsets_mm: Tensor, distance_mm: Tensor, config: DeformConfig, generator: Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Turn, stretch and shear the person in the coronal plane: pictures and truth of another anatomy in another pose.

    Exact for the AP view: a linear map of that plane about the central ray maps the perspective picture of every depth
    alike. What comes in from beyond the picture's edge is its mirror image.

    Args:
        images: (B, 1, N, N).
        offsets_mm: (B, L, 2) image right and image down, NaN for an absent landmark.
        distance_mm: (B, L) in three dimensions, NaN likewise.
        config: how far.
        generator: of the draw.

    Returns:
        The same three, deformed.
    """
    count = len(images)
    angle = torch.deg2rad(config.rotation_sd_deg * torch.randn(count, generator=generator))
    stretch = torch.diag_embed((config.scale_sd * torch.randn(count, 2, generator=generator)).exp())
    shear = torch.eye(2).repeat(count, 1, 1)
    shear[:, 0, 1] = config.shear_sd * torch.randn(count, generator=generator)
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], dim=1)
    forth = turn @ shear @ stretch
    back = torch.cat([torch.linalg.inv(forth), torch.zeros(count, 2, 1)], dim=2)
    grid = affine_grid(back, list(images.shape), align_corners=False)
    seen = grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    moved_mm = offsets_mm @ forth.transpose(1, 2)
    depth_mm2 = (distance_mm.square() - offsets_mm.square().sum(-1)).clamp(min=0)
    return seen, moved_mm, (moved_mm.square().sum(-1) + depth_mm2).sqrt()
