"""memory: how far each patch is from the nearest normal patch of the references. No weights.

Filter-bank features of small patches (`features.py`) are compared with those of the references in two ways:
without knowing their place (nearest neighbour in a bank, the idea of PatchCore, Roth et al., CVPR 2022, on
features that need no training), and, when the picture can be registered to the references, place by place
(the idea of PaDiM, Defard et al., ICPR 2020, with a tolerance per place). The detector decides by itself,
from the correlation after alignment, and reports it. Distances are put on one scale by judging each
reference by the others (or, of a single one, slightly moved, re-lit, noisy copies by itself), so that a score of
0.5 lies above what normal parts show.

Letters: R references, r c rows and columns of cells, D features, h w pixels of a working picture.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from looktwice import modalities
from looktwice.detectors.alignment import Alignment, align, map_to_picture, warp_to_picture, warp_to_reference
from looktwice.detectors.cells import cells_of, cells_shown, enlarge, shrink, squash, strength, to_view
from looktwice.detectors.coreset import Coreset
from looktwice.detectors.features import CELL, filter_bank, neighbourhood
from looktwice.detectors.neighbours import nearest
from looktwice.detectors.protocol import reference_views
from looktwice.detectors.variation import vary
from looktwice.errors import NoReferences
from looktwice.records import Prediction, Spec, Views
from looktwice.settings import Settings

NOISE = 0.006  # of full scale, some one and a half grey levels: feature differences below it carry no weight
BUFFER = 16  # views that decide the feature scales; later ones stream through
KEPT = 24  # at most twice as many views, spread evenly over all, decide the levels
FEW = 0.6  # the margin is wider by this over the references of a pose: few show little of what is normal
ALONE = 4.0  # times wider is the margin where one reference is all there is: its copies vary less than parts do
POSED = 24  # references kept for one pose: more cost time and hardly widen the tolerance
ODD = 2.0  # times the middle strength of normal parts: a stronger one is odd and counts no more than this
COPIES = 3  # moved, re-lit, noisy copies per reference, where one or two are all there is
LOCAL = 0.6  # how far the unit of a place is its own rather than the picture's
LIGHT = 0.2  # relative change of light that is evened out; more is a finding
BANK_CELLS, PLACE_CELLS = 3, 5  # neighbourhoods a patch is averaged over, in the bank and place by place


class MemoryConfig(BaseModel):
    """What can be set with --option."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(512, ge=64, le=4096, description="longest side at which patches are compared, pixels")
    bank: int = Field(8_000, ge=100, description="patches kept in the bank; more are thinned to a coreset")
    register_above: float = Field(0.6, ge=0, le=1, description="correlation from which a picture counts as registered")
    margin: float = Field(1.06, gt=0, description="times the level of normal parts at which the score is 0.5")


@dataclass(frozen=True)
class _View:
    """One reference view at working size."""

    name: str  # empty where poses are not comparable
    source: int  # which reference it came from: it must not vouch for itself
    image: np.ndarray  # (h, w, 3) uint8
    shown: np.ndarray  # (r, c) bool
    copy: bool = False  # a retake: widens what is normal, but judges nothing

    @cached_property
    def features(self) -> np.ndarray:
        """(r, c, D), computed once: scales, bank, poses and levels all ask for them."""
        return filter_bank(self.image)


class Memory:
    """Few-shot detector without weights: needs references, localises, does not talk."""

    Config = MemoryConfig

    def __init__(self, config: MemoryConfig | None = None) -> None:
        self.config = config or MemoryConfig()

    def fit(self, spec: Spec, settings: Settings | None = None) -> FittedMemory:
        """Look once at the references; raises NoReferences when the sheet names none, BadFile."""
        if not spec.references:
            raise NoReferences("memory compares with normal samples and the sheet names none: add --reference FILE")
        return FittedMemory(self.config, self._views(spec, settings))

    def _views(self, spec: Spec, settings: Settings | None) -> Iterator[_View]:
        samples: dict[tuple[str, str], int] = {}
        for part, (sample, views) in enumerate(reference_views(spec, settings)):
            # a single long video is its own only witness: its stretches judge each other
            source = part if len(spec.references) == 1 else samples.setdefault((sample.id, sample.sha256), len(samples))
            yield from self._each(views, source)
            for copy in modalities.retakes(sample, part, len(spec.references), settings):
                if copy.names == views.names:  # another way of looking cannot be compared place by place
                    yield from self._each(copy, source, copy=True)

    def _each(self, views: Views, source: int, copy: bool = False) -> Iterator[_View]:
        for i, name in enumerate(views.names):
            image = shrink(views.images[i], self.config.size)
            yield _View(name if views.posed else "", source, image, cells_shown(views, i, image), copy)


