"""Time series as pictures of their plots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looktwice import modalities
from looktwice.errors import BadFile
from looktwice.modalities.point_cloud import PointCloud
from looktwice.modalities.series import COLORS, LEFT, RIGHT, WIDTH, Series, Table, draw, read_table, ticks
from looktwice.settings import Settings


def table(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


TAKEN = {
    "plain": "time,pressure\n0,1\n1,2\n",
    "units": "Time [s];p (bar);T\n0,0;1,5;3\n0,5;2,5;4\n",
    "dates": "timestamp,a,b,c\n2024-01-31T12:00,1,2,3\n2024-01-31T12:01,2,3,4\n",
    "tabs": "t\ta\n0\t1\n",
    "quoted": '"time","a"\n"0","1"\n',
    "with a byte order mark": "\ufefftime,a\n0,1\n",
    "numbered columns": "time,1,2\n0,5,6\n1,6,7\n",
}
LEFT_ALONE = {
    "a cloud": "x,y,z\n0,1,2\n",
    "a cloud in time": "t,x,y,z\n0,1,2,3\n",
    "numbers alone": "0,1,2\n3,4,5\n",
    "something else": "name,score\na,1\n",
    "one column": "time\n0\n",
    "words": "time went by\n",
    "binary": b"time,\0\n",
    "empty": "",
}


@pytest.mark.parametrize("text", TAKEN.values(), ids=TAKEN.keys())
def test_a_csv_with_a_column_of_times_is_a_series(tmp_path, text):
    path = table(tmp_path / "a.csv", text)
    assert Series().recognises(path)
    sample = Series().load(path, Settings())
    assert sample.modality == "image"
    (views,) = modalities.views(sample)
    assert views.images.shape == (1, 512, WIDTH, 3)


@pytest.mark.parametrize("text", LEFT_ALONE.values(), ids=LEFT_ALONE.keys())
def test_other_tables_are_left_to_others(tmp_path, text):
    assert not Series().recognises(table(tmp_path / "a.csv", text))
    assert not Series().recognises(tmp_path / "missing.csv")


def test_clouds_stay_clouds(tmp_path):
    for name in ("a cloud", "a cloud in time", "numbers alone"):
        assert PointCloud().recognises(table(tmp_path / "a.csv", LEFT_ALONE[name]))


def test_decimal_commas_dates_gaps_and_words_are_read(tmp_path):
    path = table(tmp_path / "a.csv", "time;who;a;b\n2024-01-31T12:00;x;1,5;\n2024-01-31T12:01:30;y;;nan\n")
    with pytest.raises(BadFile) as caught:
        read_table(table(tmp_path / "b.csv", "time;who\n0;x\n"))
    assert caught.value.kind == "empty"
    read = read_table(path)
    assert read.times.tolist() == [0, 90]
    assert read.names == ("a",)
    assert read.values[0, 0] == 1.5
    assert read.notes == (
        "left out, as they hold no numbers: who, b",
        "1 of 2 values are missing or no finite numbers: gaps in the lines",
    )


def test_asked_to_be_a_series_any_table_of_numbers_is_one(tmp_path):
    sample = modalities.modality("image")
    assert sample.name == "image"
    read = read_table(table(tmp_path / "a.csv", "1,2\n3,4\n5,6\n"))
    assert (read.time, read.names) == ("row", ("column 1", "column 2"))
    assert read.times.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("", "empty", "the table has no row"),
        ("time,a\n", "empty", "a header and no row"),
        ("time,a\n0,1\n1\n", "unreadable", "row 2 has 1 cells, the first line has 2"),
        ("time,a\n0,1\nx,2\n", "unreadable", "row 2: 'x' is no time"),
        ("time,a\n0,1\n2,1\n1,1\n", "unreadable", "row 3: the time falls, to 1: sort the rows"),
        ("time,a\n2024-01-31T12:00,1\n2024-01-31T12:00+01:00,1\n", "unreadable", "is no time"),
        ("time,a\ninf,1\n", "unreadable", "is no time"),
        ("time,a\n0,x\n", "empty", "no column beside the times holds a number"),
        (b"time,a\n0,\0\n", "unreadable", "binary data"),
        ("time," + ",".join("abcdefghijklmnopq") + "\n0" + ",1" * 17, "too_large", "17 columns of numbers, at most 16"),
    ],
)
def test_a_table_that_cannot_be_drawn_says_why(tmp_path, text, kind, words):
    with pytest.raises(BadFile, match=words) as caught:
        Series().load(table(tmp_path / "a.csv", text), Settings())
    assert caught.value.kind == kind


def test_a_note_says_which_pixels_stand_for_which_times(tmp_path):
    text = "time,a\n" + "".join(f"{t},{int(t == 50)}\n" for t in range(101))
    sample = Series().load(table(tmp_path / "a.csv", text), Settings())
    assert sample.notes[-1] == (
        f"1 columns of 101 rows drawn over time: pixel column {LEFT} is 0, pixel column {WIDTH - RIGHT} is 100"
    )
    drawn = (np.asarray(sample.data.pixels) == COLORS[0]).all(-1)
    top = np.flatnonzero(drawn[30:36].any(0))
    assert abs(top.mean() - (LEFT + WIDTH - RIGHT) / 2) <= 2


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 19_999), st.integers(2, 20_000))
def test_no_spike_is_lost_however_many_rows_there_are(at, rows):
    values = np.zeros((rows, 1))
    values[at % rows] = 1
    pixels = draw(Table(np.arange(rows, dtype=float), values, "t", ("a",), ()))
    line = (pixels == COLORS[0]).all(-1)
    where = np.flatnonzero(line[24:60, LEFT:].any(0)) + LEFT
    expected = LEFT + (at % rows) / (rows - 1) * (WIDTH - RIGHT - LEFT)
    assert len(where)
    assert abs(where.mean() - expected) <= 3 + 200 / rows * (WIDTH / 200)


@pytest.mark.parametrize("values", [[5.0], [5.0, 5.0], [1e299, -1e299], [0.0, 5e-324], [1e16, 1e16 + 2], [-3.0, -3.0]])
def test_any_finite_values_can_be_drawn(values):
    for times in (np.arange(len(values), dtype=float), np.zeros(len(values)), np.linspace(-1e299, 1e299, len(values))):
        pixels = draw(Table(times, np.array(values)[:, None], "t", ("a\n" * 60,), ()))
        assert (pixels == COLORS[0]).all(-1).any()


@settings(deadline=None, max_examples=100)
@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(1, 12))
def test_ticks_are_few_and_inside(low, wide, most):
    found = ticks(low, low + wide, most)
    assert len(found) <= most + 1
    assert all(low - 1e-6 * wide - 1e-9 <= tick <= low + wide * (1 + 1e-6) + 1e-9 for tick in found)


def test_several_columns_have_strips_of_their_own(tmp_path):
    text = "time,a,b\n0,0,1000\n1,1,-1000\n"
    pixels = np.asarray(Series().load(table(tmp_path / "a.csv", text), Settings()).data.pixels)
    first, second = ((pixels == color).all(-1) for color in COLORS[:2])
    assert np.flatnonzero(first.any(1)).max() < np.flatnonzero(second[30:].any(1)).max() + 30
    assert np.flatnonzero(first[:, LEFT:].any(1)).max() < 245
