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
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from looktwice.detectors.alignment import Alignment, align, map_to_picture, warp_to_picture, warp_to_reference
from looktwice.detectors.cells import cells_of, cells_shown, enlarge, shrink, squash, strength, to_view
from looktwice.detectors.coreset import Coreset
from looktwice.detectors.features import CELL, filter_bank, neighbourhood
from looktwice.detectors.neighbours import nearest
from looktwice.detectors.protocol import reference_views
from looktwice.errors import NoReferences
from looktwice.records import Prediction, Spec, Views
from looktwice.settings import Settings

NOISE = 0.003  # of full scale, under one grey level: feature differences below it carry no weight
BUFFER = 16  # views that decide the feature scales; later ones stream through
FEW = 0.6  # the margin is wider by this over R: few references show little of what is normal
POSED = 16  # references kept for one pose: more cost time and hardly widen the tolerance
COPIES = 3  # moved, re-lit, noisy copies per reference that stand for normal variation
COPY_SHIFT, COPY_LIGHT, COPY_NOISE = 2.5, 0.08, 3.0  # pixels, relative, grey levels
LOCAL = 0.6  # how far the unit of a place is its own rather than the picture's
LIGHT = 0.2  # relative change of light that is evened out; more is a finding


class MemoryConfig(BaseModel):
    """What can be set with --option."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(512, ge=64, le=4096, description="longest side at which patches are compared, pixels")
    bank: int = Field(12_000, ge=100, description="patches kept in the bank; more are thinned to a coreset")
    register_above: float = Field(0.6, ge=0, le=1, description="correlation from which a picture counts as registered")
    margin: float = Field(1.3, gt=0, description="times the level of normal parts at which the score is 0.5")


@dataclass(frozen=True)
class _View:
    """One reference view at working size."""

    name: str
    source: int
    image: np.ndarray  # (h, w, 3) uint8
    shown: np.ndarray  # (r, c) bool


class Memory:
    """Few-shot detector without weights: needs references, localises, does not talk."""

    Config = MemoryConfig

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
                self.poses.setdefault(view.name, _Pose(self.scale, config.register_above)).add(view)
        rng = np.random.default_rng(0)
        for pose in self.poses.values():
            pose.settle(rng)
        self.levels = self._levels(kept, rng)
        self.margin = config.margin * (1 + FEW / len(set(self.bank.tags.tolist())))

    def predict(self, batch: Sequence[Views]) -> list[Prediction]:
        """Judge each Views by its own; the rest of the batch changes nothing."""
        return [self._predict(views) for views in batch]

    def _predict(self, views: Views) -> Prediction:
        start = time.perf_counter()
        looks = [self._look(views, i) for i in range(len(views.images))]
        scores = tuple(squash(look.score, self.margin) for look in looks)
        size = views.images.shape[1:3]
        maps = np.stack([to_view(squash(look.cells, self.margin), size) for look in looks])
        if views.shown is not None:
            maps = np.where(views.shown, maps, 0).astype(np.float32)
        expected = None
        if all(look.expected is not None for look in looks):
            expected = np.stack([enlarge(look.expected, size) for look in looks if look.expected is not None])
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
        there = pose.compare(image) if pose and pose.fits(image) else None
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

    def _levels(self, views: list[_View], rng: np.random.Generator) -> dict[str, float]:
        """How strong normal parts come out, for either way of comparing: the unit of all scores."""
        several = len(set(self.bank.tags.tolist())) > 1
        found: dict[str, list[float]] = {"anywhere": [], "placed": []}
        for view in views:
            trials: list[tuple[np.ndarray, int | None]] = [(view.image, view.source)] if several else []
            trials += [(vary(view.image, rng), None) for _ in range(1 if several else COPIES)]
            for image, without in trials:
                cells = self._anywhere(filter_bank(image), view.shown, without)
                found["anywhere"].append(strength(cells, view.shown))
                pose = self.poses.get(view.name)
                there = pose.compare(image, without) if pose and pose.fits(image) else None
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
    """How much each feature varies over normal patches: what a difference is measured in."""

    def __init__(self, views: list[_View]) -> None:
        alone = [filter_bank(view.image) for view in views]
        around = [neighbourhood(features) for features in alone]
        rows, pooled = (
            np.concatenate([features[view.shown] for features, view in zip(which, views, strict=True)])
            for which in (alone, around)
        )
        self.mean = pooled.mean(0)
        values, vectors = np.linalg.eigh(np.cov(pooled.T.astype(np.float64)))
        self.matrix = (vectors / np.sqrt(np.maximum(values, 0) + NOISE**2)).astype(np.float32)
        # place by place each feature counts by its own spread: mixed directions would whiten a texture away
        self.alone = (1 / (rows.std(0) + 2 * NOISE)).astype(np.float32)
        self.around = (1 / (pooled.std(0) + 2 * NOISE)).astype(np.float32)

    def white(self, features: np.ndarray) -> np.ndarray:
        """Whiten features averaged over neighbourhoods: (..., D) -> (..., D), unit variance in every direction."""
        return np.asarray((features - self.mean) @ self.matrix)

    def grids(self, image: np.ndarray) -> Grids:
        """Cells of a picture, alone and averaged over their neighbourhood, (r, c, D) each."""
        features = filter_bank(image)
        return features * self.alone, neighbourhood(features) * self.around


@dataclass(frozen=True)
class _There:
    cells: np.ndarray  # (r, c) distance place by place, in the picture's frame
    inside: np.ndarray  # (r, c) bool: where the references reach
    expected: np.ndarray  # (h, w, 3) uint8 nearest reference, in the picture's frame
    alignment: Alignment


Grids = tuple[np.ndarray, ...]  # the same picture's cells alone, and averaged over their neighbourhood


class _Pose:
    """References of one pose, registered to the first of them.

    Cells are compared alone (a scratch) and averaged over their neighbourhood (a missing screw, whatever the
    turn of the screws that are there); each in units of what normal parts show at that place.
    """

    def __init__(self, scale: _Scale, above: float) -> None:
        self.scale = scale
        self.above = above
        self.images: list[np.ndarray] = []
        self.grids: list[Grids] = []
        self.sources: list[int] = []
        self.units: list[np.ndarray] = []

    def add(self, view: _View) -> None:
        """Take in one more reference if it can be registered to the first."""
        if len(self.images) == POSED or (self.images and not self.fits(view.image)):
            return
        image = view.image
        if self.images:
            alignment = align(image, self.images[0])
            if alignment.correlation < self.above:
                return
            image = relight(*warp_to_reference(image, alignment), self.images[0])
        self.images.append(image)
        self.sources.append(view.source)
        self.grids.append(self.scale.grids(image))

    def settle(self, rng: np.random.Generator) -> None:
        """Learn how much normal parts differ, at each place where there are enough of them."""
        if len(self.grids) >= 3:
            rest = [[g for j, g in enumerate(self.grids) if j != i] for i in range(len(self.grids))]
            apart = np.max([_distances(grid, others) for grid, others in zip(self.grids, rest, strict=True)], 0)
            for one in apart:
                spread = ndimage.gaussian_filter(ndimage.maximum_filter(one, 3), 1.0)
                self.units.append((1 - LOCAL) * np.median(spread) + LOCAL * spread + 1e-3)
            return
        copies = [self.scale.grids(self._register(vary(self.images[0], rng))[0]) for _ in range(COPIES)]
        apart = np.max([_distances(grid, self.grids) for grid in copies], 0)
        self.units = [np.full(one.shape, strength(one, one >= 0) + 1e-3) for one in apart]

    def fits(self, image: np.ndarray) -> bool:
        """Whether a picture has the size of this pose's references."""
        return image.shape == self.images[0].shape

    def compare(self, image: np.ndarray, without: int | None = None) -> _There | None:
        """Compare place by place; None when the picture cannot be registered or no reference is left."""
        others = [g for g, s in zip(self.grids, self.sources, strict=True) if s != without]
        if not others:
            return None
        moved, inside, alignment = self._register(image)
        if alignment.correlation < self.above:
            return None
        grids = self.scale.grids(moved)
        apart = _distances(grids, others)
        cells = np.max([one / unit for one, unit in zip(apart, self.units, strict=True)], 0)
        inside = ndimage.binary_erosion(cells_of(inside), border_value=1)
        back = _cell_frame(alignment)
        alike = [float(np.abs(grids[0] - g[0])[inside].mean()) if inside.any() else 0.0 for g in self.grids]
        return _There(
            map_to_picture(np.where(inside, cells, 0), back),
            map_to_picture(inside.astype(np.float32), back) > 0.99,
            warp_to_picture(self.images[int(np.argmin(alike))], alignment)[0],
            alignment,
        )

    def _register(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, Alignment]:
        alignment = align(image, self.images[0])
        moved, inside = warp_to_reference(image, alignment)
        return relight(moved, inside, self.images[0]), inside, alignment


