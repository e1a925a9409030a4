"""Heat colours, heat over a picture, and numbered boxes around what was found.

Letters: H W pixels. Every anomaly map lies in [0, 1] in the frame of its picture; 0.5 is the border of a detector.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from looktwice.errors import UsageError
from looktwice.records import Region

# Lightness climbs evenly from 13 to 92 (CIE L*), so the order survives grey printing and colour blindness.
ANCHORS = (
    (40, 22, 78),
    (92, 27, 110),
    (147, 40, 110),
    (198, 61, 88),
    (233, 99, 55),
    (249, 149, 28),
    (250, 200, 55),
    (250, 236, 130),
)
CLEAR, FULL = 0.15, 0.60  # no heat is laid below CLEAR; from FULL on it is as strong as it gets
LEVELS = 256


def _colors() -> np.ndarray:
    """(256, 3) uint8: the anchors, joined by straight lines."""
    where = np.linspace(0, LEVELS - 1, len(ANCHORS))
    steps = np.arange(LEVELS)
    return (
        np.stack([np.interp(steps, where, channel) for channel in zip(*ANCHORS, strict=True)], 1).round().astype("u1")
    )


def _alphas() -> np.ndarray:
    """(256,) float32 in [0, 1]: a smooth step, so that normal areas stay clear and no edge is invented."""
    ramp = np.clip((np.linspace(0, 1, LEVELS) - CLEAR) / (FULL - CLEAR), 0, 1)
    return (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)


COLORS = _colors()
ALPHAS = _alphas()


def levels(values: np.ndarray) -> np.ndarray:
    """Round a float map in [0, 1] to (same shape) uint8 levels 0..255; raises UsageError outside [0, 1] or on NaN."""
    if values.size == 0:
        raise UsageError(f"an anomaly map must hold at least one value, got shape {values.shape}")
    low, high = float(values.min()), float(values.max())
    if not (low >= -1e-6 and high <= 1 + 1e-6):  # NaN fails too
        raise UsageError(f"an anomaly map must lie in [0, 1], got {low} to {high}")
    rounded = np.clip(values, 0, 1) * np.float32(LEVELS - 1) + np.float32(0.5)
    return np.asarray(rounded.astype(np.uint8))


def heat_colors(values: np.ndarray) -> np.ndarray:
    """Colour a map: (H, W) in [0, 1] -> (H, W, 3) uint8, dark purple over red and orange to pale yellow."""
    return np.asarray(COLORS[levels(values)])


def blend(pixels: np.ndarray, anomaly_map: np.ndarray, strength: float = 0.6) -> np.ndarray:
    """Lay heat over a picture; where the map is low the picture stays exactly as it is.

    pixels (H, W, 3) uint8, anomaly_map (H, W) in [0, 1], strength in [0, 1] -> (H, W, 3) uint8.
    Raises UsageError when shapes differ or a value is out of range.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise UsageError(f"pixels must be (H, W, 3) uint8, got {pixels.shape} {pixels.dtype}")
    if anomaly_map.shape != pixels.shape[:2]:
        raise UsageError(
            f"the map is {anomaly_map.shape}, its picture {pixels.shape[:2]}: resize it first with records.resize_map"
        )
    if not 0 <= strength <= 1:
        raise UsageError(f"strength must lie in [0, 1], got {strength}")
    # 8-bit fixed point: per level, how much of the picture stays and what colour is added (rounding included)
    keep = (256 - np.round(ALPHAS * strength * 256)).astype(np.uint16)
    add = (COLORS.astype(np.uint16) * (256 - keep)[:, None] + 128).astype(np.uint16)
    level = levels(anomaly_map)
    mixed = np.empty_like(pixels)
    for start in range(0, len(pixels), 256):  # bands of rows: they stay in the cache
        band = slice(start, start + 256)
        part = pixels[band] * keep[level[band], None]
        part += add[level[band]]
        mixed[band] = part >> 8
    return mixed


def draw_regions(pixels: np.ndarray, regions: Sequence[Region], scale: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """Draw numbered boxes, white with a dark rim so that they read on any ground.

    pixels (H, W, 3) uint8; scale: pixels of this picture per original pixel, (x, y). Numbers count from 1 over all
    regions, as in every report; a region without a box draws nothing. Returns a new (H, W, 3) uint8.
    """
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    draw = ImageDraw.Draw(picture)
    line = max(2, round(max(picture.size) / 500))
    font = ImageFont.load_default(max(12, round(max(picture.size) / 50)))
    boxes = [(str(n), _scaled(region.box, scale, picture.size)) for n, region in enumerate(regions, 1) if region.box]
    for _, box in boxes:
        _frame(draw, box, line)
    for number, box in boxes:  # after all frames: no frame crosses a number
        _number(draw, box, number, font, picture.size)
    return np.asarray(picture)


Box = tuple[int, int, int, int]


def _scaled(box: Box, scale: tuple[float, float], size: tuple[int, int]) -> Box:
    """The box in pixels of this picture, inside it and at least one pixel wide; x1 and y1 are the last pixels."""
    x0, y0 = (min(max(int(v * s), 0), n - 1) for v, s, n in zip(box[:2], scale, size, strict=True))
    x1, y1 = (min(max(round(v * s) - 1, 0), n - 1) for v, s, n in zip(box[2:], scale, size, strict=True))
    return x0, y0, max(x0, x1), max(y0, y1)


def _frame(draw: ImageDraw.ImageDraw, box: Box, line: int) -> None:
    x0, y0, x1, y1 = box
    for out, color in ((line, "black"), (line - 1, "white"), (-1, "black")):
        if x1 + out >= x0 - out and y1 + out >= y0 - out:  # the inner rim of a tiny box has no room
            width = line if color == "white" else 1
            draw.rectangle((x0 - out, y0 - out, x1 + out, y1 + out), outline=color, width=width)


def _number(
    draw: ImageDraw.ImageDraw,
    box: Box,
    number: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
) -> None:
    """Black on white with a black rim, above the box, or inside it where the picture ends."""
    left, top, right, bottom = draw.textbbox((0, 0), number, font=font)
    pad = max(2, round((bottom - top) / 3))
    width, height = round(right - left + 2 * pad), round(bottom - top + 2 * pad)
    x = max(0, min(box[0], size[0] - width))
    y = box[1] - height if box[1] >= height else box[1]
    draw.rectangle((x, y, x + width, y + height), fill="white", outline="black")
    draw.text((x + pad - left, y + pad - top), number, fill="black", font=font)
