"""The localiser's loss: what makes both heads honest."""

from typing import NamedTuple

import torch
from torch import Tensor

from loopwright.finetune.networks.carm.config import LossConfig
from loopwright.models.networks.carm import SCALE_MM, Prediction, cell_centres

IN_VIEW_MM = 70.0
"""A landmark whose two offsets are smaller is in view (the picture reaches 77 mm in the plane of the isocentre)."""


_HEAT_SD_MM = 10.0
_EXCLUDED = -1e4
"""A logit that gets no share; finite, so that a row without candidates still has gradients."""


class Losses(NamedTuple):
    """Scalars: what is minimised, and its parts."""

    total: Tensor
    nearest: Tensor
    offset: Tensor
    heat: Tensor
    centring: Tensor


def losses(prediction: Prediction, offsets_mm: Tensor, distance_mm: Tensor, config: LossConfig) -> Losses:
    """Loss of a batch of B views of L landmarks.

    Args:
        prediction: the network's raw output.
        offsets_mm: (B, L, 2), NaN for a landmark that the volume does not hold.
        distance_mm: (B, L) from the isocentre, NaN likewise.
        config: weights.
    """
    nearest = plackett_luce(prediction.logits, distance_mm)
    offset = offset_nll(prediction, offsets_mm / SCALE_MM, config.in_view)
    heat = heat_map(prediction.log_share, offsets_mm / SCALE_MM)
    centring = in_view_error(prediction.offsets, offsets_mm / SCALE_MM)
    total = config.nearest * nearest + offset + config.heat * heat + config.centring * centring
    return Losses(total, nearest, offset, heat, centring)


def plackett_luce(logits: Tensor, distance_mm: Tensor, places: int = 3) -> Tensor:
    """Negative log likelihood of the order of the nearest `places` landmarks, later places at half weight each.

    The first place alone is the cross-entropy of the nearest landmark, so the softmax of `logits` stays its posterior;
    the later ones teach the ranking behind it. Absent landmarks (NaN) are left out of every choice.
    """
    present = ~distance_mm.isnan()
    order = distance_mm.nan_to_num(nan=torch.inf).argsort(dim=1)
    remaining = logits.masked_fill(~present, _EXCLUDED)
    total, weight = logits.new_zeros(()), 1.0
    for place in range(places):
        winner = order[:, place : place + 1]
        counted = present.sum(1) > place + 1
        log_p = remaining.log_softmax(1).gather(1, winner)[:, 0]
        total = total - weight * torch.where(counted, log_p, torch.zeros_like(log_p)).mean()
        remaining = remaining.scatter(1, winner, _EXCLUDED)
        weight = 0.5
    return total


def offset_nll(prediction: Prediction, offsets: Tensor, in_view_weight: float) -> Tensor:
    """Negative log likelihood under the isotropic 2-D Laplace density exp(-|e| / s) / (2 pi s^2), constants dropped.

    Its tails forgive what cannot be known, and its scale has to grow where that is so.
    """
    present = ~offsets.isnan().any(-1)
    target = offsets.nan_to_num()
    error = ((prediction.offsets - target).square().sum(-1) + 1e-6).sqrt()
    nll = error * (-prediction.log_sigma).exp() + 2 * prediction.log_sigma
    in_view = target.abs().amax(-1) < IN_VIEW_MM / SCALE_MM
    weight = present * (1.0 + (in_view_weight - 1.0) * in_view)
    return (nll * weight).sum() / weight.sum().clamp(min=1.0)


def heat_map(log_share: Tensor, offsets: Tensor) -> Tensor:
    """Cross-entropy between a Gaussian about each landmark in view and the weights of the cells that vote for it.

    So that what is seen is found by the cells that see it. The Gaussian is wide enough (10 mm) for what perspective
    moves a landmark in front of or behind the isocentre.
    """
    b, n, h, w = log_share.shape
    near = offsets.abs().amax(-1) < IN_VIEW_MM / SCALE_MM  # False for NaN
    distance = (offsets.nan_to_num()[:, :, None, :] - cell_centres(h, w).to(offsets)).square().sum(-1)
    target = (-0.5 * distance / (_HEAT_SD_MM / SCALE_MM) ** 2).softmax(-1)
    entropy = -(target * log_share.view(b, n, h * w)).sum(-1)
    return (entropy * near).sum() / near.sum().clamp(min=1)


def in_view_error(predicted: Tensor, offsets: Tensor) -> Tensor:
    """Mean distance to the landmarks in view.

    The likelihood alone gives up on what is hard: where the scale is large its gradient is small (Seitzer et al.,
    "On the pitfalls of heteroscedastic uncertainty estimation", 2022). This term pulls on all landmarks alike.
    """
    near = offsets.abs().amax(-1) < IN_VIEW_MM / SCALE_MM  # False for NaN
    error = ((predicted - offsets.nan_to_num()).square().sum(-1) + 1e-6).sqrt()
    return (error * near).sum() / near.sum().clamp(min=1)