class FittedMemory:
    """The references, looked at once."""

    def __init__(self, config: MemoryConfig, views: Iterator[_View]) -> None:
        self.config = config
        self.bank = Coreset(config.bank)
        self.poses: dict[str, _Pose] = {}
        some = _Evenly(KEPT)
        with _pool() as pool:
            chunk = list(itertools.islice(views, BUFFER))
            list(pool.map(lambda view: view.features, chunk))
            self.scale = _Scale([view for view in chunk if not view.copy])
            while chunk:
                self._add(chunk, some, pool)
                chunk = list(itertools.islice(views, BUFFER))
            list(pool.map(_Pose.settle, self.poses.values()))
            self.alone = len(set(self.bank.tags.tolist())) < 2
            self.levels = self._levels(some.kept, pool)
        poses = len({view.name for view in some.kept})
        self.margin = config.margin * (ALONE if self.alone else 1 + FEW * poses / len(some.kept))

    def _add(self, views: list[_View], some: _Evenly, pool: ThreadPoolExecutor) -> None:
        """Take in some views; poses know nothing of each other and are seen to at the same time."""
        posed = [view for view in views if view.name]
        for view in posed:
            self.poses.setdefault(view.name, _Pose(self.scale, self.config.register_above))
        adding = [pool.submit(pose.add, [v for v in posed if v.name == name]) for name, pose in self.poses.items()]
        for view in views:
            if not view.copy:
                self.bank.add(self.scale.patches(view.features)[_thinned(view.shown)], view.source)
                some.add(view)
        for one in adding:
            one.result()

    def predict(self, batch: Sequence[Views]) -> list[Prediction]:
        """Judge each Views by its own; the rest of the batch changes nothing."""
        return [self._predict(views) for views in batch]

    def _predict(self, views: Views) -> Prediction:
        start = time.perf_counter()
        with _pool() as pool:
            looks = list(pool.map(lambda i: self._look(views, i), range(len(views.images))))
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
        pose = self.poses.get(views.names[i]) if views.posed else None
        there = pose.compare(image, shown) if pose else None
        if there is None:
            cells = self._anywhere(filter_bank(image), shown, None) / self.levels["anywhere"]
            words = "not registered: compared with the references wherever they match best"
            return _Look(cells, strength(cells, shown), None, words)
        cells = there.cells / self.levels["placed"]
        outside = shown & ~there.inside
        if outside.any():  # cells that left the references' frame have no counterpart there
            elsewhere = self._anywhere(filter_bank(image), outside, None)
            cells = np.where(outside, elsewhere / self.levels["anywhere"], cells)
        return _Look(
            cells, strength(cells, outside | there.judged), there.expected, f"registered: {there.alignment.words()}"
        )

    def _anywhere(self, features: np.ndarray, where: np.ndarray, without: int | None) -> np.ndarray:
        """(r, c) distance of each cell's patch to the bank, optionally without the rows of one source."""
        cells = np.zeros(where.shape, np.float32)
        rows = self.bank.rows if without is None else self.bank.without(without)
        if where.any() and len(rows):
            cells[where] = nearest(self.scale.patches(features)[where], rows)[0][:, 0]
        return cells

    def _levels(self, views: list[_View], pool: ThreadPoolExecutor) -> dict[str, float]:
        """How strong normal parts come out, for either way of comparing: the unit of all scores.

        A part is as strong as its strongest view, so each reference counts once, whatever its views.
        """
        found: dict[str, dict[tuple[int, int], float]] = {"anywhere": {}, "placed": {}}
        for view, judged in zip(views, pool.map(self._judge_copies if self.alone else self._judge, views), strict=True):
            for trial, (way, value) in judged:
                strongest = found[way].get((view.source, trial), 0.0)
                found[way][view.source, trial] = max(value, strongest)
        return {way: _level(list(parts.values())) for way, parts in found.items()}

    def _judge(self, view: _View) -> list[tuple[int, tuple[str, float]]]:
        """Strengths of a reference as the others see it."""
        pose = self.poses.get(view.name)
        there = pose.compare_own(view) if pose else None
        return [(0, one) for one in self._strengths(view.features, view.shown, view.source, there)]

    def _judge_copies(self, view: _View) -> list[tuple[int, tuple[str, float]]]:
        """Strengths of copies of a reference that has no others: all that is known of how parts vary."""
        rng = np.random.default_rng(0)
        found = []
        for trial in range(COPIES):
            image = vary(view.image, rng)
            pose = self.poses.get(view.name)
            there = pose.compare(image, view.shown) if pose else None
            found += [(trial, one) for one in self._strengths(filter_bank(image), view.shown, None, there)]
        return found

    def _strengths(
        self, features: np.ndarray, shown: np.ndarray, without: int | None, there: _There | None
    ) -> Iterator[tuple[str, float]]:
        yield "anywhere", strength(self._anywhere(features, shown, without), shown)
        if there is not None:
            yield "placed", strength(there.cells, there.judged)


