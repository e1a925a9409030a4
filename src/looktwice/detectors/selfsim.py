"""selfsim: how few look-alikes each patch has in the same picture (or video). No references, no weights.

A defect is rare, the normal surface repeats: each patch is compared with the patches elsewhere in the same
thing, and its distance to the k-th nearest is its anomaly (the idea of Davy et al., "Reducing anomaly detection
in images to detection in noise", ICIP 2018, and of MuSc, Li et al., ICLR 2024, inside one picture). Good for textures, repeated structure and videos of
like parts; bad where a normal feature stands alone (a logo, one hole) and where the defect repeats.

Letters: V views, r c rows and columns of cells, D features.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from looktwice.detectors.cells import cells_shown, shrink
from looktwice.detectors.features import filter_bank, neighbourhood
from looktwice.records import Prediction, Spec, Views
from looktwice.settings import Settings

NOISE = 0.003  # of full scale: feature differences below it carry no weight
APART = 5  # cells: nearer patches overlap and are no witnesses for each other
STRIDE = 3  # every third row and column of cells is a witness


class SelfSimConfig(BaseModel):
    """What can be set with --option."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(512, ge=64, le=4096, description="longest side at which patches are compared, pixels")
    alike: int = Field(
        3, ge=1, le=50, description="which nearest look-alike counts: higher forgives repeated defects less"
    )
    margin: float = Field(2.0, gt=0, description="times the picture's own level at which the score is 0.5")


class SelfSim:
    """Zero-shot detector without weights: localises, does not talk."""

    def __init__(self, config: SelfSimConfig | None = None) -> None:
        self.config = config or SelfSimConfig()

    def fit(self, spec: Spec, settings: Settings | None = None) -> SelfSim:
        """Nothing to learn: the sheet's words and references are not used."""
        return self

    def predict(self, batch: Sequence[Views]) -> list[Prediction]:
        """Judge each Views by itself (and its context)."""
        return [self._predict(views) for views in batch]

    def _predict(self, views: Views) -> Prediction:
        start = time.perf_counter()
        images = [shrink(image, self.config.size) for image in views.images]
        shown = [cells_shown(views, i, image) for i, image in enumerate(images)]
        grids = [neighbourhood(filter_bank(image)) for image in images]
        others = () if views.context is None else views.context
        context = [neighbourhood(filter_bank(shrink(image, self.config.size))) for image in others]
