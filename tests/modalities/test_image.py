import io
import os
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

import looktwice
from looktwice.errors import BadFile, MissingExtra
from looktwice.modalities import load, sample_id, sha256_of
from looktwice.modalities.image import Image, read_picture, sample_from_array, scale_down
from looktwice.settings import ImageSettings, Settings

USUAL = ImageSettings()
H, W = 24, 37


def colours(height=H, width=W, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def smooth(height=H, width=W):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (height + width)], -1).astype(np.uint8)


def twelve_bit(channels=3):
    values = np.random.default_rng(1).integers(0, 4096, (H, W, channels)).astype(np.uint16)
    values.flat[0] = 4095
    return values


def to_eight_bit(values, white):
    return np.floor(values.astype(np.float64) / white * 255 + 0.5).astype(np.uint8)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(values, colour_type, depth=16, before_data=b""):
    """The bytes of a PNG of (H, W, C) values, for the kinds that Pillow cannot write."""
    rows = b"".join(b"\0" + row.astype(">u2" if depth == 16 else "u1").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], depth, colour_type, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before_data + data + chunk(b"IEND", b"")


def saved(picture, form, **options):
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def tiff(values, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, **options)
    return stream.getvalue()


def npy(values):
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def put(folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return path


def read(folder, data, settings=USUAL, name="picture.bin"):
    return read_picture(put(folder, name, data), settings)


def refusal(folder, data, settings=USUAL, name="picture.png"):
    with pytest.raises(BadFile) as caught:
        read(folder, data, settings, name)
    assert caught.value.path.endswith(name)
    return caught.value.kind, caught.value.why


# ---------------------------------------------------------------- 8-bit formats

LOSSLESS = {
    "png": ("PNG", {}),
    "bmp": ("BMP", {}),
    "tiff": ("TIFF", {}),
    "tiff-lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "tiff-deflate": ("TIFF", {"compression": "tiff_deflate"}),
    "tiff-packbits": ("TIFF", {"compression": "packbits"}),
    "webp": ("WEBP", {"lossless": True}),
    "ppm": ("PPM", {}),
}


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("shape", [(H, W), (1, 1), (1, 50), (50, 1)])
def test_a_lossless_colour_picture_comes_back_exactly_without_notes(tmp_path, kind, shape):
    form, options = LOSSLESS[kind]
    pixels, notes = read(tmp_path, saved(PIL.Image.fromarray(colours(*shape)), form, **options))
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, colours(*shape))
    assert notes == ()


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF", "JPEG", "PPM"])
def test_grey_becomes_three_equal_channels(tmp_path, form):
    grey = smooth()[..., 0]
    pixels, notes = read(tmp_path, saved(PIL.Image.fromarray(grey), form))
    assert np.abs(pixels.astype(int) - grey[..., None]).max() <= (3 if form == "JPEG" else 0)
    assert (pixels == pixels[..., :1]).all()
    assert notes == ()


def test_a_jpeg_is_close_to_what_was_saved(tmp_path):
    pixels, notes = read(tmp_path, saved(PIL.Image.fromarray(smooth()), "JPEG", quality=95))
    assert np.abs(pixels.astype(int) - smooth()).mean() < 2
    assert notes == ()


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "GIF"])
def test_a_one_bit_picture_is_black_and_white(tmp_path, form):
    marks = colours()[..., 0] > 127
    pixels, _ = read(tmp_path, saved(PIL.Image.fromarray(marks), form))
    assert np.array_equal(pixels, np.repeat(marks[..., None] * np.uint8(255), 3, -1))


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF"])
def test_a_palette_picture_shows_its_colours(tmp_path, form):
    palette = PIL.Image.fromarray(smooth()).quantize(40)
    pixels, notes = read(tmp_path, saved(palette, form))
    assert np.array_equal(pixels, np.asarray(palette.convert("RGB")))
    assert notes == ()


def test_a_colour_profile_and_a_wrong_gamma_do_not_change_values(tmp_path):
    wrong = chunk(b"gAMA", struct.pack(">I", 1)) + chunk(b"iCCP", b"broken\0\0" + zlib.compress(b"no profile"))
    pixels, _ = read(tmp_path, png(colours(), 2, 8, wrong))
    assert np.array_equal(pixels, colours())
    pixels, _ = read(tmp_path, saved(PIL.Image.fromarray(colours()), "PNG", icc_profile=b"nonsense" * 20))
    assert np.array_equal(pixels, colours())


def test_the_content_decides_and_the_ending_does_not(tmp_path):
    path = put(tmp_path, "really_png.jpg", saved(PIL.Image.fromarray(colours()), "PNG"))
    assert Image().recognises(path)
    assert np.array_equal(read_picture(path, USUAL)[0], colours())


# ---------------------------------------------------------------- opacity


