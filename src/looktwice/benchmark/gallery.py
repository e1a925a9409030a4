"""Galleries: where a run was most right and most wrong, as one page with the pictures and their heat in it.

Worst: normal samples with the highest scores and anomalous ones with the lowest. Best: the other way round.
The scores alone decide; the pictures are read from the copy of the data set. Where the truth is a mask, its outline is
drawn over the heat; of a cloud, the view is shown that sees most of its high scores.
Letters: H W pixels of the original, h w of a view, V views, N points.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image
from scipy import ndimage

from looktwice import modalities
from looktwice.benchmark.compare import shots_words
from looktwice.benchmark.report import page
from looktwice.benchmark.store import MADE, Run, UnitPlan
from looktwice.data import load_dataset
from looktwice.data.items import Item, load_item
from looktwice.errors import BadFile, LookTwiceError, UsageError
from looktwice.records import PointCloudData, ToPoints, resize_map
from looktwice.report.atomic import write_atomically
from looktwice.report.overlay import blend
from looktwice.settings import Settings

GALLERY = "gallery.html"
SIDE = 320  # longest side of an embedded picture, pixels
OUTLINE = (0, 255, 255)  # far from every colour of the heat
HOW = "Left what was judged, right the same with the heat of the detector and, in cyan, the outline of the truth."
Row = dict[str, Any]
PARTS = (
    ("false alarms: normal, highest scores", 0, True),
    ("misses: anomalous, lowest scores", 1, False),
    ("found: anomalous, highest scores", 1, True),
    ("passed: normal, lowest scores", 0, False),
)


def write_gallery(run: Run, root: Path | str | None = None, count: int = 6) -> Path:
    """Write gallery.html into the run; returns its path.

    root: the copy of the data set, when it lies elsewhere than at prediction. count: pictures a part, per category.
    Shows the first seed of each number of shots. A picture that cannot be read is a sentence. Raises UsageError.
    """
    if count < 1:
        raise UsageError(f"count must be at least 1, got {count}")
    dataset = load_dataset(run.plan["dataset"])
    base = dataset.checked_root(root if root is not None else _known_root(run))
    items = {item.id: item for item in dataset.items(base, variant=run.plan["variant"])}
    settings = Settings.model_validate(run.plan["settings"])
    pieces = [f"<p>{HOW}</p>"]
    for unit in run.units:
        if unit.seed == 0:
            pieces += list(_unit(run, unit, items, settings, count))
    return write_atomically(run.folder / GALLERY, page(f"{run.name} on {dataset.title}", pieces))


def _known_root(run: Run) -> Path:
    path = run.folder / MADE
    try:
        root = Path(json.loads(path.read_text(encoding="utf-8"))["root"])
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{path} does not say where the data lies: give --root") from error
    if not root.exists():
        raise UsageError(f"the data set is no longer at {root}: give --root")
    return root


def _unit(run: Run, unit: UnitPlan, items: dict[str, Item], settings: Settings, count: int) -> Iterator[str]:
    rows = [row for row in run.rows(unit) if row["score"] is not None]
    yield str(Markup("<h2>{}, {}</h2>").format(unit.category, shots_words(unit.shots)))
    for words, label, highest in PARTS:
        chosen = sorted((row for row in rows if row["label"] == label), key=lambda row: (row["score"], row["id"]))
        chosen = chosen[::-1][:count] if highest else chosen[:count]
        if chosen:
            yield str(Markup("<h3>{}</h3>").format(words))
            yield from (_figure(run, unit, row, items, settings) for row in chosen)


def _figure(run: Run, unit: UnitPlan, row: Row, items: dict[str, Item], settings: Settings) -> str:
    words = f"{row['id']}: {row['score']:.3f}" + (f", {row['defect_type']}" if row["defect_type"] else "")
    try:
        if row["id"] not in items:
            raise BadFile("missing_file", row["path"], "not in this copy")
        picture = _picture(run, unit, row, items[row["id"]], settings)
    except LookTwiceError as error:
        why = error.why if isinstance(error, BadFile) else str(error)
        return str(Markup("<figure><figcaption>{} (no picture: {})</figcaption></figure>").format(words, why))
    return str(Markup('<figure><img alt="" src="{}"><figcaption>{}</figcaption></figure>').format(picture, words))


def _picture(run: Run, unit: UnitPlan, row: Row, item: Item, settings: Settings) -> str:
    """A view beside the same with heat and the outline of the truth; of videos the first frame alone."""
    sample = load_item(item, settings)
    views = next(modalities.views(sample, settings))
    heat, mask, number = run.map(unit, row), run.truth(unit, row), 0
    if isinstance(views.way, ToPoints) and isinstance(sample.data, PointCloudData):
        pixel = views.way.pixel[:, sample.data.valid]  # (V, N)
        if heat is not None:
            high = heat >= 0.9 * np.nanmax(heat, initial=0)
            number = int(np.argmax([(high & (one >= 0)).sum() for one in pixel]))
        shown = np.ones(views.images.shape[1:3], np.bool_) if views.shown is None else views.shown[number]
        heat = None if heat is None else _seen(heat, pixel[number], shown)
        mask = None if mask is None else _seen(mask.astype(np.float32), pixel[number], shown) > 0
    small = [_small(views.images[number])]
    if heat is not None or mask is not None:
        height, width = small[0].shape[:2]
        beside = small[0] if heat is None else blend(small[0], resize_map(heat, (height, width)))
        if mask is not None and mask.any():
            beside = np.where(_outline(mask, (height, width))[..., None], OUTLINE, beside).astype(np.uint8)
        small.append(beside)
    data = io.BytesIO()
    Image.fromarray(np.concatenate(small, axis=1)).save(data, "jpeg", quality=84)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode("ascii")


def _seen(values: np.ndarray, pixel: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """(h, w) float32: the highest value of the points at a pixel, or at the nearest that has any; 0 off the thing."""
    known = (pixel >= 0) & ~np.isnan(values)
    if not known.any():
        return np.zeros(shown.shape, np.float32)
    flat = np.full(shown.size, -1, np.float32)
    np.maximum.at(flat, pixel[known], values[known])
    near = ndimage.distance_transform_edt(flat.reshape(shown.shape) < 0, return_distances=False, return_indices=True)
    return np.asarray(np.where(shown, flat.reshape(shown.shape)[tuple(near)], 0), np.float32)


def _small(pixels: np.ndarray) -> np.ndarray:
    """The picture with SIDE pixels along its longer side: small ones are enlarged, so that all can be compared."""
    picture = Image.fromarray(pixels)
    scale = SIDE / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))


def _outline(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w) bool: a ring around what is marked in (H, W), two pixels wide, just outside of it."""
    small = Image.fromarray(mask.astype(np.uint8) * 255).resize(size[::-1], Image.Resampling.BOX)
    marked = np.asarray(small) > 0
    return np.asarray(ndimage.binary_dilation(marked, iterations=2) & ~marked)
