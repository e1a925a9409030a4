"""memory: how far each patch is from the nearest normal patch of the references. No weights.

Filter-bank features of small patches (`features.py`) are compared with those of the references in two ways:
without knowing their place (nearest neighbour in a bank, the idea of PatchCore, Roth et al., CVPR 2022, on
features that need no training), and, when the picture can be registered to the references, place by place
(the idea of PaDiM, Defard et al., ICPR 2020, with a tolerance per place). The detector decides by itself,
from the correlation after alignment, and reports it. Distances are put on one scale by judging each
reference by the others, and slightly moved, re-lit, noisy copies of the references by the references, so that
a score of 0.5 lies above what normal parts show.

Letters: R references, r c rows and columns of cells, D features, h w pixels of a working picture.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from looktwice.detectors.alignment import Alignment, align, map_to_picture, warp_to_picture, warp_to_reference
from looktwice.detectors.coreset import Coreset
from looktwice.detectors.features import CELL, filter_bank, neighbourhood
from looktwice.detectors.neighbours import nearest
from looktwice.detectors.protocol import reference_views
from looktwice.errors import NoReferences
from looktwice.records import Prediction, Spec, Views, resize_map
from looktwice.settings import Settings

NOISE = 0.003  # of full scale, under one grey level: feature differences below it carry no weight
BUFFER = 16  # views that decide the feature scales; later ones stream through
POSED = 16  # references kept for one pose: more cost time and hardly widen the tolerance
COPIES = 3  # moved, re-lit, noisy copies per reference that stand for normal variation
COPY_SHIFT, COPY_LIGHT, COPY_NOISE = 2.5, 0.08, 3.0  # pixels, relative, grey levels
LIGHT = 0.2  # relative change of light that is evened out; more is a finding


class MemoryConfig(BaseModel):
    """What can be set with --option."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(512, ge=64, le=4096, description="longest side at which patches are compared, pixels")
    bank: int = Field(12_000, ge=100, description="patches kept in the bank; more are thinned to a coreset")
    register_above: float = Field(0.6, ge=0, le=1, description="correlation from which a picture counts as registered")
    margin: float = Field(1.35, gt=0, description="times the level of normal parts at which the score is 0.5")


@dataclass(frozen=True)
class _View:
    """One reference view at working size."""

    name: str
    source: int
    image: np.ndarray  # (h, w, 3) uint8
    shown: np.ndarray  # (r, c) bool


class Memory:
    """Few-shot detector without weights: needs references, localises, does not talk."""

    def __init__(self, config: MemoryConfig | None = None) -> None:
        self.config = config or MemoryConfig()

    def fit(self, spec: Spec, settings: Settings | None = None) -> FittedMemory:
        """Look once at the references; raises NoReferences when the sheet names none."""
        if not spec.references:
            raise NoReferences("memory compares with normal samples and the sheet names none: add --reference FILE")
        return FittedMemory(self.config, self._views(spec, settings))

    def _views(self, spec: Spec, settings: Settings | None) -> Iterator[_View]:
        samples: dict[str, int] = {}
        for part, (sample, views) in enumerate(reference_views(spec, settings)):
            # a single long video is its own only witness: its stretches judge each other
            source = part if len(spec.references) == 1 else samples.setdefault(sample.id, len(samples))
            for i, name in enumerate(views.names):
                image = shrink(views.images[i], self.config.size)
                yield _View(name if views.posed else "", source, image, cells_shown(views, i, image))


