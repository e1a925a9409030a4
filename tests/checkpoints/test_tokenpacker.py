"""TokenPacker's projector under its published names; its numbers are in tests/detectors/vmad."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from looktwice.checkpoints import BadCheckpoint, Tensors, check_fit, empty_weights, load_strict
from looktwice.checkpoints.tokenpacker import PROJECTOR, PUBLISHED
from looktwice.detectors.vmad.projector import Ltc

from . import published
from .parts import Parts


def holder(width: int, out: int) -> nn.Module:
    return nn.ModuleDict({"projector": Ltc(width, out, heads=2)})


def test_a_projector_fills_the_compression():
    weights = published.drawn(published.tokenpacker(8, 12), 1)
    made = holder(8, 12)
    report = load_strict(made, Tensors.of(weights), PROJECTOR)
    assert len(report.filled) == len(weights)
    for name, one in weights.items():
        assert torch.equal(made.state_dict()[name.replace("model.mm_projector", "projector")], one), name


def test_published_names_and_shapes_fill_the_configuration_exactly():
    file = Tensors.of(
        {name: torch.empty(one, device="meta") for name, one in published.tokenpacker(1024, 4096).items()}
    )
    with empty_weights():
        made = nn.ModuleDict({"projector": Ltc(1024, 4096)})
    report = check_fit(made, file, PROJECTOR)
    assert report.missing == report.dropped == ()


def test_a_whole_checkpoint_brings_its_language_model():
    made = Parts(40)
    made.projector = Ltc(32, 64, heads=2)
    names = published.tokenpacker(32, 64) | published.llama(64, 96, 2, 40)
    report = load_strict(made, Tensors.of(published.drawn(names, 2)), PUBLISHED, allow_missing=["vision_tower.*"])
    assert len(report.filled) == len(names)


def test_a_plain_llava_projector_is_refused():
    weights = Tensors.of(published.drawn(published.projector(8, 12, "mlp2x"), 0), "mm_projector.bin")
    with pytest.raises(BadCheckpoint, match=r"mm_projector\.bin: it lacks .* it holds model\.mm_projector\.0\.\w+, "):
        load_strict(holder(8, 12), weights, PROJECTOR)
