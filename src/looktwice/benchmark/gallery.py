"""Galleries: where a run was most right and most wrong, as one page with the pictures and their heat in it.

Worst: normal samples with the highest scores and anomalous ones with the lowest. Best: the other way round.
The scores alone decide; the pictures are read from the copy of the data set.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from looktwice import modalities
from looktwice.benchmark.compare import shots_words
from looktwice.benchmark.report import page
from looktwice.benchmark.store import MADE, Run, UnitPlan
from looktwice.data import load_dataset
from looktwice.data.items import Item, load_item
from looktwice.errors import BadFile, LookTwiceError, UsageError
from looktwice.records import resize_map
from looktwice.report.atomic import write_atomically
from looktwice.report.overlay import blend
from looktwice.settings import Settings

GALLERY = "gallery.html"
SIDE = 320  # longest side of an embedded picture, pixels
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
    pieces = []
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
    """The first view beside the same with heat over it; of clouds and videos the view alone."""
    views = next(modalities.views(load_item(item, settings), settings))
    shown: Sequence[np.ndarray] = [views.images[0]]
    heat = run.map(unit, row) if row["modality"] == "image" else None
    if heat is not None:
        height, width = views.images.shape[1:3]
        shown = [views.images[0], blend(views.images[0], resize_map(heat, (height, width)))]
    small = [_small(pixels) for pixels in shown]
    data = io.BytesIO()
    Image.fromarray(np.concatenate(small, axis=1)).save(data, "jpeg", quality=84)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode("ascii")


def _small(pixels: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(pixels)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(picture)
