import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from looktwice.errors import UsageError
from looktwice.records import Region
from looktwice.report.sheet import PAPER, contact_sheet, layout, regions_on_sheet, sheet_maps, write_boxes


def views(count: int, size: tuple[int, int] = (60, 80)) -> np.ndarray:
    """(V, h, w, 3) uint8: view i is of the one grey 40 + i."""
    return np.stack([np.full((*size, 3), 40 + i % 200, np.uint8) for i in range(count)])


@given(
    count=st.integers(1, 40),
    size=st.tuples(st.integers(1, 900), st.integers(1, 900)),
    columns=st.none() | st.integers(1, 12),
    max_side=st.integers(400, 2000),
)
@settings(deadline=None, max_examples=80)
def test_views_never_overlap_and_the_sheet_keeps_its_limit(
    count: int, size: tuple[int, int], columns: int | None, max_side: int
) -> None:
    try:
        plan = layout(count, size, columns, max_side)
    except UsageError:  # no room: a test of its own
        reject()
    assert max(plan.size) <= max_side
    taken = np.zeros(plan.size, np.int32)
    for place in plan.placements:
        taken[place.y : place.y + place.height + plan.strip, place.x : place.x + place.width] += 1
    assert taken.max() == 1
    assert taken.sum() == sum((p.height + plan.strip) * p.width for p in plan.placements)  # nothing over the edge


def test_each_view_comes_out_at_its_place() -> None:
    images = views(5)
    sheet, places = contact_sheet(images, ["a", "b", "c", "d", "e"])
    for i, place in enumerate(places):
        part = sheet[place.y : place.y + place.height, place.x : place.x + place.width]
        np.testing.assert_array_equal(part, images[i])  # small views are not scaled


def test_names_are_written_under_their_views() -> None:
    named, places = contact_sheet(views(2), ["top", ""])
    strips = [named[p.y + p.height : p.y + p.height + 14, p.x : p.x + p.width] for p in places]
    assert (strips[0] != PAPER).any()
    assert (strips[1] == PAPER).all()


def test_a_long_or_odd_name_stays_under_its_view() -> None:
    sheet, places = contact_sheet(views(2), ["name " * 100, "two\nlines\0\u202e"], columns=2)
    assert (sheet[:, places[0].x + places[0].width : places[1].x] == PAPER).all()


@pytest.mark.parametrize(("count", "columns"), [(1, None), (6, None), (7, 3), (30, None)])
def test_maps_are_laid_out_as_their_views(count: int, columns: int | None) -> None:
    size = (300, 400)
    maps = np.stack([np.full(size, (i + 1) / 40, np.float32) for i in range(count)])
    sheet, places = contact_sheet(views(count, size), [""] * count, columns, 800)
    heat = sheet_maps(maps, columns, 800)
    assert heat.shape == sheet.shape[:2]
    assert heat.dtype == np.float32
    rest = heat.copy()
    for i, p in enumerate(places):
        np.testing.assert_allclose(heat[p.y : p.y + p.height, p.x : p.x + p.width], (i + 1) / 40, rtol=1e-6)
        rest[p.y : p.y + p.height, p.x : p.x + p.width] = 0
    assert not rest.any()


def test_a_sheet_comes_close_to_landscape_by_itself() -> None:
    height, width = layout(6, (448, 448)).size
    assert 1.0 < width / height < 2.0
    height, width = layout(12, (360, 640)).size
    assert 1.0 < width / height < 2.0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: contact_sheet(views(2), ["a"]), "2 views have 1 names"),
        (lambda: contact_sheet(views(1)[:0], []), "at least one view"),
        (lambda: contact_sheet(views(1), ["a"], columns=0), "columns must be at least 1"),
        (lambda: contact_sheet(views(500), [""] * 500, max_side=100), "do not fit a sheet of 100 pixels: show fewer"),
        (lambda: sheet_maps(np.zeros((4, 4))), "maps must be (V, h, w)"),
    ],
)
def test_a_sheet_that_cannot_be_says_why(call: object, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        call()  # type: ignore[operator]
    assert words in str(caught.value)


def test_boxes_of_a_video_land_on_their_key_frame(tmp_path: Path) -> None:
    images = np.zeros((2, 60, 80, 3), np.uint8)
    images[1, 30:45, 20:40] = 200  # the thing, in the second frame shown
    sheet, places = contact_sheet(images, ["", ""])
    whole = (600, 800)  # the video is ten times the size of its views
    regions = [
        Region(score=0.9, words="", where="", frame=7, box=(200, 300, 400, 450)),
        Region(score=0.9, words="", where="", frame=99, box=(0, 0, 10, 10)),
        Region(score=0.9, words="", where=""),
    ]
    moved = regions_on_sheet(regions, [3, 7], places, whole)
    x0, y0, x1, y1 = moved[0].box or (0, 0, 0, 0)
    bright = np.argwhere(sheet[:, :, 0] == 200)
    assert (y0, x0, y1, x1) == (*bright.min(0), *(bright.max(0) + 1))
    assert [m.box for m in moved[1:]] == [None, None]
    kept = json.loads(write_boxes(tmp_path / "boxes" / "a.json", moved, sheet.shape[:2]).read_text())
    assert kept == {"size": list(sheet.shape[:2]), "boxes": [[x0, y0, x1, y1], None, None]}