@dataclass(frozen=True)
class _Look:
    cells: np.ndarray  # (r, c) in units of the normal level
    score: float  # the same unit
    expected: np.ndarray | None  # (h, w, 3) uint8
    words: str


def _level(strengths: list[float]) -> float:
    """The highest of a few, a high quantile of many; one odd reference must not blind the detector."""
    if not strengths:
        return 1.0
    high = float(np.quantile(strengths, 0.9 if len(strengths) > 10 else 1.0))
    return max(min(high, ODD * float(np.median(strengths))), 1e-3)


def _thinned(shown: np.ndarray) -> np.ndarray:
    """(r, c) the shown cells on the black squares of a chess board: one left out overlaps the four beside it."""
    black = shown & (np.indices(shown.shape).sum(0) % 2 == 0)
    return black if black.any() else shown


def _pool() -> ThreadPoolExecutor:
    """One thread per core: NumPy, SciPy and Pillow let each other run."""
    return ThreadPoolExecutor(os.cpu_count() or 1)


class _Evenly:
    """Keep some of a stream of unknown length, evenly spread: every n-th, n doubling when there are too many."""

    def __init__(self, many: int) -> None:
        self.many, self.step, self.count = many, 1, 0
        self.kept: list[_View] = []

    def add(self, view: _View) -> None:
        if self.count % self.step == 0:
            self.kept.append(view)
            if len(self.kept) > 2 * self.many:
                self.kept, self.step = self.kept[::2], self.step * 2
        self.count += 1


Grids = tuple[np.ndarray, ...]  # one picture's cells alone, and averaged over their neighbourhood; (r, c, D) each


class _Scale:
    """How much each feature varies over normal patches: what a difference is measured in.

    Each feature by its own spread: mixing directions (whitening) drowns a fine defect in texture.
    """

    def __init__(self, views: list[_View]) -> None:
        alone = [view.features for view in views]
        self.alone = _unit(alone, views)
        self.around = _unit([neighbourhood(one, PLACE_CELLS) for one in alone], views)
        self.bank = _unit([neighbourhood(one, BANK_CELLS) for one in alone], views)

    def patches(self, features: np.ndarray) -> np.ndarray:
        """(r, c, D) features -> patches for the bank."""
        return np.asarray(neighbourhood(features, BANK_CELLS) * self.bank)

    def grids(self, features: np.ndarray) -> Grids:
        """(r, c, D) features of a picture -> its cells alone, and averaged over their neighbourhood."""
        return features * self.alone, neighbourhood(features, PLACE_CELLS) * self.around


