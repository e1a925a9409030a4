"""Real3D-AD: scanned toys; four complete templates a class to learn from, one-sided scans to judge.

Odd: an anomalous scan is read from its label file (x, y, z, label), because the order of points in the .pcd may
differ; names with `temp` in the test folder are templates, not tests.
"""

from __future__ import annotations

from collections.abc import Iterator

from looktwice.data.dataset import DataSet, Tree, per_category
from looktwice.data.items import Item, NoAnomaly, PointRows

DEFECTS = ("bulge", "sink", "copy")


def read(dataset: DataSet, tree: Tree, variant: str) -> Iterator[Item]:
    """Templates as train, scans as test."""
    bases = [tree.root / inside for inside in dataset.inside]
    base = next((base for base in bases if set(tree.folders(base)) & set(dataset.categories)), bases[0])
    for category in dataset.categories:
        for split in ("train", "test"):
            for path, bound in tree.match("{category}/" + split + "/{stem}.pcd", base, category=category):
                is_template = "temp" in bound["stem"].lower() or "prototype" in bound["stem"].lower()
                if is_template != (split == "train"):
                    continue
                words = bound["stem"].lower().split("_")
                normal = is_template or "good" in words
                labels = () if normal else tree.lookup("{category}/gt/{stem}.txt", bound, base)
                yield Item(
                    id=tree.relative(path),
                    paths=(path,),
                    modality="point_cloud",
                    category=category,
                    split=split,
                    label=0 if normal else 1,
                    defect_type="" if normal else _defect(words),
                    truth=NoAnomaly() if normal else PointRows(labels[0]) if labels else None,
                )


def _defect(words: list[str]) -> str:
    """The kind in names such as 12_bulge_cut."""
    return next((kind for word in words for kind in DEFECTS if word.startswith(kind)), "")


DATASET = DataSet(
    name="real3d_ad",
    title="Real3D-AD",
    modality="point_cloud",
    owner="M-3LAB",
    page="repository M-3LAB/Real3D-AD",
    licence="not stated in the repository",
    truth="point labels",
    categories=(
        *("airplane", "car", "candybar", "chicken", "diamond", "duck", "fish", "gemstone", "seahorse", "shell"),
        *("starfish", "toffees"),
    ),
    display={"candybar": "candy bar", "airplane": "toy airplane", "car": "toy car"},
    inside=("", "Real3D-AD-PCD"),
    read=read,
    splits=("train", "test"),
    counts={
        "": per_category(
            ("train", "test"),
            {
                "airplane": (4, (50, 50)),
                "car": (4, (50, 50)),
                "candybar": (4, (50, 50)),
                "chicken": (4, (52, 54)),
                "diamond": (4, (50, 50)),
                "duck": (4, (50, 50)),
                "fish": (4, (50, 50)),
                "gemstone": (4, (50, 50)),
                "seahorse": (4, (50, 50)),
                "shell": (4, (52, 48)),
                "starfish": (4, (50, 50)),
                "toffees": (4, (50, 50)),
            },
        )
    },
    extras=("README*", "*.md", "*/test/*temp*"),
    notes=("test scans show one side, templates are complete: register before comparing",),
)
