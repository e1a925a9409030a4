import math
import warnings

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from looktwice.detectors.vmad.dssl import Dssl, gathered, is_valid, normal_feature, patch_embeddings, pbsd, roi_align

from .vmad_small import small_config


def dssl(**changes):
    torch.manual_seed(0)
    return Dssl(small_config(**changes)).train()


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def slow_roi_align(plane, box):
    """Mean of bilinear samples of one box in one plane (h, w), sample by sample."""
    x0, y0, x1, y1 = box
    down, across = max(1, math.ceil(y1 - y0)), max(1, math.ceil(x1 - x0))
    total = 0.0
    for i in range(down):
        for j in range(across):
            y, x = y0 - 0.5 + (i + 0.5) * (y1 - y0) / down, x0 - 0.5 + (j + 0.5) * (x1 - x0) / across
            y, x = min(max(y, 0), plane.shape[0] - 1), min(max(x, 0), plane.shape[1] - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, plane.shape[0] - 1), min(left + 1, plane.shape[1] - 1)
            fy, fx = y - top, x - left
            above = plane[top, left] * (1 - fx) + plane[top, right] * fx
            below = plane[bottom, left] * (1 - fx) + plane[bottom, right] * fx
            total += above * (1 - fy) + below * fy
    return total / (down * across)


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.integers(1, 9), st.integers(1, 9))
@settings(deadline=None, max_examples=40)
def test_pooling_is_roi_align_with_one_bin(places, height, width):
    x0, x1 = sorted(places[:2])
    y0, y1 = sorted(places[2:])
    box = [x0 * width, y0 * height, x1 * width, y1 * height]
    features = torch.from_numpy(np.random.default_rng(height * 10 + width).standard_normal((1, 3, height, width)))
    pooled = roi_align(features, torch.tensor([[box]], dtype=torch.float64))[0, 0]
    for c in range(3):
        assert pooled[c].item() == pytest.approx(slow_roi_align(features[0, c].numpy(), box), abs=1e-9)


def test_a_cell_of_whole_pixels_is_their_mean_and_one_without_area_is_nothing():
    features = torch.randn(2, 5, 4, 6, generator=torch.Generator().manual_seed(1))
    boxes = torch.tensor([[2.0, 1, 4, 3], [6, 0, 6, 2]]).expand(2, 2, 4)
    torch.testing.assert_close(roi_align(features, boxes)[:, 0], features[:, :, 1:3, 2:4].mean((2, 3)))
    patches = patch_embeddings(features, boxes)
    torch.testing.assert_close(patches[:, 0].norm(dim=-1), torch.ones(2))
    assert not patches[:, 1].any()
    assert is_valid(boxes).tolist() == [[True, False]] * 2


@pytest.mark.parametrize("form", ["kl", "infonce"])
def test_rows_of_the_distributions_decide_alone(form):
    by_eye, by_word = torch.randn(6, 10), torch.randn(6, 10)
    whole = pbsd(by_eye, by_word, form, 3)
    rows = [pbsd(by_eye[i : i + 1], by_word[i : i + 1], form, 3) for i in range(6)]
    torch.testing.assert_close(whole, torch.stack(rows).mean())
    order = torch.randperm(10)
    torch.testing.assert_close(whole, pbsd(by_eye[:, order], by_word[:, order], form, 3))  # slots have no order


def test_the_divergence_is_that_of_two_distributions_that_sum_to_one():
    by_eye, by_word = torch.randn(4, 9).double(), torch.randn(4, 9).double()
    seen, told = by_eye.softmax(-1), by_word.softmax(-1)
    torch.testing.assert_close(seen.sum(-1), torch.ones(4).double())
    torch.testing.assert_close(told.sum(-1), torch.ones(4).double())
    wanted = (seen * (seen / told).log()).sum(-1).mean()
    torch.testing.assert_close(pbsd(by_eye, by_word, "kl", 5), wanted)
    assert pbsd(by_eye, by_word, "kl", 5) > 0


