"""Mask losses of LISA: cross-entropy and Dice, each mask counting alike (Lai et al., CVPR 2024).

Formulas and constants follow dvlab-research/LISA. Letters: n masks of one image, H W pixels, M masks of all images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

SCALE = 1000.0  # keeps the sums of large masks within half precision
EPS = 1e-6
TINY = 1e-8  # so that no mask at all gives 0 and not NaN


def sigmoid_ce_loss(logits: torch.Tensor, targets: torch.Tensor, num_masks: float) -> torch.Tensor:
    """Return the cross-entropy of (n, H, W) logits, averaged over pixels, summed over masks, / (num_masks + 1e-8)."""
    per_pixel = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return per_pixel.flatten(1).mean(1).sum() / (num_masks + TINY)


def dice_loss(logits: torch.Tensor, targets: torch.Tensor, num_masks: float) -> torch.Tensor:
    """Return 1 - Dice of (n, H, W) logits, summed over masks, / (num_masks + 1e-8); near 1 for an empty target."""
    shares, wanted = logits.sigmoid().flatten(1), targets.flatten(1)
    overlap = 2 * (shares / SCALE * wanted).sum(-1)
    total = (shares / SCALE).sum(-1) + (wanted / SCALE).sum(-1)
    return (1 - (overlap + EPS) / (total + EPS)).sum() / (num_masks + TINY)


def mask_losses(
    logits: Sequence[torch.Tensor], targets: Sequence[torch.Tensor], dice_of_empty: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return cross-entropy and Dice over several images: lists of (n, H, W), each image of its own size.

    With `dice_of_empty` False a mask whose target is empty counts for the cross-entropy only, and Dice is the average
    over the others: Dice of nothing is near 1 for every answer that is not perfectly empty, and teaches little.
    Masks are compared in float32. Raises ValueError where shapes differ.
    """
    bce, dice = [], []
    count = filled = 0
    for one, wanted in zip(logits, targets, strict=True):
        if one.shape != wanted.shape:
            raise ValueError(f"masks are {tuple(one.shape)} but their targets {tuple(wanted.shape)}")
        one, wanted = one.float(), wanted.float()
        keep = torch.ones(len(wanted), dtype=torch.bool, device=wanted.device)
        if not dice_of_empty:
            keep = wanted.flatten(1).any(1)
        bce.append(sigmoid_ce_loss(one, wanted, 1))
        dice.append(dice_loss(one[keep], wanted[keep], 1))
        count, filled = count + len(wanted), filled + int(keep.sum())
    return torch.stack(bce).sum() / (count + TINY), torch.stack(dice).sum() / (filled + TINY)
