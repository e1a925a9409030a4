"""Means over the classes of a data set, as papers print them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from looktwice.errors import UsageError
from looktwice.metrics.ranking import NAN


@dataclass(frozen=True)
class ClassMeans:
    """Plain means over classes, and who is missing in them: a mean over fewer classes is another figure."""

    mean: dict[str, float]  # metric -> mean over the classes where it is defined; NaN where there is none
    left_out: dict[str, tuple[str, ...]]  # metric -> classes where it is NaN, in the order given


def class_means(per_class: Mapping[str, Mapping[str, float]]) -> ClassMeans:
    """Mean of each metric over classes, every class counting the same, however many images it has.

    Raises UsageError when the classes do not all have the same metrics.

    >>> class_means({"bottle": {"auroc": 1.0}, "cable": {"auroc": 0.5}}).mean
    {'auroc': 0.75}
    """
    names = list(next(iter(per_class.values()), {}))
    for category, row in per_class.items():
        if set(row) != set(names):
            raise UsageError(f"class '{category}' has the metrics {sorted(row)}, the first class {sorted(names)}")
    mean, left_out = {}, {}
    for name in names:
        defined = [row[name] for row in per_class.values() if row[name] == row[name]]
        mean[name] = sum(defined) / len(defined) if defined else NAN
        left_out[name] = tuple(category for category, row in per_class.items() if row[name] != row[name])
    return ClassMeans(mean, left_out)
