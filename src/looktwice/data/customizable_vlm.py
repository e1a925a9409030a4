"""Customizable-VLM list: the test part of MVTec AD as 1,725 pairs of a query and a good picture.

Odd: in the file, label 1 means normal; here 1 means anomalous, as everywhere. The good picture always comes from the
test part, and 15 records compare it with itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from looktwice.data.dataset import Count, DataSet, Tree
from looktwice.data.items import Item, MaskPictures, NoAnomaly, TruthSource
from looktwice.data.lists import records
from looktwice.data.mvtec_ad import DATASET as MVTEC_AD
from looktwice.errors import BadFile

NAME = "vlm_for_ad_dataset.json"
KEYS = ("object_type", "defect_img_path", "good_img_path", "label", "defect_type")
PREFIX = ("datasets", "MVTecAD")


def read(dataset: DataSet, tree: Tree, variant: str) -> Iterator[Item]:
    """Items in the order of the list; the root holds `datasets`, or is its folder MVTecAD."""
    base = next((b for b in (tree.root.joinpath(*PREFIX), tree.root) if NAME in tree.files(b)), None)
    if base is None:
        return
    file = base / NAME
    for number, one in enumerate(records(tree, file, *KEYS), 1):
        label = _label(file, number, one)
        path = base / _below(one["defect_img_path"])
        yield Item(
            id=str(one["defect_img_path"]),
            paths=(path,),
            modality="image",
            category=str(one["object_type"]),
            split="test",
            label=1 if label else 0,
            defect_type=str(one["defect_type"]) if label else "",
            truth=_truth(tree, base, path, one) if label else NoAnomaly(),
            references=(base / _below(one["good_img_path"]),),
            source=f"{NAME}, record {number}",
        )


def _label(file: Path, number: int, one: dict[str, Any]) -> int:
    if one["label"] not in (0, 1) or (one["label"] == 1) != (one["defect_type"] == "good"):
        why = f"record {number}: label 1 goes with defect_type good, got {one['label']} with {one['defect_type']}"
        raise BadFile("unsupported", file, why)
    return 1 - int(one["label"])


def _below(path: Any) -> Path:
    pieces = PurePosixPath(str(path)).parts
    return Path(*pieces[len(PREFIX) :]) if pieces[: len(PREFIX)] == PREFIX else Path(*pieces)


def _truth(tree: Tree, base: Path, path: Path, one: dict[str, Any]) -> TruthSource | None:
    bound = {"category": str(one["object_type"]), "defect": str(one["defect_type"]), "stem": path.stem}
    masks = tree.lookup("{category}/ground_truth/{defect}/{stem}_mask.png", bound, base)
    return MaskPictures(masks) if masks else None


DATASET = DataSet(
    name="customizable_vlm",
    title="Customizable-VLM list",
    modality="image",
    owner="authors of Customizable-VLM",
    page="datasets/MVTecAD/vlm_for_ad_dataset.json of their repository; pictures from MVTec AD",
    licence="pictures CC BY-NC-SA 4.0",
    truth="answers",
    categories=MVTEC_AD.categories,
    read=read,
    splits=("test",),
    counts={"": (Count(split="test", normal=467, anomalous=1258),)},
    extras=("*",),
    notes=("references come from the test part; 15 records compare a picture with itself",),
)