def half_clear(mode="RGBA"):
    values = np.concatenate([colours(), np.full((H, W, 1), 255, np.uint8)], -1)
    values[: H // 2, :, 3] = 0
    values[H // 2, :, 3] = 128
    picture = PIL.Image.fromarray(values)
    return picture if mode == "RGBA" else picture.convert(mode)


def composite(rgba, background):
    rgba = rgba.astype(np.float64)
    opacity = rgba[..., 3:] / 255
    return rgba[..., :3] * opacity + np.array(background) * (1 - opacity)


@pytest.mark.parametrize("background", [(255, 255, 255), (10, 200, 30)])
@pytest.mark.parametrize(("form", "mode"), [("PNG", "RGBA"), ("TIFF", "RGBA"), ("PNG", "LA"), ("TIFF", "LA")])
def test_transparent_pixels_are_composited_on_the_background(tmp_path, form, mode, background):
    picture = half_clear(mode)
    pixels, notes = read(tmp_path, saved(picture, form), ImageSettings(background=background))
    wanted = composite(np.asarray(picture.convert("RGBA")), background)
    assert np.abs(pixels - wanted).max() <= 1
    assert (pixels[: H // 2] == background).all()
    assert notes == (f"{(H // 2 + 1) * W} pixels transparent: composited on RGB {background}",)


def test_an_opaque_alpha_channel_is_not_worth_a_note(tmp_path):
    pixels, notes = read(tmp_path, saved(PIL.Image.fromarray(colours()).convert("RGBA"), "PNG"))
    assert np.array_equal(pixels, colours())
    assert notes == ()


@pytest.mark.parametrize("transparency", [3, bytes([255, 255, 255, 0])])
def test_the_transparent_entry_of_a_palette_is_composited(tmp_path, transparency):
    index = np.arange(H * W, dtype=np.uint8).reshape(H, W) % 8
    palette = PIL.Image.fromarray(index, "L").convert("P")
    palette.putpalette(colours(1, 256).tobytes())
    pixels, notes = read(
        tmp_path, saved(palette, "PNG", transparency=transparency), ImageSettings(background=(1, 2, 3))
    )
    wanted = colours(1, 256)[0][index]
    wanted[index == 3] = (1, 2, 3)
    assert np.array_equal(pixels, wanted)
    assert notes == (f"{(index == 3).sum()} pixels transparent: composited on RGB (1, 2, 3)",)


def test_the_transparent_colour_of_a_picture_without_alpha_is_composited(tmp_path):
    values = colours()
    key = chunk(b"tRNS", struct.pack(">HHH", *values[4, 5]))
    pixels, notes = read(tmp_path, png(values, 2, 8, key))
    assert (pixels[4, 5] == 255).all()
    assert np.array_equal(pixels[5:], values[5:])
    assert notes[0].startswith("1 pixel transparent")


# ---------------------------------------------------------------- ink


def test_cmyk_of_a_tiff_becomes_rgb_and_says_so(tmp_path):
    pixels, notes = read(tmp_path, saved(PIL.Image.fromarray(colours()).convert("CMYK"), "TIFF"))
    assert np.abs(pixels.astype(int) - colours()).max() <= 1
    assert notes == ("CMYK: to RGB without a colour profile",)


def test_cmyk_jpegs_are_right_with_and_without_adobes_inverted_ink(tmp_path):
    ink = PIL.Image.fromarray(smooth()).convert("CMYK")
    adobe = saved(ink, "JPEG", quality=95)
    pixels, _ = read(tmp_path, adobe)
    assert np.abs(pixels.astype(int) - smooth()).mean() < 3
    marker = adobe.index(b"\xff\xee\x00\x0eAdobe")
    plain = adobe[:marker] + adobe[marker + 16 :]  # the same numbers now mean plain ink
    inverted = PIL.Image.fromarray(255 - np.asarray(ink), "CMYK").convert("RGB")
    pixels, _ = read(tmp_path, plain)
    assert np.abs(pixels.astype(int) - np.asarray(inverted)).mean() < 3


# ---------------------------------------------------------------- turned pictures

TURN = {  # what a picture stored with this orientation looks like upright, by the EXIF standard
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: np.rot90(a, 1),
}


def with_orientation(kind, orientation):
    exif = PIL.Image.Exif()
    exif[274] = orientation
    if kind == "tiff-float64":
        return tiff(smooth()[..., 0] / 255, extratags=[(274, "H", 1, orientation, True)])
    if kind == "tiff-16":
        extratags = [(274, "H", 1, orientation, True)]
        return tiff(smooth().astype(np.uint16) * 257, photometric="rgb", extratags=extratags)
    form, options = {"jpeg": ("JPEG", {"quality": 100, "subsampling": 0}), **LOSSLESS}[kind]
    return saved(PIL.Image.fromarray(smooth()), form, exif=exif, **options)


@pytest.mark.parametrize("orientation", TURN)
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff", "tiff-lzw", "tiff-16", "tiff-float64"])
def test_a_picture_is_turned_upright_and_says_so(tmp_path, kind, orientation):
    pixels, notes = read(tmp_path, with_orientation(kind, orientation))
    stored = np.repeat(smooth()[..., :1], 3, -1) if kind == "tiff-float64" else smooth()
    wanted = TURN[orientation](stored)
    assert pixels.shape == wanted.shape
    assert np.abs(pixels.astype(int) - wanted).max() <= (6 if kind == "jpeg" else 0)
    said = f"EXIF orientation {orientation}: turned upright"
    assert (said in notes) == (orientation != 1)


def test_broken_exif_does_not_cost_the_picture(tmp_path):
    pixels, _ = read(tmp_path, saved(PIL.Image.fromarray(smooth()), "PNG", exif=b"Exif\0\0no tags at all"))
    assert np.array_equal(pixels, smooth())


# ---------------------------------------------------------------- several frames


def moving(form, count=12, **options):
    frames = [PIL.Image.fromarray(colours(seed=i)).quantize(32) for i in range(count)]
    frames = frames if form == "GIF" else [frame.convert("RGB") for frame in frames]
    return frames[0], saved(frames[0], form, save_all=True, append_images=frames[1:], **options)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("GIF", "animated GIF: first of 12 frames"),
        ("TIFF", "multi-page TIFF: first of 12 pages"),
        ("PNG", "animated PNG: first of 12 frames"),
    ],
)
def test_the_first_frame_of_several_is_shown_and_counted(tmp_path, form, said):
    first, data = moving(form)
    pixels, notes = read(tmp_path, data)
    assert np.array_equal(pixels, np.asarray(first.convert("RGB")))
    assert notes == (said,)


def test_the_first_frame_of_an_animated_webp_is_shown(tmp_path):
    first, data = moving("WEBP", lossless=True)
    pixels, notes = read(tmp_path, data)
    assert np.array_equal(pixels, np.asarray(first))
    assert notes == ("animated WebP: first of 12 frames",)


def test_the_first_of_several_float_pages_is_shown_and_counted(tmp_path):
    pages = np.stack([np.full((H, W), 0.2), np.full((H, W), 0.8)])
    pixels, notes = read(tmp_path, tiff(pages, photometric="minisblack"))
    assert (pixels == 51).all()
    assert notes == ("multi-page TIFF: first of 2 pages", "float64: window 0..1 to 8 bit")


# ---------------------------------------------------------------- wide values


@pytest.mark.parametrize(
    ("brightest", "white"),
    [
        (0, 255),
        (255, 255),
        (256, 1023),
        (1023, 1023),
        (1024, 4095),
        (4000, 4095),
        (4096, 16383),
        (16384, 65535),
        (65535, 65535),
    ],
)
def test_sixteen_bit_greys_are_windowed_by_the_sensor_that_fits(tmp_path, brightest, white):
    values = np.linspace(0, brightest, H * W).astype(np.uint16).reshape(H, W)
    for data in (saved(PIL.Image.fromarray(values), "PNG"), saved(PIL.Image.fromarray(values), "TIFF"), npy(values)):
        pixels, notes = read(tmp_path, data)
        assert np.array_equal(pixels[..., 1], to_eight_bit(values, white))
        assert notes == (f"16-bit: window 0..{white} to 8 bit",)


def test_two_pictures_of_one_camera_share_one_window(tmp_path):
    dark, bright = np.full((H, W), 1500, np.uint16), np.full((H, W), 3000, np.uint16)
    a, _ = read(tmp_path, saved(PIL.Image.fromarray(dark), "PNG"))
    b, _ = read(tmp_path, saved(PIL.Image.fromarray(bright), "PNG"))
    assert abs(int(b[0, 0, 0]) - 2 * int(a[0, 0, 0])) <= 1


@pytest.mark.parametrize(("top", "white"), [(2**17, 2**18 - 1), (2**31, 2**32 - 1), (2**63, 2**64 - 1)])
def test_wider_integers_use_the_next_even_number_of_bits(tmp_path, top, white):
    pixels, notes = read(tmp_path, npy(np.array([[0, top]], np.uint64)))
    assert pixels[0, :, 0].tolist() == [0, round(top / white * 255)]
    assert notes == (f"64-bit: window 0..{white} to 8 bit",)


def test_signed_values_below_zero_are_windowed_from_lowest_to_highest(tmp_path):
    values = np.array([[-500, 0, 1500]], np.int16)
    for data in (npy(values), tiff(values), tiff(values.astype(np.int32))):
        pixels, notes = read(tmp_path, data)
        assert pixels[0, :, 0].tolist() == [0, 64, 255]
        assert notes[0].endswith("-bit signed: window -500..1500 to 8 bit")
    pixels, _ = read(tmp_path, tiff(np.array([[-100, 0, 100]], np.int8)))
    assert pixels[0, :, 0].tolist() == [0, 128, 255]


def test_all_sixteen_bits_of_a_colour_png_are_read(tmp_path):
    values = twelve_bit()
    pixels, notes = read(tmp_path, png(values, 2))
    assert np.array_equal(pixels, to_eight_bit(values, 4095))
    assert notes == ("16-bit: window 0..4095 to 8 bit",)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_all_sixteen_bits_of_a_colour_tiff_are_read(tmp_path, order, compression, planes, tile):
    values = twelve_bit()
    stored = values if planes == "contig" else np.moveaxis(values, -1, 0)
    options = {"byteorder": order, "compression": compression, "planarconfig": planes, "tile": tile}
    pixels, notes = read(tmp_path, tiff(stored, photometric="rgb", **options))
    assert np.array_equal(pixels, to_eight_bit(values, 4095))
    assert notes == ("16-bit: window 0..4095 to 8 bit",)


@pytest.mark.parametrize("colour_type", [4, 6])
def test_opacity_of_sixteen_bits_is_composited(tmp_path, colour_type):
    values = twelve_bit(2 if colour_type == 4 else 4)
    values[..., -1] = 65535
    values[0, :, -1] = 0
    values[1, :, -1] = 32768
    pixels, notes = read(tmp_path, png(values, colour_type))
    seen = to_eight_bit(np.broadcast_to(values[..., :-1], (H, W, 3)), 4095)
    assert (pixels[0] == 255).all()
    assert np.abs(pixels[1] - (seen[1] * (128 / 255) + 127)).max() <= 1
    assert np.array_equal(pixels[2:], seen[2:])
    assert notes == (
        "16-bit: window 0..4095 to 8 bit",
        f"{2 * W} pixels transparent: composited on RGB (255, 255, 255)",
    )


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3)])
def test_the_transparent_colour_of_sixteen_bits_is_composited(tmp_path, colour_type, channels):
    values = twelve_bit(channels)
    values[7, 8] = 77
    values[values == 77] = 78
    values[7, 8] = 77
    pixels, notes = read(tmp_path, png(values, colour_type, 16, chunk(b"tRNS", struct.pack(">H", 77) * channels)))
    assert (pixels[7, 8] == 255).all()
    assert notes[1].startswith("1 pixel transparent")


