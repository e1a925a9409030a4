"""Score: from the files of a run to numbers. No model is run and no picture is read: the truth is in the run.

A figure that is not defined (one class only, no mask) is NaN here, null in scores.json and n/a in tables, never 0.
Pixels are counted as they stream in, so memory does not grow with the number of maps.
Letters: H W pixels of the original, N points, F frames.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np

from looktwice.benchmark.measures import SAMPLE_METRICS, NormalCeiling, OverCategories, mean_of, thinned_curve
from looktwice.benchmark.processes import end_with_parent
from looktwice.benchmark.store import CURVES, SCORES, Run, UnitPlan
from looktwice.errors import UsageError
from looktwice.metrics import (
    PixelMetrics,
    auroc,
    average_precision,
    bootstrap,
    class_means,
    frame_auroc,
    frame_average_precision,
    gpt_score,
    mmad_accuracy,
    o_pro,
    parse_choice,
    point_auroc,
    point_average_precision,
    rouge_l,
    sentence_similarity,
    yes_no,
)
from looktwice.metrics.ranking import Ranking, rank
from looktwice.metrics.regions import curve, cut
from looktwice.records import resize_map
from looktwice.report.atomic import write_atomically

NAN = float("nan")
FORMAT = 2  # of scores.json
LIMITS = {"pro": 0.3, "pro_05": 0.05}
Encoder = Callable[[list[str]], np.ndarray]  # N texts -> (N, D)
Chat = Callable[[str], str]
Reading = Literal["strict", "published"]
Row = dict[str, Any]


@dataclass(frozen=True)
class Scoring:
    """How a run is scored, beside its files."""

    resamples: int = 1000  # of the bootstrap behind the intervals of image AUROC
    threshold: float | None = None  # of maps: where IoU and Dice are taken; None: they are not
    reading: Reading = "strict"  # how answers are read: without guessing, or as the published scripts do
    encode: Encoder | None = None  # of sentences, for answers in words
    judge: Chat | None = None  # a chat model, for answers in words
    threads: int = 1  # prompts to the judge under way at once

    def described(self) -> dict[str, Any]:
        """What a reader of the figures must know."""
        return {
            "resamples": self.resamples,
            "threshold": self.threshold,
            "reading": self.reading,
            "encoder": _called(self.encode),
            "judge": _called(self.judge),
        }


def _called(function: Callable[..., Any] | None) -> str | None:
    """The name it gives itself ("hf:all-MiniLM-L6-v2"), else that of its code."""
    if function is None:
        return None
    return str(getattr(function, "name", None) or getattr(function, "__qualname__", type(function).__name__))


def score(
    run: Run | Path | str,
    *,
    workers: int = 1,
    partial: bool = False,
    resamples: int = 1000,
    threshold: float | None = None,
    reading: Reading = "strict",
    encode: Encoder | None = None,
    judge: Chat | None = None,
    threads: int = 1,
) -> dict[str, Any]:
    """Score a run; write scores.json and curves.json into it and return the scores.

    workers: processes. partial: score what there is of an unfinished run. resamples: of the bootstrap behind the
    intervals of image AUROC. threshold: of maps, for IoU and Dice. reading: "strict" never guesses what an answer says,
    "published" reads as the scripts of VisA-D&R and MMAD do. encode and judge: a sentence encoder and a chat model for
    answers in words; without them only ROUGE-L is computed; what they raise is raised. threads: prompts to the judge
    under way at once. The same files give the same numbers. Raises UsageError for an unfinished run, BadFile.
    """
    run = run if isinstance(run, Run) else Run(run)
    there, wanted = run.unfinished()
    if there < wanted and not partial:
        raise UsageError(
            f"{run.folder} is not finished ({there} of {wanted} samples): run looktwice benchmark predict again to "
            f"go on, or score what there is with --partial"
        )
    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"a threshold of maps lies in [0, 1], got {threshold}")
    if reading not in ("strict", "published"):
        raise UsageError(f"reading must be strict or published, got '{reading}'")
    how = Scoring(resamples, threshold, reading, encode, judge, threads)
    found = _score_units(run, workers, how)
    _same_metrics([one["metrics"] for one in found])
    draws = [_over_categories(run, group, resamples) for group in _by_draw(found)]
    scores = {
        "format": FORMAT,
        "run": run.hash,
        "model": run.name,
        "dataset": run.plan["dataset"],
        "plan": {key: run.plan[key] for key in ("variant", "split", "task", "references", "limit", "maps")},
        "scoring": how.described(),
        "samples": {"there": there, "planned": wanted, "failed": sum(one["samples"]["failed"] for one in found)},
        "categories": [{key: value for key, value in one.items() if key != "curves"} for one in found],
        "means": draws,
        "summary": _over_seeds(found, draws),
        "mmad": _mmad(run, reading),
        "pooled": _pooled(run),
    }
    curves = {one["unit"]: one["curves"] for one in found}
    write_atomically(run.folder / SCORES, _json(scores))
    write_atomically(run.folder / CURVES, _json(curves))
    return scores


def read_scores(folder: Path | str) -> dict[str, Any]:
    """The scores of a run, as `score` returned them; scored now when they are missing or of an earlier state."""
    run = Run(folder)
    path = run.folder / SCORES
    if path.exists():
        scores = json.loads(path.read_text(encoding="utf-8"))
        same = scores.get("format") == FORMAT and scores["run"] == run.hash
        if same and scores["samples"]["there"] == run.unfinished()[0]:
            return dict(_undefined(scores))
    return score(run)


def _json(value: Any) -> str:
    return json.dumps(_defined(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _defined(value: Any) -> Any:
    """NaN as null."""
    if isinstance(value, dict):
        return {key: _defined(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_defined(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _undefined(scores: dict[str, Any]) -> dict[str, Any]:
    """null as NaN again, in figures alone."""
    for one in (*scores["categories"], *scores["means"], *scores["pooled"]):
        one["metrics"] = {key: NAN if value is None else value for key, value in one["metrics"].items()}
    for one in scores["summary"]:
        for figure in one["metrics"].values():
            figure |= {key: NAN for key, value in figure.items() if value is None}
    for kind in (kind for one in scores["categories"] for kind in one["defects"].values()):
        kind["image_auroc"] = NAN if kind["image_auroc"] is None else kind["image_auroc"]
    for table in scores["mmad"]:
        for row in (*table["accuracy"].values(), table["overkill"], table["miss"]):
            row |= {key: NAN for key, value in row.items() if value is None}
    return scores


def _score_units(run: Run, workers: int, how: Scoring) -> list[dict[str, Any]]:
    if workers < 1:
        raise UsageError(f"workers must be at least 1, got {workers}")
    answers = run.plan["task"] == "answer"  # words are soon counted; a judge is asked by this process alone
    if workers == 1 or len(run.units) == 1 or answers:
        return [score_unit(run, unit, how) for unit in run.units]
    count = len(run.units)
    alone = replace(how, encode=None, judge=None)  # they may not be able to travel
    with ProcessPoolExecutor(min(workers, count), mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        return list(pool.map(score_unit, [run] * count, run.units, [alone] * count))


def score_unit(run: Run, unit: UnitPlan, how: Scoring) -> dict[str, Any]:
    """All figures of one (category, shots, seed)."""
    rows = run.rows(unit)
    good = [row for row in rows if row["error"] is None]
    labels = Counter(row["label"] for row in good)
    found: dict[str, Any] = {
        "unit": unit.name,
        "category": unit.category,
        "shots": unit.shots,
        "seed": unit.seed,
        "samples": {
            "normal": labels[0],
            "anomalous": labels[1],
            "unlabelled": labels[None],
            "failed": len(rows) - len(good),
        },
        "metrics": {},
        "intervals": {},
        "bounds": {},
        "curves": {},
        "aupimo_of": {},
        "defects": {},
    }
    if run.plan["task"] == "answer":
        _score_answers(found, run, good, how)
        return found
    _score_samples(found, good, how.resamples)
    modalities = {row["modality"] for row in good}
    if "image" in modalities:
        _score_pixels(found, run, unit, [row for row in good if row["modality"] == "image"], how.threshold)
    if "point_cloud" in modalities:
        _score_points(found, run, unit, [row for row in good if row["modality"] == "point_cloud"])
    if "video" in modalities:
        _score_frames(found, [row for row in good if row["modality"] == "video"])
    return found


# ---------------------------------------------------------------- one number a sample


def _score_samples(found: dict[str, Any], rows: Sequence[Row], resamples: int) -> None:
    known = [row for row in rows if row["label"] is not None]
    scores = np.array([row["score"] for row in known], np.float64)
    labels = np.array([row["label"] for row in known], np.int64)
    both = len(set(labels.tolist())) == 2
    for name, metric in SAMPLE_METRICS.items():
        # F1 and AP of anomalous samples alone are 1 whatever the scores: they say nothing
        found["metrics"][name] = metric(scores, labels) if both else NAN
    if both:
        interval = bootstrap(scores, auroc, labels, resamples)
        found["intervals"]["image_auroc"] = [interval.low, interval.high]
        ranking = rank(np.sort(scores), scores[labels == 1])
        found["curves"]["roc"] = _points(ranking, ranking.anomalous / ranking.positives, 1.0)
    normal = [row["score"] for row in known if row["label"] == 0]
    for kind in dict.fromkeys(row["defect_type"] for row in known if row["defect_type"]):
        own = [row["score"] for row in known if row["defect_type"] == kind]
        value = auroc([*normal, *own], [0] * len(normal) + [1] * len(own))
        found["defects"][kind] = {"samples": len(own), "image_auroc": value}


def _points(ranking: Ranking, height: np.ndarray, limit: float) -> list[list[float]]:
    x, y = cut(*curve(ranking.normal_above, ranking.normal, height, ranking.negatives), 0, limit)
    if limit == 1.0:
        x, y = np.append(x, 1.0), np.append(y, 1.0)  # cut ends where the right side is met, not at the corner
    return thinned_curve(np.concatenate([[0.0], x]), np.concatenate([[0.0], y]))  # cut starts at the first step


# ---------------------------------------------------------------- pixels, points, frames


def _score_pixels(
    found: dict[str, Any], run: Run, unit: UnitPlan, rows: Sequence[Row], threshold: float | None
) -> None:
    """Normal pictures first: AUPIMO of the others is measured against them."""
    masked = [row for row in rows if row["map"] and row["truth"] and row["truth"]["bytes"]]
    normal = [row for row in rows if row["map"] and row["label"] == 0]
    if not any(row["map"] for row in rows):
        return  # a model without maps, or a run that keeps none
    unmarked = [row for row in rows if row["label"] == 1 and not (row["truth"] and row["truth"]["bytes"])]
    found["samples"]["anomalous_without_mask"] = len(unmarked)
    overlap = () if threshold is None else ("pixel_iou", "pixel_dice")
    names = ("pixel_auroc", "pixel_ap", "pixel_f1_max", *LIMITS, "aupimo", *overlap)
    found["metrics"] |= dict.fromkeys(names, NAN)
    if not masked:
        return
    pixels, ceiling = PixelMetrics(), NormalCeiling(len(normal))
    marked, hits, misses = 0, 0, 0  # pixels found by the threshold, those of them that are anomalous, and the others
    for row in normal:
        full = _full_map(run, unit, row)
        marked += 0 if threshold is None else int((full >= threshold).sum())
        pixels.update(full[None], np.zeros((1, *full.shape), np.bool_))
        ceiling.add(full)
    for row in masked:
        full, mask = _full_map(run, unit, row), run.truth(unit, row)
        assert mask is not None
        if threshold is not None:
            caught = full >= threshold
            marked += int(caught.sum())
            hits += int((caught & mask).sum())
            misses += int((~caught & mask).sum())
        pixels.update(full[None], mask[None])
        found["aupimo_of"][row["id"]] = ceiling.area(full[mask])
    for name, limit in LIMITS.items():
        values = pixels.compute(limit)
        found["metrics"][name] = values["pro"]
        found["bounds"][name] = values.bound["pro"]
        for key in ("auroc", "ap", "f1_max"):
            found["metrics"][f"pixel_{key}"] = values[key]
            found["bounds"][f"pixel_{key}"] = values.bound[key]
    if threshold is not None:
        found["metrics"] |= {"pixel_iou": hits / (marked + misses), "pixel_dice": 2 * hits / (marked + hits + misses)}
    found["metrics"]["aupimo"] = mean_of(list(found["aupimo_of"].values()))
    ranking = pixels.ranking()
    if ranking.negatives:
        found["curves"]["pro"] = _points(ranking, ranking.overlap, LIMITS["pro"])


def _full_map(run: Run, unit: UnitPlan, row: Row) -> np.ndarray:
    """(H, W) float32, in the frame of the original."""
    small = run.map(unit, row)
    assert small is not None
    height, width = row["size"]
    return resize_map(small, (height, width))


def _score_points(found: dict[str, Any], run: Run, unit: UnitPlan, rows: Sequence[Row]) -> None:
    known = [row for row in rows if row["map"] and (row["truth"] or row["label"] == 0)]
    scores, masks = [], []
    for row in known:
        values = run.map(unit, row)
        assert values is not None
        truth = run.truth(unit, row)
        scores.append(values)
        masks.append(np.zeros(values.shape, np.bool_) if truth is None else truth)
    found["metrics"] |= {
        "point_auroc": point_auroc(scores, masks),
        "point_ap": point_average_precision(scores, masks),
        "o_pro": o_pro(scores, masks),
    }


def _score_frames(found: dict[str, Any], rows: Sequence[Row]) -> None:
    known = [row for row in rows if row["frames"]["labels"] is not None]
    scores = [np.array(row["frames"]["scores"]) for row in known]
    labels = [np.array(row["frames"]["labels"], np.bool_) for row in known]
    found["metrics"] |= {
        "frame_auroc": frame_auroc(scores, labels, average="micro"),
        "frame_auroc_macro": frame_auroc(scores, labels, average="macro"),
        "frame_ap": frame_average_precision(scores, labels),
    }


# ---------------------------------------------------------------- answers


def _score_answers(found: dict[str, Any], run: Run, rows: Sequence[Row], how: Scoring) -> None:
    """Rows that were answered; a sample that failed counts in no figure, an answer that cannot be read is wrong."""
    asked = [answer for row in rows for answer in row["answers"]]
    chosen = [answer for answer in asked if answer["options"]]
    worded = [answer for answer in asked if answer["reference"] and not answer["options"]]
    if run.plan["question"]:  # one yes or no a sample
        known = [row for row in rows if row["label"] is not None]
        said = [row["answers"][0]["answer"] for row in known]
        read = yes_no(said, [row["label"] for row in known], "strict" if how.reading == "strict" else "substring")
        found["metrics"] |= {name: getattr(read, name) for name in ("accuracy", "precision", "recall", "f1")}
        found["samples"]["unparsed"] = read.unparsed
    elif chosen:
        letters = [_letter(one, how.reading) for one in chosen]
        right = [letter == one["reference"] for letter, one in zip(letters, chosen, strict=True)]
        found["metrics"]["accuracy"] = sum(right) / len(right)
        found["samples"]["unparsed"] = letters.count(None)
    if worded:
        answers, references = [one["answer"] for one in worded], [one["reference"] for one in worded]
        found["metrics"]["rouge_l"] = mean_of([rouge_l(a, b) for a, b in zip(answers, references, strict=True)])
        if how.encode is not None:
            found["metrics"]["sbert"] = mean_of(sentence_similarity(answers, references, how.encode).tolist())
        if how.judge is not None:
            questions = [one["question"] for one in worded]
            judged = gpt_score(answers, references, how.judge, questions, threads=how.threads)
            found["metrics"]["gpt_score"] = judged.mean
            found["samples"]["unjudged"] = judged.unparsed


def _letter(answer: Mapping[str, Any], reading: Reading) -> str | None:
    return parse_choice(answer["answer"], answer["options"], "strict" if reading == "strict" else "last")


def _mmad(run: Run, reading: Reading) -> list[dict[str, Any]]:
    """MMAD's own table, in percent, one for each number of shots and seed; empty for other data sets."""
    if run.plan["dataset"] != "mmad" or run.plan["task"] != "answer" or run.plan["question"]:
        return []
    tables = []
    for shots, seed in dict.fromkeys((unit.shots, unit.seed) for unit in run.units):
        rows = [
            {
                "image": row["id"],
                "question_type": answer["kind"],
                "correct_answer": answer["reference"],
                "gpt_answer": _letter(answer, reading),
            }
            for unit in run.units
            if (unit.shots, unit.seed) == (shots, seed)
            for row in run.rows(unit)
            for answer in row["answers"] or ()
        ]
        table = mmad_accuracy(rows, compat=reading == "published")
        tables.append(
            {
                "shots": shots,
                "seed": seed,
                "accuracy": table.accuracy,
                "overkill": table.overkill,
                "miss": table.miss,
                "unparsed": table.unparsed,
                "answers": table.answers,
            }
        )
    return tables