class FittedMemory:
    """The references, looked at once."""

    def __init__(self, config: MemoryConfig, views: Iterator[_View]) -> None:
        self.config = config
        first = list(itertools.islice(views, BUFFER))
        self.scale = _Scale(first)
        self.bank = Coreset(config.bank)
        self.poses: dict[str, _Pose] = {}
        kept: list[_View] = []
        for view in itertools.chain(first, views):
            self.bank.add(self._patches(filter_bank(view.image))[view.shown], view.source)
            if len(kept) < BUFFER:
                kept.append(view)
            if view.name:
                self.poses.setdefault(view.name, _Pose(self.scale)).add(view, config.register_above)
        for pose in self.poses.values():
            pose.settle()
        self.levels = self._levels(kept)

    def predict(self, batch: Sequence[Views]) -> list[Prediction]:
        """Judge each Views by its own; the rest of the batch changes nothing."""
        return [self._predict(views) for views in batch]

    def _predict(self, views: Views) -> Prediction:
        start = time.perf_counter()
        looks = [self._look(views, i) for i in range(len(views.images))]
        scores = tuple(squash(look.score, self.config.margin) for look in looks)
        size = views.images.shape[1:3]
        maps = np.stack([to_view(squash(look.cells, self.config.margin), size) for look in looks])
        if views.shown is not None:
            maps = np.where(views.shown, maps, 0).astype(np.float32)
        expected = None
        if all(look.expected is not None for look in looks):
            expected = np.stack([_enlarge(look.expected, size) for look in looks if look.expected is not None])
        worst = int(np.argmax(scores))
        return Prediction(
            score=scores[worst],
            anomaly_map=maps,
            view_scores=scores,
            expected=expected,
            evidence={"registration": looks[worst].words},
            seconds=time.perf_counter() - start,
        )

    def _look(self, views: Views, i: int) -> _Look:
        image = shrink(views.images[i], self.config.size)
        shown = cells_shown(views, i, image)
        anywhere = self._anywhere(filter_bank(image), shown, None) / self.levels["anywhere"]
        pose = self.poses.get(views.names[i]) if views.posed else None
        there = pose.compare(image, shown, None) if pose and pose.fits(image) else None
        if there is None:
            words = "not registered: compared with the references wherever they match best"
            return _Look(anywhere, strength(anywhere, shown), None, words)
        inside = there.inside
        placed = there.cells / self.levels["placed"]
        # cells that left the references' frame have no counterpart there
        cells = np.where(inside, placed, anywhere)
        return _Look(cells, strength(cells, shown | inside), there.expected, f"registered: {there.alignment.words()}")

    def _patches(self, features: np.ndarray) -> np.ndarray:
        return self.scale.white(neighbourhood(features))

    def _anywhere(self, features: np.ndarray, shown: np.ndarray, without: int | None) -> np.ndarray:
        """(r, c) distance of each cell's patch to the bank, optionally without the rows of one source."""
        cells = np.zeros(shown.shape, np.float32)
        rows = self.bank.rows if without is None else self.bank.rows[self.bank.tags != without]
        if shown.any() and len(rows):
            cells[shown] = nearest(self._patches(features)[shown], rows)[0][:, 0]
        return cells

    def _levels(self, views: list[_View]) -> dict[str, float]:
        """How strong normal parts come out, for either way of comparing: the unit of all scores."""
        several = len(set(self.bank.tags.tolist())) > 1
        rng = np.random.default_rng(0)
        found: dict[str, list[float]] = {"anywhere": [], "placed": []}
        for view in views:
            trials = [(view.image, view.source if several else None)] if several else []
            trials += [(vary(view.image, rng), None) for _ in range(1 if several else COPIES)]
            for image, without in trials:
                cells = self._anywhere(filter_bank(image), view.shown, without)
                found["anywhere"].append(strength(cells, view.shown))
                pose = self.poses.get(view.name)
                there = pose.compare(image, view.shown, without) if pose and pose.fits(image) else None
                if there is not None:
                    found["placed"].append(strength(there.cells, view.shown & there.inside))
        # the highest of a few, a high quantile of many: one odd reference must not blind the detector
        return {
            way: max(float(np.quantile(values, 0.9 if len(values) > 10 else 1.0)), 1e-3) if values else 1.0
            for way, values in found.items()
        }


@dataclass(frozen=True)
class _Look:
    cells: np.ndarray  # (r, c) in units of the normal level
    score: float  # the same unit
    expected: np.ndarray | None  # (h, w, 3) uint8
    words: str


class _Scale:
    """Whitening of the features over normal patches, so that every direction counts by how much it may vary."""

    def __init__(self, views: list[_View]) -> None:
        rows = np.concatenate([filter_bank(view.image)[view.shown] for view in views])
        pooled = np.concatenate([neighbourhood(filter_bank(view.image))[view.shown] for view in views])
        self.mean = pooled.mean(0)
        values, vectors = np.linalg.eigh(np.cov(pooled.T.astype(np.float64)))
        self.matrix = (vectors / np.sqrt(np.maximum(values, 0) + NOISE**2)).astype(np.float32)
        self.spread = 1 / (rows.std(0) + 2 * NOISE)

    def white(self, features: np.ndarray) -> np.ndarray:
        return np.asarray((features - self.mean) @ self.matrix)

    def plain(self, features: np.ndarray) -> np.ndarray:
        """Each feature by its own spread: place by place, the directions must not mix a texture away."""
        return np.asarray(features * self.spread)