def test_sixteen_bit_ink_says_that_it_is_read_as_eight(tmp_path):
    ink = np.full((H, W, 4), 65535, np.uint16) // 2
    _, notes = read(tmp_path, tiff(ink, photometric="separated", planarconfig="contig"))
    assert notes == ("16-bit CMYK: window 0..65535 to 8 bit", "CMYK: to RGB without a colour profile")


def test_white_is_zero_is_inverted(tmp_path):
    values = np.array([[0, 100, 255]], np.uint16)
    for data in (tiff(values, photometric="miniswhite"), tiff(values / 255.0, photometric="miniswhite")):
        pixels, notes = read(tmp_path, data)
        assert pixels[0, :, 0].tolist() == [255, 155, 0]
        assert notes[-1] == "white is zero: inverted"


def test_a_netpbm_depth_map_keeps_its_sixteen_bits(tmp_path):
    values = np.array([[0, 1000, 65535]], ">u2")
    pixels, notes = read(tmp_path, b"P5 3 1 65535\n" + values.tobytes())
    assert pixels[0, :, 0].tolist() == [0, 4, 255]
    assert notes == ("16-bit: window 0..65535 to 8 bit",)
    pixels, notes = read(tmp_path, b"Pf 3 1 -1.0\n" + np.array([0.5, 1, np.inf], "<f4").tobytes())
    assert pixels[0, :, 0].tolist() == [128, 255, 0]
    assert notes == ("float32: window 0..1 to 8 bit", "1 pixel NaN or infinite: black")


