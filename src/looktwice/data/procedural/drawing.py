"""What drawn parts share: distance fields, edges without stairs, noise, and named random streams.

Distances are in the units of the coordinates, negative inside. Letters: u v coordinates of a part, d distance,
px the size of one pixel in those units.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from looktwice.errors import UsageError, unknown_name

Field = npt.NDArray[np.floating]  # one value per pixel, float32 wherever speed matters
Window = tuple[slice, slice]

LIGHT = np.float32(-0.6), np.float32(-0.8)  # where the lamp stands, as a unit vector (u, v): upper left


def streams(seed: int, names: Sequence[str]) -> dict[str, np.random.Generator]:
    """One random stream per property, so that a new draw for one never changes another.

    Raises UsageError unless `seed` is a whole number of at least 0.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise UsageError(f"seed must be a whole number of at least 0, got {seed!r}")
    return dict(zip(names, np.random.default_rng(seed).spawn(len(names)), strict=True))


def check_defect(part: str, defect: str | None, known: Sequence[str]) -> None:
    """Raise UnknownName unless `defect` is None or one of `known`."""
    if defect is not None and defect not in known:
        raise unknown_name(f"defect of a {part}", defect, known)


def cover(d: Field, px: float) -> Field:
    """How much of each pixel lies inside: 1 inside, 0 outside, a ramp one pixel wide between."""
    return np.asarray(np.clip(0.5 - d / px, 0.0, 1.0))


def disc(u: Field, v: Field, centre: tuple[float, float], radius: float) -> Field:
    """Distance to a disc."""
    return np.asarray(np.hypot(u - np.float32(centre[0]), v - np.float32(centre[1])) - np.float32(radius))


def box(u: Field, v: Field, centre: tuple[float, float], half: tuple[float, float], corner: float = 0.0) -> Field:
    """Distance to a rectangle of half width and half height `half` with rounded corners."""
    qu = np.abs(u - np.float32(centre[0])) - np.float32(half[0] - corner)
    qv = np.abs(v - np.float32(centre[1])) - np.float32(half[1] - corner)
    outside = np.hypot(np.maximum(qu, 0), np.maximum(qv, 0))
    return np.asarray(outside + np.minimum(np.maximum(qu, qv), 0) - np.float32(corner))


def facing(d: Field) -> Field:
    """How much the outward side of a shape's edge faces the lamp: -1 (away) to 1, from its distance field."""
    dv, du = np.gradient(d)
    return np.asarray((du * LIGHT[0] + dv * LIGHT[1]) / np.maximum(np.hypot(du, dv), np.float32(1e-6)))


def paint(picture: Field, alpha: Field, colour: Field | tuple[float, float, float]) -> None:
    """Lay `colour` over an (H, W, 3) picture, in place, as thick as `alpha` (H, W) says."""
    picture += alpha[..., None] * (np.asarray(colour, picture.dtype) - picture)


def wobble(rng: np.random.Generator, angle: Field, waves: int = 6) -> Field:
    """A smooth random closed line: about -1 to 1 for each angle, different for each `rng`."""
    orders = np.arange(2, 2 + waves)
    sizes = rng.normal(size=waves) / orders**0.7
    phases = rng.uniform(0, 2 * np.pi, waves)
    line = sum(s * np.cos(n * angle + p) for s, n, p in zip(sizes, orders, phases, strict=True))
    return np.asarray(line / (np.abs(sizes).sum() + 1e-9), np.float32)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], sigma: tuple[float, float]) -> Field:
    """Gaussian noise (H, W) float32 with mean 0 and deviation 1, smooth over `sigma` pixels (down, across)."""
    noise = rng.standard_normal(shape, np.float32)
    noise = ndimage.gaussian_filter(noise, sigma, mode="wrap", truncate=3)
    return np.asarray((noise - noise.mean()) / max(float(noise.std()), 1e-9), np.float32)


def resized(field: Field, shape: tuple[int, int]) -> Field:
    """Bilinear resize of a float field to (H, W)."""
    if field.shape == shape:
        return field
    picture = Image.fromarray(np.ascontiguousarray(field, np.float32))
    return np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def to_pixels(picture: Field) -> npt.NDArray[np.uint8]:
    """Round a float picture to uint8, clipped to 0..255."""
    return np.asarray(np.clip(picture + 0.5, 0, 255), np.uint8)