def test_infonce_counts_the_nearest_slots_as_alike():
    by_eye = torch.tensor([[0.0, 3, 1, 2]])
    by_word = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    told = by_word.softmax(-1)[0]
    torch.testing.assert_close(pbsd(by_eye, by_word, "infonce", 2), -(told[1] + told[3]).log())
    assert pbsd(by_eye, by_word, "infonce", 9) == pytest.approx(0, abs=1e-6)  # all are alike


def test_words_that_see_as_the_eye_does_cost_nothing():
    module, pairs = dssl(), unit(6, 16)
    module.push(pairs, pairs)
    patches = unit(2, 4, 16, seed=1)
    assert module.loss(patches, patches, torch.ones(2, 4, dtype=torch.bool)) == pytest.approx(0, abs=1e-6)
    assert module.loss(patches, unit(2, 4, 16, seed=2), torch.ones(2, 4, dtype=torch.bool)) > 0.01


def test_the_loss_waits_until_enough_slots_are_filled():
    module = dssl(dssl_ready=4)
    patches, tokens, valid = unit(1, 4, 16), unit(1, 4, 16, seed=1), torch.ones(1, 4, dtype=torch.bool)
    module.push(unit(3, 16, seed=3), unit(3, 16, seed=4))
    assert module.loss(patches, tokens, valid) == 0
    module.push(unit(1, 16, seed=5), unit(1, 16, seed=6))
    assert module.loss(patches, tokens, valid) > 0


def test_the_queues_keep_pairs_together_and_forget_the_oldest():
    module = dssl()
    for first in (0, 3, 6):  # nine pairs into eight slots
        rows = torch.arange(first, first + 3).float()[:, None].expand(3, 16)
        module.push(rows, -rows)
    assert module.queue_v[:, 0].tolist() == [8, 1, 2, 3, 4, 5, 6, 7]
    assert torch.equal(module.queue_t, -module.queue_v)
    assert (int(module.ptr), int(module.count)) == (1, 8)
    many = torch.arange(20).float()[:, None].expand(20, 16)
    module.push(many, many)
    assert sorted(module.queue_v[:, 0].tolist()) == list(range(12, 20))
    module.push(many[:0], many[:0])
    assert int(module.ptr) == 1


def batch(module, seed=0, normal=(True, False, True)):
    source = torch.Generator().manual_seed(seed)
    features = torch.randn(3, 16, 4, 4, generator=source, requires_grad=True)
    edges = torch.arange(3) * 2.0
    top, left = torch.meshgrid(edges[:2], edges[:2], indexing="ij")
    cells = torch.stack([left, top, left + 2, top + 2], -1).view(1, 4, 4).repeat(3, 1, 1)
    tokens = torch.randn(3, 4, 48, generator=source, requires_grad=True)
    semantic = torch.randn(3, 48, generator=source, requires_grad=True)
    return features, cells, tokens, semantic, torch.tensor(normal)


@pytest.mark.parametrize("form", ["kl", "infonce"])
def test_the_gradient_reaches_the_tokens_and_not_the_features(form):
    module = dssl(pbsd=form)
    module.push(unit(4, 16), unit(4, 16, seed=1))
    features, cells, tokens, semantic, normal = batch(module)
    module(features, cells, tokens, semantic, normal).backward()
    assert tokens.grad.abs().sum() > 0
    assert module.w_phi.grad.abs().sum() > 0
    assert features.grad is None
    assert semantic.grad is None


def test_only_normal_pictures_enter_the_queues_with_their_own_words():
    module = dssl()
    features, cells, tokens, semantic, normal = batch(module)
    module(features, cells, tokens, semantic, normal)
    assert int(module.count) == 2
    patches = patch_embeddings(features.detach(), cells)
    wanted = normal_feature(patches)[[0, 2]]
    torch.testing.assert_close(module.queue_v[:2], wanted)
    torch.testing.assert_close(module.queue_v[:2].norm(dim=-1), torch.ones(2))
    torch.testing.assert_close(module.queue_t[:2], F.normalize(semantic.detach() @ module.w_psi.T, dim=-1)[[0, 2]])
    module.eval()(features, cells, tokens, semantic, normal)
    assert int(module.count) == 2  # nothing is learnt when judging


