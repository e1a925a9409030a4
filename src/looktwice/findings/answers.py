"""What a detector answered: checked before anything is made of it, and filled in where it left something out.

Letters: V views, h w pixels of a view.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from looktwice.errors import LookTwiceError
from looktwice.records import Prediction, Views

Answers = Iterable[tuple[Views, Prediction]]


class BadAnswer(LookTwiceError):
    """A detector that failed, or whose answer does not fit what it was shown."""

    kind = "detector"


def check_answer(model: str, views: Views, answer: object) -> Prediction:
    """Return the answer if it fits the views; raises BadAnswer that says what does not."""
    if not isinstance(answer, Prediction):
        raise BadAnswer(f"{model} answered with {type(answer).__name__}, not with a Prediction")
    shape = views.images.shape
    for what, array, wanted in (
        ("anomaly_map", answer.anomaly_map, shape[:3]),
        ("expected", answer.expected, shape),
    ):
        if array is not None and array.shape != wanted:
            raise BadAnswer(f"{model} gave {what} of shape {array.shape}, the views need {wanted}")
    if answer.expected is not None and answer.expected.dtype != np.uint8:
        raise BadAnswer(f"{model} gave expected pictures of {answer.expected.dtype}, they must be uint8")
    each = answer.view_scores
    if each is not None and (len(each) != shape[0] or not all(0 <= score <= 1 for score in each)):
        raise BadAnswer(f"{model} gave view_scores {each[:9]}, expected {shape[0]} numbers in [0, 1]")
    for name, value in answer.evidence.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise BadAnswer(f"{model} gave the evidence {name} = {value}, it must be finite")
    return answer


def maps_of(views: Views, prediction: Prediction) -> np.ndarray:
    """(V, h, w) float32. A detector without a map says the same of every pixel that shows the thing."""
    if prediction.anomaly_map is not None:
        return np.asarray(prediction.anomaly_map)
    shown = np.ones(views.images.shape[:3], bool) if views.shown is None else np.asarray(views.shown)
    scores = np.array(view_scores(views, prediction), np.float32)
    return np.asarray(shown * scores[:, None, None], np.float32)


def view_scores(views: Views, prediction: Prediction) -> Sequence[float]:
    """(V,) the score of each view; a detector that gives only one says it of all."""
    return prediction.view_scores or [prediction.score] * len(views.images)


def cut_level(values: np.ndarray, threshold: float, verdict: str) -> float:
    """Where a map is cut into regions: the threshold, or, where the map stays below it, near its own maximum."""
    if verdict == "normal" or not np.isfinite(values).any():
        return threshold
    highest = float(np.nanmax(values))
    return threshold if highest >= threshold or highest <= 0 else 0.9 * highest
