"""VisA: twelve kinds of parts, as published (csv lists) or re-laid in the style of MVTec AD.

Odd: mask values are defect kinds 1 to 9, not 255; endings are .JPG; normal and anomalous files share names
in five classes. Three official splits; only `1cls` exists re-laid.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from looktwice.data.dataset import Count, DataSet, Part, Tree, base_of, item_of, per_category
from looktwice.data.items import Item, MaskPictures, NoAnomaly
from looktwice.data.lists import read_csv
from looktwice.errors import BadFile, UsageError

COLUMNS = ("object", "split", "label", "image", "mask")
LABELS: dict[str, Literal[0, 1]] = {"normal": 0, "anomaly": 1}


def read(dataset: DataSet, tree: Tree, variant: str) -> Iterator[Item]:
    """Items of the published layout where its lists are there, else of the re-laid one."""
    if (tree.root / "split_csv").is_dir():
        return _listed(tree, variant)
    return _laid_out(dataset, tree, variant)


def _listed(tree: Tree, variant: str) -> Iterator[Item]:
    file = tree.root / "split_csv" / f"{variant}.csv"
    for line, row in read_csv(tree, file, COLUMNS):
        if row["label"] not in LABELS or row["split"] not in ("train", "test"):
            why = f"line {line}: label must be normal or anomaly and split train or test, got {row['label']}"
            raise BadFile("unsupported", file, f"{why} and {row['split']}")
        label = LABELS[row["label"]]
        yield Item(
            id=row["image"],
            paths=(tree.root / row["image"],),
            modality="image",
            category=row["object"],
            split=row["split"],
            label=label,
            truth=MaskPictures((tree.root / row["mask"],)) if row["mask"] else NoAnomaly() if label == 0 else None,
            source=f"{file.name}, line {line}",
        )


def _laid_out(dataset: DataSet, tree: Tree, variant: str) -> Iterator[Item]:
    base = base_of(dataset, tree)
    for category in dataset.categories:
        for part in dataset.parts:
            for path, bound in tree.match(part.files, base, category=category):
                if variant != "1cls":
                    raise UsageError(
                        f"{tree.root} holds VisA re-laid as 1cls, without the list split_csv/{variant}.csv: "
                        f"use the archive as published for {variant}"
                    )
                yield item_of(dataset, tree, part, path, bound, base)


DATASET = DataSet(
    name="visa",
    title="VisA",
    modality="image",
    owner="Amazon",
    page="repository amazon-science/spot-diff",
    licence="CC BY 4.0",
    truth="pixel masks",
    categories=(
        *("candle", "capsules", "cashew", "chewinggum", "fryum", "macaroni1", "macaroni2"),
        *("pcb1", "pcb2", "pcb3", "pcb4", "pipe_fryum"),
    ),
    display={
        "candle": "candles",
        "chewinggum": "chewing gum",
        **{f"pcb{k}": "printed circuit board" for k in (1, 2, 3, 4)},
    },
    parts=(
        Part("train", "{category}/train/{defect}/{stem}.jpg|jpeg|png"),
        Part(
            "test", "{category}/test/{defect}/{stem}.jpg|jpeg|png", mask="{category}/ground_truth/{defect}/{stem}.png"
        ),
    ),
    inside=("", "1cls", "VisA_pytorch/1cls", "visa_pytorch"),
    read=read,
    splits=("train", "test"),
    variants=("1cls", "2cls_highshot", "2cls_fewshot"),
    counts={
        "1cls": per_category(
            ("train", "test"),
            {
                "candle": (900, (100, 100)),
                "capsules": (542, (60, 100)),
                "cashew": (450, (50, 100)),
                "chewinggum": (453, (50, 100)),
                "fryum": (450, (50, 100)),
                "macaroni1": (900, (100, 100)),
                "macaroni2": (900, (100, 100)),
                "pcb1": (904, (100, 100)),
                "pcb2": (901, (100, 100)),
                "pcb3": (905, (101, 100)),
                "pcb4": (904, (101, 100)),
                "pipe_fryum": (450, (50, 100)),
            },
        ),
        "2cls_highshot": (
            Count(split="train", normal=5773, anomalous=720),
            Count(split="test", normal=3848, anomalous=480),
        ),
        "2cls_fewshot": (
            Count(split="train", normal=1924, anomalous=240),
            Count(split="test", normal=7697, anomalous=960),
        ),
    },
    extras=(
        *("split_csv/*.csv", "*/image_anno.csv", "LICENSE*", "NOTICE*", "README*", "VisA_pytorch/*", "visa_pytorch/*"),
        *("VisA/test_data.json", "VisA/visa_dr.json", "test_data.json", "visa_dr.json"),
    ),
    notes=("the archive has 1.9 GB", "several toolkits state CC BY-NC-SA, which is wrong"),
)
