"""Recipes: protocols as TOML files, each with the figure that was published for it, if there is one.

A recipe names a model, its options (or a grid of options), what it was trained on, and the runs: data set, split,
shots, seeds. A recipe whose model this version does not have says so in `needs`; it cannot be run yet.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from looktwice import detectors
from looktwice.benchmark.measures import METRICS
from looktwice.benchmark.plan import Loader, Plan, Shots, class_split
from looktwice.benchmark.predict import Progress, predict
from looktwice.benchmark.published import figures
from looktwice.benchmark.score import Chat, Encoder, Reading, score
from looktwice.benchmark.store import Run
from looktwice.data import load_dataset
from looktwice.errors import BadFile, UsageError, unknown_name
from looktwice.metrics.choices import AVERAGE

NAN = float("nan")

PROTOCOLS: Mapping[str, str] = {
    "zero-shot": "judged without any example of the category",
    "zero-shot cross-dataset": "trained on one data set, judged on others without tuning",
    "cross-category": "trained on some classes of a data set, judged on the others; the classes are split at random",
    "few-shot": "a few normal samples of the category, drawn several times",
    "full normal set": "all normal training samples of the category",
    "ablation": "parts of a system switched off",
    "VisA-D&R": "yes or no per picture, and answers in words",
    "Customizable-VLM list": "one verdict per picture beside one reference, all pictures pooled",
    "MMAD": "multiple-choice questions in seven sub-tasks",
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Part):
    """Where the figures stand."""

    paper: str
    table: str
    row: str


class ClassSplit(_Part):
    """How many classes are learned from; the others are judged."""

    train: int = Field(ge=1)
    seed: int = Field(0, ge=0)


class Target(_Part):
    """One run: fields as in a Plan."""

    dataset: str
    variant: str | None = None
    split: str = "test"
    task: Literal["detect", "answer"] = "detect"
    question: str = ""
    references: Literal["train", "test", "own", "similar"] = "train"
    history: bool | None = None
    shuffle: bool = False
    knowledge: bool = False
    categories: tuple[str, ...] = ()
    shots: tuple[Shots, ...] = (0,)
    seeds: int = 1


class Expected(_Part):
    """One published figure of this recipe, as printed."""

    dataset: str
    metric: str
    value: float
    category: str = ""
    subset: str = ""
    shots: Shots = 0
    options: dict[str, Any] = {}  # of a grid


class Recipe(_Part):
    """One protocol."""

    title: str
    protocol: str
    model: str
    needs: str = ""  # a model that this version may not have
    note: str = ""
    options: dict[str, Any] = {}
    grid: dict[str, tuple[Any, ...]] = {}
    reading: Reading = "strict"  # of answers, as in `score`
    trained_on: str = ""
    class_split: ClassSplit | None = None
    source: Source | None = None
    run: tuple[Target, ...] = Field(min_length=1)
    expect: tuple[Expected, ...] = ()

    def grid_points(self) -> list[dict[str, Any]]:
        """The options of each run of the grid; one without a grid."""
        return [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]


def names() -> list[str]:
    """The recipes that come with the package."""
    folder = files("looktwice.benchmark") / "recipes"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_recipe(name: str | Path) -> Recipe:
    """Read a recipe by its name, or any TOML file; raises UnknownName, BadFile."""
    if Path(name).suffix == ".toml":
        return _parsed(Path(name))
    if name not in names():
        raise unknown_name("recipe", str(name), names(), "looktwice benchmark recipes")
    with as_file(files("looktwice.benchmark") / "recipes" / f"{name}.toml") as path:
        return _parsed(path)


def _parsed(path: Path) -> Recipe:
    try:
        recipe = Recipe.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise BadFile("missing_file", path, "no such recipe") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadFile("unreadable", path, f"not a TOML file: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BadFile("unsupported", path, f"not a recipe: {where}: {first['msg']}") from error
    if recipe.protocol not in PROTOCOLS:
        raise unknown_name("protocol", recipe.protocol, PROTOCOLS)
    for one in recipe.expect:
        if one.metric not in METRICS:
            raise unknown_name("metric", one.metric, METRICS)
    for target in recipe.run:
        dataset = load_dataset(target.dataset)
        dataset.checked_variant(target.variant)
        if target.split not in dataset.all_splits:
            raise unknown_name(f"split of {target.dataset}", target.split, dataset.all_splits)
    return recipe


def check_model(recipe: Recipe) -> None:
    """Raise UsageError in one sentence when this version lacks the model."""
    if recipe.model not in detectors.DETECTORS and not detectors.is_talker(recipe.model):
        known = ", ".join(detectors.DETECTORS)
        raise UsageError(
            f"unknown model '{recipe.model}': the recipe '{recipe.title}' needs it, this version has {known}"
        )


@dataclass(frozen=True)
class Carried:
    """One run of a recipe, scored."""

    target: Target
    options: Mapping[str, Any]  # of the grid
    run: Run
    scores: Mapping[str, Any]
    learned: tuple[str, ...] = ()  # with a class split: the classes that a model may have learned from


def run_recipe(
    recipe: Recipe,
    roots: Mapping[str, Path],
    out: Path,
    *,
    options: Mapping[str, Any] | None = None,
    limit: int | None = None,
    workers: int = 1,
    load: Loader = detectors.load,
    progress: Progress | None = None,
    encode: Encoder | None = None,
    judge: Chat | None = None,
    threads: int = 1,
) -> Iterator[Carried]:
    """Predict and score every run of a recipe; go on with what an earlier try left in `out`.

    roots: the copy of each data set; those without one are left out (see `without_root`). options: on top of the
    recipe's own. encode, judge, threads: for answers in words, as in `score`. Raises UsageError when no root is given,
    or one of a data set that the recipe does not judge.
    """
    if load is detectors.load:
        check_model(recipe)
    judged_sets = list(dict.fromkeys(target.dataset for target in recipe.run))
    for name in roots:
        if name not in judged_sets:
            raise unknown_name("data set of this recipe", name, judged_sets)
    if not roots:
        wanted = " ".join(f"--root {name}=DIR" for name in judged_sets)
        raise UsageError(f"the recipe judges {', '.join(judged_sets)}: say where your copies are, {wanted}")
    for point in recipe.grid_points():
        for number, target in enumerate(recipe.run):
            if target.dataset not in roots:
                continue
            learned, judged = _categories(recipe, target, roots[target.dataset])
            plan = Plan(
                model=recipe.model,
                options={**recipe.options, **point, **(options or {})},
                limit=limit,
                **{**target.model_dump(), "categories": judged},
            )
            words = "-".join([str(number), target.dataset, *(f"{key}_{value}" for key, value in point.items())])
            made = predict(plan, roots[target.dataset], out / words, workers=workers, load=load, progress=progress)
            scores = score(
                made.run, workers=workers, reading=recipe.reading, encode=encode, judge=judge, threads=threads
            )
            yield Carried(target, point, made.run, scores, learned)


def without_root(recipe: Recipe, roots: Mapping[str, Path]) -> list[str]:
    """The data sets of a recipe that are not judged, since no copy was given."""
    return [name for name in dict.fromkeys(target.dataset for target in recipe.run) if name not in roots]


def _categories(recipe: Recipe, target: Target, root: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The classes to learn from and those that are judged."""
    if recipe.class_split is None:
        return (), target.categories
    found = categories_of(target.dataset, root, target.variant)
    return class_split(found, recipe.class_split.train, recipe.class_split.seed)


