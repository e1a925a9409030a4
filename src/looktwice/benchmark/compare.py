"""Compare: is A better than B, or is it noise? A paired bootstrap over the samples that both judged.

Samples are drawn again within their category and label, the same draw for A and B, so what both find hard weighs on
both sides; all questions about one sample are drawn together. The figure of several seeds is the mean over them; what
another draw of references would change is said beside it, not in the interval. Letters: N samples, S seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from looktwice.benchmark.measures import SAMPLE_METRICS, OverCategories, RatioOverCategories, title
from looktwice.benchmark.plan import Shots
from looktwice.benchmark.score import read_scores
from looktwice.benchmark.store import Run, UnitPlan
from looktwice.errors import UsageError, unknown_name
from looktwice.metrics import Comparison, paired_bootstrap, parse_choice, parse_yes_no, rouge_l

RATIOS = ("aupimo", "accuracy", "rouge_l")  # of pictures with masks, of questions, of answers in words
COMPARED = (*SAMPLE_METRICS, *RATIOS)


@dataclass(frozen=True)
class Compared:
    """One row: a category, or "" for the mean over all of them."""

    category: str
    samples: int
    result: Comparison

    @property
    def words(self) -> str:
        """The finding in words, about A."""
        if not self.result.significant:
            return "no difference shown at this sample size"
        return "better" if self.result.difference > 0 else "worse"


@dataclass(frozen=True)
class Verdicts:
    """A against B: one row a category and one for the mean."""

    a: str
    b: str
    metric: str
    rows: tuple[Compared, ...]
    notes: tuple[str, ...]


def compare(
    a: Run,
    b: Run,
    *,
    metric: str = "image_auroc",
    shots_a: Shots | None = None,
    shots_b: Shots | None = None,
    resamples: int = 1000,
    level: float = 0.95,
) -> Verdicts:
    """Compare two runs on one data set, or two numbers of shots of one run.

    metric: one of COMPARED. shots: which to take from a run that has several. The mean is over the categories where the
    metric is defined in both. Raises UsageError when the runs share no samples, differ in data set or labels, or leave
    open which shots.
    """
    if metric not in COMPARED:
        raise unknown_name("metric to compare", metric, COMPARED)
    for key in ("dataset", "variant", "split", "task"):
        if a.plan[key] != b.plan[key]:
            raise UsageError(f"the runs differ in their {key}: {a.plan[key]} and {b.plan[key]}")
    if bool(a.plan["question"]) != bool(b.plan["question"]):
        raise UsageError("one run was asked the data set's own questions, the other was not")
    shots_a, shots_b = _which(a, shots_a, "a"), _which(b, shots_b, "b")
    notes = []
    pairs: list[tuple[str, np.ndarray, np.ndarray, np.ndarray]] = []
    left_out = 0
    in_b = {unit.category for unit in b.units}
    for category in dict.fromkeys(unit.category for unit in a.units):
        if category not in in_b:
            notes.append(f"{category} is in one run only and left out")
            continue
        scores_a, labels_a = _values(a, category, shots_a, metric)
        scores_b, labels_b = _values(b, category, shots_b, metric)
        ids = [one for one in scores_a if one in scores_b]
        left_out += len(labels_a.keys() | labels_b.keys()) - len(ids)
        labels = np.array([labels_a[one] for one in ids], np.int64)
        if any(labels_a[one] != labels_b[one] for one in ids):
            raise UsageError(f"the runs differ in the labels of {category}: they judged different copies")
        if metric in SAMPLE_METRICS and len(set(labels.tolist())) < 2:
            notes.append(f"{category} has no samples of both labels that both runs judged: left out")
            continue
        if not ids:
            notes.append(f"{category} has no {title(metric)} of samples that both runs judged: left out")
            continue
        order = np.argsort(labels, kind="stable")
        first, second = (np.array([scores[ids[i]] for i in order]) for scores in (scores_a, scores_b))
        pairs.append((category, first, second, labels[order]))
    notes += [
        f"{category} is in one run only and left out" for category in sorted(in_b - {u.category for u in a.units})
    ]
    if not pairs:
        raise UsageError(f"nothing to compare: {'; '.join(notes) or 'the runs share no samples'}")
    if left_out:
        notes.append(
            f"{left_out} samples were not judged in every draw of both (failed, or used as references) and are left out"
        )
    notes += [*_draws("A", a, shots_a), *_draws("B", b, shots_b)]
    rows = [_compared(pair[0], metric, [pair], resamples, level) for pair in pairs]
    rows.append(_compared("", metric, pairs, resamples, level))
    if len(pairs) > 1:
        notes.append(
            f"with {len(pairs)} categories looked at one by one, about {len(pairs) * (1 - level):.1f} differ by chance "
            f"alone: trust the mean"
        )
    return Verdicts(_name(a, shots_a), _name(b, shots_b), metric, tuple(rows), tuple(notes))


def _which(run: Run, shots: Shots | None, side: str) -> Shots:
    known = list(dict.fromkeys(unit.shots for unit in run.units))
    if shots is None and len(known) == 1:
        return known[0]
    has = ", ".join(map(str, known))
    if shots is None:
        raise UsageError(f"{run.folder} has {has} shots: say which with --shots-{side}")
    if shots not in known:
        raise UsageError(f"{run.folder} has {has} shots, not {shots}")
    return shots


def _name(run: Run, shots: Shots) -> str:
    return f"{run.name}, {shots_words(shots)} ({run.folder.name})"


def shots_words(shots: Any) -> str:
    """A number of references in words."""
    return "all normal" if shots == "full" else "1 shot" if str(shots) == "1" else f"{shots} shots"


def _draws(side: str, run: Run, shots: Shots) -> list[str]:
    """What the interval leaves out: that other references could have been drawn."""
    draws = {unit.seed for unit in run.units if unit.shots == shots}
    if shots in (0, "full") or run.plan["references"] in ("own", "similar"):
        return []
    if len(draws) == 1:
        return [f"{side} is one draw of references; the interval knows nothing of others: judge several with --seeds"]
    return [f"{side} is the mean over {len(draws)} draws of references; the interval is over samples, not over draws"]


Values = dict[str, list[Any]]  # sample -> one value a seed


def _values(run: Run, category: str, shots: Shots, metric: str) -> tuple[Values, dict[str, int]]:
    """What each sample adds, for each seed that judged it, (S,) or (S, 2), and its label; only whole samples."""
    units: Sequence[UnitPlan] = [one for one in run.units if (one.category, one.shots) == (category, shots)]
    areas = _areas(run) if metric == "aupimo" else {}
    values: Values = {}
    labels: dict[str, int] = {}
    for unit in units:
        for row in run.rows(unit):
            value = _value(run, row, metric, areas.get(unit.name, {}))
            if value is not None:
                values.setdefault(row["id"], []).append(value)
                labels[row["id"]] = row["label"] or 0
    return {one: found for one, found in values.items() if len(found) == len(units)}, labels


def _areas(run: Run) -> dict[str, dict[str, float]]:
    return {one["unit"]: one["aupimo_of"] for one in read_scores(run.folder)["categories"]}


def _value(run: Run, row: dict[str, Any], metric: str, areas: dict[str, float]) -> Any:
    """One number, or what is added to the sum and to the number; None where the sample adds nothing."""
    if row["error"] is not None:
        return None
    if metric in SAMPLE_METRICS:
        return row["score"] if row["label"] is not None else None
    if metric == "aupimo":
        area = areas.get(row["id"])
        return None if area is None or area != area else (area, 1)
    answers = row["answers"] or []
    if metric == "rouge_l":
        each = [rouge_l(one["answer"], one["reference"]) for one in answers if one["reference"] and not one["options"]]
    elif run.plan["question"]:
        each = (
            [parse_yes_no(answers[0]["answer"]) == bool(row["label"])] if answers and row["label"] is not None else []
        )
    else:
        each = [parse_choice(one["answer"], one["options"]) == one["reference"] for one in answers if one["options"]]
    return (sum(each), len(each)) if each else None


def _compared(category: str, metric: str, pairs: Sequence[Any], resamples: int, level: float) -> Compared:
    strata = np.concatenate([2 * number + labels for number, (*_, labels) in enumerate(pairs)])
    first = np.concatenate([one[1] for one in pairs])
    second = np.concatenate([one[2] for one in pairs])
    over = OverCategories(metric, strata) if metric in SAMPLE_METRICS else RatioOverCategories(strata)
    result = paired_bootstrap(first, second, over, strata, resamples, level)
    return Compared(category, len(strata), result)
