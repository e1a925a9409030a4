"""Find the small shift, turn and scale between two pictures of the same pose, and say how well they then agree.

Phase correlation (Kuglin and Hines, 1975) finds the shift; Gauss-Newton on the enhanced correlation coefficient
(Evangelidis and Psarakis, PAMI 2008) refines it to a similarity transform, from coarse to fine.
Letters: h w pixels; a transform p = (shift x, shift y, turn, log scale) maps picture to reference coordinates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import fft, ndimage

WORK_SIDE = 256  # pixels of the longer side at which transforms are estimated
COARSE = (4, 2)  # times smaller first: a turn that moves corners by many pixels is still near there
STEPS = 20  # of Gauss-Newton at most
MAX_TURN = 8.0  # degrees: more is another pose, not a small misplacement
MAX_SCALE = 0.10  # relative
MAX_SHIFT = 0.25  # of the picture's side
SLOW = 1 / 20  # of the side: changes of light are slower; wider filters smear a defect over its surroundings
OVERLAP = 0.4  # of the picture, at least: a sliver agrees by chance
AS_GOOD = 0.02  # of correlation: within it the smaller shift is taken; a grid agrees with itself a period further
ROBUST = 2.0  # times the usual difference: what differs much more is a defect and must not pull
CERTAIN = 0.95  # correlation from which nothing else is tried
PEAKS = 3  # of the phase correlation that are tried


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


def align(picture: np.ndarray, reference: np.ndarray, near: Alignment | None = None) -> Alignment:
    """Estimate the transform from `picture` to `reference`, both (h, w, 3) uint8 of one size.

    `near`, where it is known, is a guess that is off by a few pixels: it is refined and nothing else is tried.
    Where nothing within MAX_SHIFT, MAX_TURN and MAX_SCALE agrees better than no transform, it is that. Raises
    ValueError where the sizes differ.
    """
    if picture.shape != reference.shape:
        raise ValueError(f"pictures must have one size, got {picture.shape} and {reference.shape}")
    factor = max(1.0, max(picture.shape[:2]) / WORK_SIDE)
    moving, fixed = _flatten(_luma(picture, factor)), _flatten(_luma(reference, factor))
    if np.abs(moving).max() < 1e-3 or np.abs(fixed).max() < 1e-3:  # nothing to register
        return Alignment((0.0, 0.0), 0.0, 1.0, 0.0, 0.0)
    still = np.zeros(4)
    before = _correlation(still, moving, fixed)
    found = [(still, before)]
    scales = picture.shape[1] / moving.shape[1], picture.shape[0] / moving.shape[0]
    tries = _tries(moving, fixed)
    if near is not None:
        guess = [near.shift[0] / scales[0], near.shift[1] / scales[1], np.deg2rad(near.turn), np.log(near.scale)]
        tries = iter([_refine(np.array(guess), moving, fixed)])
    for p in tries:
        if _small(p, moving.shape):
            found.append((p, _correlation(p, moving, fixed)))
            if found[-1][1] > CERTAIN:
                break
    highest = max(value for _, value in found)
    # a small gain is no reason to move far
    best, after = min(
        ((p, value) for p, value in found[1:] if value >= highest - AS_GOOD and value > before),
        key=lambda one: float(np.hypot(one[0][0], one[0][1])),
        default=found[0],
    )
    return Alignment(
        (float(best[0] * scales[0]), float(best[1] * scales[1])),
        float(np.rad2deg(best[2])),
        float(np.exp(best[3])),
        after,
        before,
    )


def warp_to_reference(picture: np.ndarray, alignment: Alignment) -> tuple[np.ndarray, np.ndarray]:
    """Draw `picture` (h, w, 3) uint8 in the reference's frame; also (h, w) bool: where it has pixels to show."""
    a, b = alignment.matrix(picture.shape[:2])
    inverse = np.linalg.inv(a)
    return _warp(picture, inverse, -inverse @ b)


def warp_to_picture(reference: np.ndarray, alignment: Alignment) -> tuple[np.ndarray, np.ndarray]:
    """Draw `reference` (h, w, 3) uint8 in the picture's frame; also where it has pixels to show."""
    return _warp(reference, *alignment.matrix(reference.shape[:2]))