def _distances(grids: Grids, others: list[Grids]) -> list[np.ndarray]:
    """Per kind of grid: (r, c) distance to the nearest of the others' cells at the same place or beside it."""
    found = []
    for kind, grid in enumerate(grids):
        rows, columns = grid.shape[:2]
        best = np.full((rows, columns), np.inf, np.float32)
        for other in others:
            wide = np.pad(other[kind], ((1, 1), (1, 1), (0, 0)), mode="edge")
            for y in range(3):
                for x in range(3):
                    step = wide[y : y + rows, x : x + columns] - grid
                    np.minimum(best, np.einsum("rcd,rcd->rc", step, step), out=best)
        found.append(np.sqrt(best))
    return found


def _cell_frame(alignment: Alignment) -> Alignment:
    shift = (alignment.shift[0] / CELL, alignment.shift[1] / CELL)
    return Alignment(shift, alignment.turn, alignment.scale, alignment.correlation, alignment.before)


def vary(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A copy as a camera might see the same part again: moved by a pixel or two, re-lit, noisy."""
    dy, dx = rng.uniform(-COPY_SHIFT, COPY_SHIFT, 2)
    light = 1 + rng.uniform(-COPY_LIGHT, COPY_LIGHT)
    moved = ndimage.shift(image.astype(np.float32), (dy, dx, 0), order=1, mode="nearest")
    noisy = moved * light + rng.normal(0, COPY_NOISE, image.shape)
    return np.asarray(np.clip(np.rint(noisy), 0, 255), np.uint8)


def relight(image: np.ndarray, inside: np.ndarray, reference: np.ndarray) -> np.ndarray:
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
    return np.asarray(np.clip(np.rint(lit), 0, 255), np.uint8)
