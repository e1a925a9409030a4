"""The desk all findings go over: how a score becomes a verdict, what every Result carries, where files are written.

Files of a sample are not synced one by one, which would take longer than judging it: its line in results.jsonl is, and
a file that a power cut emptied is noticed when the run goes on.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from looktwice import __version__
from looktwice.calibration import Calibration
from looktwice.records import Prediction, Region, Result, RuleFinding, Sample, Spec, Verdict
from looktwice.report.atomic import atomic_stream, write_atomically
from looktwice.report.overlay import blend, draw_regions

JPEG = {"quality": 90, "subsampling": 0}


@dataclass(frozen=True)
class Judge:
    """How a score becomes a verdict."""

    border: float = 0.5  # the threshold where there is no calibration
    calibration: Calibration | None = None

    def threshold(self, modality: str) -> float:
        """Return the score that parts the verdicts; raises UsageError for a modality that is not calibrated."""
        return self.border if self.calibration is None else self.calibration.threshold(modality)

    def verdict(self, score: float, modality: str) -> tuple[Verdict, float, float | None]:
        """Return the verdict, the threshold it goes by, and the p-value where there is a calibration."""
        threshold = self.threshold(modality)
        if self.calibration is None:
            return ("anomalous" if score >= threshold else "normal"), threshold, None
        verdict, p_value = self.calibration.judge(score, modality)
        return verdict, threshold, p_value


@dataclass
class Desk:
    """Where and how findings are written; without a folder they stay in memory."""

    model: str
    spec: Spec
    judge: Judge
    settings_hash: str
    folder: Path | None = None
    formats: tuple[str, ...] = ()
    references: dict[str, str] = field(default_factory=dict)  # modality -> picture of a reference, relative

    def result(
        self,
        sample: Sample,
        prediction: Prediction,
        path: str,
        judged: tuple[Verdict, float, float | None],
        *,
        notes: Sequence[str] = (),
        **found: Any,
    ) -> Result:
        """Put a Result together from what is known of the sample, the answer, and what was found."""
        verdict, threshold, p_value = judged
        return Result(
            id=sample.id,
            path=path,
            modality=sample.modality,
            model=self.model,
            score=prediction.score,
            verdict=verdict,
            threshold=threshold,
            p_value=p_value,
            explanation=prediction.explanation,
            rules=self._rules(prediction),
            seconds=prediction.seconds,
            notes=(*sample.notes, *notes),
            evidence=prediction.evidence,
            size=sample.size,
            sha256=sample.sha256,
            settings_hash=self.settings_hash,
            version=__version__,
            **found,
        )

    def pictures(
        self,
        sample: Sample,
        picture: np.ndarray,
        values: np.ndarray,
        regions: Sequence[Region] = (),
        scale: tuple[float, float] = (1.0, 1.0),
    ) -> dict[str, str]:
        """Write what was looked at, its heat and both together; name the reference, which is one file per run."""
        files = {
            "picture": self.jpeg(f"pictures/{sample.id}.jpg", picture),
            "heat": self.png8(f"heat/{sample.id}.png", values),
            "overlay": self.jpeg(f"overlays/{sample.id}.jpg", draw_regions(blend(picture, values), regions, scale)),
        }
        if sample.modality in self.references:
            files["reference"] = self.references[sample.modality]
        return files

    def jpeg(self, name: str, pixels: np.ndarray) -> str:
        """Write (H, W, 3) uint8; returns the name."""
        return self._image(name, Image.fromarray(np.ascontiguousarray(pixels)), "JPEG", **JPEG)

    def png8(self, name: str, values: np.ndarray) -> str:
        """Write (H, W) in [0, 1] as 8-bit grey; returns the name."""
        grey = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
        return self._image(name, Image.fromarray(grey), "PNG", compress_level=1)

    def png16(self, name: str, values: np.ndarray) -> str:
        """Write (H, W) in [0, 1] as 16-bit grey; returns the name."""
        grey = np.rint(np.clip(values, 0, 1) * 65535).astype(np.uint16)
        return self._image(name, Image.fromarray(grey), "PNG", compress_level=1)

    def npy(self, name: str, values: np.ndarray) -> str:
        """Write an array; returns the name."""
        with atomic_stream(self._place(name), sync=False) as stream:
            np.save(stream, values, allow_pickle=False)
        return name

    def _rules(self, prediction: Prediction) -> tuple[RuleFinding, ...]:
        judged = prediction.explanation.rules if prediction.explanation else {}
        unread = f"{self.model} measures pictures and cannot read rules"
        return tuple(
            judged.get(rule.id, RuleFinding(id=rule.id, text=rule.text, verdict="not judged", reason=unread))
            for rule in self.spec.rules
        )

    def _image(self, name: str, picture: Image.Image, kind: str, **options: Any) -> str:
        content = io.BytesIO()
        picture.save(content, kind, **options)
        write_atomically(self._place(name), content.getvalue(), sync=False)
        return name

    def _place(self, name: str) -> Path:
        assert self.folder is not None, "findings are written only where there is a folder"
        return self.folder / name
