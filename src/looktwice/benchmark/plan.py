"""What a benchmark run is: everything that decides its numbers, and the units of work it falls into.

A unit is one (category, shots, seed): one fit, then many predictions. References are drawn from a seeded order of the
category's normal training samples, so that the 1-shot reference is among the 2-shot ones, and every seed and category
has an order of its own, whatever else is in the run.
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

import looktwice
from looktwice import detectors, modalities
from looktwice.benchmark.store import UnitPlan
from looktwice.data import load_dataset
from looktwice.data.dataset import DataSet
from looktwice.data.items import Item
from looktwice.detectors.protocol import Detector
from looktwice.errors import BadFile, UsageError, did_you_mean
from looktwice.settings import Settings

Shots = int | Literal["full"]
Loader = Callable[..., Detector]  # as detectors.load
LIBRARIES = ("numpy", "scipy", "pillow", "pydantic")


class Plan(BaseModel):
    """One run, as it was asked for; every field can change a number."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(description="name of a detector")
    dataset: str = Field(description="name of a data set")
    options: dict[str, Any] = Field({}, description="options of the detector")
    variant: str | None = Field(None, description="which way to read the data set; None: the usual one")
    split: str = Field("test", description="the part that is judged")
    task: Literal["detect", "answer"] = Field("detect", description="scores and maps, or answers to questions")
    question: str = Field("", description="asked about every sample, in place of the data set's own questions")
    references: Literal["train", "test", "own"] = Field(
        "train",
        description="where references come from: normal samples of the train part; of the judged part, which are then "
        "left out of it; or the ones that the data set names for each sample",
    )
    categories: tuple[str, ...] = Field((), description="which to judge; empty: all of this copy")
    shots: tuple[Shots, ...] = Field((0,), description="references per category; full: all of the train part")
    seeds: int = Field(1, ge=1, le=1000, description="how many draws of the references")
    limit: int | None = Field(None, ge=2, description="at most so many samples a category, evenly spread")
    maps: Literal["uint16", "float32", "none"] = Field("uint16", description="how maps are kept")
    settings: Settings = Settings()

    @field_validator("shots")
    @classmethod
    def _shots(cls, shots: tuple[Shots, ...]) -> tuple[Shots, ...]:
        if not shots:
            raise ValueError("give at least one number of references")
        if any(isinstance(k, int) and k < 0 for k in shots):
            raise ValueError(f"a number of references cannot be negative, got {min(k for k in shots if k != 'full')}")
        return tuple(dict.fromkeys(shots))


