"""Point clouds: what files say, which points count, and that every pixel finds back to its points."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pypcd4
import pytest
import tifffile
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from looktwice.errors import BadFile, MissingExtra, UsageError
from looktwice.modalities import load, modality_of
from looktwice.modalities.point_cloud import PointCloud, cloud_from_array, relief, rendering
from looktwice.records import PointCloudData, Sample, ToPoints, Views
from looktwice.settings import PointCloudSettings, Settings

XYZ = np.array([[0.5, 1, 2], [3, 4, 5], [6, 7, 8.25], [-1, -2, -3]])
RGB = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]], np.uint8)
SMALL = Settings(point_cloud=PointCloudSettings(size=96))
SIDES = ("front", "back", "left", "right", "top", "bottom")


def see(sample: Sample, how: Settings = SMALL) -> Views:
    (views,) = PointCloud().views(sample, how)
    return views


def pixel_of(views: Views) -> np.ndarray:
    assert isinstance(views.way, ToPoints)
    return views.way.pixel


def data_of(path: Path, how: Settings = SMALL) -> PointCloudData:
    data = PointCloud().load(path, how).data
    assert isinstance(data, PointCloudData)
    return data


def sphere(number: int, seed: int = 0) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(number, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


# ---------------------------------------------------------------- files that hold the same four points


def ply(order: str, faces: str = "") -> bytes:
    form = {"": "ascii", "<": "binary_little_endian", ">": "binary_big_endian"}[order]
    head = f"ply\nformat {form} 1.0\ncomment made by hand\nelement vertex 4\n"
    head += "property double x\nproperty double y\nproperty double z\n"
    head += "property uchar red\nproperty uchar green\nproperty uchar blue\n" + faces + "end_header\n"
    if order:
        rows = b"".join(struct.pack(order + "dddBBB", *p, *c) for p, c in zip(XYZ, RGB, strict=True))
        return head.encode() + rows
    rows = b"".join(b"%r %r %r %d %d %d\n" % (*map(float, p), *c) for p, c in zip(XYZ, RGB, strict=True))
    return head.encode() + rows


def pcd(form: str, width: int = 4, height: int = 1) -> bytes:
    packed = (RGB.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)).astype("<u4").view("<f4")
    head = "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z _ rgb\nSIZE 4 4 4 1 4\nTYPE F F F U F\nCOUNT 1 1 1 4 1\n"
    head += f"WIDTH {width}\nHEIGHT {height}\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 4\nDATA {form}\n"
    if form == "ascii":
        rows = [f"{x} {y} {z} 0 0 0 0 {float(c):.9g}" for (x, y, z), c in zip(XYZ, packed, strict=True)]
        return (head + "\n".join(rows) + "\n").encode()
    rows = [struct.pack("<fff4Bf", *p, 0, 0, 0, 0, c) for p, c in zip(XYZ, packed, strict=True)]
    return head.encode() + b"".join(rows)


def table(line: str, header: str = "") -> bytes:
    values = [[*p, *c] for p, c in zip(XYZ.tolist(), RGB.tolist(), strict=True)]
    return (header + "\n".join(line.format(*row) for row in values) + "\n").encode()


FILES = {
    "ascii.ply": ply(""),
    "little.ply": ply("<"),
    "big.ply": ply(">"),
    "no_faces.ply": ply("<", "element face 0\nproperty list uchar int vertex_indices\n"),
    "ascii.pcd": pcd("ascii"),
    "binary.pcd": pcd("binary"),
    "vertices.obj": table("v {0} {1} {2}"),
    "plain.xyz": table("{0} {1} {2}"),
    "rgb.txt": table("{0} {1} {2} {3} {4} {5}"),
    "commas.csv": table("{0},{1},{2}"),
    "semicolons.csv": table("{0};{1};{2};7"),
    "german.csv": table("{0};{1};{2}").replace(b".", b","),
    "header.csv": table("{3};{2};{4};{0};{1};{5}", "R;Z [mm];G;X [mm];Y [mm];B\n"),
    "named.csv": table("part,{0},{1},{2},road", "id,x,y,z,label\n"),
    "cloudcompare.txt": table("{0} {1} {2}", "//X Y Z\n4\n"),
    "comments.xyz": table("{0}\t{1}\t{2}", "# made by hand\n\n# units: mm\n"),
}
COLORED = {"ascii.ply", "little.ply", "big.ply", "no_faces.ply", "ascii.pcd", "binary.pcd", "rgb.txt", "header.csv"}


@pytest.mark.parametrize("name", FILES)
def test_each_format_gives_the_points_in_the_order_of_the_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name])
    assert PointCloud().recognises(path)
    data = data_of(path)
    np.testing.assert_array_equal(data.points, XYZ)
    assert data.valid.all()
    if name in COLORED:
        np.testing.assert_array_equal(data.colors, RGB)
    else:
        assert data.colors is None


ARRAYS: dict[str, np.ndarray] = {
    "float64": XYZ,
    "float32": XYZ.astype(np.float32),
    "wide": np.hstack([XYZ, np.full((4, 1), 0.5)]),
    "colored": np.hstack([XYZ, RGB]),
    "normals": np.hstack([XYZ, XYZ / 10]),
    "structured": np.array([tuple(p) for p in XYZ], [("x", "f8"), ("y", "f8"), ("z", "f8")]),
    "fortran": np.asfortranarray(XYZ),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_npy_tables_give_their_points(name: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ARRAYS[name])
    assert PointCloud().recognises(tmp_path / "a.npy")
    data = data_of(tmp_path / "a.npy")
    np.testing.assert_array_equal(data.points, XYZ)
    assert (data.colors is not None) == (name == "colored")


def test_npy_of_whole_numbers_is_a_cloud(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(12, dtype=np.int16).reshape(4, 3))
    np.testing.assert_array_equal(data_of(tmp_path / "a.npy").points, np.arange(12.0).reshape(4, 3))


def test_compressed_pcd_is_the_same_as_binary(tmp_path: Path) -> None:
    points = np.repeat(XYZ.astype(np.float32), 200, 0)
    cloud = pypcd4.PointCloud.from_points(points, ("x", "y", "z"), (np.float32,) * 3)
    cloud.save(tmp_path / "a.pcd", encoding=pypcd4.Encoding.BINARY_COMPRESSED)
    assert b"DATA binary_compressed" in (tmp_path / "a.pcd").read_bytes()
    np.testing.assert_array_equal(data_of(tmp_path / "a.pcd").points, points)


def test_organised_files_keep_their_grid(tmp_path: Path) -> None:
    grid = np.random.default_rng(0).random((5, 7, 3)).astype(np.float32) + 1
    np.save(tmp_path / "a.npy", grid)
    tifffile.imwrite(tmp_path / "last.tiff", grid, photometric="rgb")
    tifffile.imwrite(tmp_path / "first.tif", np.moveaxis(grid, 2, 0), photometric="minisblack")
    for name in ("a.npy", "last.tiff", "first.tif"):
        assert PointCloud().recognises(tmp_path / name)
        data = data_of(tmp_path / name)
        assert data.grid == (5, 7)
        np.testing.assert_array_equal(data.points, grid.reshape(-1, 3).astype(float))
    (tmp_path / "a.pcd").write_bytes(pcd("binary", 2, 2))
    assert data_of(tmp_path / "a.pcd").grid == (2, 2)


@pytest.mark.parametrize("kind", ["ply", "obj", "stl", "stl_ascii"])
def test_a_mesh_is_sampled_evenly_and_always_alike(kind: str, tmp_path: Path) -> None:
    box = trimesh.creation.box((2, 1, 1))
    path = tmp_path / f"box.{kind[:3]}"
    made = box.export(file_type=kind)
    path.write_bytes(made if isinstance(made, bytes) else made.encode())
    how = Settings(point_cloud=PointCloudSettings(mesh_points=10_000))
    sample = PointCloud().load(path, how)
    data = data_of(path, how)
    np.testing.assert_array_equal(data.points, data_of(path, how).points)
    assert any("10000 points sampled" in note and "seed 0" in note for note in sample.notes)
    on_surface = np.isclose(np.abs(data.points), [1, 0.5, 0.5]).any(1)
    assert len(data.points) == 10_000
    assert on_surface.all()
    end = np.isclose(data.points[:, 0], 1).mean()  # one of ten units of area
    assert abs(end - 0.1) < 0.002
    other = Settings(point_cloud=PointCloudSettings(mesh_points=10_000, seed=1))
    assert (data_of(path, other).points != data.points).any()


def test_a_mesh_finer_than_the_sampling_keeps_its_vertices(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(3)
    (tmp_path / "a.ply").write_bytes(ball.export(file_type="ply"))
    how = Settings(point_cloud=PointCloudSettings(mesh_points=100))
    sample = PointCloud().load(tmp_path / "a.ply", how)
    assert sample.size == (len(ball.vertices),)
    assert f"its {len(ball.vertices)} vertices are the points" in sample.notes[0]


def test_colors_of_a_mesh_are_blended_over_its_faces(tmp_path: Path) -> None:
    mesh = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], vertex_colors=np.eye(3) * 255, process=False)
    (tmp_path / "a.ply").write_bytes(mesh.export(file_type="ply"))
    data = data_of(tmp_path / "a.ply")
    assert data.colors is not None
    np.testing.assert_allclose(data.colors[:, 1], data.points[:, 0] * 255, atol=1)


# ---------------------------------------------------------------- what is a cloud at all


NOT_CLOUDS: dict[str, bytes] = {
    "letter.txt": b"Dear reader,\nthis is no cloud.\n",
    "labels.txt": b"0\n1\n0\n",
    "two.csv": b"1,2\n3,4\n",
    "turns.csv": b"1,2,3\nand then words, words, words\n",
    "empty.txt": b"",
    "photo.jpg": b"\xff\xd8\xff\xe0",
    "binary.txt": b"1 2 3\n\0\0\0",
    "noise.tiff": b"II*\0garbage",
    "none": b"",
}


@pytest.mark.parametrize("name", NOT_CLOUDS)
def test_other_files_are_left_to_others(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(NOT_CLOUDS[name])
    assert not PointCloud().recognises(tmp_path / name)


def test_pictures_in_npy_and_tiff_are_not_clouds(tmp_path: Path) -> None:
    np.save(tmp_path / "rgb.npy", np.zeros((8, 8, 3), np.uint8))
    np.save(tmp_path / "depth.npy", np.zeros((480, 640), np.float32))
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((8, 8, 3), np.uint8), photometric="rgb")
    tifffile.imwrite(tmp_path / "depth.tif", np.zeros((8, 8), np.float32))
    for name in ("rgb.npy", "depth.npy", "rgb.tif", "depth.tif"):
        assert not PointCloud().recognises(tmp_path / name)
    assert not PointCloud().recognises(tmp_path)
    assert not PointCloud().recognises(tmp_path / "not there.ply")


@pytest.mark.parametrize("name", ["scan.dat", "scan"])
def test_a_cloud_without_a_known_ending_is_told_by_its_first_bytes(name: str, tmp_path: Path) -> None:
    for content in (ply("<"), pcd("binary")):
        (tmp_path / name).write_bytes(content)
        assert modality_of(tmp_path / name).name == "point_cloud"
        np.testing.assert_array_equal(data_of(tmp_path / name).points, XYZ)


# ---------------------------------------------------------------- bad files


def npy(array: np.ndarray, cut: int = 0) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        np.save(path, array, allow_pickle=True)
        path.write_bytes(path.read_bytes()[: -cut or None])

    return write


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
MESH = (
    b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\nelement face %d\n"
)
MESH += b"property list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 %d\n"
STL = trimesh.creation.box().export(file_type="stl")
BAD: list[tuple[str, bytes | Callable[[Path], None], str, str]] = [
    ("a.ply", b"", "empty", "0 bytes"),
    ("a.npy", b"", "empty", "0 bytes"),
    ("a.ply", LFS, "unreadable", "Git LFS pointer.*git lfs pull"),
    ("a.pcd", LFS, "unreadable", "Git LFS pointer"),
    ("a.npy", LFS, "unreadable", "Git LFS pointer"),
    ("a.ply", ply("<")[:-5], "unreadable", "truncated: the header promises 4 vertices, the file holds 3"),
    ("a.ply", ply("")[:-25], "unreadable", "truncated: the header promises 4 lines, there are 3"),
    ("a.ply", ply("").replace(b"3.0 4.0", b"3.0 four"), "unreadable", "not lines of numbers"),
    ("a.ply", b"hello\n", "unreadable", "must start with 'ply'"),
    ("a.ply", ply("").replace(b"double x", b"triple x"), "unreadable", "header line 'property triple x'"),
    ("a.ply", ply("").replace(b"double x", b"double u"), "unsupported", "need x, y and z, they have u, y"),
    ("a.ply", ply("").replace(b"vertex 4", b"vertex 0"), "empty", "no points"),
    ("a.ply", ply("").replace(b"vertex 4", b"vertex 99999999999"), "too_large", "99,999,999,999 points.*max_points"),
    ("a.ply", MESH % (1, 9), "unreadable", "vertex that does not exist"),
    ("a.ply", MESH % (5, 2), "unreadable", "truncated: the header promises 8 lines, there are 4"),
    ("a.pcd", pcd("binary")[:-3], "unreadable", "truncated: the header promises 4 points, the file holds 3"),
    ("a.pcd", pcd("ascii")[:-30], "unreadable", "promises 4 points|not lines of numbers"),
    ("a.pcd", pcd("binary", 3, 1), "unreadable", "contradicts itself"),
    ("a.pcd", pcd("binary").replace(b"x y z", b"u v w"), "unsupported", "need x, y and z"),
    ("a.pcd", pcd("binary").replace(b"DATA binary", b"DATA zipped"), "unsupported", "here 'zipped'"),
    ("a.pcd", pcd("binary").replace(b"DATA binary", b"DATA binary_compressed"), "unreadable", "compressed"),
    ("a.pcd", b"hello\n", "unreadable", "no PCD header"),
    ("a.obj", b"hello\n", "unreadable", "no vertices"),
    ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "unreadable", "not a readable OBJ"),
    ("a.stl", STL[:-30], "unreadable", "truncated: the header promises 12 faces, the file holds 11"),
    ("a.stl", b"\0" * 60, "unreadable", "at least 84 bytes"),
    ("a.stl", b"\0" * 84, "empty", "no faces"),
    ("a.stl", b"solid x\nfacet normal 0 0 1\n", "unreadable", "endsolid"),
    ("a.xyz", b"lorem ipsum\n", "unreadable", "three or more numbers"),
    ("a.xyz", b"1 2 3\n" * 9 + b"4 5\n", "unreadable", "not lines of numbers"),
    ("a.xyz", b"nan nan nan\ninf 0 0\n", "empty", "none of the 2 points is valid"),
    ("a.csv", b"1,2,3\n\0", "unreadable", "binary data"),
    ("a.npy", b"hello", "unreadable", "no NPY header"),
    ("a.npy", npy(XYZ, cut=8), "unreadable", "truncated: the array needs 96 bytes, the file holds 88"),
    ("a.npy", npy(np.array([{}, {}])), "unsupported", "Python objects"),
    ("a.npy", npy(XYZ > 0), "unsupported", "array of numbers, got bool"),
    ("a.npy", npy(XYZ[:, :2]), "unsupported", r"got float64 of shape \(4, 2\)"),
    ("a.npy", npy(np.zeros((0, 3))), "empty", "no points"),
    ("a.npy", npy(np.zeros((5, 5, 3))), "empty", "none of the 25 points is valid"),
    ("a.tif", b"II*\0garbage", "unreadable", "not a readable TIFF"),
    ("a.abc", b"garbage", "unsupported", "Known endings: .ply"),
]


@pytest.mark.parametrize(("name", "content", "kind", "words"), BAD, ids=[f"{n}-{w[:20]}" for n, _, _, w in BAD])
def test_a_bad_file_says_what_is_wrong(
    name: str, content: bytes | Callable[[Path], None], kind: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content) if isinstance(content, bytes) else content(path)
    with pytest.raises(BadFile, match=words) as caught:
        PointCloud().load(path, SMALL)
    assert caught.value.kind == kind
    assert caught.value.path == str(path)


@settings(deadline=None, max_examples=60)
@given(name=st.sampled_from(sorted(FILES)), where=st.floats(0, 1), byte=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_file_is_read_or_refused_in_words(name: str, where: float, byte: int, cut: bool) -> None:
    content = bytearray(FILES[name])
    at = int(where * (len(content) - 1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content[:at] if cut else content[:at] + bytes([byte]) + content[at + 1 :])
        refused, sample = None, None
        try:
            sample = PointCloud().load(path, SMALL)
        except BadFile as error:
            refused = error
    if sample is not None:
        assert see(sample).images.shape == (6, 96, 96, 3)
    else:
        assert refused is not None
        assert refused.kind in ("unreadable", "empty", "unsupported", "too_large")
        assert len(refused.why) > 10


def test_a_tiff_cut_short_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    tifffile.imwrite(path, np.ones((40, 40, 3), np.float32), photometric="rgb", compression="zlib")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(BadFile, match="not a readable TIFF") as caught:
        PointCloud().load(path, SMALL)
    assert caught.value.kind == "unreadable"


@pytest.mark.parametrize("name", ["a.ply", "a.pcd", "a.npy", "a.xyz", "a.tiff", "a.obj"])
def test_more_points_than_the_budget_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    contents = {"a.ply": ply("<"), "a.pcd": pcd("ascii"), "a.xyz": FILES["plain.xyz"], "a.obj": FILES["vertices.obj"]}
    if name in contents:
        path.write_bytes(contents[name])
    elif name == "a.npy":
        np.save(path, XYZ)
    else:
        tifffile.imwrite(path, np.ones((2, 2, 3), np.float32), photometric="rgb")
    with pytest.raises(BadFile, match="4 points, the budget is 3: thin the cloud or raise max_points") as caught:
        PointCloud().load(path, Settings(point_cloud=PointCloudSettings(max_points=3)))
    assert caught.value.kind == "too_large"


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path, kind in ((tmp_path / "no.ply", "missing_file"), (tmp_path, "unsupported")):
        with pytest.raises(BadFile) as caught:
            PointCloud().load(path, SMALL)
        assert caught.value.kind == kind


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "trimesh", None)
    (tmp_path / "a.stl").write_bytes(STL)
    with pytest.raises(MissingExtra, match=r"Reading STL meshes.*looktwice\[points\]"):
        PointCloud().load(tmp_path / "a.stl", SMALL)


# ---------------------------------------------------------------- which points count


def test_points_that_are_not_finite_stay_in_place_and_do_not_count() -> None:
    points = np.vstack([XYZ, [[np.nan, 1, 2], [np.inf, 0, 0], [1e38, 0, 0]]])
    sample = cloud_from_array(points)
    assert isinstance(sample.data, PointCloudData)
    assert sample.data.valid.tolist() == [True] * 4 + [False] * 3
    assert not sample.data.points[4:].any()
    assert sample.notes == ("3 of 7 points are not finite: kept in place, not inspected",)
    scores = see(sample).scatter(np.ones((6, 96, 96), np.float32))
    assert np.isnan(scores).tolist() == [False] * 4 + [True] * 3


def test_zeros_are_no_points_on_a_grid_and_no_readings_when_repeated() -> None:
    one = cloud_from_array(np.vstack([XYZ, np.zeros((1, 3))]))
    two = cloud_from_array(np.vstack([XYZ, np.zeros((2, 3))]))
    grid = cloud_from_array(np.vstack([XYZ, np.zeros((1, 3)), XYZ[:1]]).reshape(2, 3, 3))
    assert one.data.valid.all()  # type: ignore[union-attr]
    assert one.notes == ()
    assert two.data.valid.sum() == 4  # type: ignore[union-attr]
    assert two.notes == ("(0, 0, 0) stands 2 times: taken as no reading, not inspected",)
    assert grid.data.valid.sum() == 5  # type: ignore[union-attr]
    assert grid.notes[0] == "1 of 6 grid cells are (0, 0, 0): no point there"


def test_duplicates_are_counted_kept_and_scored_alike() -> None:
    points = np.vstack([sphere(500), sphere(500)[:30]])
    sample = cloud_from_array(points)
    assert sample.notes == ("30 points repeat another one: all kept and scored alike",)
    maps = np.random.default_rng(0).random((6, 96, 96)).astype(np.float32)
    scores = see(sample).scatter(maps)
    np.testing.assert_array_equal(scores[:30], scores[500:])


def test_arrays_that_are_no_clouds_are_refused() -> None:
    for bad in (np.zeros((4, 2)), np.zeros(3), np.zeros((2, 3), bool)):
        with pytest.raises(UsageError, match=r"expected numbers of shape \(N, 3\) or \(H, W, 3\)"):
            cloud_from_array(bad)
    with pytest.raises(UsageError, match="colors must have the shape of the points"):
        cloud_from_array(XYZ, colors=RGB[:2])
    with pytest.raises(UsageError, match="colors must be uint8"):
        cloud_from_array(XYZ, colors=RGB.astype(int))
    with pytest.raises(BadFile, match="none of the 2 points"):
        cloud_from_array(np.full((2, 3), np.nan))


def test_a_loaded_cloud_is_the_same_as_its_array(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", sphere(3000))
    a, b = see(load(tmp_path / "a.npy")), see(cloud_from_array(sphere(3000)))
    assert a == b


def test_strays_are_named_and_do_not_shrink_the_rest(tmp_path: Path) -> None:
    points = sphere(5000)
    np.save(tmp_path / "a.npy", np.vstack([points, [[500, 500, 500]]]))
    sample = PointCloud().load(tmp_path / "a.npy", SMALL)
    assert "1 points lie far from all others, outside of some or all views" in sample.notes
    views = see(sample)
    assert (pixel_of(views)[:, -1] == -1).all()
    assert np.abs(views.images.astype(int) - see(cloud_from_array(points)).images).mean() < 1


# ---------------------------------------------------------------- pictures and the way back


@pytest.mark.parametrize("count", [1, 3, 6, 9, 20])
def test_sides_have_names_and_poses_that_do_not_depend_on_their_number(count: int) -> None:
    names, toward = rendering.directions(count)
    all_names, all_toward = rendering.directions(64)
    assert names == all_names[:count]
    assert names[:6] == SIDES[:count]
    np.testing.assert_array_equal(toward, all_toward[:count])
    np.testing.assert_allclose(np.linalg.norm(toward, axis=1), 1)
    for one in toward:
        turn = rendering.pose(one)
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        np.testing.assert_allclose(np.cross(turn[0], turn[1]), one, atol=1e-12)
    if count > 6:
        near = toward @ toward.T - 2 * np.eye(count)
        assert near.max() < np.cos(np.radians(25))


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), number=st.integers(1, 3000))
def test_what_is_put_on_a_point_comes_back_to_it_and_to_no_hidden_one(seed: int, number: int) -> None:
    rng = np.random.default_rng(seed)
    views = see(cloud_from_array(rng.random((number, 3)) * rng.random(3) + 1))
    pixel = pixel_of(views)
    chosen = int(rng.integers(number))
    maps = np.zeros((6, 96, 96), np.float32)
    for view in np.nonzero(pixel[:, chosen] >= 0)[0]:
        maps[view].flat[pixel[view, chosen]] = 1
    scores = views.scatter(maps)
    shares = ((pixel == pixel[:, [chosen]]) & (pixel >= 0)).any(0)
    unseen = (pixel < 0).all(0)
    np.testing.assert_array_equal(np.isnan(scores), unseen)
    np.testing.assert_array_equal(scores[~unseen] == 1, shares[~unseen])
    assert views.shown is not None
    for view in range(6):  # what a view says it shows of a point is a pixel with surface
        assert views.shown[view].flat[pixel[view][pixel[view] >= 0]].all()


def front_most(points: np.ndarray, size: int, view: int) -> np.ndarray:
    """The slow z-buffer: of the points of each pixel, the nearest."""
    turns = np.array([rendering.pose(one) for one in rendering.directions(6)[1]])
    centre, half = rendering.frame(points, turns)
    right, up, away = turns[view].astype(np.float32) @ ((points - centre) * (size / 2 / half)).astype(np.float32).T
    best: dict[tuple[int, int], int] = {}
    for n in range(len(points)):
        at = (int(np.floor(size / 2 - up[n])), int(np.floor(size / 2 + right[n])))
        if at not in best or away[n] < away[best[at]]:
            best[at] = n
    return np.array(sorted(best.values()))


def test_every_front_most_point_of_a_surface_is_seen() -> None:
    rng = np.random.default_rng(0)
    flat = rng.random((30_000, 2)) * 2 - 1
    bowl = np.column_stack([flat[:, 0], 0.4 * (flat**2).sum(1) + 0.3 * flat[:, 0], flat[:, 1]])
    ball = sphere(150_000)
    for points in (bowl, ball):
        pixel = pixel_of(see(cloud_from_array(points)))
        for view in (0, 1):
            front = front_most(points, 96, view)
            if points is ball:  # in the gaps between near points the far side is in front, and yet hidden
                front = front[points[front] @ rendering.directions(6)[1][view] > 0.05]
            assert (pixel[view, front] >= 0).all()


def test_the_far_side_of_a_closed_sphere_is_hidden_and_all_sides_see_it_all() -> None:
    points = sphere(100_000)
    views = see(cloud_from_array(points), Settings(point_cloud=PointCloudSettings(size=224)))
    pixel = pixel_of(views)
    assert views.names == SIDES
    for view, toward in enumerate(rendering.directions(6)[1]):
        side = points @ toward
        assert (pixel[view][side < 0] < 0).mean() > 0.99
        assert (pixel[view][side > 0.3] >= 0).mean() > 0.999
    assert (pixel >= 0).any(0).all()
    scores = views.scatter(np.ones((6, 224, 224), np.float32))
    assert not np.isnan(scores).any()


def test_a_thin_plate_hides_its_back_however_sparse() -> None:
    rng = np.random.default_rng(0)
    for number in (2000, 60_000):
        points = np.column_stack([rng.random((number, 2)) * 2, np.where(np.arange(number) % 2, 0.1, 0)])
        pixel = pixel_of(see(cloud_from_array(points)))
        inner = ((points[:, :2] > 0.2) & (points[:, :2] < 1.8)).all(1)
        top, bottom = inner & (points[:, 2] > 0.05), inner & (points[:, 2] < 0.05)
        assert (pixel[4][top] >= 0).all()
        assert (pixel[4][bottom] < 0).all()
        assert (pixel[5][bottom] >= 0).all()


def test_the_sides_are_where_their_names_say() -> None:
    corners = np.array([[0, -1, 0], [0, 1, 0], [-1, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, -1]], float)
    ball = sphere(40_000)
    for view, corner in enumerate(corners):
        bump = ball * np.where(ball @ corner > 0.99, 1.1, 1)[:, None]
        pixel = pixel_of(see(cloud_from_array(bump)))
        seen = (pixel[:, bump @ corner > 1.05] >= 0).mean(1)
        assert seen.argmax() == view
    # front: x to the right, z up
    pixel = pixel_of(see(cloud_from_array(ball)))
    right, high = ball[:, 0] > 0.5, ball[:, 2] > 0.5
    seen = pixel[0] >= 0
    assert (pixel[0][seen & right] % 96 > 48).all()
    assert (pixel[0][seen & high] // 96 < 48).all()


@settings(deadline=None, max_examples=8)
@given(
    scale=st.floats(1e-6, 1e6),
    shift=st.tuples(*[st.floats(-50, 50)] * 3),
)
def test_a_moved_and_scaled_cloud_gives_the_same_pictures(scale: float, shift: tuple[float, float, float]) -> None:
    points = sphere(20_000) * [1, 0.7, 0.5]
    before = see(cloud_from_array(points))
    after = see(cloud_from_array((points + shift) * scale))
    same = np.abs(before.images.astype(int) - after.images.astype(int)).max(-1) <= 2
    assert same.mean() > 0.999
    assert (pixel_of(before) == pixel_of(after)).mean() > 0.999


def test_the_answer_does_not_depend_on_the_number_of_threads() -> None:
    points, colors = sphere(50_000), (np.abs(sphere(50_000)) * 255).astype(np.uint8)
    one = rendering.render(points, colors, 6, 96, workers=1)
    four = rendering.render(points, colors, 6, 96, workers=4)
    for a, b in zip(one, four, strict=True):
        np.testing.assert_array_equal(a, b)


LINE = np.linspace(0, 1, 50)[:, None] * [1, 2, 3]
ODD = {
    "one": np.ones((1, 3)),
    "two": XYZ[:2],
    "three": XYZ[:3],
    "collinear": LINE,
    "coplanar": np.column_stack([sphere(500)[:, :2], np.zeros(500)]),
    "identical": np.full((100, 3), 7.5),
    "far away": sphere(2000) * 10 + [5e6, 4e5, 300],
    "tiny": sphere(2000) * 1e-9 + 1e-6,
    "huge": sphere(2000) * 1e25,
    "extreme": np.vstack([sphere(50), [[1e30, -1e30, 1e30]]]),
    "tilted line": LINE + 1e6,
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("count", [1, 6, 8])
def test_odd_clouds_can_be_looked_at(name: str, count: int) -> None:
    how = Settings(point_cloud=PointCloudSettings(size=64, views=count))
    views = see(cloud_from_array(ODD[name]), how)
    assert views.images.shape == (count, 64, 64, 3)
    assert views.shown is not None
    assert views.shown.any((1, 2)).all()
    assert (pixel_of(views) >= 0).any(1).all()
    assert (views.images[~views.shown] == 60).all()
    if len(ODD[name]) <= 3:
        assert (pixel_of(views)[:, :] >= 0).all(0).any()


def plate(number: int, dent: float = 0.0, hole: float = 0.0) -> np.ndarray:
    xy = np.random.default_rng(0).random((number, 2)) * 2 - 1
    xy = xy[np.hypot(xy[:, 0] - 0.4, xy[:, 1]) > hole]
    depth = dent * np.exp(-((xy[:, 0] - 0.4) ** 2 + xy[:, 1] ** 2) / 0.15**2)
    return np.column_stack([xy, -depth])


def differences(a: Views, b: Views, view: int) -> tuple[np.ndarray, np.ndarray]:
    """Grey levels two views differ by: where the defect of `plate` is, and elsewhere (without the outline)."""
    size = a.images.shape[1]
    row, column = np.mgrid[:size, :size] / size * 2.5 - 1.25
    there = np.hypot(column - 0.4, row) < 0.25
    difference = np.abs(a.images[view].astype(int) - b.images[view].astype(int)).max(-1)
    return difference[there], difference[~there & (np.maximum(np.abs(row), np.abs(column)) < 0.8)]


def test_dents_bumps_and_holes_show_in_the_picture_and_nothing_else_does() -> None:
    how = Settings(point_cloud=PointCloudSettings(size=224))
    good = see(cloud_from_array(plate(60_000)), how)
    for defect in ({"dent": 0.03}, {"dent": -0.03}, {"hole": 0.12}):
        there, elsewhere = differences(good, see(cloud_from_array(plate(60_000, **defect)), how), 4)
        assert there.max() > 40
        assert np.quantile(elsewhere, 0.99) < 12


def test_colors_are_seen_and_one_single_color_is_as_none() -> None:
    points = plate(30_000)
    red = np.where(np.hypot(points[:, 0] - 0.4, points[:, 1])[:, None] < 0.15, [200, 0, 0], [90, 200, 90])
    plain = cloud_from_array(points, colors=np.full((len(points), 3), 120, np.uint8))
    assert see(plain) == see(cloud_from_array(points))
    good = see(cloud_from_array(points, colors=np.where(np.arange(len(points))[:, None] == 0, 91, [90, 200, 90]) / 255))
    there, elsewhere = differences(good, see(cloud_from_array(points, colors=red.astype(np.uint8))), 4)
    assert there.max() > 60
    assert elsewhere.max() < 10


# ---------------------------------------------------------------- clouds on a grid


def road(rows: int, columns: int, dent: float = 3.0, step: float = 1.0) -> np.ndarray:
    """A tilted plane (rows, columns, 3) with a dent a third down and two thirds across, and 0.05 of noise."""
    y, x = np.mgrid[:rows, :columns] * step
    noise = np.random.default_rng(0).normal(0, 0.05, x.shape)
    away = (x - 2 / 3 * columns * step) ** 2 + (y - rows * step / 3) ** 2
    return np.stack([x, y, 50 + 0.35 * x + 0.1 * y + dent * np.exp(-away / 8**2) + noise], -1)


def test_a_grid_is_seen_once_as_its_sensor_saw_it() -> None:
    grid = road(60, 100)
    grid[10, 20] = 0
    views = see(cloud_from_array(grid), Settings())
    assert views.names == ("front",)
    assert views.images.shape == (1, 448, 448, 3)
    pixel = pixel_of(views).reshape(60, 100)
    assert pixel[10, 20] == -1
    assert (pixel < 0).sum() == 1
    row, column = np.mgrid[:60, :100]
    seen = pixel >= 0
    assert (pixel // 448 == ((row + 0.5) * 4.48).astype(int))[seen].all()
    assert (pixel % 448 == ((column + 0.5) * 4.48).astype(int))[seen].all()
    assert views.shown is not None
    assert views.shown[0, :268, :448].all()  # the one missing point is filled for the eyes
    assert not views.shown[0, 270:].any()


def test_a_dent_of_3_mm_in_a_tilted_plate_of_20_cm_is_visible() -> None:
    good, bad = (see(cloud_from_array(road(150, 200, dent)), Settings()).images[0].astype(int) for dent in (0.0, 3.0))
    there = np.zeros((448, 448), bool)
    row, column = int(50 * 2.24), int(133 * 2.24)
    there[row - 20 : row + 20, column - 20 : column + 20] = True
    difference = np.abs(good - bad).max(-1)
    assert difference[there].max() > 50
    assert np.quantile(difference[~there], 0.99) < 12
    assert good[:336].std((0, 1)).max() < 10  # the tilt itself is not in the picture


def test_a_grid_with_a_large_hole_shows_the_hole() -> None:
    grid = road(100, 100)
    grid[40:60, 30:50] = np.nan
    views = see(cloud_from_array(grid), Settings())
    assert views.shown is not None
    hole = ~views.shown[0]
    assert abs(hole.mean() - 0.04) < 0.01
    assert (views.images[0][hole] == 60).all()


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6), rows=st.integers(16, 60), columns=st.integers(16, 60))
def test_scores_on_a_grid_come_back_to_their_points(seed: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    grid = road(rows, columns)
    grid[rng.random((rows, columns)) < 0.1] = np.nan
    sample = cloud_from_array(grid)
    views = see(sample)
    maps = rng.random((1, 96, 96)).astype(np.float32)
    scores = views.scatter(maps)
    assert isinstance(sample.data, PointCloudData)
    np.testing.assert_array_equal(np.isnan(scores), ~sample.data.valid)
    at = pixel_of(views)[0][sample.data.valid]
    np.testing.assert_array_equal(scores[sample.data.valid], maps[0].flat[at])
    if max(rows, columns) <= 96:
        assert len(np.unique(at)) == len(at)  # a view with more pixels than points keeps them apart


def test_a_list_that_lost_its_grid_looks_like_the_grid(tmp_path: Path) -> None:
    grid = road(80, 60, step=3.0)
    missing = np.random.default_rng(0).random((80, 60)) < 0.05
    missing[:, -1] = True  # a whole column at the end
    grid[missing] = 0
    organised = cloud_from_array(grid.astype(np.float32))
    np.savetxt(tmp_path / "a.xyz", grid[~missing].astype(np.float32), fmt="%.9g")
    listed = PointCloud().load(tmp_path / "a.xyz", SMALL)
    assert listed.notes == ("the points lie on a grid of 80 x 59: seen as its sensor saw it",)
    a, b = see(organised), see(listed)
    assert a.names == b.names == ("front",)
    assert np.abs(a.images.astype(int) - b.images.astype(int)).max() <= 1
    np.testing.assert_array_equal(a.shown, b.shown)
    np.testing.assert_array_equal(pixel_of(a)[0][~missing.ravel()], pixel_of(b)[0])


def test_the_order_of_a_list_that_lost_its_grid_does_not_matter() -> None:
    points = road(40, 50).reshape(-1, 3)
    order = np.random.default_rng(0).permutation(len(points))
    a, b = see(cloud_from_array(points)), see(cloud_from_array(points[order]))
    np.testing.assert_array_equal(a.images, b.images)
    np.testing.assert_array_equal(pixel_of(a)[:, order], pixel_of(b))


def test_only_single_valued_even_grids_are_found() -> None:
    grid = road(30, 40)
    points = grid.reshape(-1, 3)
    assert relief.find_grid(points) is not None
    assert relief.find_grid(points[:, [2, 0, 1]]) is not None  # whatever the axes
    assert relief.find_grid(sphere(5000)) is None
    assert relief.find_grid(np.vstack([points, points + 0.5 * (np.arange(3) == 2)])) is None  # two layers
    uneven = points * 1.0
    uneven[:, 0] **= 1.3
    assert relief.find_grid(uneven) is None
    assert relief.find_grid(points[::3]) is None or len(points[::3]) * 2 >= 1200
    assert relief.find_grid(road(10, 200).reshape(-1, 3)) is None


def test_a_grid_too_coarse_for_a_picture_is_seen_from_all_around() -> None:
    assert see(cloud_from_array(road(5, 40))).names == SIDES


def test_very_long_grids_and_very_fine_ones_fit_the_view() -> None:
    for rows, columns in ((16, 3000), (400, 300), (900, 20)):
        views = see(cloud_from_array(road(rows, columns)))
        assert (pixel_of(views) >= 0).all()
        assert views.shown is not None
        assert views.shown.any()


@pytest.mark.parametrize("kind", ["one point", "line", "all the same", "far"])
def test_odd_grids_can_be_looked_at(kind: str) -> None:
    grid = np.full((20, 20, 3), np.nan)
    if kind == "one point":
        grid[3, 4] = 1
    elif kind == "line":
        grid[3] = np.arange(20)[:, None] + [1, 2, 3]
    elif kind == "all the same":
        grid[:] = 5
    else:
        grid = road(20, 20) * 1e-3 + 5e6
    views = see(cloud_from_array(grid))
    assert (pixel_of(views)[0] >= 0).sum() == np.isfinite(grid).all(-1).sum()
