"""Contact sheets: several views in one picture, and their maps laid out the same way.

Letters: V views, h w pixels of a view, H W pixels of the sheet. The layout depends on V, h, w, `columns` and
`max_side` alone, so `sheet_maps` called with the same numbers fits `contact_sheet` pixel for pixel.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from looktwice.errors import UsageError
from looktwice.records import Region, resize_map
from looktwice.report.atomic import write_atomically

PAPER = (28, 30, 34)  # around the views
INK = (236, 238, 242)  # names
MAX_SIDE = 1600
SHAPE = 1.4  # width over height a sheet comes closest to when the columns are free


@dataclass(frozen=True)
class Placement:
    """Where one view lies on the sheet, in pixels of the sheet."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Layout:
    """A whole sheet: its size and one placement per view."""

    size: tuple[int, int]  # (H, W)
    strip: int  # height of the strip under each view that holds its name, pixels
    placements: tuple[Placement, ...]


def layout(count: int, size: tuple[int, int], columns: int | None = None, max_side: int = MAX_SIDE) -> Layout:
    """Place `count` views of (h, w) row by row on a sheet no longer than `max_side`; views are never enlarged.

    Raises UsageError when there is nothing to place or no room to place it.
    """
    if count < 1 or min(size) < 1:
        raise UsageError(f"a sheet needs at least one view of one pixel, got {count} of {size[0]}x{size[1]}")
    if columns is not None and columns < 1:
        raise UsageError(f"columns must be at least 1, got {columns}")
    across = min(columns or _best_columns(count, size), count)
    down = math.ceil(count / across)
    gap = max(2, max_side // 200)
    side = min(max_side, max(across * size[1], down * size[0]))
    strip = max(14, side // 26)  # names stay readable when a page shows the whole sheet small
    room = min(
        (max_side - gap * (across + 1)) / (across * size[1]),
        (max_side - gap * (down + 1) - strip * down) / (down * size[0]),
    )
    if room * min(size) < 1:
        raise UsageError(f"{count} views of {size[0]}x{size[1]} do not fit a sheet of {max_side} pixels: show fewer")
    scale = min(1.0, room)
    height, width = max(1, int(size[0] * scale)), max(1, int(size[1] * scale))
    placements = tuple(
        Placement(gap + i % across * (width + gap), gap + i // across * (height + strip + gap), width, height)
        for i in range(count)
    )
    whole = (gap + down * (height + strip + gap), gap + across * (width + gap))
    return Layout(whole, strip, placements)


def _best_columns(count: int, size: tuple[int, int]) -> int:
    """The number of columns whose sheet, empty places counted, comes closest to SHAPE."""

    def off(across: int) -> tuple[float, int]:
        down = math.ceil(count / across)
        return abs(math.log(across * size[1] / (down * size[0]) / SHAPE)) + (across * down - count) / count, across

    return min(range(1, count + 1), key=off)


def contact_sheet(
    images: np.ndarray, names: Sequence[str], columns: int | None = None, max_side: int = MAX_SIDE
) -> tuple[np.ndarray, tuple[Placement, ...]]:
    """Lay views (V, h, w, 3) uint8 out on one picture, each with its name below.

    Returns the sheet (H, W, 3) uint8 and where each view lies. Raises UsageError when names and views differ in
    number or the views do not fit.
    """
    if len(names) != len(images):
        raise UsageError(f"{len(images)} views have {len(names)} names")
    plan = layout(len(images), images.shape[1:3], columns, max_side)
    sheet = Image.new("RGB", plan.size[::-1], PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(round(plan.strip * 0.62))
    for image, name, place in zip(images, names, plan.placements, strict=True):
        picture = Image.fromarray(np.ascontiguousarray(image))
        if picture.size != (place.width, place.height):
            picture = picture.resize((place.width, place.height), Image.Resampling.LANCZOS, reducing_gap=3)
        sheet.paste(picture, (place.x, place.y))
        middle = place.y + place.height + plan.strip // 2
        draw.text((place.x + 2, middle), _fitting(name, place.width - 4, font), fill=INK, font=font, anchor="lm")
    return np.asarray(sheet), plan.placements


def _fitting(name: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The name on one line, cut with dots where it is too long for its view."""
    name = " ".join("".join(c if c.isprintable() else " " for c in name[:200]).split())
    if font.getlength(name) <= width:
        return name
    while name and font.getlength(name + "...") > width:
        name = name[:-1]
    return name + "..." if name else ""


def sheet_maps(maps: np.ndarray, columns: int | None = None, max_side: int = MAX_SIDE) -> np.ndarray:
    """Lay maps (V, h, w) in [0, 1] out as `contact_sheet` lays out their views -> (H, W) float32, 0 in between."""
    if maps.ndim != 3:
        raise UsageError(f"maps must be (V, h, w), got {maps.shape}")
    plan = layout(len(maps), maps.shape[1:], columns, max_side)
    sheet = np.zeros(plan.size, np.float32)
    for one, place in zip(maps, plan.placements, strict=True):
        sheet[place.y : place.y + place.height, place.x : place.x + place.width] = resize_map(
            one, (place.height, place.width)
        )
    return sheet


def regions_on_sheet(
    regions: Sequence[Region], frames: Sequence[int], placements: Sequence[Placement], size: tuple[int, int]
) -> tuple[Region, ...]:
    """Carry the boxes of a video onto its key-frame sheet.

    frames: the frame index shown at each placement; size: (H, W) of the original frames, the frame of `Region.box`.
    Returns as many regions, each with its box in pixels of the sheet, or None where its frame is not shown: draw
    them with `overlay.draw_regions(sheet, regions)` and keep them for the report with `write_boxes`.
    """
    where = dict(zip(frames, placements, strict=True))
    return tuple(
        region.model_copy(update={"box": _moved(region.box, where[region.frame], size)})
        if region.box is not None and region.frame in where
        else region.model_copy(update={"box": None})
        for region in regions
    )


def _moved(box: tuple[int, int, int, int], place: Placement, size: tuple[int, int]) -> tuple[int, int, int, int]:
    sx, sy = place.width / size[1], place.height / size[0]
    x0, y0 = place.x + math.floor(box[0] * sx), place.y + math.floor(box[1] * sy)
    x1, y1 = place.x + math.ceil(box[2] * sx), place.y + math.ceil(box[3] * sy)
    return x0, y0, x1, y1


def write_boxes(path: Path | str, regions: Sequence[Region], size: tuple[int, int]) -> Path:
    """Write {"size": [H, W], "boxes": [[x0, y0, x1, y1] or null, ...]}: the boxes of a sheet, one per region.

    Its relative path belongs into Result.files["boxes"]; the HTML report then draws the boxes on the sheet.
    """
    boxes = [list(region.box) if region.box else None for region in regions]
    return write_atomically(path, json.dumps({"size": list(size), "boxes": boxes}) + "\n")
