"""selfsim: how few look-alikes each patch has in the same picture (or video). No references, no weights.

A defect is rare, the normal surface repeats: each patch is compared with the patches elsewhere in the same
thing, and its distance to the k-th nearest is its anomaly (the idea of Davy et al., "Reducing anomaly detection
in images to detection in noise", ICIP 2018, and of MuSc, Li et al., ICLR 2024, inside one sample). Each feature
is measured in its own spread over the thing itself, so that distances are in units of its own variation. Good
for textures, repeated structure and videos of like parts; bad where a normal feature stands alone (a logo,
one hole): it is as rare as a defect.

Letters: V views, C context pictures, r c rows and columns of cells, D features, N cells, W witnesses.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from looktwice.detectors.cells import cells_shown, shrink, squash, strength, to_view
from looktwice.detectors.features import filter_bank, neighbourhood
from looktwice.detectors.neighbours import nearest
from looktwice.records import Prediction, Spec, Views
from looktwice.settings import Settings

NOISE = 0.006  # of full scale, some one and a half grey levels: feature differences below it carry no weight
CELLS = 3  # neighbourhood a patch is averaged over
APART = 5  # cells: nearer patches overlap and are no witnesses for each other
STRIDE = 3  # every third row and column of cells is a witness
BESIDE = (2 * APART // STRIDE + 1) ** 2  # witnesses that can lie nearer than APART, at most
WITNESSES = 20_000  # at most; more are thinned evenly


class SelfSimConfig(BaseModel):
    """What can be set with --option."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(512, ge=64, le=4096, description="longest side at which patches are compared, pixels")
    alike: int = Field(3, ge=1, le=50, description="the how-manieth look-alike counts: more also find repeated defects")
    margin: float = Field(6.4, gt=0, description="spreads of the features at which the score is 0.5")


class SelfSim:
    """Zero-shot detector without weights: localises, does not talk."""

    Config = SelfSimConfig

    def __init__(self, config: SelfSimConfig | None = None) -> None:
        self.config = config or SelfSimConfig()

    def fit(self, spec: Spec, settings: Settings | None = None) -> SelfSim:
        """Return itself: the sheet's words and references are not used."""
        return self

    def predict(self, batch: Sequence[Views]) -> list[Prediction]:
        """Judge each Views by itself and its context; the rest of the batch changes nothing."""
        return [self._predict(views) for views in batch]

    def _predict(self, views: Views) -> Prediction:
        start = time.perf_counter()
        images = [shrink(image, self.config.size) for image in views.images]
        shown = [cells_shown(views, i, image) for i, image in enumerate(images)]
        grids = [_patches(image) for image in images]
        around = [] if views.context is None else list(views.context)
        pool = grids + [_patches(shrink(image, self.config.size)) for image in around]
        everywhere = np.ones(pool[-1].shape[:2], bool)
        cells = self._rarity(grids, shown, pool, shown + [everywhere] * len(around))
        scores = tuple(
            squash(strength(one, where), self.config.margin) for one, where in zip(cells, shown, strict=True)
        )
        maps = np.stack([to_view(squash(one, self.config.margin), views.images.shape[1:3]) for one in cells])
        if views.shown is not None:
            maps = np.where(views.shown, maps, 0).astype(np.float32)
        seconds = time.perf_counter() - start
        return Prediction(score=max(scores), anomaly_map=maps, view_scores=scores, seconds=seconds)

    def _rarity(
        self, grids: list[np.ndarray], shown: list[np.ndarray], pool: list[np.ndarray], where: list[np.ndarray]
    ) -> list[np.ndarray]:
        """(r, c) per view: distance of each shown cell to its k-th look-alike in the pool, 0 without one."""
        rows = np.concatenate([grid[mask] for grid, mask in zip(pool, where, strict=True)])
        if len(rows) < 2:
            return [np.zeros(grid.shape[:2], np.float32) for grid in grids]
        unit = (1 / (rows.std(0, dtype=np.float64) + NOISE)).astype(np.float32)
        bank, places = _witnesses(pool, where)
        bank *= unit
        found = []
        for view, (grid, mask) in enumerate(zip(grids, shown, strict=True)):
            cells = np.zeros(mask.shape, np.float32)
            if mask.any():
                cells[mask] = self._kth(grid[mask] * unit, np.argwhere(mask), view, bank, places)
            found.append(cells)
        return found

    def _kth(self, rows: np.ndarray, at: np.ndarray, view: int, bank: np.ndarray, places: np.ndarray) -> np.ndarray:
        """(N,) distance to the k-th nearest witness that is not the cell itself or beside it."""
        distances, which = nearest(rows, bank, min(self.config.alike + BESIDE, len(bank)))
        there = places[which]  # (N, k, 3): view, row, column
        beside = (there[..., 0] == view) & (np.abs(there[..., 1:] - at[:, None]).max(-1) <= APART)
        distances = np.sort(np.where(beside, np.inf, distances), 1)
        kth = distances[:, min(self.config.alike, distances.shape[1]) - 1]
        return np.where(np.isfinite(kth), kth, 0)  # a thing too small for witnesses: nothing to say


def _patches(image: np.ndarray) -> np.ndarray:
    return neighbourhood(filter_bank(image), CELLS)


def _witnesses(pool: list[np.ndarray], where: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Every STRIDE-th shown cell of the pool: features (W, D) and places (W, 3) as view, row, column."""
    rows, places = [], []
    for view, (grid, mask) in enumerate(zip(pool, where, strict=True)):
        chosen = np.zeros_like(mask)
        chosen[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE] = True
        chosen &= mask
        if not chosen.any():
            chosen = mask
        rows.append(grid[chosen])
        places.append(np.insert(np.argwhere(chosen), 0, view, axis=1))
    bank, spots = np.concatenate(rows), np.concatenate(places)
    even = np.linspace(0, len(bank) - 1, min(len(bank), WITNESSES)).round().astype(int)
    return bank[even], spots[even]
