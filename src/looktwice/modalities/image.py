"""Pictures and depth maps as 8-bit RGB, without silent loss.

What comes out is what a careful person would see: turned upright (EXIF, TIFF), flattened on one background,
the first frame of several. Every such decision is a note on the Sample. ICC profiles and gamma chunks are
not applied: values stay as the camera wrote them. JPEG, 8-bit and 1-bit pictures keep their values.

The window rule, for integers wider than 8 bit and for floats, decides what is black and what is white:

- a window from `image.window` wins; the pixels it clips are counted in a note;
- integers >= 0: from 0 to the smallest of 2^8-1, 2^10-1, 2^12-1, 2^14-1, 2^16-1, 2^18-1 ... that holds the
  brightest value, so that the pictures of one camera share one window;
- integers with a value below 0: from the lowest to the highest value;
- floats: 0..1 if every finite value lies there, else 0..255 if every one lies there, else lowest to highest;
- NaN and infinities are black and counted in a note.

Colours share one window; opacity is never windowed by content. In a depth map 0 often means "no reading":
0 is an ordinary value here, so it is black, and it takes part in finding the window. Depths keep their
order; `image.window` (near, far) stretches them and then counts the zeros as clipped.

Pillow warns of large pictures, or refuses them, by one number for the whole process. The budget here is one per
call, so files are opened by Pillow's format classes and not by `PIL.Image.open`: its number is never touched, and
threads cannot disturb each other. Its check is left in two places that cannot be reached from outside, WebP and GIF
frames larger than their screen: there no budget goes beyond Pillow's limit (179 megapixels).

Letters: H W pixels, h w pixels of a view, C channels.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    ImageChops,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL import Image as pillow

from looktwice.errors import BadFile, LookTwiceError, need
from looktwice.modalities import sample_id, sha256_of
from looktwice.records import ImageData, Sample, ToPixels, Views
from looktwice.settings import ImageSettings, Settings

Read = tuple[np.ndarray, tuple[str, ...]]  # pixels, and notes on what had to be decided
Reader = Callable[[IO[bytes], str], ImageFile.ImageFile]

# Formats by their first bytes: the content decides, the file name does not.
READERS: tuple[tuple[bytes, str, Reader], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG", PngImagePlugin.PngImageFile),
    (b"\xff\xd8\xff", "JPEG", JpegImagePlugin.JpegImageFile),
    (b"BM", "BMP", BmpImagePlugin.BmpImageFile),
    (b"II*\0", "TIFF", TiffImagePlugin.TiffImageFile),
    (b"MM\0*", "TIFF", TiffImagePlugin.TiffImageFile),
    (b"II+\0", "TIFF", TiffImagePlugin.TiffImageFile),  # BigTIFF
    (b"RIFF", "WebP", WebPImagePlugin.WebPImageFile),
    (b"GIF8", "GIF", GifImagePlugin.GifImageFile),
    *((b"P" + kind, "PNM", PpmImagePlugin.PpmImageFile) for kind in (b"1", b"2", b"3", b"4", b"5", b"6", b"f")),
)
WEAK = ("BMP", "PNM")  # two bytes may stand at the head of any text: the rest of the header must fit too
NPY = b"\x93NUMPY"
LFS = b"version https://git-lfs"
# Names of files that people take for pictures we read: what stands at byte 4, or at byte 0.
STRANGERS = {
    b"ftyphei": "HEIC",
    b"ftypmif1": "HEIC",
    b"ftypavif": "AVIF",
    b"%PDF": "PDF",
    b"8BPS": "Photoshop",
    b"MM\0+": "big-endian BigTIFF",
}
OFF_EDGE = 1.2345e-4  # pixels, see scale_down
POINT_COLUMNS = range(3, 10)  # a 2-D array this narrow is a list of points, not a picture
BLOCK = 1 << 20  # values windowed at once, so that wide pictures need little more memory than themselves
# EXIF orientation -> (swap rows and columns, then flip rows, then flip columns)
TURNS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


class Image:
    """The picture modality: one file, one view."""

    name = "image"
    suffixes = (
        ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff",
        ".webp", ".gif", ".pgm", ".ppm", ".pbm", ".pnm", ".pfm", ".npy",
    )  # fmt: skip

    def recognises(self, path: Path) -> bool:
        """Whether a file is a picture: by its ending, or by its content where the ending says nothing.

        Arrays and TIFFs are looked into: lists of points and float TIFFs of three channels are clouds.
        """
        if not path.is_file():
            return False
        named = path.suffix.lower() in self.suffixes
        try:
            with path.open("rb") as stream:
                head = stream.read(32)
                if head.startswith(NPY):
                    return _is_picture_array(path)
                form = _format_of(head)
                if form is not None and form[0] == "TIFF":
                    return not _tiff_facts(stream).is_cloud
                if named or form is None or form[0] not in WEAK:
                    return named or form is not None
                return min(_open(stream, form[1]).size) > 0
        except Exception:  # broken inside: if its name says picture, loading it will say what is wrong
            return named

    def load(self, path: Path, settings: Settings) -> Sample:
        """Load one picture as 8-bit RGB (H, W, 3); raises BadFile, and MissingExtra for rare TIFFs."""
        pixels, notes = read_picture(path, settings.image)
        data = ImageData(pixels=pixels)
        return Sample(id=sample_id(path), path=path, modality="image", data=data, sha256=sha256_of(path), notes=notes)

    def views(self, sample: Sample, settings: Settings) -> Iterator[Views]:
        """Yield the one view of a picture: itself, scaled down to `image.max_side` where it is larger."""
        if not isinstance(sample.data, ImageData):
            raise TypeError(f"{sample.id} is a {sample.modality}, not a picture")
        pixels = sample.data.pixels
        view = scale_down(pixels, settings.image.max_side)
        yield Views(images=view[None], names=("image",), way=ToPixels(size=(pixels.shape[0], pixels.shape[1])))


def scale_down(pixels: np.ndarray, max_side: int) -> np.ndarray:
    """Scale (H, W, 3) uint8 to a longest side of at most `max_side` pixels; never up, never below one pixel.

    Area-averaged: each pixel of the original counts in exactly one pixel of the view with equal weight. A small
    anomaly grows fainter but cannot fall between samples, and no ringing is made up next to sharp edges.
    """
    height, width = pixels.shape[:2]
    longest = max(height, width)
    if longest <= max_side:
        return pixels
    size = [max(1, round(side * max_side / longest)) for side in (width, height)]
    # the grid starts a hair off the edge: a pixel whose centre lies exactly between two view pixels would by
    # rounding belong to neither
    box = (OFF_EDGE, OFF_EDGE, width, height)
    return np.asarray(pillow.fromarray(pixels).resize((size[0], size[1]), pillow.Resampling.BOX, box))


def read_picture(path: Path, settings: ImageSettings) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read one picture or depth map as (H, W, 3) uint8, with notes on what had to be decided.

    Raises BadFile (missing_file, unreadable, empty, too_large, unsupported), and MissingExtra for a TIFF that only
    tifffile reads.
    """
    head = _first_bytes(path)
    if head.startswith(NPY):
        return _rgb(_read_array(path, settings), path, settings)
    form = _format_of(head)
    if form is None:
        raise _stranger(path, head)
    name, reader = form
    with path.open("rb") as stream, _decoding(path, name):
        if name == "TIFF":
            return _read_tiff(stream, reader, path, settings)
        return _read_common(stream, name, reader, path, settings)