# ---------------------------------------------------------------- floats


@pytest.mark.parametrize(
    ("low", "high", "window"),
    [
        (0, 1, "0..1"),
        (0.2, 0.7, "0..1"),
        (0, 255, "0..255"),
        (3, 40.5, "0..255"),
        (-1, 1, "-1..1"),
        (412.5, 1200, "412.5..1200"),
        (0, 1200, "0..1200"),
        (0, 256, "0..256"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_are_windowed_by_the_range_they_lie_in(tmp_path, low, high, window, dtype):
    values = np.linspace(low, high, H * W).reshape(H, W).astype(dtype)
    black, white = (float(x) for x in window.split(".."))
    wanted = np.floor((values.astype(np.float64) - black) / (white - black) * 255 + 0.5)
    for data in (npy(values), tiff(values), tiff(values, compression="zlib"), tiff(values, tile=(16, 16))):
        pixels, notes = read(tmp_path, data)
        assert np.abs(pixels[..., 0] - wanted).max() <= 1  # a rounding may fall either way
        assert (pixels[..., 0] == wanted).mean() > 0.99
        assert notes == (f"{dtype}: window {window} to 8 bit",)


def test_nan_and_infinity_are_black_and_counted(tmp_path):
    values = np.full((H, W), 0.5, np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    for data in (npy(values), tiff(values), saved(PIL.Image.fromarray(values), "TIFF")):
        pixels, notes = read(tmp_path, data)
        assert (pixels[0, :3] == 0).all()
        assert (pixels[1:] == 128).all()
        assert notes == ("float32: window 0..1 to 8 bit", "3 pixels NaN or infinite: black")


def test_a_map_without_one_finite_value_is_refused_as_empty(tmp_path):
    kind, why = refusal(tmp_path, npy(np.full((H, W), np.nan)))
    assert kind == "empty"
    assert why == "every value is NaN or infinite: there is nothing to see"


def test_a_flat_map_and_extreme_values_are_no_trouble(tmp_path):
    assert (read(tmp_path, npy(np.full((H, W), 1000.0)))[0] == 0).all()
    pixels, _ = read(tmp_path, npy(np.array([[-1.7e308, 0.0, 1.7e308]])))
    assert pixels[0, :, 0].tolist() == [0, 128, 255]


def test_zero_in_a_depth_map_is_black_and_depths_keep_their_order(tmp_path):
    depth = np.array([[0, 800, 900, 1000]], np.uint16)
    pixels, _ = read(tmp_path, saved(PIL.Image.fromarray(depth), "PNG"))
    assert pixels[0, 0, 0] == 0
    assert (np.diff(pixels[0, :, 0].astype(int)) > 0).all()
    pixels, notes = read(tmp_path, saved(PIL.Image.fromarray(depth), "PNG"), ImageSettings(window=(800, 1000)))
    assert pixels[0, :, 0].tolist() == [0, 0, 128, 255]
    assert notes == ("16-bit: window 800..1000 of image.window to 8 bit, 1 pixel clipped",)


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
def test_a_window_given_by_the_user_wins_and_counts_what_it_clips(tmp_path, dtype):
    values = np.tile(np.arange(100, dtype=dtype), (10, 1))
    pixels, notes = read(tmp_path, npy(values), ImageSettings(window=(20, 71)))
    assert pixels[0, [0, 20, 71, 99], 0].tolist() == [0, 0, 255, 255]
    assert pixels[0, 40, 0] == 100
    assert notes[0].endswith("window 20..71 of image.window to 8 bit, 480 pixels clipped")


def test_a_window_does_not_touch_eight_bit_pictures(tmp_path):
    pixels, notes = read(tmp_path, saved(PIL.Image.fromarray(colours()), "PNG"), ImageSettings(window=(10, 20)))
    assert np.array_equal(pixels, colours())
    assert notes == ()


def test_a_large_wide_picture_is_windowed_like_a_small_one(tmp_path):
    values = np.random.default_rng(2).integers(0, 4096, (1100, 1200)).astype(np.uint16)
    pixels, _ = read(tmp_path, npy(values))
    assert np.array_equal(pixels[..., 2], to_eight_bit(values, 4095))
    pixels, _ = read(tmp_path, npy(values / 4095))
    assert np.array_equal(pixels[..., 2], to_eight_bit(values, 4095))


# ---------------------------------------------------------------- arrays and rare TIFFs


def test_arrays_of_bool_and_of_colours_are_pictures(tmp_path):
    marks = colours()[..., 0] > 100
    assert np.array_equal(read(tmp_path, npy(marks))[0][..., 0], marks * np.uint8(255))
    assert np.array_equal(read(tmp_path, npy(colours()))[0], colours())


def test_an_array_of_python_objects_is_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    kind, why = refusal(tmp_path, npy(np.array([[Trap(), Trap()]], dtype=object)), name="trap.npy")
    assert (kind, why) == ("unsupported", "holds Python objects: save plain numbers with numpy.save")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "values", [np.zeros(5), np.zeros((2, 3, 4, 5)), np.zeros((4, 4), complex), np.zeros((4, 4, 5))]
)
def test_an_array_of_another_shape_or_type_is_named(tmp_path, values):
    kind, why = refusal(tmp_path, npy(values), name="odd.npy")
    assert kind == "unsupported"
    assert why.startswith(f"array of {values.dtype} of shape {values.shape}: expected (H, W), (H, W, 3) or (H, W, 4)")


def test_an_array_without_pixels_is_empty(tmp_path):
    assert refusal(tmp_path, npy(np.zeros((0, 5))), name="none.npy") == ("empty", "array of shape (0, 5) has no pixel")


@pytest.mark.parametrize("dtype", ["float16", "float64", "uint32", "uint64", "int32"])
def test_rare_single_channel_tiffs_are_read(tmp_path, dtype):
    values = (np.arange(H * W).reshape(H, W) % 256).astype(dtype)
    pixels, _ = read(tmp_path, tiff(values))
    assert np.array_equal(pixels[..., 0], values.astype(np.uint8))


def test_unsigned_integers_above_two_billion_stay_positive(tmp_path):
    pixels, notes = read(tmp_path, tiff(np.array([[0, 4_000_000_000]], np.uint32)))
    assert pixels[0, :, 0].tolist() == [0, 237]
    assert notes == ("32-bit: window 0..4294967295 to 8 bit",)


def test_a_float_tiff_of_three_channels_can_be_forced_to_be_a_picture(tmp_path):
    path = put(tmp_path, "cloud.tif", tiff(colours().astype(np.float32) / 255, photometric="rgb"))
    assert not Image().recognises(path)
    assert np.array_equal(Image().load(path, Settings()).data.pixels, colours())


def test_channels_beyond_colour_are_refused_or_named(tmp_path):
    kind, why = refusal(tmp_path, tiff(np.zeros((H, W, 7), np.uint16), photometric="minisblack", planarconfig="contig"))
    assert (kind, why) == ("unsupported", "TIFF of 7 channels: save it as grey, RGB or RGBA")
    values = np.concatenate([colours(), colours()[..., :1]], -1)
    for scaled in (values, values / 255):
        pixels, notes = read(tmp_path, tiff(scaled, photometric="rgb", planarconfig="contig", extrasamples=[0]))
        assert np.array_equal(pixels, colours())
        assert notes[0] == "the channel beyond colour, of unknown meaning, is left out"


def test_a_rare_tiff_without_tifffile_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    with pytest.raises(MissingExtra, match=r"pip install 'looktwice\[tiff\]'"):
        read(tmp_path, tiff_of_doubles)


tiff_of_doubles = tiff(np.zeros((H, W)))


# ---------------------------------------------------------------- the pixel budget


def bombs(side=60000):
    """Files of a few hundred bytes whose headers claim side x side pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    small = saved(PIL.Image.fromarray(colours()), "JPEG")
    frame = small.index(b"\xff\xc0") + 5
    tags = [(256, side), (257, side), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, side), (279, side)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    bitmap = saved(PIL.Image.fromarray(colours()), "BMP")
    gif = saved(PIL.Image.fromarray(colours()[..., 0]), "GIF")
    canvas = (side - 1).to_bytes(3, "little") * 2
    shape = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({side}, {side}), }}".ljust(117) + "\n"
    return {
        "bomb.png": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)),
        "bomb.jpg": small[:frame] + struct.pack(">HH", side, side) + small[frame + 4 :],
        "bomb.tif": b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0",
        "bomb.bmp": bitmap[:18] + struct.pack("<ii", side, side) + bitmap[26:],
        "bomb.gif": gif[:6] + struct.pack("<HH", side, side) + gif[10:],
        "bomb.webp": b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + canvas,
        "bomb.ppm": f"P6 {side} {side} 255\n".encode() + b"\0" * 100,
        "bomb.npy": b"\x93NUMPY\x01\0" + struct.pack("<H", len(shape)) + shape.encode() + b"\0" * 100,
    }


@pytest.mark.parametrize("name", bombs())
def test_a_decompression_bomb_is_refused_by_its_size_before_decoding(tmp_path, name):
    path = put(tmp_path, name, bombs()[name])
    assert Image().recognises(path)
    kind, why = refusal(tmp_path, bombs()[name], name=name)
    assert kind == "too_large"
    assert why == (
        "60000 x 60000 = 3600 megapixels is over the budget of 64 megapixels: "
        "raise image.max_pixels or shrink the picture"
    )
    with pytest.raises(BadFile, match=rf"{name}: 60000 x 60000 = 3600 megapixels"):
        load(path, modality_name="image")


def test_the_budget_counts_pixels_exactly(tmp_path):
    data = saved(PIL.Image.fromarray(colours(10, 20)), "PNG")
    assert read(tmp_path, data, ImageSettings(max_pixels=200))[0].shape == (10, 20, 3)
    kind, why = refusal(tmp_path, data, ImageSettings(max_pixels=199))
    assert kind == "too_large"
    assert why.startswith("20 x 10 = 0.0002 megapixels is over the budget of 0.000199 megapixels")


@pytest.mark.parametrize("kind", [kind for kind in LOSSLESS if kind != "webp"])
def test_pillows_own_limit_neither_stops_a_picture_nor_is_touched(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 10)
    form, options = LOSSLESS[kind]
    pixels, _ = read(tmp_path, saved(PIL.Image.fromarray(colours()), form, **options))
    assert np.array_equal(pixels, colours())
    assert PIL.Image.MAX_IMAGE_PIXELS == 10


def test_a_gif_frame_that_outgrows_its_screen_and_pillows_limit_is_refused_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 10)
    gif = saved(PIL.Image.fromarray(colours()[..., 0]), "GIF")
    kind, why = refusal(tmp_path, gif[:6] + struct.pack("<HH", 1, 1) + gif[10:])
    assert kind == "too_large"
    assert why.startswith("Pillow refuses it: Image size")
    assert why.endswith("Save it as PNG or TIFF")


def test_threads_with_different_budgets_do_not_disturb_each_other(tmp_path):
    path = put(tmp_path, "a.png", saved(PIL.Image.fromarray(colours(100, 100)), "PNG"))
    outcomes = {True: set(), False: set()}

    def work(enough):
        for _ in range(30):
            try:
                read_picture(path, ImageSettings(max_pixels=10_000 if enough else 9_999))
                outcomes[enough].add("read")
            except BadFile as error:
                outcomes[enough].add(error.kind)

    threads = [threading.Thread(target=work, args=(i % 2 == 0,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {True: {"read"}, False: {"too_large"}}


def test_fifty_megapixels_are_read_and_looked_at(tmp_path):
    path = put(tmp_path, "large.png", saved(PIL.Image.new("L", (10_000, 5_000), 77), "PNG", compress_level=1))
    sample = load(path, modality_name="image")
    assert sample.size == (5_000, 10_000)
    (view,) = Image().views(sample, Settings())
    assert view.images.shape == (1, 1024, 2048, 3)
    assert (view.images == 77).all()


# ---------------------------------------------------------------- bad files


def test_a_missing_an_empty_and_a_folder_are_named(tmp_path):
    with pytest.raises(BadFile, match="no such file") as caught:
        read_picture(tmp_path / "gone.png", USUAL)
    assert caught.value.kind == "missing_file"
    assert refusal(tmp_path, b"") == ("empty", "the file has no bytes: copy it again")
    (tmp_path / "folder.png").mkdir()
    assert not Image().recognises(tmp_path / "folder.png")
    with pytest.raises(BadFile, match="is a folder, not a picture") as caught:
        read_picture(tmp_path / "folder.png", USUAL)
    assert caught.value.kind == "unsupported"


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert not Image().recognises(tmp_path / "pipe.png")
    with pytest.raises(BadFile, match="is not a regular file"):
        read_picture(tmp_path / "pipe.png", USUAL)


def test_a_git_lfs_pointer_is_called_one(tmp_path):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
    kind, why = refusal(tmp_path, pointer)
    assert kind == "unreadable"
    assert why == "is a Git LFS pointer, not the picture itself: run 'git lfs pull' to fetch the real file"
    assert Image().recognises(tmp_path / "picture.png")


def test_text_called_png_is_told_apart_and_the_formats_are_listed(tmp_path):
    kind, why = refusal(tmp_path, b"Hello, this is no picture.")
    assert kind == "unreadable"
    assert why == (
        "not a picture: it begins with b'Hello, this '. Known formats: PNG, JPEG, BMP, TIFF, WebP, GIF, PNM, NPY"
    )


@pytest.mark.parametrize(
    ("head", "name"),
    [(b"\0\0\0\x18ftypheic\0\0", "HEIC"), (b"%PDF-1.7", "PDF"), (b"MM\0+\0\x08\0\0", "big-endian BigTIFF")],
)
def test_formats_that_are_not_read_are_called_by_their_name(tmp_path, head, name):
    assert refusal(tmp_path, head) == ("unsupported", f"is a {name} file: save it as PNG, TIFF or JPEG")


@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_jpeg_is_refused_and_not_filled_with_grey(tmp_path, progressive):
    data = saved(PIL.Image.fromarray(colours(100, 100)), "JPEG", progressive=progressive)
    half = data[: len(data) // 2]
    kind, why = refusal(tmp_path, half, name="half.jpg")
    assert kind == "unreadable"
    assert why == f"truncated: the file ends after {len(half)} bytes, before the picture does. Copy it again"


def whole_files():
    picture = PIL.Image.fromarray(colours())
    files = {kind: saved(picture, form, **options) for kind, (form, options) in LOSSLESS.items()}
    files["jpeg"] = saved(picture, "JPEG")
    files["gif"] = saved(picture.quantize(64), "GIF")
    files["png-16"] = png(twelve_bit(), 2)
    files["tiff-16"] = tiff(twelve_bit(), photometric="rgb", rowsperstrip=5)
    files["tiff-float"] = tiff(colours()[..., 0].astype(np.float64), compression="zlib")
    files["tiff-tiles"] = tiff(colours()[..., 0].astype(np.float64), tile=(16, 16))
    files["npy"] = npy(twelve_bit())
    return files


WHOLE = whole_files()


def outcome(path):
    """The pixels of a picture, or the kind of its refusal."""
    try:
        return read_picture(path, USUAL)[0]
    except BadFile as error:
        return error.kind


@pytest.mark.parametrize("kind", WHOLE)
def test_a_file_cut_anywhere_is_refused_or_still_whole(tmp_path, kind):
    data = WHOLE[kind]
    whole, _ = read(tmp_path, data)
    ends = {*range(1, len(data), max(1, len(data) // 25)), *range(len(data) - 14, len(data))}
    outcomes = [outcome(put(tmp_path, "cut.png", data[:end])) for end in ends]
    refused = [one for one in outcomes if isinstance(one, str)]
    assert set(refused) == {"unreadable"}
    assert len(refused) > 10
    # only what stands after the pixels was lost
    assert all(np.array_equal(one, whole) for one in outcomes if not isinstance(one, str))


@pytest.mark.parametrize("kind", WHOLE)
def test_no_damage_raises_anything_but_a_bad_file(tmp_path, kind):
    random = np.random.default_rng(len(kind))
    for _ in range(25):
        data = bytearray(WHOLE[kind])
        reach = len(data) if random.random() < 0.5 else min(200, len(data))
        for place in random.integers(0, reach, random.integers(1, 8)):
            data[place] = random.integers(256)
        path = put(tmp_path, "damaged.png", bytes(data))
        assert isinstance(Image().recognises(path), bool)
        one = outcome(path)
        if isinstance(one, str):
            assert one in ("unreadable", "too_large", "unsupported", "empty")
        else:
            assert one.dtype == np.uint8
            assert one.shape[2] == 3


# ---------------------------------------------------------------- recognising


@pytest.mark.parametrize("kind", WHOLE)
def test_a_picture_without_an_ending_is_recognised_by_its_content(tmp_path, kind):
    data = npy(colours()) if kind == "npy" else WHOLE[kind]
    assert Image().recognises(put(tmp_path, "no_ending", data))
    assert Image().recognises(put(tmp_path, "odd.xyz123", data))


@pytest.mark.parametrize(
    "text", [b"", b"BMW is a car", b"P3 is a problem with high priority", b"P6 x", b"RIFFabcdWAVE"]
)
def test_text_without_a_pictures_ending_is_not_recognised(tmp_path, text):
    assert not Image().recognises(put(tmp_path, "notes.txt", text))


@pytest.mark.parametrize("name", ["a.PNG", "a.JpG", "a.tiff", "a.webp", "a.gif", "a.bmp"])
def test_endings_count_in_any_case_even_when_the_file_is_broken(tmp_path, name):
    assert Image().recognises(put(tmp_path, name, b"broken"))


@pytest.mark.parametrize(
    ("values", "is_picture"),
    [
        (np.zeros((40, 50), np.float32), True),
        (np.zeros((40, 50), bool), True),
        (np.zeros((40, 50), np.uint16), True),
        (np.zeros((40, 50, 3), np.uint8), True),
        (np.zeros((40, 50, 3), np.float32), False),
        (np.zeros((1000, 3)), False),
        (np.zeros((1000, 6), np.float32), False),
        (np.zeros(7), False),
        (np.zeros((40, 50), complex), False),
    ],
)
def test_which_arrays_are_pictures_and_which_are_clouds(tmp_path, values, is_picture):
    assert Image().recognises(put(tmp_path, "a.npy", npy(values))) is is_picture


@pytest.mark.parametrize(
    ("values", "is_picture"),
    [
        (np.zeros((40, 50, 3), np.float32), False),
        (np.zeros((40, 50, 3), np.float64), False),
        (np.zeros((40, 50), np.float32), True),
        (np.zeros((40, 50, 3), np.uint16), True),
        (np.zeros((40, 50, 3), np.uint8), True),
    ],
)
def test_which_tiffs_are_pictures_and_which_are_clouds(tmp_path, values, is_picture):
    for order in "<>":
        options = {"photometric": "rgb"} if values.ndim == 3 else {}
        path = put(tmp_path, "a.tif", tiff(values, byteorder=order, **options))
        assert Image().recognises(path) is is_picture
        assert Image().recognises(path.rename(tmp_path / "no_ending")) is is_picture


# ---------------------------------------------------------------- samples


def test_a_sample_knows_its_file_and_its_decisions(tmp_path):
    path = put(tmp_path, "part 7.png", saved(half_clear(), "PNG"))
    sample = load(path, modality_name="image")
    assert (sample.id, sample.path, sample.modality) == (sample_id(path), path, "image")
    assert sample.sha256 == sha256_of(path)
    assert sample.size == (H, W)
    assert "composited" in sample.notes[0]
    assert not sample.data.pixels.flags.writeable
    assert looktwice.records.Sample.from_json(sample.to_json()) == sample


@pytest.mark.parametrize(
    "values",
    [
        colours(),
        colours()[..., 0],
        np.asarray(half_clear()),
        twelve_bit(),
        twelve_bit()[..., 0],
        twelve_bit()[..., :1] / 4095.0,
        colours()[..., 0] > 9,
        colours()[..., 0].astype(np.float32),
        np.asfortranarray(colours()[..., 0]),
    ],
)
def test_an_array_in_memory_follows_the_rules_of_files(tmp_path, values):
    sample = sample_from_array(values, id="live")
    pixels, notes = read(tmp_path, npy(values))
    assert np.array_equal(sample.data.pixels, pixels)
    assert sample.notes == notes
    assert (sample.id, sample.path, sample.modality) == ("live", Path("live"), "image")


def test_an_array_is_copied_and_its_hash_counts_shape_and_type():
    values = np.zeros((4, 6), np.uint8)
    sample = sample_from_array(values)
    same = sample_from_array(values.copy())
    others = [values.reshape(6, 4), values.view(bool), values.view(np.int8), values + np.uint8(1)]
    assert sample.sha256 == same.sha256
    assert len({sample.sha256, *(sample_from_array(other).sha256 for other in others)}) == 5
    rgb = np.zeros((4, 6, 3), np.uint8)
    kept = sample_from_array(rgb)
    rgb[:] = 9
    assert (kept.data.pixels == 0).all()


def test_an_array_in_memory_is_refused_in_words():
    with pytest.raises(BadFile, match=r"live: array of float64 of shape \(5,\): expected \(H, W\)"):
        sample_from_array(np.zeros(5), id="live")
    with pytest.raises(BadFile, match=r"its opacity lies outside 0..1"):
        sample_from_array(np.full((4, 4, 4), 7.0))
    with pytest.raises(BadFile, match=r"4 x 4 = 0.000016 megapixels is over the budget of 0.000015"):
        sample_from_array(np.zeros((4, 4)), settings=Settings(image=ImageSettings(max_pixels=15)))


# ---------------------------------------------------------------- views and the way back


def view_of(pixels, max_side):
    (views,) = Image().views(sample_from_array(pixels), Settings(image=ImageSettings(max_side=max_side)))
    assert views.names == ("image",)
    return views


SIDES = st.integers(1, 300)


@given(height=SIDES, width=SIDES, max_side=st.integers(32, 200))
@examples(deadline=None, max_examples=60)
def test_a_view_keeps_the_shape_and_never_grows(height, width, max_side):
    views = view_of(np.zeros((height, width, 3), np.uint8), max_side)
    _, h, w, _ = views.images.shape
    assert max(h, w) == min(max_side, max(height, width))
    assert 1 <= h <= height
    assert 1 <= w <= width
    factor = max(h, w) / max(height, width)
    assert abs(h - height * factor) <= 1
    assert abs(w - width * factor) <= 1


@given(height=SIDES, width=SIDES, max_side=st.integers(32, 200), y=st.floats(0, 0.999), x=st.floats(0, 0.999))
@examples(deadline=None, max_examples=80)
def test_what_is_put_on_a_view_comes_back_to_the_pixels_it_came_from(height, width, max_side, y, x):
    views = view_of(np.zeros((height, width, 3), np.uint8), max_side)
    _, h, w, _ = views.images.shape
    row, column = int(y * h), int(x * w)
    maps = np.zeros((1, h, w), np.float32)
    maps[0, row, column] = 1
    scores = views.scatter(maps)
    assert scores.shape == (height, width)
    assert scores.dtype == np.float32
    found_row, found_column = np.unravel_index(scores.argmax(), scores.shape)
    # half-pixel centres: the pixel found lies within one pixel of the view
    assert abs((found_row + 0.5) * h / height - (row + 0.5)) <= 1
    assert abs((found_column + 0.5) * w / width - (column + 0.5)) <= 1
    assert scores.max() > 0.2


@given(height=SIDES, width=SIDES, max_side=st.integers(64, 200), y=st.floats(0, 0.999), x=st.floats(0, 0.999))
@examples(deadline=None, max_examples=60)
@example(height=83, width=1, max_side=66, y=0.5, x=0.0)  # its centre lies exactly between two view pixels
def test_a_mark_on_the_picture_is_found_again_through_its_view(height, width, max_side, y, x):
    row, column = int(y * height), int(x * width)
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[row, column] = 255
    views = view_of(pixels, max_side)
    scores = views.scatter(views.images[..., 0].astype(np.float32) / 255)
    assert scores.max() > 0  # area-averaging never loses it
    found_row, found_column = np.unravel_index(scores.argmax(), scores.shape)
    step = max(height / views.images.shape[1], width / views.images.shape[2])
    assert abs(found_row - row) <= step + 1
    assert abs(found_column - column) <= step + 1


@given(height=st.integers(1, 60), width=st.integers(1, 60), seed=st.integers(0, 99))
@examples(deadline=None, max_examples=30)
def test_without_scaling_the_view_and_the_way_back_are_the_identity(height, width, seed):
    pixels = colours(height, width, seed)
    views = view_of(pixels, 64)
    assert np.array_equal(views.images[0], pixels)
    maps = np.random.default_rng(seed).random((1, height, width), np.float32)
    assert np.array_equal(views.scatter(maps), maps[0])


@given(height=SIDES, width=SIDES, value=st.floats(0, 1, width=32))
@examples(deadline=None, max_examples=40)
def test_a_constant_map_comes_back_constant(height, width, value):
    views = view_of(np.zeros((height, width, 3), np.uint8), 50)
    scores = views.scatter(np.full(views.images.shape[:3], value, np.float32))
    assert np.allclose(scores, value, atol=1e-6)


def test_each_pixel_counts_once_in_its_view():
    """One bright pixel anywhere changes exactly one pixel of the view."""
    for row in range(0, 70, 3):
        pixels = np.zeros((70, 90, 3), np.uint8)
        pixels[row, row] = 255
        assert np.count_nonzero(scale_down(pixels, 32)[..., 0]) == 1


def test_scaling_down_averages_areas():
    pixels = colours(64, 96)
    means = pixels.reshape(32, 2, 48, 2, 3).mean((1, 3))
    assert np.abs(scale_down(pixels, 48) - means).max() <= 1
