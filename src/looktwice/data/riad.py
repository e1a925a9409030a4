"""RIAD: the data VMAD was trained on, reported by its authors; no public archive was found.

The layout is therefore ours: folders as in MVTec AD, and instruct.json in the root, a list of records
{"image": path from the root, "conversations": [{"from": "human" | "gpt", "value": ...}, ...]}; further keys are
allowed. Reported: 28,040 pictures; 16 training classes with 15,274 and 8 test classes with 8,342, which add to 23,616.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from looktwice.data.dataset import Count, DataSet, Part, Tree, read_parts
from looktwice.data.items import Item, Turn
from looktwice.data.lists import dialogue, records
from looktwice.errors import BadFile


def read(dataset: DataSet, tree: Tree, variant: str) -> Iterator[Item]:
    """Pictures with masks, and the dialogue about them where there is one."""
    turns = _dialogues(tree)
    for item in read_parts(dataset, tree):
        yield dataclasses.replace(item, turns=turns.pop(item.id, ()))
    if turns:
        raise BadFile("unsupported", tree.root / "instruct.json", f"speaks of {next(iter(turns))}, which is not there")


def _dialogues(tree: Tree) -> dict[str, tuple[Turn, ...]]:
    file = tree.root / "instruct.json"
    if file.name not in tree.files(tree.root):
        return {}
    return {
        str(one["image"]): dialogue(file, f"record {number}", one["conversations"])
        for number, one in enumerate(records(tree, file, "image", "conversations"), 1)
    }


MASKS = ("{category}/ground_truth/{defect}/{stem}_mask.png", "{category}/ground_truth/{defect}/{stem}.png")

DATASET = DataSet(
    name="riad",
    title="RIAD",
    modality="image",
    owner="authors of VMAD",
    page="no public archive was found; the layout is ours",
    licence="not published",
    truth="pixel masks",
    category_count=24,
    read=read,
    parts=(
        Part("train", "{category}/train/{defect}/{stem}.png|jpg|jpeg|bmp", mask=MASKS),
        Part("test", "{category}/test/{defect}/{stem}.png|jpg|jpeg|bmp", mask=MASKS),
    ),
    counts={"": (Count(total=28_040, verified=False),)},
    notes=("the reported parts of 15,274 and 8,342 pictures add to 23,616, not 28,040",),
)
