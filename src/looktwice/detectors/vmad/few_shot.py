"""VMAD with references: a patch is as anomalous as it is unlike every patch of the normal pictures.

The paper's observation (normal patches have many look-alikes among normal samples) used when inspecting, which is our
addition: where a sheet names references, the visual backbone's patches of them are the normal features. A patch counts
1 - its highest cosine to any of them, measured in what normal pictures show among themselves.

Letters: R references, r side of the grid of cells, C channels, S side of the visual square, H W pixels of a view.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from looktwice.backbones import sam
from looktwice.detectors.cells import squash, strength
from looktwice.detectors.coreset import Coreset
from looktwice.detectors.neighbours import nearest
from looktwice.detectors.protocol import reference_views
from looktwice.detectors.variation import vary
from looktwice.detectors.vmad.dssl import is_valid, patch_embeddings
from looktwice.detectors.vmad.model import VmadModel
from looktwice.detectors.vmad.processing import Framed, VmadProcessor, grid_cells
from looktwice.records import Spec
from looktwice.settings import Settings

GRID = 32  # cells of a side, at most; SAM's features have 64
COPIES = 3  # varied copies per reference that say what is normal where one or two references are all there is
JUDGED = 24  # references that decide the level, at most
FLOOR = 0.01  # lowest level, of 1 - cosine: identical references must not make everything anomalous
MARGIN = 1.5  # times the level of normal pictures at which the score is 0.5


@dataclass(frozen=True)
class Patches:
    """Patches of one picture."""

    rows: np.ndarray  # (r * r, C) float32, unit length
    counts: np.ndarray  # (r, r) bool: whether a cell shows the thing


class NormalPatches:
    """Patches of the references, looked at once."""

    def __init__(
        self, model: VmadModel, processor: VmadProcessor, spec: Spec, settings: Settings | None, bank: int
    ) -> None:
        self.model, self.processor = model, processor
        self.bank = Coreset(bank)
        first: list[tuple[int, np.ndarray, np.ndarray | None]] = []
        for source, (_, views) in enumerate(reference_views(spec, settings)):
            for i, image in enumerate(views.images):
                shown = None if views.shown is None else views.shown[i]
                patches = self._look(image, shown)
                self.bank.add(patches.rows[patches.counts.reshape(-1)], source)
                if len(first) < JUDGED:
                    first.append((source, image, shown))
        self.level = max(FLOOR, self._level(first))

    def judge(self, features: Tensor, framed: Framed, shown: np.ndarray | None) -> tuple[float, np.ndarray]:
        """Score in [0, 1) and map (H, W) of a picture whose features (C, h, w) are there already."""
        patches = patches_of(features, framed, shown, self.processor.config.visual_size)
        cells = self._distances(patches, self.bank.rows) / self.level
        squashed = torch.from_numpy(squash(cells, MARGIN).astype(np.float32))
        wide = sam.postprocess_masks(squashed[None, None], framed.shown, framed.size, self.processor.config.visual_size)
        return squash(strength(cells, patches.counts), MARGIN), wide[0, 0].numpy()

    def _look(self, image: np.ndarray, shown: np.ndarray | None) -> Patches:
        framed = self.processor.frame(image)
        features = self.model.encode_visual(framed.visual[None].to(self.model.device))[0]
        return patches_of(features, framed, shown, self.processor.config.visual_size)

    def _level(self, references: list[tuple[int, np.ndarray, np.ndarray | None]]) -> float:
        """How strong normal pictures come out: judged by the other references; of one or two, their copies by all."""
        rng = np.random.default_rng(0)
        several = len(set(self.bank.tags.tolist())) > 2
        found = [0.0]
        for source, image, shown in references:
            rows = self.bank.without(source) if several else self.bank.rows
            for again in [image] if several else [vary(image, rng) for _ in range(COPIES)]:
                patches = self._look(again, shown)
                found.append(strength(self._distances(patches, rows), patches.counts))
        return max(found)

    def _distances(self, patches: Patches, rows: np.ndarray) -> np.ndarray:
        """(r, r) of 1 - the highest cosine, 0 where a cell does not count."""
        cells = np.zeros(patches.counts.shape, np.float32)
        wanted = patches.rows[patches.counts.reshape(-1)]
        if len(wanted) and len(rows):
            cells[patches.counts] = nearest(wanted, rows)[0][:, 0] ** 2 / 2  # of unit vectors
        return cells


def patches_of(features: Tensor, framed: Framed, shown: np.ndarray | None, side: int) -> Patches:
    """Patches of features (C, h, w) on an even grid over the visual square; shown: (H, W) bool, or None for all."""
    r = min(GRID, features.shape[-1])
    cells = grid_cells(torch.linspace(0, 1, r + 1), (0.0, 0.0, float(side), float(side)), framed.shown)
    counts = is_valid(cells).view(r, r).numpy()
    if shown is not None:
        counts = counts & _mostly(shown, framed.shown, side, r)
    scaled = (cells * (features.shape[-1] / side)).to(features.device)
    rows = patch_embeddings(features[None].float(), scaled[None])[0]
    return Patches(rows.cpu().numpy(), counts)


def _mostly(shown: np.ndarray, size: tuple[int, int], side: int, r: int) -> np.ndarray:
    """(r, r) bool: cells of whose part inside the picture more than half shows the thing."""
    inside = F.interpolate(torch.from_numpy(shown.astype(np.float32))[None, None], size, mode="area")
    both = torch.cat([inside, torch.ones_like(inside)])
    shares = F.adaptive_avg_pool2d(F.pad(both, (0, side - size[1], 0, side - size[0])), r)[:, 0]
    return (shares[0] > 0.5 * shares[1]).numpy()
