"""Weights are held against the parts that were asked for, as in an ablation."""

import pytest

from looktwice.detectors.vmad.detector import Vmad, VmadOptions
from looktwice.errors import UsageError
from looktwice.records import Spec

from .vmad_small import small


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    model, processor = small(3, train="all")
    model.save_pretrained(folder / "ltc-true")
    processor.save_pretrained(folder / "ltc-true")
    return folder


def fitted(runs, **options):
    return Vmad(VmadOptions(weights=str(runs / "ltc-{ltc}"), **options)).fit(Spec())


def test_the_parts_are_filled_into_the_name_of_the_weights(runs):
    assert fitted(runs, ltc=True).model.config.projector == "ltc"


def test_a_part_that_is_named_but_not_given_is_asked_for(runs):
    with pytest.raises(UsageError, match=r"weights name \{ltc\}: say --option ltc=true or ltc=false"):
        fitted(runs)


def test_weights_made_without_a_part_that_is_wanted_are_refused(runs):
    with_dssl = fitted(runs, ltc=True).model.config.dssl
    words = f"made {'with' if with_dssl else 'without'} DSSL, dssl={str(not with_dssl).lower()} was asked for"
    with pytest.raises(UsageError, match=words):
        fitted(runs, ltc=True, dssl=not with_dssl)