def _unit(grids: list[np.ndarray], views: list[_View]) -> np.ndarray:
    """(D,) one over the spread of each feature over the shown cells, or over all where nothing is shown."""
    shown = [grid[view.shown] for grid, view in zip(grids, views, strict=True)]
    rows = np.concatenate(shown)
    if not len(rows):
        rows = np.concatenate([grid.reshape(-1, grid.shape[-1]) for grid in grids])
    return np.asarray(1 / (rows.std(0, dtype=np.float64) + NOISE), np.float32)


@dataclass(frozen=True)
class _There:
    cells: np.ndarray  # (r, c) distance place by place, in the picture's frame
    inside: np.ndarray  # (r, c) bool: where the references reach
    judged: np.ndarray  # (r, c) bool: inside, and shown here or in a reference: a missing piece counts
    expected: np.ndarray  # (h, w, 3) uint8 nearest reference, in the picture's frame
    alignment: Alignment


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
        self.copies: list[bool] = []
        self.alignments: dict[int, Alignment] = {}  # of each source
        self.shown = np.zeros((0, 0), bool)  # (r, c) where some reference shows the thing
        self.pairs: dict[tuple[int, int], Grids] = {}  # (r, c) distances of reference i to j; of its copies to i, i
        self._units: dict[int | None, list[np.ndarray]] = {}

    def add(self, views: list[_View]) -> None:
        """Take in more references, those that can be registered to the first."""
        for view in views:
            self._add(view)

    def _add(self, view: _View) -> None:
        image = view.image
        if not self.images:
            self.shown = view.shown
            self.alignments[view.source] = Alignment((0.0, 0.0), 0.0, 1.0, 1.0, 1.0)
        else:
            if len(self.images) == POSED or not self.fits(image):
                return
            if view.copy and view.source not in self.sources:
                return  # a copy widens what its original shows, it does not stand for it
            # a copy lies near its original: a search would cost most of the time of fitting
            image, _, alignment = self._register(image, near=self.alignments[view.source] if view.copy else None)
            if alignment.correlation < self.above:
                return
            self.alignments.setdefault(view.source, alignment)
            self.shown = self.shown | _moved(view.shown, alignment)
        self.images.append(image)
        self.sources.append(view.source)
        self.copies.append(view.copy)
        self.grids.append(self.scale.grids(view.features if image is view.image else filter_bank(image)))

    def settle(self) -> None:
        """Learn how much normal parts differ at each place: from each other, or, of one or two, from their copies."""
        rng = np.random.default_rng(0)
        several = len(set(self.sources)) >= 3
        for i, image in enumerate(self.images):
            if not several:
                copies = [self._register(vary(image, rng))[0] for _ in range(COPIES)]
                apart = [distances(self.scale.grids(filter_bank(copy)), [self.grids[i]]) for copy in copies]
                self.pairs[i, i] = tuple(np.max(kind, 0) for kind in zip(*apart, strict=True))
            elif not self.copies[i]:
                for j, source in enumerate(self.sources):
                    if source != self.sources[i]:
                        self.pairs[i, j] = distances(self.grids[i], [self.grids[j]])

    def units(self, without: int | None) -> list[np.ndarray]:
        """Per kind of grid: (r, c) what normal parts show, as known without one source."""
        if without not in self._units:
            left = [i for i, source in enumerate(self.sources) if source != without]
            self._units[without] = [self._unit(kind, left) for kind in range(2)]
        return self._units[without]

    def _unit(self, kind: int, left: list[int]) -> np.ndarray:
        """(r, c) the most that any of the parts left differs from the nearest of the others."""
        apart = []
        for i in left:
            others = [self.pairs[i, j][kind] for j in left if (i, j) in self.pairs]
            if others:
                apart.append(np.min(others, 0))
        spread = ndimage.gaussian_filter(ndimage.maximum_filter(np.max(apart, 0), 3), 1.0)
        middle = float(np.median(spread[self.shown] if self.shown.any() else spread))
        return np.asarray((1 - LOCAL) * middle + LOCAL * spread + 1e-3, np.float32)

    def fits(self, image: np.ndarray) -> bool:
        """Whether a picture has the size of this pose's references."""
        return image.shape == self.images[0].shape

    def compare(self, image: np.ndarray, shown: np.ndarray) -> _There | None:
        """Compare place by place; None when the picture cannot be registered."""
        if not self.fits(image):
            return None
        moved, inside, alignment = self._register(image)
        if alignment.correlation < self.above:
            return None
        return self._there(self.scale.grids(filter_bank(moved)), shown, inside, alignment, None)

    def compare_own(self, view: _View) -> _There | None:
        """Compare a reference with those of other sources; None when it is not among these or there are none."""
        alignment = self.alignments.get(view.source)
        if alignment is None or len(set(self.sources)) < 2:
            return None
        _, inside = warp_to_reference(view.image, alignment)
        return self._there(self.grids[self.sources.index(view.source)], view.shown, inside, alignment, view.source)

    def _there(
        self, grids: Grids, shown: np.ndarray, inside: np.ndarray, alignment: Alignment, without: int | None
    ) -> _There:
        left = [i for i, source in enumerate(self.sources) if source != without]
        apart = distances(grids, [self.grids[i] for i in left])
        cells = np.max([one / unit for one, unit in zip(apart, self.units(without), strict=True)], 0)
        inside = ndimage.binary_erosion(cells_of(inside), border_value=1)
        back = _cell_frame(alignment)
        alike = [float(np.abs(grids[0] - self.grids[i][0])[inside].mean()) if inside.any() else 0.0 for i in left]
        reach = map_to_picture(inside.astype(np.float32), back) > 0.99
        return _There(
            map_to_picture(np.where(inside, cells, 0).astype(np.float32), back),
            reach,
            reach & (shown | (map_to_picture(self.shown.astype(np.float32), back) > 0.5)),
            warp_to_picture(self.images[left[int(np.argmin(alike))]], alignment)[0],
            alignment,
        )

    def _register(self, image: np.ndarray, near: Alignment | None = None) -> tuple[np.ndarray, np.ndarray, Alignment]:
        alignment = align(image, self.images[0], near)
        moved, inside = warp_to_reference(image, alignment)
        moved = relight(moved, inside, self.images[0])
        # where the picture does not reach, nothing differs: a made-up border would leak into the cells beside it
        return np.where(inside[..., None], moved, self.images[0]), inside, alignment


