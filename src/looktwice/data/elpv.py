"""ELPV: 2,624 electroluminescence pictures of solar cells, each with a probability of being defective.

Odd: labels.csv has no header and blanks between its values. Papers turn the probability into a label in three ways,
and AUROC differs by several points, so each is a variant:
`extremes` 0 against 1, the middle left out - `quarter` the same with three quarters of the normal cells as a training
part (zero-shot and few-shot tables) - `half` 0.5 and more - `any` more than 0.
Which quarter is the test part is our own draw with seed 42: the papers state the seed and not the generator.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from looktwice.data.dataset import Count, DataSet, Tree
from looktwice.data.items import Item
from looktwice.data.lists import read_lines
from looktwice.errors import BadFile

PROBABILITIES = (0.0, 1 / 3, 2 / 3, 1.0)
TEST_SHARE = 0.25


def read(dataset: DataSet, tree: Tree, variant: str) -> Iterator[Item]:
    """Items in the order of labels.csv; of `quarter` the training part first."""
    cells = _cells(dataset, tree, variant)
    return _quartered(list(cells)) if variant == "quarter" else cells


def _quartered(cells: list[Item]) -> Iterator[Item]:
    normal = [cell for cell in cells if cell.label == 0]
    chosen = np.random.default_rng(42).permutation(len(normal))[: round(len(normal) * TEST_SHARE)]
    kept = {normal[i].id for i in chosen}
    yield from (dataclasses.replace(cell, split="train") for cell in normal if cell.id not in kept)
    yield from (cell for cell in cells if cell.label or cell.id in kept)


def _cells(dataset: DataSet, tree: Tree, variant: str) -> Iterator[Item]:
    bases = [tree.root / inside for inside in dataset.inside]
    base = next((base for base in bases if "labels.csv" in tree.files(base)), bases[0])
    file = base / "labels.csv"
    if not file.exists() and not (base / "images").is_dir():
        return
    for line, words in read_lines(tree, file):
        if len(words) != 3 or words[2] not in ("mono", "poly"):
            raise BadFile("unsupported", file, f"line {line}: expected 'images/cell0001.png 1.0 mono'")
        label = _label(_probability(words[1], f"{file}, line {line}"), variant)
        if label is not None:
            yield Item(
                id=tree.relative(base / words[0]),
                paths=(base / words[0],),
                modality="image",
                category="solar_cell",
                split="test",
                label=1 if label else 0,
                source=f"labels.csv, line {line}",
            )


def _probability(text: str, where: str) -> float:
    try:
        value = float(text)
        return next(p for p in PROBABILITIES if abs(p - value) < 0.01)  # thirds are written out
    except (ValueError, StopIteration) as error:
        raise BadFile("unsupported", where, f"probability must be 0, 1/3, 2/3 or 1, got {text}") from error


def _label(probability: float, variant: str) -> bool | None:
    if variant == "half":
        return probability >= 0.5
    if variant == "any":
        return probability > 0
    return probability == 1 if probability in (0, 1) else None


DATASET = DataSet(
    name="elpv",
    title="ELPV",
    modality="image",
    owner="ZAE Bayern",
    page="repository zae-bayern/elpv-dataset",
    licence="CC BY-NC-SA 4.0",
    truth="image labels",
    categories=("solar_cell",),
    inside=("src/elpv_dataset/data", "", "elpv_dataset/data"),
    read=read,
    splits=("train", "test"),
    variants=("extremes", "quarter", "half", "any"),
    counts={
        "extremes": (Count(category="solar_cell", split="test", normal=1508, anomalous=715),),
        "quarter": (
            Count(category="solar_cell", split="train", normal=1131, anomalous=0),
            Count(category="solar_cell", split="test", normal=377, anomalous=715),
        ),
        "half": (Count(category="solar_cell", split="test", normal=1803, anomalous=821),),
        "any": (Count(category="solar_cell", split="test", normal=1508, anomalous=1116),),
    },
    extras=("*images/cell*.png", "LICENSE*", "README*", "*.py", "*.md", "*.toml", "*.cfg", "*.txt", "doc*/*"),
)
