"""Anomaly-Instruct-125k: dialogues about web, industrial, medical and rendered 3-D pictures.

Lists in LLaVA's format in the root, .json or .jsonl, one a source; or a .yaml with `datasets:` of `json_path` and
`sampling_strategy` (all, first:N, end:N, random:N, each also as a share "10%"; random is drawn with seed 0).
Odd: `image` is one path or a list of views of one thing. The category of an item is the name of its list.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from looktwice.data.dataset import DataSet, Tree
from looktwice.data.items import Item
from looktwice.data.lists import as_texts, dialogue, read_text, records
from looktwice.errors import BadFile


def read(dataset: DataSet, tree: Tree, variant: str) -> Iterator[Item]:
    """Dialogues, list by list."""
    for file, strategy in _lists(tree):
        numbered = list(enumerate(records(tree, file, "conversations"), 1))
        for number, one in _sampled(file, numbered, strategy):
            what = f"record {number}"
            images = as_texts(one.get("image"))
            if not images:
                raise BadFile("unsupported", file, f"{what} has no image")
            yield Item(
                id=f"{file.stem}/{number}",
                paths=tuple(tree.root / image for image in images),
                modality="image",
                category=file.stem,
                split="train",
                label=None,
                turns=dialogue(file, what, one["conversations"]),
                source=f"{file.name}, {what}",
            )


def _lists(tree: Tree) -> list[tuple[Path, str]]:
    names = tree.files(tree.root)
    mixtures = [name for name in names if name.lower().endswith((".yaml", ".yml"))]
    if len(mixtures) > 1:
        raise BadFile("unsupported", tree.root, f"{', '.join(mixtures)} each say what to read: leave one of them")
    if mixtures:
        return _mixture(tree, tree.root / mixtures[0])
    return [(tree.root / name, "all") for name in names if name.lower().endswith((".json", ".jsonl"))]


def _mixture(tree: Tree, file: Path) -> list[tuple[Path, str]]:
    try:
        content = yaml.safe_load(read_text(tree, file))
        rows = [(str(row["json_path"]), str(row.get("sampling_strategy", "all"))) for row in content["datasets"]]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise BadFile("unsupported", file, f"expected 'datasets:' with json_path in each row ({error})") from error
    # paths in published mixtures are of the authors' machine: the name counts when the path leads nowhere
    paths = [(tree.root / path, tree.root / Path(path).name, strategy) for path, strategy in rows]
    return [(path if path.exists() else by_name, strategy) for path, by_name, strategy in paths]


def _sampled(file: Path, numbered: list[tuple[int, dict[str, Any]]], strategy: str) -> list[tuple[int, dict[str, Any]]]:
    if strategy == "all":
        return numbered
    found = re.fullmatch(r"(first|end|random):(\d+)(%?)", strategy)
    if not found:
        raise BadFile("unsupported", file, f"sampling_strategy must be all, first:N, end:N or random:N, got {strategy}")
    wanted = math.ceil(int(found[2]) * len(numbered) / 100) if found[3] else int(found[2])
    wanted = min(wanted, len(numbered))
    if found[1] == "first":
        return numbered[:wanted]
    if found[1] == "end":
        return numbered[len(numbered) - wanted :]
    chosen = np.random.default_rng(0).permutation(len(numbered))[:wanted]
    return [numbered[i] for i in sorted(chosen)]


DATASET = DataSet(
    name="anomaly_instruct",
    title="Anomaly-Instruct-125k",
    modality="image",
    owner="Johns Hopkins University, Honda Research Institute",
    page='project page "Anomaly-OV", on request',
    licence="on request",
    truth="answers",
    display={"webad": "object", "bmad": "medical picture", "mvtec": "industrial part", "mvtec3d": "industrial part"},
    read=read,
    splits=("train",),
    size="about 125,000 dialogues (reported)",
    extras=("*",),
    notes=(
        "built on MVTec AD, BMAD, Anomaly-ShapeNet, Real3D-AD and MVTec 3D-AD: do not test on these after training",
    ),
)
