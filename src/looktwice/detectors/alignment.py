"""Find the small shift, turn and scale between two pictures of the same pose, and say how well they then agree.

Phase correlation (Kuglin and Hines, 1975) finds the shift; Gauss-Newton on the enhanced correlation coefficient
(Evangelidis and Psarakis, PAMI 2008) refines it to a similarity transform. NumPy and SciPy only.
Letters: h w pixels; a transform maps picture coordinates (x, y) to reference coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

WORK_SIDE = 192  # pixels of the longer side at which transforms are estimated
STEPS = 25  # of Gauss-Newton at most
MAX_TURN = 8.0  # degrees: more is another pose, not a small misplacement
MAX_SCALE = 0.10  # relative
MAX_SHIFT = 0.25  # of the picture's side


@dataclass(frozen=True)
class Alignment:
    """x_ref = scale * R(turn) @ (x - centre) + centre + shift, in pixels of the full picture."""

    shift: tuple[float, float]  # (x, y), pixels
    turn: float  # degrees
    scale: float
    correlation: float  # of the two pictures after alignment, over their overlap, -1..1
    before: float  # the same without alignment

    def words(self) -> str:
        """Say it for a person."""
        return (
            f"shift ({self.shift[0]:+.1f}, {self.shift[1]:+.1f}) px, turn {self.turn:+.2f} deg, "
            f"scale {self.scale:.3f}, correlation {self.correlation:.2f}"
        )

    def matrix(self, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Return (A, b) with reference (y, x) = A @ picture (y, x) + b for a picture of `size` (h, w)."""
        return _matrix(np.array([self.shift[0], self.shift[1], np.deg2rad(self.turn), np.log(self.scale)]), size)


def align(picture: np.ndarray, reference: np.ndarray) -> Alignment:
    """Estimate the transform from `picture` to `reference`, both (h, w, 3) uint8 of one size."""
    size = picture.shape[:2]
    factor = max(1.0, max(size) / WORK_SIDE)
    small = _luma(picture, factor), _luma(reference, factor)
    flat = [_flatten(one) for one in small]
    start = np.zeros(4)
    start[:2] = _phase_shift(*flat)
    candidates = [np.zeros(4), start]
    best = max(candidates, key=lambda p: _correlation(p, *flat))
    best = _refine(best, *flat)
    before = _correlation(np.zeros(4), *flat)
    after = _correlation(best, *flat)
    if not (_small(best, flat[0].shape) and after > before):
        best, after = np.zeros(4), before
    return Alignment(
        (float(best[0] * factor), float(best[1] * factor)),
        float(np.rad2deg(best[2])),
        float(np.exp(best[3])),
        float(after),
        float(before),
    )


def warp_to_reference(picture: np.ndarray, alignment: Alignment) -> tuple[np.ndarray, np.ndarray]:
    """Draw `picture` (h, w, 3) uint8 in the reference's frame; also (h, w) bool: where it has pixels to show."""
    a, b = alignment.matrix(picture.shape[:2])
    return _warp(picture, np.linalg.inv(a), -np.linalg.inv(a) @ b)


def warp_to_picture(reference: np.ndarray, alignment: Alignment) -> tuple[np.ndarray, np.ndarray]:
    """Draw `reference` (h, w, 3) uint8 in the picture's frame; also where it has pixels to show."""
    return _warp(reference, *alignment.matrix(reference.shape[:2]))


