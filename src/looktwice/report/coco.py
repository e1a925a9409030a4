"""COCO export: the regions of all inspected pictures as boxes and masks that pycocotools reads.

One category, "anomaly". A mask is the anomaly map from the threshold on, kept as uncompressed RLE; where no map was
kept, or it reaches the threshold nowhere in the box, the segmentation is the box. Letters: H W pixels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from looktwice.records import Region, Result, Spec
from looktwice.report.atomic import write_atomically
from looktwice.report.paths import inside

CATEGORY = {"id": 1, "name": "anomaly", "supercategory": ""}
BORDER = 0.5  # of a map, where the result has no threshold of its own


def write_run(folder: Path, results: Sequence[Result], spec: Spec | None, made: Mapping[str, str]) -> Path:
    """Write folder/coco.json; `made` goes into its info."""
    return write_coco(folder / "coco.json", results, made)


def write_coco(path: Path | str, results: Sequence[Result], made: Mapping[str, str] | None = None) -> Path:
    """Write the picture results as COCO; `info` says what was left out. Maps are looked for beside `path`.

    Every box counts, whatever the verdict of its picture: the verdict and both scores are kept to filter by.
    """
    path = Path(path)
    pictures = [r for r in results if r.modality == "image" and r.error is None and r.size is not None]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, result in enumerate(pictures, 1):
        images.append(_image(number, result))
        for region, box, segmentation, area in _segments(path.parent, result):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": CATEGORY["id"],
                    "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                    "area": area,
                    "segmentation": segmentation,
                    "iscrowd": 0,
                    "score": region.score,
                    "words": region.words,
                }
            )
    content = {
        "info": _info(results, len(pictures), made or {}),
        "licenses": [],
        "categories": [CATEGORY],
        "images": images,
        "annotations": annotations,
    }
    return write_atomically(path, json.dumps(content, ensure_ascii=False) + "\n")


def _info(results: Sequence[Result], kept: int, made: Mapping[str, str]) -> dict[str, Any]:
    failed = sum(r.error is not None for r in results)
    clouds = sum(r.modality == "point_cloud" and r.error is None for r in results)
    videos = sum(r.modality == "video" and r.error is None for r in results)
    return {
        "description": f"looktwice: regions of {kept} pictures. COCO holds pictures only: "
        f"{clouds} point clouds and {videos} videos are left out, as are {failed} files that could not be inspected.",
        "left_out": {"point_cloud": clouds, "video": videos, "failed": failed},
        "made": dict(made),
    }


def _image(number: int, result: Result) -> dict[str, Any]:
    assert result.size is not None
    return {
        "id": number,
        "file_name": result.path,
        "height": result.size[0],
        "width": result.size[1],
        "score": result.score,
        "verdict": result.verdict,
    }


Box = tuple[int, int, int, int]
Segment = tuple[Region, Box, Any, int]


def _segments(folder: Path, result: Result) -> list[Segment]:
    """(region, box, segmentation, area) of each region with a box that lies in the picture."""
    assert result.size is not None
    height, width = result.size
    placed: list[tuple[Region, Box]] = []
    for region in result.regions:
        if region.box is not None:
            x0, y0, x1, y1 = region.box
            box = (max(x0, 0), max(y0, 0), min(x1, width), min(y1, height))
            if box[0] < box[2] and box[1] < box[3]:
                placed.append((region, box))
    anomaly_map = _map(folder, result)
    masks: Sequence[np.ndarray | None] = [None] * len(placed)
    if anomaly_map is not None and placed:
        threshold = BORDER if result.threshold is None else result.threshold
        masks = _split(anomaly_map >= threshold, [box for _, box in placed])
    segments: list[Segment] = []
    for (region, box), mask in zip(placed, masks, strict=True):
        if mask is None or not mask.any():
            x0, y0, x1, y1 = box
            segments.append((region, box, [[x0, y0, x1, y0, x1, y1, x0, y1]], (x1 - x0) * (y1 - y0)))
        else:
            segments.append((region, box, _rle(mask, box, (height, width)), int(mask.sum())))
    return segments


def _map(folder: Path, result: Result) -> np.ndarray | None:
    """The map at original size as (H, W) in [0, 1], or None when there is none that fits its picture."""
    file = inside(folder, result.files.get("map"))
    if file is None or not file.is_file():
        return None
    try:
        if file.suffix == ".npy":
            values = np.load(file, allow_pickle=False)
        else:
            with Image.open(file) as picture:
                values = np.asarray(picture)
    except (OSError, ValueError):
        return None
    if values.shape != result.size:
        return None
    top = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    return np.asarray(values / np.float32(top))


def _split(mask: np.ndarray, boxes: Sequence[Box]) -> list[np.ndarray]:
    """Share a mask (H, W) bool out among boxes -> one mask per box, in the frame of that box.

    Each connected spot belongs to the smallest box that holds all of it, so that no pixel counts twice where boxes
    overlap. A box that holds no whole spot gets what of the mask lies in it.
    """
    spots, _ = ndimage.label(mask, np.ones((3, 3)))
    around = ndimage.find_objects(spots)
    owner = np.full(len(around) + 1, -1)
    by_size = sorted(range(len(boxes)), key=lambda i: (boxes[i][2] - boxes[i][0]) * (boxes[i][3] - boxes[i][1]))
    for spot, (rows, columns) in enumerate(around, 1):
        for i in by_size:
            x0, y0, x1, y1 = boxes[i]
            if x0 <= columns.start and columns.stop <= x1 and y0 <= rows.start and rows.stop <= y1:
                owner[spot] = i
                break
    masks = []
    for i, (x0, y0, x1, y1) in enumerate(boxes):
        part = spots[y0:y1, x0:x1]
        mine = owner[part] == i
        masks.append(mine if mine.any() else part > 0)
    return masks


def _rle(mask: np.ndarray, box: Box, size: tuple[int, int]) -> dict[str, Any]:
    """Uncompressed COCO RLE: lengths of runs of 0 and 1 in turn, down the columns, beginning with zeros."""
    whole = np.zeros(size, np.bool_)
    whole[box[1] : box[3], box[0] : box[2]] = mask
    flat = whole.ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return {"size": list(size), "counts": [0, *counts] if flat[0] else counts}
