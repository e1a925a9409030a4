"""What a benchmark run is: everything that decides its numbers, and the units of work it falls into.

A unit is one (category, shots, seed): one fit, then many predictions. References are drawn from a seeded order of the
category's normal training samples, so that the 1-shot reference is among the 2-shot ones, and every seed and category
has an order of its own, whatever else is in the run.
"""

from __future__ import annotations

import hashlib
import platform
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
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
from looktwice.records import Expectation, Spec
from looktwice.settings import Settings
from looktwice.sheets import read_sheet

Shots = int | Literal["full"]
Loader = Callable[..., Detector]  # as detectors.load
LIBRARIES = ("numpy", "scipy", "pillow", "pydantic")
HEAVY = ("onnxruntime", "torch", "transformers")  # only where the detector uses them
WHOLE, SAMPLED = 64 * 2**20, 2**20  # bytes: files up to here are hashed whole, of larger ones blocks of this size


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
    history: bool | None = Field(
        None,
        description="whether a question about a sample is asked with the earlier ones and their answers; None: a "
        "dialogue is, questions with options are asked one by one",
    )
    shuffle: bool = Field(
        False, description="options of a question in another order, drawn from its own text: letters are no habit then"
    )
    knowledge: bool = Field(False, description="tell what the data set knows of the class (MMAD) before each question")
    references: Literal["train", "test", "own", "similar"] = Field(
        "train",
        description="where references come from: normal samples of the train part; of the judged part, which are then "
        "left out of it; or those that the data set names for each sample, its own or the similar ones",
    )
    categories: tuple[str, ...] = Field((), description="which to judge; empty: all of this copy")
    shots: tuple[Shots, ...] = Field((0,), description="references per category; full: all of the train part")
    seeds: int = Field(1, ge=1, le=1000, description="how many draws of the references")
    limit: int | None = Field(None, ge=2, description="at most so many samples a category, evenly spread")
    maps: Literal["uint16", "float32", "none"] = Field("uint16", description="how maps are kept")
    settings: Settings = Settings()

    @property
    def named(self) -> bool:
        """Whether the data set names the references of each sample."""
        return self.references in ("own", "similar")

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
    spec: Spec  # what is known of the category, without references


@dataclass(frozen=True)
class Work:
    """A plan met a copy of its data set: what there is to do, and the recipe that says so."""

    plan: Plan
    root: Path
    units: tuple[Unit, ...]
    recipe: dict[str, Any]  # JSON; all but its hash decides numbers
    messages: tuple[str, ...]  # what a person should know


def prepare(plan: Plan, root: Path | str, load: Loader = detectors.load, sheets: Path | str | None = None) -> Work:
    """Read the copy at `root` and lay out the work. Nothing is judged and no picture is opened.

    sheets: an inspection sheet for all categories, or a folder with CATEGORY.yaml for each; their references are left
    out, since the plan says where these come from. Raises UnknownName, UsageError (options, root, split, category, too
    few references, a sheet), BadFile.
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
    specs = _specs(dataset, names, None if sheets is None else Path(sheets))
    units: list[Unit] = []
    for category in names:
        for shots in plan.shots:
            draws = plan.seeds if _random(plan, shots) else 1
            for seed in range(draws):
                made = _unit(plan, category, shots, seed, judged[category], train[category], hashes, len(units))
                units.append(replace(made, spec=specs[category]))
    messages = [f"{dataset.title}: nothing of {', '.join(missing)} in this copy; means are over the rest"] * bool(
        missing
    )
    if plan.seeds > 1 and not any(_random(plan, shots) for shots in plan.shots):
        messages.append("nothing is drawn at random here: one seed is enough, and only one is run")
    recipe = {
        "format": 1,
        "plan": plan.model_dump(mode="json") | {"categories": names},
        "config": _config(detector),
        "files": option_files({"model": plan.model, **plan.options}),
        "data": {"fingerprint": _fingerprint(root, [*judged.values(), *train.values()]), "missing": missing},
        "units": [unit.described.model_dump(mode="json") for unit in units],
        "versions": versions(detector),
    }
    if sheets is not None:
        recipe["sheets"] = {name: spec.model_dump(mode="json", exclude_defaults=True) for name, spec in specs.items()}
    return Work(plan, root, tuple(units), recipe, tuple(messages))


def versions(detector: object = None) -> dict[str, str]:
    """The versions of what computes: ours, the core libraries, and those that the detector is made with."""
    own = {"looktwice": looktwice.__version__, "python": platform.python_version()}
    return own | {name: version(name) for name in (*LIBRARIES, *_made_with(detector))}


def _made_with(detector: object) -> list[str]:
    """Those of HEAVY that the detector's modules import by their own text, whatever else this process has loaded."""
    seen, left, found = set[str](), [type(detector).__module__], set[str]()
    while left:
        module = left.pop()
        seen.add(module)
        for name, value in list(vars(sys.modules[module]).items()) if module in sys.modules else ():
            origin = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            if not isinstance(origin, str) or origin == f"{module}.{name}":  # a package holds what others imported
                continue
            if origin.split(".")[0] in HEAVY:
                found.add(origin.split(".")[0])
            elif origin.startswith("looktwice.") and origin not in seen:
                left.append(origin)
    if str(getattr(getattr(detector, "config", None), "talker", "")).startswith("hf:"):
        found |= {"torch", "transformers"}  # a talker is opened when it is first asked
    return [name for name in HEAVY if name in found]


def option_files(options: Mapping[str, Any]) -> dict[str, str]:
    """Hashes of the files and folders that options name (weights, templates, scripts): other files are another run.

    Of a file above 64 MiB its size and a part of it counts: weights are large, and read at every start.
    """
    found = {}
    for key, value in sorted(options.items()):
        text = value if isinstance(value, str) else ""
        path = Path(text.partition(":")[2] if re.match(r"[a-z]{2,}:(?!//)", text) else text)
        looks = any(sign in text for sign in ("/", "\\", ".", ":")) or key in ("weights", "templates", "checkpoint")
        if text and looks and path.exists():
            found[key] = _sampled_hash(path)
    return found


def _sampled_hash(path: Path) -> str:
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        size = file.stat().st_size
        digest.update(f"{file.relative_to(path).as_posix()}\0{size}\0".encode())
        with file.open("rb") as stream:
            if size <= WHOLE:
                digest.update(stream.read())
            else:
                for start in np.linspace(0, size - SAMPLED, 16).astype(np.int64):
                    stream.seek(int(start))
                    digest.update(stream.read(SAMPLED))
    return digest.hexdigest()


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
    pool = {"train": "train", "test": plan.split, "own": "", "similar": ""}[plan.references]
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
    return not plan.named and shots not in (0, "full")


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
    if not plan.named and shots != 0:
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
    return Unit(category, shots, seed, references, tuple(items), described, Spec())


def _specs(dataset: DataSet, names: Iterable[str], sheets: Path | None) -> dict[str, Spec]:
    """What is known of each category: its name in words, and what its sheet says."""
    found = {}
    for name in names:
        spec = Spec()
        if sheets is not None:
            file = sheets / f"{name}.yaml" if sheets.is_dir() else sheets
            if not file.is_file():
                raise UsageError(f"no inspection sheet {file}: --sheets takes one, or a folder with CATEGORY.yaml")
            spec = read_sheet(file).model_copy(update={"references": (), "tests": Expectation()})
        found[name] = spec.model_copy(update={"object": spec.object or dataset.display_name(name)})
    return found


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