def make_plan(**fields: Any) -> Plan:
    """Build a Plan; raises UsageError in one sentence for a field out of range."""
    try:
        return Plan(**fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UsageError(f"{first['loc'][0]}: {first['msg'].removeprefix('Value error, ')}") from error


@dataclass(frozen=True)
class Unit:
    """One fit and what is then judged."""

    category: str
    shots: Shots
    seed: int
    references: tuple[Item, ...]
    items: tuple[Item, ...]
    described: UnitPlan


@dataclass(frozen=True)
class Work:
    """A plan met a copy of its data set: what there is to do, and the recipe that says so."""

    plan: Plan
    root: Path
    units: tuple[Unit, ...]
    recipe: dict[str, Any]  # JSON; all but its hash decides numbers
    messages: tuple[str, ...]  # what a person should know


def prepare(plan: Plan, root: Path | str, load: Loader = detectors.load) -> Work:
    """Read the copy at `root` and lay out the work. Nothing is judged and no picture is opened.

    Raises UnknownName, UsageError (options, root, split, category, too few references), BadFile.
    """
    dataset = load_dataset(plan.dataset)
    detector = load(plan.model, **plan.options)
    root = dataset.checked_root(root)
    _check_split(plan, dataset)
    _check_shots(plan)
    plan = plan.model_copy(update={"variant": dataset.checked_variant(plan.variant)})
    judged, train, missing = _read(plan, dataset, root)
    names = list(judged)
    hashes = _Hashes()
    units: list[Unit] = []
    for category in names:
        for shots in plan.shots:
            draws = plan.seeds if _random(plan, shots) else 1
            for seed in range(draws):
                units.append(_unit(plan, category, shots, seed, judged[category], train[category], hashes, len(units)))
    messages = [f"{dataset.title}: nothing of {', '.join(missing)} in this copy; means are over the rest"] * bool(
        missing
    )
    if plan.seeds > 1 and not any(_random(plan, shots) for shots in plan.shots):
        messages.append("nothing is drawn at random here: one seed is enough, and only one is run")
    recipe = {
        "format": 1,
        "plan": plan.model_dump(mode="json") | {"categories": names},
        "config": _config(detector),
        "data": {"fingerprint": _fingerprint(root, [*judged.values(), *train.values()]), "missing": missing},
        "units": [unit.described.model_dump(mode="json") for unit in units],
        "versions": versions(),
    }
    return Work(plan, root, tuple(units), recipe, tuple(messages))


def versions() -> dict[str, str]:
    """The versions of what computes."""
    own = {"looktwice": looktwice.__version__, "python": platform.python_version()}
    return own | {name: version(name) for name in LIBRARIES}


def _check_split(plan: Plan, dataset: DataSet) -> None:
    if plan.split not in dataset.all_splits:
        known = ", ".join(dataset.all_splits)
        raise UsageError(f"Expected split of {dataset.name} to be one of {known}, got '{plan.split}': give --split")


def _check_shots(plan: Plan) -> None:
    """Refuse at once what a detector could only refuse after the data was read."""
    card = detectors.CARDS.get(plan.model)
    given = [k for k in plan.shots if k != 0]
    if card is None:
        return
    if 0 in plan.shots and not card.zero_shot:
        raise UsageError(f"{plan.model} compares with references and cannot do 0 shots: give --shots 1 or more")
    if given and not card.few_shot:
        raise UsageError(f"{plan.model} uses no references: give --shots 0, not {given[0]}")


def _read(plan: Plan, dataset: DataSet, root: Path) -> tuple[dict[str, list[Item]], dict[str, list[Item]], list[str]]:
    """The judged samples and the pool of references by category, and the categories that a copy lacks."""
    judged: dict[str, list[Item]] = {}
    train: dict[str, list[Item]] = {}
    pool = {"train": "train", "test": plan.split, "own": ""}[plan.references]
    asked = plan.categories or None
    for item in dataset.items(root, categories=asked, variant=plan.variant):
        if item.split == plan.split:
            judged.setdefault(item.category, []).append(item)
        if item.split == pool and item.label == 0:
            train.setdefault(item.category, []).append(item)
    named = plan.categories or dataset.categories
    missing = [name for name in named if name not in judged]
    if missing and plan.categories:
        found = sorted(
            {item.category for item in dataset.items(root, variant=plan.variant) if item.split == plan.split}
        )
        has = f"it has {', '.join(found)}" if found else "it has none at all"
        near = did_you_mean(missing[0], found)
        raise UsageError(
            f"no samples of the category '{missing[0]}' in the part '{plan.split}' of {root}: {has}.{near}"
        )
    if not judged:
        raise BadFile("empty", root, f"holds no samples of {dataset.title} in the part '{plan.split}'")
    order = [name for name in named if name in judged] or sorted(judged)
    order += [name for name in judged if name not in order]
    return {name: judged[name] for name in order}, {name: train.get(name, []) for name in order}, missing


def _random(plan: Plan, shots: Shots) -> bool:
    return plan.references != "own" and shots not in (0, "full")


def _unit(
    plan: Plan,
    category: str,
    shots: Shots,
    seed: int,
    judged: Sequence[Item],
    pool: Sequence[Item],
    hashes: _Hashes,
    number: int,
) -> Unit:
    references: tuple[Item, ...] = ()
    items = thinned(judged, plan.limit)
    if plan.references != "own" and shots != 0:
        drawn = draw(category, pool, seed)
        if shots == "full" and plan.references == "test":
            raise UsageError("--shots full takes the whole train part: it cannot be drawn from the judged part")
        count = len(pool) if shots == "full" else shots
        if count > len(pool) or not pool:
            where = "train part" if plan.references == "train" else f"part '{plan.split}'"
            other = " Or draw them from the judged part: --references test" if plan.references == "train" else ""
            raise UsageError(
                f"{category} has {len(pool)} normal samples in its {where}, {shots} references are asked for: "
                f"give fewer --shots.{other}"
            )
        references = tuple(pool) if shots == "full" else tuple(drawn[:count])
        if plan.references == "test":  # the same samples are judged whatever the number of shots
            most = max(k for k in plan.shots if isinstance(k, int))
            left_out = {item.id for item in drawn[:most]}
            items = [item for item in items if item.id not in left_out]
    slug = re.sub(r"[^A-Za-z0-9_-]+", "_", category)[:40]
    described = UnitPlan(
        name=f"{number:04d}-{slug}-{shots}-{seed}",
        category=category,
        shots=shots,
        seed=seed,
        references=tuple(item.id for item in references),
        references_sha256=hashes.of(references),
        samples=len(items),
    )
    return Unit(category, shots, seed, references, tuple(items), described)


def draw(category: str, pool: Sequence[Item], seed: int) -> list[Item]:
    """The pool in the seeded order of its category: the first k are the references of k shots.

    The order depends on the category's name, the ids in the pool and the seed, on nothing else.
    """
    ordered = sorted(pool, key=lambda item: item.id)
    word = int.from_bytes(hashlib.sha256(category.encode()).digest()[:8], "big")
    return [ordered[i] for i in np.random.default_rng([seed, word]).permutation(len(ordered))]


def thinned(items: Sequence[Item], limit: int | None) -> Sequence[Item]:
    """At most `limit` items, evenly spread over normal and anomalous ones, in their order."""
    if limit is None or limit >= len(items):
        return items
    by_label = sorted(range(len(items)), key=lambda i: (items[i].label or 0, i))
    chosen = np.linspace(0, len(items) - 1, limit).round().astype(int)
    return [items[i] for i in sorted(by_label[place] for place in chosen)]


def class_split(categories: Iterable[str], train: int, seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split categories at random into `train` to learn from and the rest to judge; no category is in both.

    The order in which they are given changes nothing. Raises UsageError when a side would be empty.

    >>> class_split(["cable", "bottle", "pill"], train=2, seed=0)
    (('bottle', 'pill'), ('cable',))
    """
    names = sorted(set(categories))
    if not 0 < train < len(names):
        raise UsageError(f"of {len(names)} categories 1 to {len(names) - 1} can be learned from, got {train}")
    order = np.random.default_rng(seed).permutation(len(names))
    return tuple(names[i] for i in sorted(order[:train])), tuple(names[i] for i in sorted(order[train:]))


# ---------------------------------------------------------------- hashes


class _Hashes:
    """SHA-256 of reference files, each file read once."""

    def __init__(self) -> None:
        self._known: dict[Path, str] = {}

    def of(self, items: Sequence[Item]) -> str:
        """One hash of the contents of all, in order; a file that cannot be read counts as empty here."""
        digest = hashlib.sha256()
        for item in items:
            if item.path not in self._known:
                self._known[item.path] = modalities.sha256_of(item.path) if item.path.exists() else ""
            digest.update(self._known[item.path].encode())
        return digest.hexdigest() if items else ""


def _fingerprint(root: Path, groups: Sequence[Sequence[Item]]) -> str:
    """Hash of names, parts, labels and file sizes: tells another copy or version of a data set at once."""
    lines = sorted({f"{i.id}\0{i.split}\0{i.label}\0{_bytes(i.path)}" for group in groups for i in group})
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _bytes(path: Path) -> int:
    if path.is_dir():
        return sum(p.stat().st_size for p in path.iterdir() if p.is_file())
    return path.stat().st_size if path.exists() else -1


def _config(detector: Any) -> Mapping[str, Any]:
    """All options of the detector, the defaults included."""
    config = getattr(detector, "config", None)
    return config.model_dump(mode="json") if isinstance(config, BaseModel) else {}