@dataclass(frozen=True)
class _There:
    cells: np.ndarray  # (r, c) distance place by place, in the picture's frame
    inside: np.ndarray  # (r, c) bool: where the references reach
    expected: np.ndarray  # (h, w, 3) uint8 nearest reference, in the picture's frame
    alignment: Alignment


class _Pose:
    """References of one pose, registered to the first of them."""

    def __init__(self, scale: _Scale) -> None:
        self.scale = scale
        self.images: list[np.ndarray] = []
        self.shown: list[np.ndarray] = []
        self.grids: list[np.ndarray] = []
        self.sources: list[int] = []
        self.tolerance: np.ndarray | None = None
        self.above = 1.0

    def add(self, view: _View, above: float) -> None:
        """Take in one more reference if it can be registered to the first."""
        self.above = above
        if len(self.images) == POSED or (self.images and view.image.shape != self.images[0].shape):
            return
        image = view.image
        if self.images:
            alignment = align(image, self.images[0])
            if alignment.correlation < above:
                return
            image, inside = warp_to_reference(image, alignment)
            image = relight(image, self.images[0], inside)
        self.images.append(image)
        self.shown.append(view.shown)
        self.sources.append(view.source)
        self.grids.append(self.scale.plain(filter_bank(image)))

    def settle(self) -> None:
        """Learn how much normal parts differ at each place."""
        if len(self.grids) < 3:
            return
        each = [self._distance(grid, [g for j, g in enumerate(self.grids) if j != i]) for i, grid in enumerate(self.grids)]
        spread = ndimage.maximum_filter(np.max(each, 0), 3)
        self.tolerance = np.asarray(ndimage.gaussian_filter(spread, 1.0))

    def fits(self, image: np.ndarray) -> bool:
        return image.shape == self.images[0].shape

    def compare(self, image: np.ndarray, shown: np.ndarray, without: int | None) -> _There | None:
        """Compare place by place; None when the picture cannot be registered."""
        grids = [g for g, s in zip(self.grids, self.sources, strict=True) if s != without]
        if not grids:
            return None
        alignment = align(image, self.images[0])
        if alignment.correlation < self.above:
            return None
        moved, inside = warp_to_reference(image, alignment)
        moved = relight(moved, self.images[0], inside)
        grid = self.scale.plain(filter_bank(moved))
        cells = self._distance(grid, grids)
        if self.tolerance is not None:
            cells = cells / (0.5 + 0.5 * self.tolerance / np.median(self.tolerance))
        inside = ndimage.binary_erosion(_cells_of(inside), iterations=1, border_value=1)
        cells = np.where(inside, cells, 0)
        back = _cell_frame(alignment)
        nearest_one = int(np.argmin([np.abs(grid - g)[inside].mean() if inside.any() else 0 for g in self.grids]))
        expected, _ = warp_to_picture(self.images[nearest_one], alignment)
        return _There(
            map_to_picture(cells, back), map_to_picture(inside.astype(np.float32), back) > 0.99, expected, alignment
        )

    @staticmethod
    def _distance(grid: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
        """(r, c) distance to the nearest of the others' cells at the same place or beside it."""
        rows, columns = grid.shape[:2]
        best = np.full((rows, columns), np.inf, np.float32)
        for other in others:
            wide = np.pad(other, ((1, 1), (1, 1), (0, 0)), mode="edge")
            for y in range(3):
                for x in range(3):
                    step = wide[y : y + rows, x : x + columns] - grid
                    np.minimum(best, np.einsum("rcd,rcd->rc", step, step), out=best)
        return np.sqrt(best)


def _cell_frame(alignment: Alignment) -> Alignment:
    shift = (alignment.shift[0] / CELL, alignment.shift[1] / CELL)
    return Alignment(shift, alignment.turn, alignment.scale, alignment.correlation, alignment.before)


def shrink(image: np.ndarray, size: int) -> np.ndarray:
    """Bring a picture (h, w, 3) to the working size: area averaging, never up."""
    factor = size / max(image.shape[:2])
    if factor >= 1:
        return image
    target = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    return np.asarray(Image.fromarray(image).resize(target, Image.Resampling.BOX))


def _enlarge(image: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    if image.shape[:2] == tuple(size):
        return image
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def to_view(cells: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(r, c) values of cells -> (h, w) map of the view."""
    smooth = ndimage.gaussian_filter(cells, 0.7)
    return np.clip(resize_map(smooth, (size[0], size[1])), 0, 1)


def cells_shown(views: Views, i: int, image: np.ndarray) -> np.ndarray:
    """(r, c) bool: cells of the working picture in which view i shows the thing."""
    if views.shown is None:
        return np.ones((-(-image.shape[0] // CELL), -(-image.shape[1] // CELL)), bool)
    return _cells_of(resize_map(views.shown[i].astype(np.float32), image.shape[:2]) > 0.5)


def _cells_of(pixels: np.ndarray) -> np.ndarray:
    high, wide = -pixels.shape[0] % CELL, -pixels.shape[1] % CELL
    padded = np.pad(pixels, ((0, high), (0, wide)), mode="edge").astype(np.float32)
    r, c = padded.shape[0] // CELL, padded.shape[1] // CELL
    return padded.reshape(r, CELL, c, CELL).mean((1, 3)) > 0.5


def strength(cells: np.ndarray, shown: np.ndarray) -> float:
    """One number for a map: the mean of its few highest cells and of its highest hundredth.

    The first finds a speck, the second a wide weak change; both are means, so that one cell alone decides nothing.
    """
    values = ndimage.gaussian_filter(cells, 0.7)[shown]
    if not values.size:
        return 0.0
    few = min(5, values.size)
    many = max(few, values.size // 100)
    highest = np.sort(np.partition(values, -many)[-many:])
    return float(0.5 * highest[-few:].mean() + 0.5 * highest.mean())


def squash(values: np.ndarray | float, margin: float) -> np.ndarray | float:
    """Units of the normal level -> [0, 1), with 0.5 at `margin`."""
    return values**2 / (values**2 + margin**2)


def vary(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A copy as a camera might see the same part again: moved by a pixel or two, re-lit, noisy."""
    dy, dx = rng.uniform(-COPY_SHIFT, COPY_SHIFT, 2)
    light = 1 + rng.uniform(-COPY_LIGHT, COPY_LIGHT)
    moved = ndimage.shift(image.astype(np.float32), (dy, dx, 0), order=1, mode="nearest")
    return np.clip(np.rint(moved * light + rng.normal(0, COPY_NOISE, image.shape)), 0, 255).astype(np.uint8)


def relight(image: np.ndarray, reference: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Even out a change of light between a registered picture and its reference, up to LIGHT.

    Fits reference = (a + b x + c y) * image + d on the overlap, twice, the second time without the worst tenth,
    so that a defect does not pull the fit.
    """
    step = max(1, max(image.shape) // 96)
    ys, xs = np.nonzero(inside[::step, ::step])
    if len(ys) < 16:
        return image
    h, w = image.shape[:2]
    value = image[::step, ::step][ys, xs].mean(1) / 255
    target = reference[::step, ::step][ys, xs].mean(1) / 255
    y, x = 2 * ys * step / h - 1, 2 * xs * step / w - 1
    columns = np.stack([value, value * x, value * y, np.ones_like(value)], 1)
    ridge = np.diag([1e-3, 1e-2, 1e-2, 1e-1]) * len(value)
    start = np.array([1.0, 0, 0, 0])
    keep = np.ones(len(value), bool)
    for _ in range(2):
        a = columns[keep]
        p = start + np.linalg.solve(a.T @ a + ridge, a.T @ (target[keep] - a @ start))
        error = np.abs(columns @ p - target)
        keep = error <= np.quantile(error, 0.9)
    yy, xx = np.linspace(-1, 1, h)[:, None], np.linspace(-1, 1, w)[None, :]
    gain = np.clip(p[0] + p[1] * xx + p[2] * yy, 1 - LIGHT, 1 + LIGHT)
    lit = image * gain[..., None].astype(np.float32) + np.float32(255 * np.clip(p[3], -LIGHT / 2, LIGHT / 2))
    return np.clip(np.rint(lit), 0, 255).astype(np.uint8)