def map_to_picture(values: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Carry a float32 map (h, w) from the reference's frame to the picture's; outside is 0."""
    return _draw(values, *alignment.matrix(values.shape))


def _warp(picture: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if np.allclose(a, np.eye(2)) and np.allclose(b, 0):
        return picture, np.ones(picture.shape[:2], bool)
    h, w = picture.shape[:2]
    drawn = Image.fromarray(picture).transform(
        (w, h), Image.Transform.AFFINE, _coefficients(a, b), Image.Resampling.BILINEAR
    )
    return np.asarray(drawn), _inside(a, b, (h, w), 0.5)


def _draw(values: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sample (h, w) float32 at A @ (y, x) + b, bilinear; 0 where there is nothing."""
    picture = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(
        picture.transform(picture.size, Image.Transform.AFFINE, _coefficients(a, b), Image.Resampling.BILINEAR)
    )


def _coefficients(a: np.ndarray, b: np.ndarray) -> tuple[float, ...]:
    """The same map in the terms of Pillow: x before y, and the middle of the first pixel at 0.5."""
    turned, moved = a[::-1, ::-1], b[::-1]
    moved = moved + 0.5 - turned @ np.array([0.5, 0.5])
    return (*map(float, turned[0]), float(moved[0]), *map(float, turned[1]), float(moved[1]))


def _inside(a: np.ndarray, b: np.ndarray, size: tuple[int, ...], rim: float) -> np.ndarray:
    """(h, w) bool: where A @ (y, x) + b lies in the picture, up to `rim` pixels beyond the middle of its last ones."""
    y, x = np.arange(size[0])[:, None], np.arange(size[1])[None, :]
    ry, rx = a[0, 0] * y + a[0, 1] * x + b[0], a[1, 0] * y + a[1, 1] * x + b[1]
    return np.asarray((ry >= -rim) & (ry <= size[0] - 1 + rim) & (rx >= -rim) & (rx <= size[1] - 1 + rim))


def _matrix(p: np.ndarray, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    cos, sin = np.exp(p[3]) * np.cos(p[2]), np.exp(p[3]) * np.sin(p[2])
    a = np.array([[cos, sin], [-sin, cos]])  # on (y, x)
    centre = (np.array(size, float) - 1) / 2
    return a, centre - a @ centre + p[[1, 0]]


def _luma(picture: np.ndarray, factor: float) -> np.ndarray:
    grey = Image.fromarray(picture).convert("L")
    size = (max(8, round(grey.width / factor)), max(8, round(grey.height / factor)))
    return np.asarray(grey.resize(size, Image.Resampling.BOX if factor > 1 else Image.Resampling.BILINEAR), np.float32)


def _flatten(luma: np.ndarray) -> np.ndarray:
    """Remove slow light changes and noise: what is left is structure that can be registered."""
    slow = max(2, round(max(luma.shape) * SLOW))
    smooth = ndimage.gaussian_filter(luma, 1.0)
    return np.asarray(smooth - ndimage.uniform_filter(ndimage.uniform_filter(luma, 2 * slow + 1), 2 * slow + 1))


def _tries(moving: np.ndarray, fixed: np.ndarray) -> Iterator[np.ndarray]:
    """Transforms worth a look, the cheapest first."""
    yield _refine(np.zeros(4), moving, fixed)
    for start in _starts(moving, fixed):
        p = _coarse_to_fine(start, moving, fixed)
        yield p
        if np.hypot(*(p - start)[:2]) > 1:  # a fine grid is no longer there in the coarse steps
            yield _refine(start, moving, fixed)


def _starts(moving: np.ndarray, fixed: np.ndarray) -> list[np.ndarray]:
    """No shift, and the highest peaks of the phase correlation."""
    h, w = moving.shape
    window = np.hanning(h + 2)[1:-1, None] * np.hanning(w + 2)[None, 1:-1]
    cross = np.conj(fft.rfft2(moving * window)) * fft.rfft2(fixed * window)
    # a root keeps some of the amplitude: full whitening drowns in the noise of smooth pictures
    surface = fft.fftshift(fft.irfft2(cross / np.maximum(np.abs(cross), 1e-6) ** 0.7, (h, w)))
    high, wide = int(MAX_SHIFT * h), int(MAX_SHIFT * w)
    near = surface[h // 2 - high : h // 2 + high + 1, w // 2 - wide : w // 2 + wide + 1]
    peaks = np.argwhere((near == ndimage.maximum_filter(near, 5)) & (near > 0.5 * near.max())) - (high, wide)
    height, far = near[peaks[:, 0] + high, peaks[:, 1] + wide], np.abs(peaks).max(1, initial=0)
    # the highest, and the nearest: a grid has many of one height
    chosen = [*np.argsort(-height, kind="stable")[:PEAKS], *np.argsort(far, kind="stable")[:1]]
    places = dict.fromkeys((int(peaks[i][1]), int(peaks[i][0])) for i in chosen if far[i] > 1)
    return [np.zeros(4)] + [np.array([x, y, 0.0, 0.0]) for x, y in places]


def _coarse_to_fine(start: np.ndarray, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    p = start
    for factor in COARSE:
        size = (round(moving.shape[1] / factor), round(moving.shape[0] / factor))
        if min(size) >= 16:
            small = [np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BOX)) for one in (moving, fixed)]
            grown = np.array([moving.shape[1] / size[0], moving.shape[0] / size[1], 1, 1])
            p = _refine(p / grown, small[0], small[1]) * grown
    return _refine(p, moving, fixed)


def _refine(p: np.ndarray, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Gauss-Newton on the difference of the two normalised pictures, robust against the defect itself."""
    h, w = moving.shape
    gy, gx = np.gradient(fixed)
    yc = np.arange(h, dtype=np.float32)[:, None] - (h - 1) / 2
    xc = np.arange(w, dtype=np.float32)[None, :] - (w - 1) / 2
    best, best_value = p, -2.0
    for _ in range(STEPS):
        a, b = _matrix(p, moving.shape)
        inside = _inside(a, b, moving.shape, 0)
        count = int(inside.sum())
        if count < max(OVERLAP * inside.size, 8):
            break
        seen, drawn = np.where(inside, moving, 0), np.where(inside, _draw(fixed, a, b), 0)
        seen, drawn = np.where(inside, seen - seen.sum() / count, 0), np.where(inside, drawn - drawn.sum() / count, 0)
        value = _cosine(seen.ravel(), drawn.ravel())
        if value > best_value:
            best, best_value = p, value
        gain = max(float(np.vdot(seen, drawn)), 0.0) / max(float(np.vdot(drawn, drawn)), 1e-9)
        error = seen - gain * drawn
        weight = inside / (1 + (error / (ROBUST * _spread(error, seen, gain * drawn))) ** 2) ** 2
        cos, sin = np.float32(np.exp(p[3]) * np.cos(p[2])), np.float32(np.exp(p[3]) * np.sin(p[2]))
        ux, uy = cos * xc - sin * yc, sin * xc + cos * yc  # turned, scaled offset from the centre
        dx, dy = gain * _draw(gx, a, b), gain * _draw(gy, a, b)
        system = np.stack([dx, dy, dy * ux - dx * uy, dx * ux + dy * uy]).reshape(4, -1)
        weighted = system * weight.reshape(-1).astype(np.float32)
        normal = (weighted @ system.T).astype(np.float64)
        normal += 1e-3 * np.diag(np.diag(normal)) + 1e-9 * np.eye(4)
        step = np.linalg.solve(normal, (weighted @ error.reshape(-1)).astype(np.float64))
        p = p + step
        if not _small(p, moving.shape):
            break
        if np.abs(step[:2]).max() < 0.02 and np.abs(step[2:]).max() < 2e-4:
            return p
    return best


def _spread(error: np.ndarray, seen: np.ndarray, drawn: np.ndarray) -> float:
    """The usual difference (a robust standard deviation) where there is structure.

    A plain background agrees to the last bit and says nothing. Every few pixels are enough.
    """
    error, structure = error[::2, ::3], np.abs(seen[::2, ::3]) + np.abs(drawn[::2, ::3])
    return 1.4826 * float(np.median(np.abs(error[structure >= 0.2 * structure.max()]))) + 1e-3


def _correlation(p: np.ndarray, moving: np.ndarray, fixed: np.ndarray) -> float:
    a, b = _matrix(p, moving.shape)
    inside = _inside(a, b, moving.shape, 0)
    if inside.sum() < max(OVERLAP * inside.size, 8):
        return -1.0
    seen, drawn = moving[inside], _draw(fixed, a, b)[inside]
    return _cosine(seen - seen.mean(), drawn - drawn.mean())


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    size = float(np.sqrt(np.dot(a, a)) * np.sqrt(np.dot(b, b)))
    return float(np.clip(np.dot(a, b) / size, -1, 1)) if size > 1e-6 * len(a) else 0.0


def _small(p: np.ndarray, size: tuple[int, ...]) -> bool:
    return bool(
        np.isfinite(p).all()
        and abs(np.rad2deg(p[2])) <= MAX_TURN
        and abs(p[3]) <= np.log1p(MAX_SCALE)
        and abs(p[0]) <= MAX_SHIFT * size[1]
        and abs(p[1]) <= MAX_SHIFT * size[0]
    )
