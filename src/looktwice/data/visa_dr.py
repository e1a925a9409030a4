"""VisA-D&R: two lists beside the pictures of VisA, detection (yes or no) and reasoning (3 to 4 turns in order).

Odd: pcb2 and pcb4 are left out, as the authors' scorer does. The key of the reference answers is not published:
any list beside `questions` of the same length is taken, except `responses`, which is a system's output.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from looktwice.data.dataset import Count, DataSet, Tree
from looktwice.data.items import Item, MaskPictures, NoAnomaly, Question, TruthSource
from looktwice.data.lists import as_texts, records
from looktwice.errors import BadFile

LEFT_OUT = ("pcb2", "pcb4")
LISTS = {"detection": ("test_data.json", "anomaly"), "reasoning": ("visa_dr.json", "questions")}


def read(dataset: DataSet, tree: Tree, variant: str) -> Iterator[Item]:
    """Detection items, then reasoning items, in the order of their lists."""
    base = tree.root / "VisA" if "VisA" in tree.folders(tree.root) else tree.root
    for split, (name, key) in LISTS.items():
        if name in tree.files(base):
            for number, one in enumerate(records(tree, base / name, "image", key), 1):
                item = _item(tree, base, base / name, number, one, split)
                if item.category not in LEFT_OUT:
                    yield item


def _item(tree: Tree, base: Path, file: Path, number: int, one: dict[str, Any], split: str) -> Item:
    what = f"record {number}"
    pieces = PurePosixPath(str(one["image"])).parts
    if len(pieces) < 3:
        raise BadFile("unsupported", file, f"{what}: image must be VisA/<class>/..., got {one['image']}")
    path = base.joinpath(*pieces[1:])
    label = _label(file, what, one)
    return Item(
        id=f"{split}/{one['image']}",
        paths=(path,),
        modality="image",
        category=pieces[1],
        split=split,
        label=label,
        truth=_truth(tree, path, label),
        questions=_questions(file, what, one),
        source=f"{file.name}, {what}",
    )


def _label(file: Path, what: str, one: dict[str, Any]) -> Literal[0, 1] | None:
    value = one.get("anomaly")
    if value is None:
        return None
    if value not in (0, 1):
        raise BadFile("unsupported", file, f"{what}: anomaly must be true or false, got {value!r}")
    return 1 if value else 0


def _questions(file: Path, what: str, one: dict[str, Any]) -> tuple[Question, ...]:
    questions = as_texts(one.get("questions"))
    lists = [
        key
        for key, value in one.items()
        if key not in ("questions", "responses", "image") and isinstance(value, list) and len(value) == len(questions)
    ]
    if len(lists) > 1:
        raise BadFile("unsupported", file, f"{what}: both {' and '.join(lists)} could be the reference answers")
    answers = as_texts(one[lists[0]]) if lists and questions else ("",) * len(questions)
    return tuple(Question(text, answer) for text, answer in zip(questions, answers, strict=True))


def _truth(tree: Tree, path: Path, label: int | None) -> TruthSource | None:
    if label == 0:
        return NoAnomaly()
    if path.parent.name != "Anomaly" or path.parent.parent.name != "Images":
        return None
    masks = path.parent.parent.parent / "Masks" / "Anomaly"
    found = tree.lookup("{stem}.png", {"stem": path.stem}, masks)
    return MaskPictures(found) if found else None


DATASET = DataSet(
    name="visa_dr",
    title="VisA-D&R",
    modality="image",
    owner="Johns Hopkins University, Honda Research Institute",
    page='project page "Anomaly-OV"; pictures from VisA',
    licence="pictures CC BY 4.0",
    truth="answers",
    categories=(
        *("candle", "capsules", "cashew", "chewinggum", "fryum", "macaroni1", "macaroni2", "pcb1", "pcb3"),
        "pipe_fryum",
    ),
    display={
        "candle": "candles",
        "chewinggum": "chewing gum",
        "pcb1": "printed circuit board",
        "pcb3": "printed circuit board",
    },
    read=read,
    splits=("detection", "reasoning"),
    counts={"": (Count(split="detection", normal=761, anomalous=1000),)},
    extras=("*/Data/*", "*/image_anno.csv", "*split_csv/*", "LICENSE*", "NOTICE*", "README*", "*.csv"),
)
