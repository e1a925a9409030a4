"""Mask losses; their numbers against LISA's code are in tests/checkpoints/test_lisa.py."""

from __future__ import annotations

import pytest
import torch

from looktwice.backbones.losses import dice_loss, mask_losses, sigmoid_ce_loss


def masks(n: int, size: tuple[int, int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, *size, generator=source)
    return logits, (torch.randn(n, *size, generator=source) > 0).float()


def test_each_mask_counts_alike_however_large_its_image_is():
    small, large = masks(1, (4, 4), 0), masks(3, (30, 20), 1)
    bce, dice = mask_losses([small[0], large[0]], [small[1], large[1]])
    each = [
        (sigmoid_ce_loss(a[None], b[None], 1), dice_loss(a[None], b[None], 1))
        for s in (small, large)
        for a, b in zip(*s, strict=True)
    ]
    torch.testing.assert_close(bce, torch.stack([one for one, _ in each]).mean())
    torch.testing.assert_close(dice, torch.stack([one for _, one in each]).mean())


def test_a_perfect_mask_costs_nothing_and_the_opposite_everything():
    wanted = torch.zeros(1, 8, 8)
    wanted[0, :4] = 1
    sure = 50 * (2 * wanted - 1)
    assert float(dice_loss(sure, wanted, 1)) == pytest.approx(0, abs=1e-4)
    assert float(sigmoid_ce_loss(sure, wanted, 1)) == pytest.approx(0, abs=1e-4)
    assert float(dice_loss(-sure, wanted, 1)) == pytest.approx(1, abs=1e-3)
    assert float(sigmoid_ce_loss(-sure, wanted, 1)) == pytest.approx(50, abs=1e-3)


def test_an_empty_target_counts_for_the_cross_entropy_only():
    logits, wanted = masks(3, (8, 8), 2)
    wanted[1] = 0
    bce, dice = mask_losses([logits], [wanted], dice_of_empty=False)
    full, every = mask_losses([logits], [wanted])
    torch.testing.assert_close(bce, full)
    torch.testing.assert_close(dice, dice_loss(logits[[0, 2]], wanted[[0, 2]], 2))
    assert dice < every


def test_only_empty_targets_give_no_dice_and_still_a_gradient():
    logits = torch.zeros(2, 4, 4, requires_grad=True)
    bce, dice = mask_losses([logits], [torch.zeros(2, 4, 4)], dice_of_empty=False)
    (bce + dice).backward()
    assert float(dice.detach()) == 0
    assert (logits.grad > 0).all()


def test_no_mask_at_all_costs_nothing():
    bce, dice = mask_losses([torch.zeros(0, 4, 4)], [torch.zeros(0, 4, 4)])
    assert float(bce) == float(dice) == 0


def test_half_precision_masks_are_compared_in_float32():
    logits, wanted = masks(1, (300, 300), 3)
    bce, dice = mask_losses([logits.half()], [wanted.bool()])
    assert bce.dtype == dice.dtype == torch.float32
    torch.testing.assert_close(dice, dice_loss(logits, wanted, 1), rtol=0, atol=1e-3)


def test_masks_of_another_size_than_their_targets_are_refused():
    with pytest.raises(ValueError, match=r"masks are \(1, 4, 4\) but their targets \(1, 4, 5\)"):
        mask_losses([torch.zeros(1, 4, 4)], [torch.zeros(1, 4, 5)])