def map_to_picture(values: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Carry a float map (h, w) from the reference's frame to the picture's; outside is 0."""
    a, b = alignment.matrix(values.shape)
    return ndimage.affine_transform(values, a, b, order=1, mode="constant", cval=0.0)


def _warp(picture: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if np.allclose(a, np.eye(2)) and np.allclose(b, 0):
        return picture, np.ones(picture.shape[:2], bool)
    drawn = np.stack(
        [
            ndimage.affine_transform(picture[..., c].astype(np.float32), a, b, order=1, mode="nearest")
            for c in range(picture.shape[2])
        ],
        -1,
    )
    h, w = picture.shape[:2]
    y, x = np.arange(h)[:, None], np.arange(w)[None, :]
    ry, rx = a[0, 0] * y + a[0, 1] * x + b[0], a[1, 0] * y + a[1, 1] * x + b[1]
    inside = (ry >= -0.5) & (ry <= h - 0.5) & (rx >= -0.5) & (rx <= w - 0.5)
    return np.clip(np.rint(drawn), 0, 255).astype(np.uint8), inside


def _matrix(p: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    cos, sin = np.exp(p[3]) * np.cos(p[2]), np.exp(p[3]) * np.sin(p[2])
    a = np.array([[cos, sin], [-sin, cos]])  # on (y, x)
    centre = (np.array(size, float) - 1) / 2
    return a, centre - a @ centre + p[[1, 0]]


def _luma(picture: np.ndarray, factor: float) -> np.ndarray:
    from PIL import Image

    grey = Image.fromarray(picture).convert("L")
    size = (max(8, round(grey.width / factor)), max(8, round(grey.height / factor)))
    return np.asarray(grey.resize(size, Image.Resampling.BOX if factor > 1 else Image.Resampling.BILINEAR), np.float32)


def _flatten(luma: np.ndarray) -> np.ndarray:
    """Remove slow light changes and noise: what is left is structure that can be registered."""
    return ndimage.gaussian_filter(luma, 1.0) - ndimage.gaussian_filter(luma, max(luma.shape) / 8, truncate=2.0)


def _phase_shift(picture: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    h, w = picture.shape
    window = np.hanning(h + 2)[1:-1, None] * np.hanning(w + 2)[None, 1:-1]
    cross = np.conj(fft.rfft2(picture * window)) * fft.rfft2(reference * window)
    # a root keeps some of the amplitude: full whitening drowns in the noise of smooth pictures
    surface = fft.irfft2(cross / np.maximum(np.abs(cross), 1e-6) ** 0.7, (h, w))
    y, x = np.unravel_index(surface.argmax(), surface.shape)
    return float(x - w if x > w // 2 else x), float(y - h if y > h // 2 else y)


def _overlap(p: np.ndarray, picture: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the reference drawn in the picture's frame, the reference coordinates used, and where they exist."""
    a, b = _matrix(p, picture.shape)
    h, w = picture.shape
    y, x = np.arange(h)[:, None], np.arange(w)[None, :]
    at = np.stack([a[0, 0] * y + a[0, 1] * x + b[0], a[1, 0] * y + a[1, 1] * x + b[1]])
    inside = (at[0] >= 0) & (at[0] <= h - 1) & (at[1] >= 0) & (at[1] <= w - 1)
    return ndimage.map_coordinates(reference, at, order=1, mode="nearest"), at, inside


def _correlation(p: np.ndarray, picture: np.ndarray, reference: np.ndarray) -> float:
    drawn, _, inside = _overlap(p, picture, reference)
    if inside.sum() < 0.4 * inside.size:
        return -1.0
    a, b = picture[inside] - picture[inside].mean(), drawn[inside] - drawn[inside].mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / size) if size > 1e-6 * inside.sum() else 0.0


def _refine(p: np.ndarray, picture: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Gauss-Newton on the difference of the two normalised pictures, robust against the defect itself."""
    h, w = picture.shape
    gy, gx = np.gradient(reference)
    yc, xc = np.arange(h)[:, None] - (h - 1) / 2, np.arange(w)[None, :] - (w - 1) / 2
    best, best_value = p, _correlation(p, picture, reference)
    for _ in range(STEPS):
        drawn, at, inside = _overlap(p, picture, reference)
        if inside.sum() < 0.4 * inside.size:
            break
        dx = ndimage.map_coordinates(gx, at, order=1, mode="nearest")
        dy = ndimage.map_coordinates(gy, at, order=1, mode="nearest")
        cos, sin = np.exp(p[3]) * np.cos(p[2]), np.exp(p[3]) * np.sin(p[2])
        ux, uy = cos * xc - sin * yc, sin * xc + cos * yc  # rotated, scaled offset from the centre
        jacobian = np.stack([dx, dy, dy * ux - dx * uy, dx * ux + dy * uy], -1)[inside]
        a, b = picture[inside], drawn[inside]
        gain = float(((a - a.mean()) * (b - b.mean())).sum() / max(((b - b.mean()) ** 2).sum(), 1e-9))
        error = (a - a.mean()) - gain * (b - b.mean())
        spread = 1.4826 * float(np.median(np.abs(error))) + 1e-6
        weight = 1 / (1 + (error / (3 * spread)) ** 2)
        system = gain * jacobian
        normal = (system * weight[:, None]).T @ system
        normal += 1e-3 * np.diag(np.diag(normal)) + 1e-9 * np.eye(4)
        step = np.linalg.solve(normal, (system * weight[:, None]).T @ error)
        p = p + step
        value = _correlation(p, picture, reference)
        if value > best_value:
            best, best_value = p, value
        if np.abs(step[:2]).max() < 0.005 and np.abs(step[2:]).max() < 1e-4:
            break
    return best


def _small(p: np.ndarray, size: tuple[int, ...]) -> bool:
    return bool(
        abs(np.rad2deg(p[2])) <= MAX_TURN
        and abs(p[3]) <= np.log1p(MAX_SCALE)
        and abs(p[0]) <= MAX_SHIFT * size[1]
        and abs(p[1]) <= MAX_SHIFT * size[0]
    )