def test_padded_cells_change_nothing():
    module = dssl()
    module.push(unit(4, 16), unit(4, 16, seed=1))
    features, cells, tokens, semantic, normal = batch(module)
    cells[:, 3, 2:] = cells[:, 3, :2]  # the last cell shows padding only
    moved = tokens.detach().clone()
    moved[:, 3] += 5
    module.eval()
    before = module(features, cells, tokens, semantic, normal)
    torch.testing.assert_close(before, module(features, cells, moved, semantic, normal))
    assert not torch.isclose(before, module(features, cells, tokens + tokens.flip(1), semantic, normal))


def test_a_picture_without_valid_cells_costs_nothing():
    module = dssl()
    module.push(unit(4, 16), unit(4, 16, seed=1))
    features, cells, tokens, semantic, normal = batch(module)
    loss = module(features, torch.zeros_like(cells), tokens, semantic, normal)
    assert loss == 0
    loss.backward()


@given(st.permutations([0, 1, 2]))
@settings(deadline=None, max_examples=6)
def test_the_order_of_the_batch_changes_nothing(order):
    module = dssl()
    module.push(unit(4, 16), unit(4, 16, seed=1))
    features, cells, tokens, semantic, normal = batch(module)
    module.eval()
    one = module(features, cells, tokens, semantic, normal)
    other = module(*(x[list(order)] for x in (features, cells, tokens, semantic, normal)))
    torch.testing.assert_close(one, other)


def test_the_diagnosis_is_how_unlike_the_nearest_normal_feature_a_cell_is():
    module = dssl()
    features, cells, _, _, _ = batch(module)
    cells[:, 3, 2:] = cells[:, 3, :2]
    patches = patch_embeddings(features.detach(), cells)
    module.push(patches[0, :2], patches[0, :2])
    unlike = module.unlike(features, cells)
    assert unlike.shape == (3, 4)
    assert unlike[0, :2].abs().max() < 1e-6
    assert unlike[1:, :3].min() > 0.01
    assert not unlike[:, 3].any()


def test_the_random_projection_of_the_answers_keeps_angles():
    module = Dssl(small_config(visual_config=small_config().visual_config))
    near, far = torch.zeros(2, 48), torch.zeros(2, 48)
    near[:, 0], near[1, 1], far[0, 0], far[1, 1] = 1, 0.1, 1, 1
    cosines = [F.cosine_similarity(*(pair @ module.w_psi.T), dim=0).item() for pair in (near, far)]
    assert cosines[0] > 0.9 > abs(cosines[1])


def _rank(rank, file, rows, results):
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    mine = torch.full((rows[rank], 4), float(rank)) + torch.arange(rows[rank])[:, None] * 0.1
    results[rank] = [one.tolist() for one in gathered(mine, -mine)]
    dist.destroy_process_group()


@pytest.mark.parametrize("rows", [(2, 1), (0, 3), (0, 0)])
def test_two_processes_gather_the_same_rows_in_the_order_of_ranks(rows, monkeypatch):
    counts = [torch.tensor([many]) for many in rows]
    mine = [torch.arange(many * 4).float().view(many, 4) + 100 * rank for rank, many in enumerate(rows)]
    padded = [F.pad(one, (0, 0, 0, max(rows) - len(one))) for one in mine]

    def all_gather(out, one):
        for to, what in zip(out, counts if one.dtype == torch.long else padded, strict=True):
            to.copy_(what)

    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_gather", all_gather)
    for rank in range(2):
        (found,) = gathered(mine[rank])
        assert torch.equal(found, torch.cat(mine))


def test_gathering_really_talks_between_processes(tmp_path):
    import multiprocessing

    context = multiprocessing.get_context("fork")
    with warnings.catch_warnings(), context.Manager() as manager:
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of threads that forks leave behind
        results = manager.dict()
        started = [context.Process(target=_rank, args=(r, tmp_path / "meet", (2, 1), results)) for r in range(2)]
        for one in started:
            one.start()
        for one in started:
            one.join(60)
        assert results[0] == results[1]
        assert [row[0] for row in results[0][0]] == pytest.approx([0.0, 0.1, 1.0])
        assert [row[0] for row in results[0][1]] == pytest.approx([-0.0, -0.1, -1.0])
