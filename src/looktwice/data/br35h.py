"""Br35H: 3,000 brain slices with a label each; 801 of the tumours with drawn outlines (variant `pixels`).

Odd: `pred` is unlabelled and Br35H-Mask-RCNN holds the outlines: neither is a class of tumours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from looktwice.data.dataset import Count, DataSet, Part, Tree, read_parts
from looktwice.data.items import Item, Outline, Outlines
from looktwice.data.lists import check_record, read_json
from looktwice.errors import BadFile

OUTLINED = (("train", "TRAIN"), ("validation", "VAL"), ("test", "TEST"))


def read(dataset: DataSet, tree: Tree, variant: str) -> Iterator[Item]:
    """Labelled slices, or the outlined ones."""
    return read_parts(dataset, tree) if variant == "images" else _outlined(tree)


def _outlined(tree: Tree) -> Iterator[Item]:
    base = tree.root / "Br35H-Mask-RCNN"
    for split, name in OUTLINED:
        folder = base / name
        lists = [folder / f for f in tree.files(folder) if f.lower().endswith(".json")]
        shapes = _shapes(tree, lists or [base / "annotations_all.json"]) if tree.files(folder) else {}
        for path, _ in tree.match("{stem}.jpg|jpeg|png", folder):
            yield Item(
                id=tree.relative(path),
                paths=(path,),
                modality="image",
                category="brain",
                split=split,
                label=1,
                defect_type="tumour",
                truth=shapes.get(path.name.lower()),
            )


def _shapes(tree: Tree, files: list[Path]) -> dict[str, Outlines]:
    found: dict[str, Outlines] = {}
    for file in files:
        records = read_json(tree, file)
        if not isinstance(records, dict):
            raise BadFile("unsupported", file, "expected an object keyed by picture, as the VGG annotator writes")
        for key, record in records.items():
            check_record(file, f"record '{key}'", record, ("filename", "regions"))
            regions = record["regions"]
            regions = list(regions.values()) if isinstance(regions, dict) else regions
            outlines = tuple(_outline(file, key, region) for region in regions)
            found[str(record["filename"]).lower()] = Outlines((file,), outlines)
    return found


def _outline(file: Path, key: str, region: Any) -> Outline:
    try:
        shape = region["shape_attributes"]
        kind = shape["name"]
        if kind in ("polygon", "polyline"):
            return Outline(corners=tuple(zip(shape["all_points_x"], shape["all_points_y"], strict=True)))
        centre = (float(shape["cx"]), float(shape["cy"]))
        if kind == "circle":
            return Outline(centre=centre, radii=(float(shape["r"]), float(shape["r"])))
        if kind == "ellipse":
            turn = float(shape.get("theta", 0.0))
            return Outline(
                centre=centre, radii=(float(shape["rx"]), float(shape["ry"])), turn=math.fmod(turn, math.tau)
            )
    except (KeyError, TypeError, ValueError) as error:
        raise BadFile("unsupported", file, f"record '{key}': a shape lacks or misstates {error}") from error
    raise BadFile("unsupported", file, f"record '{key}': expected a polygon, ellipse or circle, got '{kind}'")


DATASET = DataSet(
    name="br35h",
    title="Br35H",
    modality="image",
    owner="Ahmed Hamada",
    page='repository AhmedHamada0/Brain-Tumor-Detection-Dataset; Kaggle "Br35H :: Brain Tumor Detection 2020"',
    licence="not stated",
    truth="image labels",
    categories=("brain",),
    display={"brain": "brain MRI slice"},
    normal=("no",),
    parts=(
        Part("test", "no/{stem}.jpg|jpeg|png", label=0),
        Part("test", "yes/{stem}.jpg|jpeg|png", label=1, defect="tumour"),
    ),
    read=read,
    splits=("train", "validation", "test"),
    variants=("images", "pixels"),
    counts={
        "images": (Count(category="brain", split="test", normal=1500, anomalous=1500),),
        "pixels": (
            Count(category="brain", split="train", normal=0, anomalous=500),
            Count(category="brain", split="validation", normal=0, anomalous=201),
            Count(category="brain", split="test", normal=0, anomalous=100),
        ),
    },
    extras=("pred/*", "Br35H-Mask-RCNN/*", "yes/*", "no/*", "README*", "*.md"),
    notes=("holds 201 of the 228 distinct pictures of BrainMRI pixel for pixel",),
)
