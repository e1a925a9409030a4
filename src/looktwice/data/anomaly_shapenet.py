"""Anomaly-ShapeNet: synthetic clouds, four normal ones a class to learn from.

Odd: normal test clouds are called positive; labels lie in GT (capitals) with blanks or commas, and hold the points
they belong to, so an anomalous cloud is read from there. Class names end in a digit. Ten more classes in a folder
`new` are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from looktwice.data.dataset import Count, DataSet, Tree
from looktwice.data.items import Item, NoAnomaly, PointRows


def read(dataset: DataSet, tree: Tree, variant: str) -> Iterator[Item]:
    """Templates as train, the rest as test."""
    bases = [tree.root / inside for inside in dataset.inside]
    base = next((base for base in bases if any(tree.match("{category}/test/{stem}.pcd", base))), bases[0])
    for category in tree.folders(base):
        for split in ("train", "test"):
            for path, bound in tree.match("{category}/" + split + "/{stem}.pcd", base, category=category):
                defect = "" if split == "train" else _kind(bound["stem"], category)
                normal = split == "train" or defect == "positive"
                labels = () if normal else tree.lookup("{category}/GT/{stem}.txt", bound, base)
                yield Item(
                    id=tree.relative(path),
                    paths=(path,),
                    modality="point_cloud",
                    category=category,
                    split=split,
                    label=0 if normal else 1,
                    defect_type="" if normal else defect,
                    truth=NoAnomaly() if normal else PointRows(labels[0]) if labels else None,
                )


def _kind(stem: str, category: str) -> str:
    """The kind in names such as bottle0_bulge12."""
    rest = stem[len(category) :] if stem.startswith(category) else stem
    return re.sub(r"\d+$", "", rest.strip("_")).strip("_").lower()


DATASET = DataSet(
    name="anomaly_shapenet",
    title="Anomaly-ShapeNet",
    modality="point_cloud",
    owner="Chopper-233",
    page="repository Chopper-233/Anomaly-ShapeNet",
    licence="CC BY 4.0",
    truth="point labels",
    category_count=40,
    normal=("positive",),
    inside=("dataset/pcd", "pcd", ""),
    read=read,
    splits=("train", "test"),
    counts={"": (Count(category="*", split="train", normal=4, anomalous=0),)},
    defects={"": ("bulge", "concavity", "crack", "hole", "broken", "sink")},
    size="over 1,600 clouds",
    extras=("*new/*", "README*", "LICENSE*", "*.md", "dataset/obj/*"),
)
