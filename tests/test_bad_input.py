"""Bad input is normal input: each case gets its defined answer, in words, from the main job itself."""

import importlib
import os
import struct
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path

import numpy as np
import pytest
from fake_detectors import Dark, cloud, frames, picture
from PIL import Image

from looktwice.errors import UsageError
from looktwice.inspection import inspect
from looktwice.records import Spec
from looktwice.report import jsonl
from looktwice.report.mp4 import write_video
from looktwice.settings import Settings
from looktwice.sheets import read_sheet

SETTINGS = Settings.model_validate({"point_cloud": {"views": 2, "size": 64}, "video": {"every": 1}})
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 12345\n"


def inspected(path, **options):
    options.setdefault("settings", SETTINGS)
    (result,) = inspect(path, Dark(), **options)
    return result


def ramp(height=40, width=60):
    """(H, W, 3) uint8, another value in every pixel, none very dark."""
    y, x = np.mgrid[:height, :width]
    return np.stack([120 + x, 120 + y, np.full_like(x, 200)], -1).astype(np.uint8)


def saved(path, pixels=None, mode=None, **options):
    one = Image.fromarray(ramp() if pixels is None else pixels)
    (one.convert(mode) if mode else one).save(path, **options)
    return path


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def film(path, count=30):
    write_video(path, [np.full((48, 64, 3), 150 + i, np.uint8) for i in range(count)], 10)
    return path


def written(path, data):
    path.write_bytes(data)
    return path


# ---------------------------------------------------------------- odd, and inspected all the same


def turned(path):
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(path, exif=exif, quality=95)


def tiff16(path):
    saved(path, ramp()[..., 0].astype(np.uint16) * 16)
    return path


def rgba(path):
    pixels = np.dstack([ramp(), np.full((40, 60), 255, np.uint8)])
    pixels[:10] = 0
    return saved(path, pixels)


def moving_gif(path):
    pages = [Image.fromarray(ramp() + np.uint8(i)) for i in range(3)]
    pages[0].save(path, save_all=True, append_images=pages[1:], duration=100)
    return path


def pages(path):
    one = Image.fromarray(ramp())
    one.save(path, save_all=True, append_images=[one])
    return path


def floats(path):
    Image.fromarray(np.linspace(5, 9, 2400, dtype=np.float32).reshape(40, 60)).save(path)
    return path


def with_nans(path):
    points = np.loadtxt(cloud(path))
    points[5:9] = np.nan
    np.savetxt(path, points)
    return path


def with_zeros_and_duplicates(path):
    points = np.loadtxt(cloud(path))
    points[5:9] = 0
    points[20:23] = points[30]
    np.savetxt(path, points)
    return path


def broken_tail(path):
    noise = np.random.default_rng(0).integers(120, 220, (30, 48, 64, 3), np.uint8)
    write_video(path, noise, 10)
    return cut(path, 0.6)


def broken_frame(path):
    frames(path, 6)
    cut(path / "003.png", 0.5)
    return path


ODD = [
    ("a.tif", tiff16, (40, 60), "window"),
    ("float.tif", floats, (40, 60), "window"),
    ("a.jpg", lambda p: saved(p, mode="CMYK"), (40, 60), "CMYK"),
    ("palette.png", lambda p: saved(p, mode="P"), (40, 60), None),
    ("grey.png", lambda p: saved(p, mode="L"), (40, 60), None),
    ("bits.png", lambda p: saved(p, mode="1"), (40, 60), None),
    ("rgba.png", rgba, (40, 60), "600 pixels transparent: composited on RGB (255, 255, 255)"),
    ("turned.jpg", turned, (60, 40), "EXIF"),
    ("pages.tif", pages, (40, 60), "first"),
    ("a.webp", saved, (40, 60), None),
    ("a.bmp", saved, (40, 60), None),
    ("pixel.png", lambda p: saved(p, np.full((1, 1, 3), 200, np.uint8)), (1, 1), None),
    ("line.png", lambda p: saved(p, np.full((1, 500, 3), 200, np.uint8)), (1, 500), None),
    ("nan.xyz", with_nans, (900,), "4 of 900 points are not finite: kept in place, not inspected"),
    ("zero.xyz", with_zeros_and_duplicates, (900,), "(0, 0, 0) stands 4 times: taken as no reading, not inspected"),
    ("moving.gif", moving_gif, (40, 60), None),
    ("tail.mp4", broken_tail, (48, 64), "the file breaks off after"),
    ("film.frames", broken_frame, (32, 32), "left out as it cannot be read: 003.png: truncated"),
]