def _pooled(run: Run) -> list[dict[str, Any]]:
    """Figures of the Customizable-VLM list as its script takes them, one row for each number of shots and seed.

    Over all pictures pooled, with normal as the positive class; what failed is in none. Empty for other data sets.
    """
    if run.plan["dataset"] != "customizable_vlm" or run.plan["task"] != "detect":
        return []
    found = []
    for shots, seed in dict.fromkeys((unit.shots, unit.seed) for unit in run.units):
        units = [unit for unit in run.units if (unit.shots, unit.seed) == (shots, seed)]
        rows = [row for unit in units for row in run.rows(unit) if row["error"] is None]
        normal = np.array([1 - row["label"] for row in rows], np.int64)
        scores = np.array([1 - row["score"] for row in rows], np.float64)
        figures = {
            "accuracy": float(np.mean((scores > 0.5) == (normal == 1))) if rows else NAN,
            "image_auroc": auroc(scores, normal) if rows else NAN,
            "image_ap": average_precision(scores, normal) if rows else NAN,
        }
        found.append({"shots": shots, "seed": seed, "samples": len(rows), "metrics": figures})
    return found


# ---------------------------------------------------------------- means


def _same_metrics(rows: Sequence[dict[str, float]]) -> None:
    """Give every category every metric that one of them has."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    for row in rows:
        whole = {name: row.get(name, NAN) for name in names}
        row.clear()
        row.update(whole)


def _by_draw(found: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The categories of each (shots, seed)."""
    groups: dict[tuple[Any, int], list[dict[str, Any]]] = {}
    for one in found:
        groups.setdefault((one["shots"], one["seed"]), []).append(one)
    return list(groups.values())