def categories_of(dataset: str, root: Path | str, variant: str | None = None) -> tuple[str, ...]:
    """The categories that a copy holds, in their order."""
    return tuple(dict.fromkeys(item.category for item in load_dataset(dataset).items(root, variant=variant)))


UNTOLD = ("description", "reasoning")  # of VisA-D&R: which questions are which is not published
MEAN_OF_NINE = "mean of nine"  # Anomaly-OV's last column: the plain mean over its data sets


def outcome(recipe: Recipe, carried: Sequence[Carried]) -> list[dict[str, Any]]:
    """Each published figure beside ours: the fields of `expect`, "published" and "ours", on the scale of the paper.

    ours is None where it is not defined, or where the figure is about a part of the data that is not told apart here.
    """
    return [{**one.model_dump(), "published": one.value, "ours": _ours(recipe, one, carried)} for one in recipe.expect]


def _ours(recipe: Recipe, one: Expected, carried: Sequence[Carried]) -> float | None:
    fitting = [done for done in carried if all(done.options.get(k) == v for k, v in one.options.items())]
    if one.dataset == MEAN_OF_NINE:
        each = [_mean_over_seeds(one, done) for done in fitting]
        value = NAN if not each or len(each) < len(recipe.run) else sum(each) / len(each)
    else:
        fitting = [done for done in fitting if done.target.dataset == one.dataset]
        each = [_mean_over_seeds(one, done) for done in fitting]
        value = next((value for value in each if value == value), NAN)
    return None if value != value else value * _scale(recipe, one)


def _mean_over_seeds(one: Expected, done: Carried) -> float:
    """Our figure as a share; NaN where there is none."""
    if one.dataset == "mmad" and one.subset:
        tables = [table for table in done.scores["mmad"] if table["shots"] == one.shots]
        values = [table["accuracy"].get(one.category or AVERAGE, {}).get(one.subset, NAN) / 100 for table in tables]
        return sum(values) / len(values) if values else NAN
    if one.subset and (one.subset != done.target.split or one.subset in UNTOLD):
        return NAN
    for row in done.scores["summary"]:
        if row["category"] == one.category and row["shots"] == one.shots and one.metric in row["metrics"]:
            return float(row["metrics"][one.metric]["mean"])
    return NAN


def _scale(recipe: Recipe, one: Expected) -> float:
    """100 where the paper prints percent."""
    same = [f for f in figures(dataset=one.dataset, metric=one.metric) if float(f.value) == one.value]
    units = [f.unit for f in same if recipe.source and f.paper == recipe.source.paper] or ["%"]
    return 100.0 if units[0] == "%" else 1.0
