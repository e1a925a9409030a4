"""How good a saved system is on records it was not trained on: what a user who opens the folder would get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from looktwice import detectors, modalities
from looktwice.detectors.vmad.processing import read_image, read_mask
from looktwice.errors import LookTwiceError, UsageError
from looktwice.metrics import PixelMetrics, auroc, parse_yes_no
from looktwice.modalities.image import sample_from_array
from looktwice.records import Prediction, Spec
from looktwice.training.instruct import Record, Source
from looktwice.training.sampling import Sampler


def records_of(sources: Sequence[Source], count: int) -> list[Record]:
    """The first records of sources, in their own order, every second one normal; broken ones are left out.

    Raises UsageError where a kind is missing.
    """
    Sampler(tuple(sources), 0, "balanced")  # says what is missing
    found: list[Record] = []
    for kind in ("normal", "other"):
        pools = [getattr(source, kind) for source in sources]
        wanted = count // 2
        places = [(pool, i) for i in range(wanted) for pool in pools if i < len(pool)]
        for pool, i in places[:wanted]:
            try:
                found.append(pool[i])
            except (LookTwiceError, OSError):
                continue  # training says which records are broken
    return [one for one in found if one.get("anomalous") is not None]


def judge(model: str, folder: Path, records: Sequence[Record], **options: object) -> dict[str, float]:
    """Return figures of the detector `model` opened from a folder.

    image_auroc and pixel_auroc (NaN where one kind is missing); auroc_NAME for each part of the score that the detector
    tells as a number; says_right, the share of answers whose first word is the right verdict. All in [0, 1].
    """
    if not records:
        raise UsageError("no record to judge")
    detector = detectors.load(model, weights=str(folder), **options)
    by_thing: dict[str, list[Record]] = {}
    for record in records:
        by_thing.setdefault(str(record.get("object", "")), []).append(record)
    pixels, labels, predictions = PixelMetrics(), [], []
    for thing, group in by_thing.items():
        fitted = detector.fit(Spec(object=thing))
        for record in group:
            image = read_image(record["image"])
            (views,) = modalities.views(sample_from_array(image, str(record["id"])))
            (prediction,) = fitted.predict([views])
            labels.append(bool(record["anomalous"]))
            predictions.append(prediction)
            mask = _mask(record, image)
            if mask is not None and prediction.anomaly_map is not None:
                pixels.update([views.scatter(prediction.anomaly_map)], [mask])
    return _figures(predictions, np.array(labels), pixels)


def _mask(record: Record, image: np.ndarray) -> np.ndarray | None:
    """(H, W) bool; None where it is not known."""
    if record.get("mask") is not None:
        return read_mask(record["mask"])
    return None if record["anomalous"] else np.zeros(image.shape[:2], np.bool_)


def _figures(predictions: Sequence[Prediction], labels: np.ndarray, pixels: PixelMetrics) -> dict[str, float]:
    figures = {
        "image_auroc": auroc(np.array([one.score for one in predictions]), labels),
        "pixel_auroc": float(pixels.compute()["auroc"]),
    }
    parts = [_numbers(one.evidence) for one in predictions]
    for name in sorted(set.intersection(*(set(part) for part in parts))):
        figures[f"auroc_{name}"] = auroc(np.array([part[name] for part in parts]), labels)
    said = [parse_yes_no(one.explanation.raw) if one.explanation else None for one in predictions]
    if any(one is not None for one in said):
        figures["says_right"] = float(np.mean([one is bool(label) for one, label in zip(said, labels, strict=True)]))
    return figures


def _numbers(evidence: Mapping[str, float | str]) -> dict[str, float]:
    return {name: float(value) for name, value in evidence.items() if not isinstance(value, str)}
