"""HeadCT: 200 head slices, half with a haemorrhage; a label a picture.

Odd: the header of labels.csv has a blank after the comma, ids are plain numbers while file names have three digits.
"""

from __future__ import annotations

from collections.abc import Iterator

from looktwice.data.dataset import Count, DataSet, Tree
from looktwice.data.items import Item
from looktwice.data.lists import read_csv
from looktwice.errors import BadFile


def read(dataset: DataSet, tree: Tree, variant: str) -> Iterator[Item]:
    """Items in the order of labels.csv."""
    file = tree.root / "labels.csv"
    folders = ("head_ct/head_ct", "head_ct", "")
    folder = next((tree.root / f for f in folders if "000.png" in tree.files(tree.root / f)), tree.root / folders[0])
    if not file.exists() and not folder.is_dir():
        return
    for line, row in read_csv(tree, file, ("id", "hemorrhage")):
        if row["hemorrhage"] not in ("0", "1") or not row["id"].isdecimal():
            why = f"line {line}: expected a number and 0 or 1, got '{row['id']}' and '{row['hemorrhage']}'"
            raise BadFile("unsupported", file, why)
        path = folder / f"{int(row['id']):03d}.png"
        yield Item(
            id=tree.relative(path),
            paths=(path,),
            modality="image",
            category="head",
            split="test",
            label=1 if row["hemorrhage"] == "1" else 0,
            defect_type="haemorrhage" if row["hemorrhage"] == "1" else "",
            source=f"labels.csv, line {line}",
        )


DATASET = DataSet(
    name="head_ct",
    title="HeadCT",
    modality="image",
    owner="Felipe Kitamura, Kaggle",
    page='"Head CT - hemorrhage"',
    licence="see the page",
    truth="image labels",
    categories=("head",),
    display={"head": "head CT slice"},
    read=read,
    splits=("test",),
    counts={"": (Count(category="head", split="test", normal=100, anomalous=100),)},
)