@pytest.mark.parametrize(("name", "make", "size", "words"), ODD, ids=[row[0] for row in ODD])
def test_an_odd_file_is_inspected_and_its_notes_say_what_was_decided(tmp_path, name, make, size, words):
    result = inspected(make(tmp_path / name), out=tmp_path / "out")
    assert result.error is None
    assert result.size == size
    if words is None:
        assert result.modality in ("video", "image")
    else:
        assert words in " / ".join(result.notes)
    assert all((tmp_path / "out" / file).exists() for file in result.files.values())


def test_points_that_are_not_finite_have_no_score(tmp_path):
    result = inspected(with_nans(tmp_path / "a.xyz"), out=tmp_path / "out")
    scores = np.load(tmp_path / "out" / result.files["map"])
    assert np.isnan(scores[5:9]).all()
    assert np.isfinite(scores).sum() > 400


def test_a_picture_of_fifty_megapixels_is_inspected_at_its_own_size(tmp_path):
    pixels = np.full((5000, 10_000), 220, np.uint8)
    pixels[3000:3500, 8000:9000] = 0
    Image.fromarray(pixels).save(tmp_path / "large.png", compress_level=1)
    result = inspected(tmp_path / "large.png", out=tmp_path / "out")
    assert result.size == (5000, 10_000)
    (region,) = result.regions
    assert np.abs(np.array(region.box) - (8000, 3000, 9000, 3500)).max() < 20
    with Image.open(tmp_path / "out" / result.files["map"]) as kept:
        assert kept.size == (10_000, 5000)


# ---------------------------------------------------------------- bad, and said so


