"""Pictures inside the page: small copies as data URIs, within a budget, the same bytes never twice."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup
from PIL import Image

from looktwice.report.overlay import ALPHAS, COLORS, LEVELS
from looktwice.report.paths import inside

PICTURE_SIDE = 960  # longest side of an embedded picture, pixels
HEAT_SIDE = 640  # heat is smooth: fewer pixels tell the same
ASIDE_SIDE = 640  # of the expected and the reference picture
SMALL_SIDE = 640  # smaller pictures are enlarged towards this
BUDGET = 42_000_000  # bytes of data URIs in one page; text and table come on top
HEAT_STEPS = 64  # grey levels kept of a heat map: a third of the bytes, no visible step


@dataclass(frozen=True)
class Embedded:
    """A picture that is in the page."""

    uri: Markup
    width: int
    height: int
    shared: str = ""  # id of the one copy that several samples show


@dataclass(frozen=True)
class NotShown:
    """A picture that is not in the page, and why: none, missing, unreadable or left out."""

    why: str
    file: str = ""


Shown = Embedded | NotShown


class Album:
    """Embeds the pictures of a run, first come first served, until the budget is spent."""

    def __init__(self, folder: Path, max_pictures: int, budget: int = BUDGET) -> None:
        self.folder = folder
        self.max_pictures = max_pictures
        self.left = budget
        self.samples = 0  # samples whose pictures are in the page
        self.shared: dict[str, Embedded] = {}  # file -> the one copy of a picture several samples show

    def full(self) -> bool:
        """Whether no further sample gets pictures."""
        return self.samples >= self.max_pictures or self.left <= 0

    def picture(self, file: str | None, side: int = PICTURE_SIDE) -> Shown:
        """A small copy of a picture of the results."""
        return self._embed(file, lambda picture: _jpeg(picture, side))

    def heat(self, file: str | None, like: Shown) -> Shown:
        """A heat map as colours that fade out where it is low, if it has the shape of the picture below it."""
        shown = self._embed(file, _heat)
        if isinstance(shown, Embedded) and isinstance(like, Embedded):
            stretched = (shown.width / shown.height) / (like.width / like.height)
            if not 0.9 < stretched < 1.1:  # rounding to few pixels, not another frame
                return NotShown("unreadable", file or "")
        return shown

    def reference(self, file: str | None) -> Shown:
        """A picture that many samples show: embedded once."""
        if file not in self.shared:
            shown = self.picture(file, ASIDE_SIDE)
            if not isinstance(shown, Embedded) or file is None:
                return shown
            name = f"shared-{len(self.shared) + 1}"
            self.shared[file] = Embedded(shown.uri, shown.width, shown.height, name)
        return self.shared[file]

    def _embed(self, file: str | None, encode: Callable[[Image.Image], Embedded]) -> Shown:
        if not file:
            return NotShown("none")
        path = inside(self.folder, file)
        if path is None or not path.is_file():
            return NotShown("missing", file)
        if self.left <= 0:
            return NotShown("left out", file)
        try:
            with Image.open(path) as picture:
                shown = encode(picture)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return NotShown("unreadable", file)
        self.left -= len(shown.uri)
        return shown


def _jpeg(picture: Image.Image, side: int) -> Embedded:
    picture.draft("RGB", (side, side))  # a large JPEG is decoded at the size it is shown in
    small = picture.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.BICUBIC)
    if (times := SMALL_SIDE // max(small.size)) > 1:  # whole pixels, so that small ones are seen as they are
        small = small.resize((small.width * times, small.height * times), Image.Resampling.NEAREST)
    return _uri(small, "jpeg", quality=84, optimize=True)


def _heat(picture: Image.Image) -> Embedded:
    """A palette PNG: per level its colour and its opacity, as `overlay.blend` at full strength."""
    grey = picture.convert("L")
    grey.thumbnail((HEAT_SIDE, HEAT_SIDE), Image.Resampling.BILINEAR)
    palette = np.linspace(0, LEVELS - 1, HEAT_STEPS).round().astype(int)
    steps = np.round(np.asarray(grey, np.float32) / (LEVELS - 1) * (HEAT_STEPS - 1)).astype(np.uint8)
    colored = Image.fromarray(steps)
    colored.putpalette(COLORS[palette].tobytes())
    opacity = (ALPHAS[palette] * 255).round().astype(np.uint8).tobytes()
    return _uri(colored, "png", transparency=opacity)


def _uri(picture: Image.Image, kind: str, **options: object) -> Embedded:
    data = io.BytesIO()
    picture.save(data, kind, **options)
    text = base64.b64encode(data.getvalue()).decode("ascii")
    return Embedded(Markup(f"data:image/{kind};base64,{text}"), picture.width, picture.height)