def sample_from_array(pixels: np.ndarray, id: str = "array", settings: Settings | None = None) -> Sample:
    """Make a Sample of a picture in memory: grey (H, W), RGB (H, W, 3) or RGBA (H, W, 4), integer, float or bool.

    The same rules as for files; raises BadFile with `id` in place of the path.
    """
    pixels = np.asarray(pixels)
    chosen = (settings or Settings()).image
    _check_array(pixels.shape, pixels.dtype, Path(id), chosen)
    rgb, notes = _rgb(pixels, Path(id), chosen)
    digest = hashlib.sha256(f"{pixels.dtype.str}{pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    data = ImageData(pixels=rgb)
    return Sample(id=id, path=Path(id), modality="image", data=data, sha256=digest.hexdigest(), notes=notes)


# ---------------------------------------------------------------- what kind of file it is


def _first_bytes(path: Path) -> bytes:
    if not path.exists():
        raise BadFile("missing_file", path, "no such file")
    if path.is_dir():
        raise BadFile("unsupported", path, "is a folder, not a picture: give the files in it")
    if not path.is_file():
        raise BadFile("unsupported", path, "is not a regular file")
    try:
        with path.open("rb") as stream:
            head = stream.read(64)
    except OSError as error:
        raise BadFile("unreadable", path, f"cannot be opened: {error.strerror}") from error
    if not head:
        raise BadFile("empty", path, "the file has no bytes: copy it again")
    if head.startswith(LFS):
        why = "is a Git LFS pointer, not the picture itself: run 'git lfs pull' to fetch the real file"
        raise BadFile("unreadable", path, why)
    return head


def _format_of(head: bytes) -> tuple[str, Reader] | None:
    for magic, name, reader in READERS:
        if head.startswith(magic) and (name != "WebP" or head[8:12] == b"WEBP"):
            return name, reader
    return None


def _stranger(path: Path, head: bytes) -> BadFile:
    for magic, name in STRANGERS.items():
        if head.startswith(magic) or head[4:].startswith(magic):
            return BadFile("unsupported", path, f"is a {name} file: save it as PNG, TIFF or JPEG")
    known = ", ".join(dict.fromkeys([name for _, name, _ in READERS] + ["NPY"]))
    return BadFile("unreadable", path, f"not a picture: it begins with {head[:12]!r}. Known formats: {known}")


@contextmanager
def _decoding(path: Path, name: str) -> Iterator[None]:
    """Turn whatever a decoder raises on a broken file into a BadFile."""
    try:
        yield
    except (LookTwiceError, MemoryError):
        raise
    except (pillow.DecompressionBombError, pillow.DecompressionBombWarning) as error:
        # left to Pillow only: WebP canvases it allocates on opening, and GIF frames larger than their screen
        raise BadFile("too_large", path, f"Pillow refuses it: {error}. Save it as PNG or TIFF") from error
    except Exception as error:
        if "truncated" in str(error).lower():
            why = f"truncated: the file ends after {path.stat().st_size} bytes, before the picture does. Copy it again"
        else:
            why = f"cannot be decoded as {name}, it is truncated or corrupt: {error or type(error).__name__}"
        raise BadFile("unreadable", path, why) from error


def _check_budget(path: Path, width: int, height: int, settings: ImageSettings) -> None:
    if width * height <= settings.max_pixels:
        return
    size = f"{width} x {height} = {_megapixels(width * height)} megapixels"
    budget = f"{_megapixels(settings.max_pixels)} megapixels"
    why = f"{size} is over the budget of {budget}: raise image.max_pixels or shrink the picture"
    raise BadFile("too_large", path, why)


def _megapixels(count: int) -> str:
    return f"{count / 1e6:.6f}".rstrip("0").rstrip(".")


# ---------------------------------------------------------------- files that Pillow reads


def _read_common(stream: IO[bytes], name: str, reader: Reader, path: Path, settings: ImageSettings) -> Read:
    """Read anything but TIFF."""
    if name == "WebP":  # Pillow allocates its canvas on opening
        _check_budget(path, *_webp_size(stream), settings)
    picture = _open(stream, reader)
    _check_budget(path, *picture.size, settings)
    notes = _several(picture, f"animated {name}", "frames")
    values, more = _decode(stream, picture, reader)
    rgb, said = _rgb(values, path, settings)
    rgb, turned = _upright(rgb, _orientation(picture))
    return rgb, notes + more + said + turned


def _open(stream: IO[bytes], reader: Reader) -> ImageFile.ImageFile:
    """Read the header only."""
    stream.seek(0)
    return reader(stream, "")  # without a name Pillow maps no file into memory, so a file may shrink under us


def _webp_size(stream: IO[bytes]) -> tuple[int, int]:
    """Return (width, height) from the head of a WebP file, as its container specification lays them out."""
    stream.seek(12)
    kind, body = stream.read(4), stream.read(14)
    if kind == b"VP8X":
        return int.from_bytes(body[8:11], "little") + 1, int.from_bytes(body[11:14], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[5:9], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    stream.seek(26)
    width, height = struct.unpack("<HH", stream.read(4))
    return width & 0x3FFF, height & 0x3FFF


def _several(picture: ImageFile.ImageFile, what: str, parts: str) -> tuple[str, ...]:
    try:
        count = getattr(picture, "n_frames", 1)
    except Exception:  # the first frame has been found already, and may well be whole
        return (f"{what}: only the first of its {parts} can be found",)
    return (f"{what}: first of {count} {parts}",) if count > 1 else ()


def _decode(
    stream: IO[bytes], picture: ImageFile.ImageFile, reader: Reader
) -> tuple[pillow.Image | np.ndarray, tuple[str, ...]]:
    """Return 8-bit pictures as Pillow images, wider ones as arrays (H, W) or (H, W, C)."""
    raw = _raw_mode(picture)
    if picture.mode.startswith(("I", "F")):
        picture.load()
        values = np.asarray(picture)
        if picture.mode == "I" and picture.format != "TIFF":
            values = values.astype(np.uint16)  # of PNM: 16 bits in Pillow's only mode for integers
        return _with_key(values, picture.info.get("transparency")), ()
    if raw == "LA;16B":  # four bytes a pixel, read as they are: two big-endian numbers
        pairs = np.ascontiguousarray(_with_raw_mode(picture, "RGBA"))
        return pairs.view(">u2"), ()
    if raw in LOW_BYTES:
        low = _with_raw_mode(_open(stream, reader), LOW_BYTES[raw])
        wide = np.asarray(_with_raw_mode(picture, raw)).astype(np.uint16)
        wide <<= 8
        wide |= np.asarray(low)
        return _with_key(wide, picture.info.get("transparency")), ()
    picture.load()
    if picture.format == "JPEG" and picture.mode == "CMYK" and "adobe" not in picture.info:
        return ImageChops.invert(picture), ()  # Pillow takes every CMYK JPEG for Adobe's, which stores inverted ink
    return picture, (f"16-bit {raw[:4]}: window 0..65535 to 8 bit",) if ";16" in raw else ()


# Pillow keeps the high byte of 16-bit colours. Read in the other byte order, the same data give the low byte.
LOW_BYTES = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA", "RGBX")
    for order, other in (("B", "L"), ("L", "B"), ("N", "B" if sys.byteorder == "little" else "L"))
}


def _raw_mode(picture: ImageFile.ImageFile) -> str:
    if not picture.tile:
        return ""
    args: Any = picture.tile[0][3]
    return str(args[0] if isinstance(args, tuple) and args else args)


def _with_raw_mode(picture: ImageFile.ImageFile, raw: str) -> ImageFile.ImageFile:
    """Decode the picture as if its bytes were laid out as `raw`."""
    tiles: list[Any] = picture.tile
    changed: list[Any] = []
    for tile in tiles:
        args = (raw, *tile[3][1:]) if isinstance(tile[3], tuple) else raw
        changed.append(tile._replace(args=args) if hasattr(tile, "_replace") else (*tile[:3], args))
    picture.tile = changed
    picture.load()
    return picture


def _with_key(values: np.ndarray, key: Any) -> np.ndarray:
    """Add an alpha channel that is 0 where a wide picture has its transparent colour, if it has one."""
    if key is None or values.shape[2:] == (4,):
        return values
    colour = values if values.ndim == 3 else values[..., None]
    seen = (colour != np.asarray(key, colour.dtype)).any(-1, keepdims=True)
    return np.concatenate([colour, seen * np.asarray(_full(colour.dtype), colour.dtype)], -1)


def _orientation(picture: pillow.Image) -> int:
    try:
        return int(picture.getexif().get(274, 1))
    except Exception:  # a picture does not become unreadable by broken EXIF
        return 1


def _upright(values: np.ndarray, orientation: int) -> Read:
    """Turn (H, W, ...) as the EXIF orientation 1..8 asks."""
    if orientation not in TURNS:
        return values, ()
    swap, rows, columns = TURNS[orientation]
    turned = values.swapaxes(0, 1) if swap else values
    turned = turned[:: -1 if rows else 1, :: -1 if columns else 1]
    return np.ascontiguousarray(turned), (_turned_note(orientation),)


def _turned_note(orientation: int) -> str:
    return f"EXIF orientation {orientation}: turned upright"


# ---------------------------------------------------------------- TIFF


class _TiffFacts(NamedTuple):
    """The tags of the first page that decide who reads it."""

    width: int
    height: int
    bits: int
    samples: int
    sample_format: int  # 1 unsigned, 2 signed, 3 float
    photometric: int  # 0 white is zero, 1 black is zero, 2 RGB
    separate: bool  # one plane per channel
    extra: tuple[int, ...]  # of the channels beyond colour: 0 unknown, 1 premultiplied alpha, 2 alpha
    orientation: int

    @property
    def is_cloud(self) -> bool:
        return self.sample_format == 3 and self.samples == 3

    @property
    def misleads_pillow(self) -> bool:
        """Whether Pillow would read it without complaint, and wrongly."""
        signed_bytes = self.sample_format == 2 and self.bits == 8
        wide_planes = self.separate and self.samples > 1 and self.bits == 16
        return signed_bytes or wide_planes


def _tiff_facts(stream: IO[bytes]) -> _TiffFacts:
    stream.seek(0)
    head = stream.read(8)
    tags = TiffImagePlugin.ImageFileDirectory_v2(head + stream.read(8) if head[2] == 43 else head)
    if tags.next + 2 > stream.seek(0, 2):
        raise ValueError("truncated: its directory lies beyond its end")
    stream.seek(tags.next)
    tags.load(stream)
    bits, form, extra = (tags.get(tag, usual) for tag, usual in ((258, (1,)), (339, (1,)), (338, ())))
    samples = tags.get(277, len(bits))
    if len(set(bits)) > 1 or len(set(form)) > 1:
        raise ValueError(f"its channels differ: {bits} bits, formats {form}")
    return _TiffFacts(
        width=int(tags[256]),
        height=int(tags[257]),
        bits=int(bits[0]),
        samples=int(samples),
        sample_format=int(form[0]),
        photometric=int(tags.get(262, 1)),
        separate=tags.get(284, 1) == 2,
        extra=tuple(extra),
        orientation=int(tags.get(274, 1)),
    )


def _read_tiff(stream: IO[bytes], reader: Reader, path: Path, settings: ImageSettings) -> Read:
    facts = _tiff_facts(stream)
    _check_budget(path, facts.width, facts.height, settings)
    if facts.samples > 4:
        raise BadFile("unsupported", path, f"TIFF of {facts.samples} channels: save it as grey, RGB or RGBA")
    if facts.misleads_pillow:
        return _read_rare_tiff(facts, path, settings)
    try:
        picture = _open(stream, reader)
    except SyntaxError:  # no mode of Pillow's fits
        return _read_rare_tiff(facts, path, settings)
    notes = _several(picture, "multi-page TIFF", "pages")
    if facts.extra[:1] == (0,):
        notes += (DROPPED,)
    values, more = _decode(stream, _roomy(picture, facts), lambda s, n: _roomy(reader(s, n), facts))
    if picture.mode == "I":  # Pillow holds every integer of up to 32 bits as a signed one of 32
        values = np.asarray(values).astype(f"{'i' if facts.sample_format == 2 else 'u'}{facts.bits // 8}")
    rgb, said = _rgb(values, path, settings)
    if facts.photometric == 0 and facts.bits >= 16:  # narrower ones are inverted by Pillow
        rgb, said = 255 - rgb, (*said, "white is zero: inverted")
    turned = (_turned_note(facts.orientation),) if facts.orientation in TURNS else ()  # Pillow has turned it
    return rgb, notes + more + said + turned


def _roomy(picture: ImageFile.ImageFile, facts: _TiffFacts) -> ImageFile.ImageFile:
    """Give a TIFF its memory beforehand: where it has some, Pillow does not check its own pixel limit."""
    picture.im = pillow.new(picture.mode, (facts.width, facts.height), None).im
    return picture


def _read_rare_tiff(facts: _TiffFacts, path: Path, settings: ImageSettings) -> Read:
    """Read what Pillow cannot: float64, several float channels, planes of 16 bit ..."""
    if facts.photometric > 2:
        what = f"{facts.samples} channels of {facts.bits} bit, photometric interpretation {facts.photometric}"
        raise BadFile("unsupported", path, f"TIFF with {what}: save it as grey, RGB or RGBA")
    tifffile = need("tifffile", "tiff", f"Reading the TIFF {path}")
    with tifffile.TiffFile(path) as file:
        page, pages = file.pages[0], len(file.pages)
        try:
            values = page.asarray()
        except (ValueError, KeyError) as error:
            if "imagecodecs" not in str(error):
                raise
            why = f"TIFF of {facts.bits} bit compressed as {page.compression.name}: save it uncompressed or as deflate"
            raise BadFile("unsupported", path, why) from error
    if facts.separate and facts.samples > 1:
        values = np.moveaxis(values, 0, -1)
    notes = (f"multi-page TIFF: first of {pages} pages",) if pages > 1 else ()
    values, dropped = _without_unknown(values.reshape(facts.height, facts.width, facts.samples), facts)
    rgb, said = _rgb(values, path, settings)
    if facts.photometric == 0:
        rgb, said = 255 - rgb, (*said, "white is zero: inverted")
    rgb, turned = _upright(rgb, facts.orientation)
    return rgb, notes + dropped + said + turned


DROPPED = "the channel beyond colour, of unknown meaning, is left out"


def _without_unknown(values: np.ndarray, facts: _TiffFacts) -> Read:
    colours = 3 if facts.samples >= 3 else 1
    if facts.samples == colours or (facts.extra[:1] == (2,) and facts.sample_format == 1):
        return values, ()
    return values[..., :colours], (DROPPED,)


# ---------------------------------------------------------------- arrays


def _is_picture_array(path: Path) -> bool:
    shape, dtype = _array_header(path)
    if len(shape) == 2:
        return dtype.kind == "b" or (dtype.kind in "uif" and shape[1] not in POINT_COLUMNS)
    return len(shape) == 3 and shape[2] in (3, 4) and dtype.kind == "u"


def _array_header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read shape and type only."""
    with path.open("rb") as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
    return shape, dtype


def _read_array(path: Path, settings: ImageSettings) -> np.ndarray:
    with _decoding(path, "NPY"):
        shape, dtype = _array_header(path)
        if dtype.hasobject:
            raise BadFile("unsupported", path, "holds Python objects: save plain numbers with numpy.save")
        _check_array(shape, dtype, path, settings)
        return np.asarray(np.load(path, allow_pickle=False))


def _check_array(shape: tuple[int, ...], dtype: np.dtype[Any], path: Path, settings: ImageSettings) -> None:
    allowed = "expected (H, W), (H, W, 3) or (H, W, 4) of integers, floats or bool"
    if (
        dtype.kind not in "uifb"
        or dtype.itemsize > 8
        or len(shape) not in (2, 3)
        or (len(shape) == 3 and shape[2] not in (1, 2, 3, 4))
    ):
        raise BadFile("unsupported", path, f"array of {dtype} of shape {shape}: {allowed}")
    if 0 in shape:
        raise BadFile("empty", path, f"array of shape {shape} has no pixel")
    _check_budget(path, shape[1], shape[0], settings)


# ---------------------------------------------------------------- to 8-bit RGB


def _rgb(values: pillow.Image | np.ndarray, path: Path, settings: ImageSettings) -> Read:
    """Window what is wide, flatten what is transparent: (H, W, 3) uint8 and notes."""
    if isinstance(values, pillow.Image):
        return _flatten(values, settings)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.ndim == 2 or values.shape[2] == 3:
        eight, notes = _windowed(values, path, settings)
        return np.repeat(eight[..., None], 3, -1) if eight.ndim == 2 else eight, notes
    eight, notes = _windowed(values[..., :-1], path, settings)
    opacity = _opacity(values[..., -1], path)[..., None]
    flat, more = _flatten(pillow.fromarray(np.concatenate([eight, opacity], -1)), settings)
    return flat, notes + more


def _flatten(picture: pillow.Image, settings: ImageSettings) -> Read:
    """Put a picture of 8-bit channels on the background where it is transparent."""
    if picture.mode == "La":
        picture = picture.convert("LA")
    if not picture.has_transparency_data:
        notes = ("CMYK: to RGB without a colour profile",) if picture.mode == "CMYK" else ()
        return np.asarray(_as(picture, "RGB")), notes
    picture = _as(picture, "RGBA")
    opacity = picture.getchannel("A")
    flat = pillow.new("RGB", picture.size, settings.background)
    flat.paste(picture, mask=opacity)
    through = picture.width * picture.height - opacity.histogram()[255]
    if not through:
        return np.asarray(flat), ()
    return np.asarray(flat), (f"{_pixels(through)} transparent: composited on RGB {settings.background}",)


def _as(picture: pillow.Image, mode: str) -> pillow.Image:
    return picture if picture.mode == mode else picture.convert(mode)  # Pillow would copy what needs no conversion


def _opacity(values: np.ndarray, path: Path) -> np.ndarray:
    """(H, W) -> (H, W) uint8: the full range of integers, or 0..1 of floats."""
    full = _full(values.dtype)
    if not ((values >= 0) & (values <= full)).all():
        raise BadFile(
            "unsupported", path, f"its opacity lies outside 0..{full}: give opacity in 0..{full}, or RGB alone"
        )
    return _to_eight_bit(values, 0, full)


def _full(dtype: np.dtype[Any]) -> int:
    return int(np.iinfo(dtype).max) if dtype.kind in "ui" else 1


def _windowed(values: np.ndarray, path: Path, settings: ImageSettings) -> Read:
    """(H, W) or (H, W, C) of any numbers to uint8 of the same shape, by the window rule."""
    if values.dtype == np.uint8:
        return np.array(values), ()
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * 255, ()
    low, high, unreal = _range(values)
    if low > high:
        raise BadFile("empty", path, "every value is NaN or infinite: there is nothing to see")
    notes = (f"{_pixels(unreal)} NaN or infinite: black",) if unreal else ()
    bits = values.dtype.itemsize * 8
    depth = {"f": f"float{bits}", "i": f"{bits}-bit signed", "u": f"{bits}-bit"}[values.dtype.kind]
    if settings.window is not None:
        black, white = settings.window
        clipped = _count(values, lambda block: np.isfinite(block) & ((block < black) | (block > white)))
        said = f"{depth}: window {black:g}..{white:g} of image.window to 8 bit, {_pixels(clipped)} clipped"
    else:
        black, white = _window_of(low, high, values.dtype)
        said = f"{depth}: window {_number(black)}..{_number(white)} to 8 bit"
    return _to_eight_bit(values, black, white), (said, *notes)


def _window_of(low: float, high: float, dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return what is black and what is white for values from low to high: the rule at the top of this file."""
    if dtype.kind == "f":
        for white in (1, 255):
            if low >= 0 and high <= white:
                return 0, white
        return low, high
    if low < 0:
        return low, high
    return 0, next(2**bits - 1 for bits in range(8, 66, 2) if high <= 2**bits - 1)


def _range(values: np.ndarray) -> tuple[float, float, int]:
    """Return the lowest and highest finite value, and how many pixels hold one that is not finite."""
    if values.dtype.kind in "ui":
        return int(values.min()), int(values.max()), 0
    low, high, unreal = np.inf, -np.inf, 0
    for block in _blocks(values):
        finite = np.isfinite(block)
        low = min(low, float(block.min(where=finite, initial=np.inf)))
        high = max(high, float(block.max(where=finite, initial=-np.inf)))
        unreal += _pixels_in(~finite)
    return low, high, unreal


def _count(values: np.ndarray, test: Callable[[np.ndarray], np.ndarray]) -> int:
    return sum(_pixels_in(test(block)) for block in _blocks(values))


def _pixels_in(marked: np.ndarray) -> int:
    """How many pixels have any marked channel."""
    return int(np.count_nonzero(marked if marked.ndim == 2 else marked.any(-1)))


def _blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    rows = max(1, BLOCK // (values.size // len(values)))
    for start in range(0, len(values), rows):
        yield values[start : start + rows]


def _to_eight_bit(values: np.ndarray, black: float, white: float) -> np.ndarray:
    """Map black..white to 0..255, rounded; what lies outside is clipped, what is not finite is 0."""
    eight = np.empty(values.shape, np.uint8)
    if values.dtype == np.uint16 and values.size > 1 << 16:  # by table: each of the 65536 values is worked out once
        table = _to_eight_bit(np.arange(1 << 16, dtype=np.float64)[None], black, white)[0]
        for block, out in zip(_blocks(values), _blocks(eight), strict=True):
            out[...] = table[block]
        return eight
    # halves, because the distance between two floats can be more than a float holds
    span = max(white / 2 - black / 2, float(np.finfo(np.float64).tiny))
    for block, out in zip(_blocks(values), _blocks(eight), strict=True):
        finite = np.isfinite(block)
        shade = np.where(finite, block, 0).astype(np.float64) / 2 - black / 2
        shade = np.clip(shade, 0, span) / span * 255 + 0.5
        out[...] = np.where(finite, shade, 0)
    return eight


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _pixels(count: int) -> str:
    return f"{count} pixel" if count == 1 else f"{count} pixels"