def bomb(path):
    """A PNG of a few bytes whose head promises 1.6 gigapixels."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0" * 99))]
    parts = [
        struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in [*chunks, (b"IEND", b"")]
    ]
    return written(path, b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def no_points(path):
    np.savetxt(path, np.full((50, 3), np.nan))
    return path


def folder(path):
    path.mkdir()
    return path


def link(path):
    os.symlink("nowhere", path)
    return path


def sound(path):
    import av

    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=48_000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.rate = 48_000
        out.mux(stream.encode(silence))
        out.mux(stream.encode(None))
    return path


TEXT = b"this is a letter, not a picture\n" * 9
BAD = [
    ("no.png", lambda p: p, "missing_file", "no such file"),
    ("link.png", link, "missing_file", "a link that leads to no file"),
    ("truncated.jpg", lambda p: cut(saved(p, quality=95), 0.6), "unreadable", "truncated: the file ends after"),
    ("truncated.png", lambda p: cut(saved(p), 0.6), "unreadable", "truncated"),
    ("truncated.tif", lambda p: cut(saved(p), 0.6), "unreadable", "truncated"),
    ("truncated.ply", lambda p: cut(written(p, PLY), 0.7), "unreadable", "truncated"),
    ("truncated.npy", lambda p: cut(array(p), 0.6), "unreadable", "truncated"),
    ("truncated.mp4", lambda p: cut(film(p), 0.3), "unreadable", "its index (moov) is damaged"),
    ("renamed.png", lambda p: written(p, TEXT), "unreadable", "not a picture: it begins with b'this is a le'"),
    ("renamed.ply", lambda p: written(p, TEXT), "unreadable", "no PLY header"),
    ("renamed.mp4", lambda p: written(p, TEXT), "unreadable", "not a video: its content is not MP4"),
    ("renamed.pcd", lambda p: written(p, TEXT), "unreadable", "no PCD header"),
    (
        "letter.txt",
        lambda p: written(p, TEXT),
        "unsupported",
        "ends in .txt but holds no picture",
    ),
    ("letter.doc", lambda p: written(p, TEXT), "unsupported", "not a picture, point cloud or video. Known endings:"),
    ("lfs.png", lambda p: written(p, LFS), "unreadable", "is a Git LFS pointer"),
    ("lfs.ply", lambda p: written(p, LFS), "unreadable", "a Git LFS pointer"),
    ("lfs.mp4", lambda p: written(p, LFS), "unreadable", "is a Git LFS pointer"),
    ("bomb.png", bomb, "too_large", "40000 x 40000 = 1600 megapixels is over the budget of 64 megapixels"),
    ("folder.png", folder, "empty", "the folder holds no picture, point cloud or video"),
    ("empty.frames", folder, "empty", "no picture in this folder"),
    ("nothing.xyz", no_points, "empty", "none of the 50 points is valid"),
    ("sound.mp4", sound, "unsupported", "no video stream: it holds sound only"),
    ("objects.npy", lambda p: array(p, np.array([{}], object)), "unsupported", "ends in .npy but holds no picture"),
]
PLY = (
    b"ply\nformat ascii 1.0\nelement vertex 9\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    + b"1 2 3\n" * 9
)


def array(path, values=None):
    np.save(path, ramp() if values is None else values, allow_pickle=True)
    return path


@pytest.mark.parametrize(("name", "make", "kind", "words"), BAD, ids=[row[0] for row in BAD])
def test_a_bad_file_is_an_error_in_words_and_the_run_goes_on(tmp_path, name, make, kind, words):
    bad, good = make(tmp_path / name), picture(tmp_path / "good.png")
    out = tmp_path / "out"
    first, second = inspect([bad, good], Dark(), out=out, settings=SETTINGS)
    assert (first.verdict, first.score, first.regions, first.files) == (None, None, (), {})
    assert (first.error.kind, second.error) == (kind, None)
    assert words in first.error.message
    assert str(tmp_path) not in first.error.message  # the path stands in its own field
    assert first.path == bad.as_posix()
    assert jsonl.read(out / "results.jsonl") == [first, second]


def suffixes():
    from looktwice import modalities

    return sorted({s for name in modalities.MODALITIES for s in modalities.modality(name).suffixes})


@pytest.mark.parametrize("suffix", suffixes())
def test_a_file_without_bytes_is_said_to_be_empty(tmp_path, suffix):
    result = inspected(written(tmp_path / f"x{suffix}", b""))
    assert (result.error.kind, result.error.message) == ("empty", "the file has no bytes: copy it again")


@pytest.mark.parametrize("suffix", suffixes())
@pytest.mark.parametrize("data", [b"\0" * 300, bytes(range(256)) * 4, b"1 2\n3\n"], ids=["zeros", "bytes", "text"])
def test_nonsense_in_a_file_of_any_kind_is_never_our_own_error(tmp_path, suffix, data):
    result = inspected(written(tmp_path / f"x{suffix}", data))
    assert result.error.kind in ("unreadable", "unsupported", "empty", "too_large")
    assert len(result.error.message) > 10


# ---------------------------------------------------------------- sheets and references


def test_a_bad_sheet_is_refused_with_its_line(tmp_path):
    sheet = tmp_path / "s.yaml"
    sheet.write_text("task: look\nruels: [a]\n")
    with pytest.raises(UsageError, match=r"s\.yaml, line 2: unknown key 'ruels'.* Did you mean 'rules'"):
        read_sheet(sheet)


def test_references_of_another_modality_fail_what_they_cannot_judge(tmp_path):
    spec = Spec(references=(str(picture(tmp_path / "r.png", size=64)),))
    ball, flat = inspect([cloud(tmp_path / "a.xyz"), picture(tmp_path / "a.png", size=64)], "memory", spec)
    assert ball.error.kind == "no_references"
    assert ball.error.message.startswith("memory needs references of the modality point_cloud, there are only: image.")
    assert flat.error is None


# ---------------------------------------------------------------- what is not installed


class Block:
    """An import hook: these modules are not installed."""

    def __init__(self, *names):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def mesh(path):
    path.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 2 4\n")
    return path


def doubles(path):
    """A TIFF of 64-bit floats: rare enough to need tifffile."""
    import tifffile

    tifffile.imwrite(path, ramp()[..., 0] / 255.0)
    return path


@pytest.mark.parametrize(
    ("modules", "name", "make", "words"),
    [
        (("av",), "a.mp4", film, "Reading a.mp4 needs the module 'av': pip install 'looktwice[video]'"),
        (("trimesh",), "a.obj", mesh, "needs the module 'trimesh': pip install 'looktwice[points]'"),
        (("tifffile",), "a.tif", doubles, "needs the module 'tifffile': pip install 'looktwice[tiff]'"),
    ],
    ids=["av", "trimesh", "tifffile"],
)
def test_a_part_that_is_not_installed_is_named_and_the_run_goes_on(tmp_path, monkeypatch, modules, name, make, words):
    bad, good = make(tmp_path / name), picture(tmp_path / "good.png")
    for loaded in [m for m in sys.modules if m.split(".")[0] in modules]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setattr(sys, "meta_path", [Block(*modules), *sys.meta_path])
    importlib.invalidate_caches()
    first, second = inspect([bad, good], Dark(), settings=SETTINGS)
    assert first.error.kind == "missing_extra"
    assert words in first.error.message
    assert second.error is None


def test_without_pyav_a_gif_is_inspected_and_says_why_it_has_no_mp4(tmp_path):
    code = f"""
    import sys
    sys.modules["av"] = None
    from looktwice import inspect
    (result,) = inspect({str(moving_gif(tmp_path / "a.gif"))!r}, "selfsim", out={str(tmp_path / "out")!r})
    assert result.error is None, result.error
    assert "mp4" not in result.files
    print(result.notes[-1])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert "no annotated MP4: " in done.stdout
    assert "pip install 'looktwice[video]'" in done.stdout


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    result = inspected(tmp_path / "a.png")
    assert result.error.kind == "unsupported"
    assert Path(result.path).name == "a.png"
