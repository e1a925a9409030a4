import numpy as np
import pytest

import looktwice
from looktwice.records import Spec

from .scenes import blob, frames, highest, noise_texture, views_of, woven


def judged(views, **options):
    return looktwice.load("selfsim", **options).fit(Spec()).predict([views])[0]


@pytest.mark.parametrize("texture", [noise_texture, woven])
@pytest.mark.parametrize(("y", "x", "seed"), [(64, 64, 0), (24, 100, 1), (100, 20, 2)])
def test_a_blob_on_texture_is_found_where_it_is(texture, y, x, seed):
    clean = texture(128, seed)
    marked, mask = blob(clean, y, x)
    found, whole = judged(views_of(marked)), judged(views_of(clean))
    assert mask[highest(found.anomaly_map[0])]
    assert whole.score < 0.5 <= found.score
    assert found.anomaly_map[0][mask].mean() > 3 * found.anomaly_map[0][~mask].mean()


def test_a_flat_picture_has_nothing_rare():
    assert judged(views_of(np.full((96, 96, 3), 140, np.uint8))).score < 0.05


def test_a_repeated_defect_is_rare_only_with_more_look_alikes():
    marked = woven(128)
    for y, x in ((20, 20), (20, 100), (100, 20), (100, 100)):
        marked, mask = blob(marked, y, x)
    few, many = (judged(views_of(marked), alike=alike).anomaly_map[0][mask].max() for alike in (1, 40))
    assert many > few


def test_a_part_that_differs_from_its_context_is_found():
    context = np.stack([noise_texture(64, seed) for seed in range(3)])
    marked, mask = blob(noise_texture(64, 9), 30, 34)
    prediction = judged(frames([noise_texture(64, 8), marked], context))
    assert prediction.view_scores[1] > prediction.view_scores[0]
    assert prediction.score == prediction.view_scores[1]
    assert mask[highest(prediction.anomaly_map[1])]


def test_the_context_vouches_for_what_repeats_over_time():
    marked, mask = blob(noise_texture(64, 9), 30, 34)
    context = np.stack([blob(noise_texture(64, seed), 30, 34)[0] for seed in range(6)])
    alone, among = judged(frames([marked])), judged(frames([marked], context))
    assert among.anomaly_map[0][mask].max() < alone.anomaly_map[0][mask].max()


def test_what_is_not_shown_is_neither_judged_nor_a_witness():
    marked, mask = blob(noise_texture(128), 40, 40)
    shown = np.ones((1, 128, 128), bool)
    shown[:, :80, :80] = False
    prediction = judged(views_of(marked).model_copy(update={"shown": shown}))
    assert prediction.score < 0.5
    assert not prediction.anomaly_map[0][mask].any()


def test_the_sheet_changes_nothing():
    views = views_of(noise_texture())
    a = judged(views)
    b = looktwice.load("selfsim").fit(Spec(references=(looktwice.sample_from_array(woven()),))).predict([views])[0]
    assert a.score == b.score
    assert np.array_equal(a.anomaly_map, b.anomaly_map)