def _over_categories(run: Run, group: Sequence[dict[str, Any]], resamples: int) -> dict[str, Any]:
    means = class_means({one["category"]: one["metrics"] for one in group})
    interval = _interval_of_mean(run, group, resamples)
    return {
        "shots": group[0]["shots"],
        "seed": group[0]["seed"],
        "categories": len(group),
        "metrics": means.mean,
        "left_out": {name: list(names) for name, names in means.left_out.items() if names},
        "intervals": {"image_auroc": interval} if interval else {},
    }


def _interval_of_mean(run: Run, group: Sequence[dict[str, Any]], resamples: int) -> list[float] | None:
    """Interval of the mean image AUROC; samples are drawn within their category."""
    names = {one["unit"] for one in group if not math.isnan(one["metrics"].get("image_auroc", NAN))}
    scores, strata = [], []
    for number, unit in enumerate(unit for unit in run.units if unit.name in names):
        for row in run.rows(unit):
            if row["error"] is None and row["label"] is not None:
                scores.append(row["score"])
                strata.append(2 * number + row["label"])
    if not scores:
        return None
    order = np.argsort(strata, kind="stable")
    values, sorted_strata = np.array(scores)[order], np.array(strata)[order]
    interval = bootstrap(values, OverCategories("image_auroc", sorted_strata), sorted_strata, resamples)
    return [interval.low, interval.high]


def _over_seeds(found: Sequence[Mapping[str, Any]], draws: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean and sample deviation over seeds, of each category and of the mean over categories (category "")."""
    groups: dict[tuple[Any, str], list[Mapping[str, float]]] = {}
    for one in (*found, *draws):
        groups.setdefault((one["shots"], one.get("category", "")), []).append(one["metrics"])
    return [
        {
            "shots": shots,
            "category": category,
            "seeds": len(rows),
            "metrics": {name: _figure([row[name] for row in rows]) for name in rows[0]},
        }
        for (shots, category), rows in groups.items()
    ]


def _figure(values: Sequence[float]) -> dict[str, float]:
    defined = [value for value in values if not math.isnan(value)]
    deviation = float(np.std(defined, ddof=1)) if len(defined) > 1 else NAN
    return {"mean": mean_of(defined), "deviation": deviation}
