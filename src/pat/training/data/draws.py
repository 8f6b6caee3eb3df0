"""An epoch's draws, a function of (seed, epoch) alone, and images changed by them."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pat.training.data.augment import Augment

CROP_AREA = (0.08, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)


def generator_for(seed: int, *coordinates: int) -> torch.Generator:
    """A CPU generator that is a function of its arguments and of nothing else."""
    if min(seed, *coordinates) < 0:
        raise ValueError(f"seed and epoch must not be negative, got {(seed, *coordinates)}")
    state = np.random.SeedSequence((seed, *coordinates)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


@dataclass(frozen=True)
class Draws:
    """One epoch's order and chances, by position in the epoch. Drawn on the CPU on any device,
    and all of them whatever is used, so that no option moves another's."""

    order: Tensor
    """int64 [N], image numbers."""
    chances: Tensor
    """float32 [N, 5] in [0, 1)."""

    @classmethod
    def of(cls, count: int, seed: int, epoch: int, device: torch.device) -> Self:
        generator = generator_for(seed, epoch)
        order = torch.randperm(count, generator=generator)
        chances = torch.rand(count, 5, generator=generator)
        return cls(order.to(device), chances.to(device))


def augmented(images: Tensor, chances: Tensor, augment: Augment) -> Tensor:
    """images uint8 [B, C, H, W], chances float32 [B, 5] -> the same shape, uint8 or float32 in
    0..255, each image by its own chances, in one pass over the batch."""
    mirrored = (chances[:, 0] < 0.5) & augment.flip
    if augment.random_resized_crop:
        return _resized_crops(images, chances, mirrored)
    if augment.crop_padding == 0 and not augment.flip:
        return images
    batch, _, height, width = images.shape
    pad = augment.crop_padding
    # The product of a chance just under 1 may round up to the bound.
    top, left = (chances[:, 1:3] * (2 * pad + 1)).long().clamp(max=2 * pad).unbind(1)
    reach = torch.arange(width, device=images.device)
    columns = left[:, None] + torch.where(mirrored[:, None], reach.flip(0), reach)
    rows = top[:, None] + torch.arange(height, device=images.device)
    # One gather does the crop and the flip; channels last, so that it yields whole pixels.
    pixels = F.pad(images, (pad, pad, pad, pad)).permute(0, 2, 3, 1)
    which = torch.arange(batch, device=images.device)[:, None, None]
    return pixels[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def _resized_crops(images: Tensor, chances: Tensor, mirrored: Tensor) -> Tensor:
    """A crop that would leave the image is clamped to it (torchvision draws again)."""
    low, high = CROP_AREA
    area = low + (high - low) * chances[:, 1]
    log_low, log_high = (torch.tensor(r).log().item() for r in CROP_RATIO)
    ratio = (log_low + (log_high - log_low) * chances[:, 2]).exp()
    width = (area * ratio).sqrt().clamp(max=1.0)
    height = (area / ratio).sqrt().clamp(max=1.0)
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0] = torch.where(mirrored, -width, width)
    theta[:, 1, 1] = height
    theta[:, 0, 2] = (2 * chances[:, 3] - 1) * (1 - width)
    theta[:, 1, 2] = (2 * chances[:, 4] - 1) * (1 - height)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images.float(), grid, padding_mode="reflection", align_corners=False)