def _moved(shown: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Carry shown cells (r, c) of a picture to the reference's frame."""
    frame = _cell_frame(alignment)
    drawn, _ = warp_to_reference(np.repeat(shown[..., None], 3, 2).astype(np.uint8) * 255, frame)
    return np.asarray(drawn[..., 0] > 127)


def distances(grids: Grids, others: list[Grids]) -> Grids:
    """Per kind of grid: (r, c) distance to the nearest of the others' cells at the same place or beside it."""
    found = []
    for kind, grid in enumerate(grids):
        rows, columns = grid.shape[:2]
        best = np.full((rows, columns), np.inf, np.float32)
        step, square = np.empty_like(grid), np.empty_like(best)
        for other in others:
            wide = np.pad(other[kind], ((1, 1), (1, 1), (0, 0)), mode="edge")
            for y in range(3):
                for x in range(3):
                    np.subtract(wide[y : y + rows, x : x + columns], grid, out=step)
                    np.einsum("rcd,rcd->rc", step, step, out=square)
                    np.minimum(best, square, out=best)
        found.append(np.sqrt(best))
    return tuple(found)


def _cell_frame(alignment: Alignment) -> Alignment:
    shift = (alignment.shift[0] / CELL, alignment.shift[1] / CELL)
    return Alignment(shift, alignment.turn, alignment.scale, alignment.correlation, alignment.before)


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
