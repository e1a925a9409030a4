from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from looktwice.checkpoints import BadCheckpoint, load_strict
from looktwice.checkpoints.tokenpacker import PROJECTOR
from looktwice.detectors.vmad.model import VmadModel
from looktwice.detectors.vmad.projector import Ltc, plain
from looktwice.errors import UsageError

from .vmad_small import small, small_config

GOLDEN = Path(__file__).parents[1] / "golden" / "tokenpacker.npz"
C, L = 16, 3


def inputs(rows, columns, seed=0, batch=2):
    source = torch.Generator().manual_seed(seed)
    patches = rows * columns
    coarse, *fine = (torch.randn(batch, patches, C, generator=source) for _ in range(1 + L))
    return coarse, fine


def made(factor=2, base=None, seed=0):
    torch.manual_seed(seed)
    ltc = Ltc(C, 24, layers=L, factor=factor, heads=4, base=base).eval()
    for weight in ltc.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return ltc


def region_by_region(ltc, coarse, fine, rows, columns):
    """What LTC does, one token at a time, with torch's own attention."""
    s, plane = ltc.factor, coarse.transpose(1, 2).unflatten(2, (rows, columns))
    across, down = -columns % s, -rows % s
    plane = F.pad(plane, (0, across, 0, down), mode="replicate")
    pooled = F.interpolate(plane, scale_factor=1 / s, mode="bilinear")
    fine = torch.cat(fine, -1)
    keys = ltc.ln_k_1(ltc.k_proj_1(fine)).unflatten(1, (rows, columns))
    values = ltc.ln_v_1(ltc.v_proj_1(fine)).unflatten(1, (rows, columns))
    tokens = []
    for y in range(pooled.shape[2]):
        for x in range(pooled.shape[3]):
            middle = pooled[:, :, y, x]
            region = (slice(None), slice(y * s, (y + 1) * s), slice(x * s, (x + 1) * s))
            k, v = keys[region].flatten(1, 2).transpose(0, 1), values[region].flatten(1, 2).transpose(0, 1)
            o = ltc.clip_attn(ltc.ln_q_1(ltc.q_proj_1(middle))[None], k, v)[0][0]
            tokens.append(ltc.base(middle + ltc.alpha * ltc.inject(o)) if ltc.warm else ltc.mlp(o))
    return torch.stack(tokens, 1)


@pytest.mark.parametrize(("name", "grid", "factor"), [("grid4_factor2", 4, 2), ("grid6_factor3", 6, 3)])
@torch.no_grad()
def test_published_tokenpacker_gives_the_same_tokens(name, grid, factor):
    ltc = Ltc(1024, 32, layers=4, factor=factor, heads=8).eval()
    rng = np.random.default_rng(11)
    weights = {}
    for key, old in sorted(ltc.state_dict().items()):
        drawn = torch.from_numpy(rng.standard_normal(tuple(old.shape), np.float32))
        scale = 1.0 / old.shape[-1] ** 0.5 if old.ndim > 1 else 0.1
        weights[key] = drawn * scale + (1.0 if key.startswith("ln") and key.endswith("weight") else 0.0)
    ltc.load_state_dict(weights)
    rng = np.random.default_rng(12)
    coarse, fine = (torch.from_numpy(rng.standard_normal((2, grid * grid, w), np.float32)) for w in (1024, 4096))
    assert np.abs(ltc(coarse, fine.split(1024, -1)).numpy() - np.load(GOLDEN)[name]).max() < 1e-5


@given(
    rows=st.integers(1, 7), columns=st.integers(1, 7), factor=st.integers(1, 4), base=st.sampled_from([None, "mlp2x"])
)
@settings(deadline=None, max_examples=25)
@torch.no_grad()
def test_all_regions_at_once_are_as_one_by_one(rows, columns, factor, base):
    ltc, (coarse, fine) = made(factor, base), inputs(rows, columns)
    tokens = ltc(coarse, fine, (rows, columns))
    assert tokens.shape == (2, -(-rows // factor) * -(-columns // factor), 24)
    torch.testing.assert_close(tokens, region_by_region(ltc, coarse, fine, rows, columns), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_token_knows_its_own_region_only():
    ltc, (coarse, fine) = made(), inputs(4, 6)
    changed = [one.clone() for one in fine]
    changed[1][:, [2, 3, 8, 9]] += 1  # the region of the second token: columns 2 and 3 of rows 0 and 1
    differs = (ltc(coarse, changed, (4, 6)) - ltc(coarse, fine, (4, 6))).abs().amax((0, 2)) > 1e-6
    assert differs.tolist() == [False, True, False, False, False, False]


@pytest.mark.parametrize("base", ["linear", "mlp2x"])
@torch.no_grad()
def test_a_warm_start_is_the_old_projector_on_pooled_features(base):
    ltc = Ltc(C, 24, layers=L, factor=2, heads=4, base=base)
    coarse, fine = inputs(4, 4)
    pooled = coarse.view(2, 2, 2, 2, 2, C).mean((2, 4)).flatten(1, 2)
    torch.testing.assert_close(ltc(coarse, fine), ltc.base(pooled), atol=1e-6, rtol=1e-6)


def test_a_warm_start_can_learn_from_the_first_step():
    ltc, (coarse, fine) = Ltc(C, 24, layers=L, heads=4, base="linear"), inputs(4, 4)
    ltc(coarse, fine).square().sum().backward()
    assert ltc.alpha.grad.abs() > 0


def test_a_fresh_start_has_small_weights_and_no_biases():
    torch.manual_seed(0)
    model = VmadModel(small_config())  # not by `small`, which draws its own
    for name, weight in model.projector.named_parameters():
        if name.endswith("bias"):
            assert not weight.any()
        elif "in_proj" not in name and "ln_" not in name:
            assert 0.017 < weight.std() < 0.023, name


def test_published_keys_load_by_name_and_another_width_is_refused(tmp_path):
    model, _ = small()
    ltc = model.projector
    weights = {f"model.mm_projector.{name}": torch.randn(one.shape) for name, one in ltc.state_dict().items()}
    save_file(weights, tmp_path / "projector.safetensors")
    load_strict(model, tmp_path / "projector.safetensors", PROJECTOR, allow_missing=("*",))
    for name, one in ltc.state_dict().items():
        assert torch.equal(one, weights[f"model.mm_projector.{name}"])
    weights["model.mm_projector.mlp.0.weight"] = torch.zeros(3, 3)
    save_file(weights, tmp_path / "odd.safetensors")
    with pytest.raises(BadCheckpoint, match=r"mm_projector.mlp.0.weight is \(3, 3\) in the file"):
        load_strict(model, tmp_path / "odd.safetensors", PROJECTOR, allow_missing=("*",))


def test_patches_that_are_no_grid_are_refused():
    with pytest.raises(UsageError, match=r"12 coarse and \[12, 12, 12\] fine patches are no grid of 3 x 3"):
        made()(*inputs(3, 4))


def test_the_plain_projectors_are_llavas():
    assert set(plain("linear", 4, 8).state_dict()) == {"weight", "bias"}
    assert set(plain("mlp2x", 4, 8).state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}
