from pathlib import Path

import numpy as np
import pytest

from looktwice.errors import UsageError
from looktwice.report import ply
from looktwice.report.overlay import heat_colors
from looktwice.report.ply import UNSEEN, write_ply

trimesh = pytest.importorskip("trimesh")


def cloud(count: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(count, 3)) * 1e-3 + [4_500_000.0, 5_300_000.0, 120.0]  # survey coordinates, mm apart
    scores = rng.random(count).astype(np.float32)
    scores[::7] = np.nan
    valid = rng.random(count) < 0.9
    return points, scores, valid


def vertices(path: Path) -> tuple[object, np.ndarray]:
    """What another program reads: the cloud and the raw vertex columns."""
    read = trimesh.load(path)
    return read, read.metadata["_ply_raw"]["vertex"]["data"]


def test_another_program_reads_the_points_back_without_loss(tmp_path: Path) -> None:
    points, scores, valid = cloud()
    read, raw = vertices(write_ply(tmp_path / "clouds" / "a.ply", points, scores, valid))
    np.testing.assert_array_equal(np.stack([raw["x"], raw["y"], raw["z"]], 1), points[valid])
    assert len(read.vertices) == valid.sum()  # type: ignore[attr-defined]


def test_colours_and_scores_say_the_same(tmp_path: Path) -> None:
    points, scores, valid = cloud()
    read, raw = vertices(write_ply(tmp_path / "a.ply", points, scores, valid))
    kept = scores[valid]
    unseen = np.isnan(kept)
    np.testing.assert_array_equal(raw["score"], np.where(unseen, -1, kept))
    colors = np.asarray(read.colors)[:, :3]  # type: ignore[attr-defined]
    np.testing.assert_array_equal(colors[unseen], np.broadcast_to(UNSEEN, (unseen.sum(), 3)))
    np.testing.assert_array_equal(colors[~unseen], heat_colors(kept[~unseen][None])[0])


def test_each_point_knows_its_place_in_the_file(tmp_path: Path) -> None:
    points, scores, valid = cloud()
    _, raw = vertices(write_ply(tmp_path / "a.ply", points, scores, valid))
    np.testing.assert_array_equal(raw["index"], np.nonzero(valid)[0])


def test_a_large_cloud_is_written_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points, scores, valid = cloud()
    whole = write_ply(tmp_path / "a.ply", points, scores, valid).read_bytes()
    monkeypatch.setattr(ply, "BLOCK", 17)
    assert write_ply(tmp_path / "b.ply", points, scores, valid).read_bytes() == whole


def test_the_header_says_what_the_numbers_mean(tmp_path: Path) -> None:
    head = write_ply(tmp_path / "a.ply", *cloud()).read_bytes().split(b"end_header")[0].decode("ascii")
    assert "comment anomaly score of each point: 0 normal, 1 anomalous, -1 (grey) seen by no view" in head
    assert "which holds 200 points; invalid ones are left out" in head
    assert "format binary_little_endian 1.0" in head


def test_a_cloud_that_does_not_fit_its_scores_leaves_no_file(tmp_path: Path) -> None:
    points, scores, valid = cloud()
    with pytest.raises(UsageError, match="must agree, got"):
        write_ply(tmp_path / "a.ply", points, scores[:-1], valid)
    with pytest.raises(UsageError, match="must lie in"):
        write_ply(tmp_path / "a.ply", points, scores + 1, valid)
    assert list(tmp_path.iterdir()) == []
