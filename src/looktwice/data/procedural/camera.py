"""The camera: light, focus, sensor and file format turn a painted scene into a photograph.

Everything is drawn once per shot and the same for a window of it, so that a picture with a defect and its good twin
differ by the defect alone. Letters: H W pixels, h w pixels of a window.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from looktwice.data.procedural.canvas import Box, F, Field, Shot
from looktwice.data.procedural.design import Handling

Pixels = npt.NDArray[np.uint8]
GREY = np.array((0.299, 0.587, 0.114), F)
NEAR_MISSES = ("glare", "shadow", "dust", "exposure", "defocus", "pose", "tolerance", "warm_light")


@dataclass(frozen=True)
class Exposure:
    """What the camera does to one picture; made by `expose`."""

    gain: Field  # (3, H, W) or (1, H, W) light on the scene
    veil: Field | None  # (H, W) light that comes from elsewhere: glare
    blur: float  # pixels
    grain: Field  # (1 or 3, H, W) noise of the sensor before it is scaled
    noise: float
    gamma: float
    grey: bool
    jpeg: int | None

    @property
    def margin(self) -> int:
        """How many pixels around a window change what is seen in it."""
        return int(np.ceil(3 * self.blur)) + 1

    def develop(self, rgb: Field, box: Box) -> Pixels:
        """(h, w, 3) the photograph of a window painted at `box`."""
        top, bottom, left, right = box
        here = slice(None), slice(top, bottom), slice(left, right)
        seen = rgb * self.gain[here]
        if self.blur > 0.2:
            seen = ndimage.gaussian_filter(seen, (0, self.blur, self.blur), truncate=3, mode="nearest")
        if self.veil is not None:
            seen = seen + self.veil[here[1:]] * (1 - np.clip(seen, 0, 1))
        if self.gamma != 1.0:
            seen = np.power(np.maximum(seen, 0), F(self.gamma))
        if self.grey:
            seen = np.tensordot(GREY, seen, 1)[None]
        seen = seen + self.grain[here] * (F(self.noise) * (F(0.5) + np.sqrt(np.clip(seen, 0, 1))))
        seen = np.clip(seen * F(255) + F(0.5), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(seen.transpose(1, 2, 0), (*seen.shape[1:], 3)))


def expose(shot: Shot, handling: Handling, near_miss: str = "") -> Exposure:
    """Draw how this picture is taken; a near-miss is one odd but harmless thing about it."""
    rng = shot.random("camera")
    height, width = shot.size
    short = min(shot.size)
    x = ((np.arange(width, dtype=F) - width / 2) * F(2 / short))[None, :]
    y = ((np.arange(height, dtype=F) - height / 2) * F(2 / short))[:, None]
    level = 1 + handling.level * rng.uniform(-1, 1)
    sx, sy = handling.slope * rng.uniform(-1, 1, 2)
    tint = 1 + handling.tint * rng.uniform(-1, 1, 3)
    blur, noise = rng.uniform(*handling.blur) * short / 2, rng.uniform(*handling.noise)
    if near_miss == "exposure":
        level *= rng.choice((0.7, 0.8, 1.2, 1.3))
    if near_miss == "defocus":
        blur += rng.uniform(0.004, 0.008) * short / 2
    if near_miss == "warm_light":
        warmth = rng.choice((-1, 1)) * rng.uniform(0.06, 0.12)
        tint = tint * (1 + warmth, 1, 1 - warmth)
    light = F(level) * (1 + F(sx) * x + F(sy) * y - F(handling.vignette) * (x * x + y * y))
    if near_miss == "shadow":
        light = light * _soft_shadow(rng, x, y)
    if near_miss == "dust":
        light = light * _dust(rng, x, y)
    veil = _glare(rng, x, y) if near_miss == "glare" else None
    gain = light[None] * np.asarray(tint, F)[:, None, None] if np.ptp(tint) > 1e-3 else light[None]
    planes = 1 if handling.grey or rng.uniform() < 0.5 else 3
    grain = shot.random("grain").standard_normal((planes, height, width), F)
    jpeg = int(rng.integers(*handling.jpeg, endpoint=True)) if handling.jpeg else None
    return Exposure(gain, veil, blur, grain, noise, handling.gamma, handling.grey, jpeg)


def _soft_shadow(rng: np.random.Generator, x: Field, y: Field) -> Field:
    """The shadow of something outside of the picture: a soft edge, bent a little."""
    angle, soft = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 0.5)
    way = F(np.cos(angle)) * x + F(np.sin(angle)) * y
    side = F(np.cos(angle)) * y - F(np.sin(angle)) * x
    edge = way - F(rng.uniform(-0.2, 0.7)) + F(rng.uniform(-0.3, 0.3)) * side * side
    return np.asarray(1 - F(rng.uniform(0.15, 0.4)) * np.clip(edge / F(soft) + F(0.5), 0, 1), F)


def _dust(rng: np.random.Generator, x: Field, y: Field) -> Field:
    """Motes on lamp and lens: many faint round spots, all out of focus."""
    shade = np.ones((y.shape[0], x.shape[1]), F)
    for _ in range(int(rng.integers(4, 12))):
        u, v, r = rng.uniform(-1.1, 1.1), rng.uniform(-1.1, 1.1), rng.uniform(0.03, 0.12)
        d = ((x - F(u)) ** 2 + (y - F(v)) ** 2) / F(r * r)
        shade += F(rng.uniform(0.02, 0.07) * rng.choice((-1, 1))) * np.exp(-d * d)
    return shade


def _glare(rng: np.random.Generator, x: Field, y: Field) -> Field:
    """A lamp mirrored in the surface: a soft bright ellipse or strip."""
    angle, long = rng.uniform(0, np.pi), rng.uniform(0.15, 0.9)
    wide = rng.uniform(0.08, 0.3)
    cu, cv = rng.uniform(-0.7, 0.7, 2)
    u = F(np.cos(angle)) * (x - F(cu)) + F(np.sin(angle)) * (y - F(cv))
    v = F(np.cos(angle)) * (y - F(cv)) - F(np.sin(angle)) * (x - F(cu))
    return np.asarray(F(rng.uniform(0.15, 0.45)) * np.exp(-((u / F(long)) ** 2 + (v / F(wide)) ** 2)), F)


def compressed(pixels: Pixels, quality: int) -> Pixels:
    """The picture after it was stored as a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    file.seek(0)
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"))
