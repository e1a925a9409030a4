"""Data sets of made parts on disk: laid out as MVTec AD, as RIAD, or as dialogues for instruction.

Every file is written beside its place and moved into it, and a line in a hidden list says that an item is finished; the
same command again goes on behind the last line. A folder that was not made by the same command is left alone.
Item `number` of a category is always the same picture, however many workers there are and however large the count.
Letters: H W pixels, N points, F frames.
"""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from looktwice.data.procedural.canvas import generator, key_of
from looktwice.data.procedural.categories import CATEGORIES, HELD_OUT
from looktwice.data.procedural.films import FILMS, FilmFamily
from looktwice.data.procedural.parts import write_mp4, write_ply
from looktwice.data.procedural.scenes import LEVELS, SIDES, Family, Scene
from looktwice.data.procedural.solids import SOLIDS, CloudFamily
from looktwice.errors import UsageError, need, unknown_name

MADE, DONE = ".looktwice-made.json", ".looktwice-done.jsonl"
VERSION = 1  # of what is drawn: a folder of another version is not continued
PER_FAMILY = 10  # pictures of one family, where a set holds many families of a category
LAYOUTS: Mapping[str, tuple[str, ...]] = {
    "images": ("mvtec", "riad", "instruct"),
    "clouds": ("mvtec",),
    "videos": ("mvtec",),
}
TABLES: Mapping[str, Iterable[str]] = {"images": CATEGORIES, "clouds": SOLIDS, "videos": FILMS}
COLUMNS = ("path", "label", "mask", "type", "category", "split", "question", "answer")
POINTS = 20_000  # of a written cloud
NARROWEST = 96  # pixels: the width of a video


@dataclass(frozen=True)
class Order:
    """What to make. `count` items of each category; `size` is the side of pictures in pixels."""

    kind: str = "images"
    layout: str = "mvtec"
    categories: tuple[str, ...] = ()  # empty: all
    count: int = 100
    seed: int = 0
    size: int = 256
    level: str = "hard"

    def checked(self) -> Order:
        """The order with its categories spelled out; raises UsageError, UnknownName."""
        if self.kind not in LAYOUTS:
            raise unknown_name("kind of data", self.kind, LAYOUTS)
        if self.layout not in LAYOUTS[self.kind]:
            raise UsageError(f"layout of {self.kind} must be {' or '.join(LAYOUTS[self.kind])}, got '{self.layout}'")
        if self.level not in LEVELS:
            raise UsageError(f"level must be one of {', '.join(LEVELS)}, got '{self.level}'")
        known = tuple(TABLES[self.kind])
        for name in self.categories:
            if name not in known:
                raise unknown_name(f"category of {self.kind}", name, known)
        if self.count < 1 or self.seed < 0:
            raise UsageError(f"count must be at least 1 and seed at least 0, got {self.count} and {self.seed}")
        smallest = NARROWEST if self.kind == "videos" else SIDES[0]
        if not smallest <= self.size <= SIDES[1] or self.size % 2:
            raise UsageError(f"size of {self.kind} must be even and {smallest} to {SIDES[1]} pixels, got {self.size}")
        return Order(
            self.kind,
            self.layout,
            tuple(dict.fromkeys(self.categories)) or known,
            self.count,
            self.seed,
            self.size,
            self.level,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What makes two folders the same data set."""
        return {"version": VERSION, **asdict(self), "categories": list(self.categories)}


@dataclass(frozen=True)
class Task:
    """One item to make."""

    order: Order
    folder: Path
    category: str
    number: int  # within its category


def write_data_set(
    folder: Path | str, order: Order, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> int:
    """Make a data set, or go on with one that was stopped; returns how many items it holds.

    `progress` is called with how many are finished, of how many. Raises UsageError for an order that cannot be met,
    and for a folder that holds anything else; MissingExtra for videos without PyAV; OSError when a disk is full.
    """
    order, folder = order.checked(), Path(folder)
    if workers < 1:
        raise UsageError(f"workers must be at least 1, got {workers}")
    if order.kind == "videos":
        need("av", "video", "Writing MP4")  # before anything is on disk
    _claim(folder, order)
    finished = _finished(folder)
    tasks = [Task(order, folder, category, number) for number in range(order.count) for category in order.categories]
    with closing(_made(tasks[len(finished) :], workers)) as records, (folder / DONE).open("ab") as done:
        for record in records:
            done.write(json.dumps(record, ensure_ascii=False).encode("utf-8") + b"\n")
            done.flush()
            finished.append(record)
            if progress:
                progress(len(finished), len(tasks))
    _write_lists(folder, order, finished)
    return len(finished)


# ---------------------------------------------------------------- a folder of our own


def _claim(folder: Path, order: Order) -> None:
    """Make the folder ours, or see that it is."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: name a folder for the data set")
    made = folder / MADE
    if made.exists():
        try:
            before = json.loads(made.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UsageError(f"{made} is damaged: {error}. Delete the folder, or choose another") from error
        changed = [
            key for key, value in order.settings.items() if not isinstance(before, dict) or before.get(key) != value
        ]
        if changed:
            raise UsageError(
                f"{folder} holds a data set made with other settings ({', '.join(changed)}): "
                "choose another folder, or delete it"
            )
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty and was not made by looktwice generate: choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    _replace(made, json.dumps(order.settings, indent=1).encode("utf-8"))


def _finished(folder: Path) -> list[dict[str, Any]]:
    """The records of finished items; half a line that a killed run left is cut off."""
    path = folder / DONE
    if not path.exists():
        return []
    whole = path.read_bytes()
    end = whole.rfind(b"\n") + 1
    if end < len(whole):
        with path.open("r+b") as stream:
            stream.truncate(end)
    return [json.loads(line) for line in whole[:end].splitlines()]


def _replace(path: Path, content: bytes) -> None:
    """Write a file that is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.parent / f".{path.name}.{os.getpid()}.tmp{path.suffix}"
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    finally:
        with suppress(OSError):
            beside.unlink()


# ---------------------------------------------------------------- items


def _made(tasks: Sequence[Task], workers: int) -> Generator[dict[str, Any], None, None]:
    """The records of the tasks, in their order, from as many processes."""
    if workers == 1 or len(tasks) < 2:
        yield from map(_make, tasks)
        return
    # spawned, not forked: the caller may hold threads
    with multiprocessing.get_context("spawn").Pool(min(workers, len(tasks))) as pool:
        yield from pool.imap(_make, tasks, chunksize=4)


def _make(task: Task) -> dict[str, Any]:
    return {"images": _make_image, "clouds": _make_cloud, "videos": _make_video}[task.order.kind](task)


def _role(number: int, count: int) -> tuple[str, bool, bool]:
    """(split, defective, near-miss) of an item: half are for training, two of three test items are defective."""
    train = max(1, count // 2)
    if number < train:
        return "train", False, False
    place = (number - train) % 6
    return "test", place % 3 != 0, place == 3


def _make_image(task: Task) -> dict[str, Any]:
    order, number = task.order, task.number
    if order.layout == "mvtec":
        made = Family(task.category, _seed(order, task.category, 0), order.level)
        split, defective, near = _role(number, order.count)
    else:
        made = Family(task.category, _seed(order, task.category, number // PER_FAMILY), order.level)
        split = "test" if task.category in HELD_OUT else "train"
        defective, near = number % 2 == 1, number % 8 == 6
    scene = (
        made.defective(number, size=order.size)
        if defective
        else made.near_miss(number, order.size)
        if near
        else made.good(number, order.size)
    )
    return _write_image(task, scene, split)


def _seed(order: Order, category: str, family: int) -> int:
    return int(generator(order.seed, key_of(category), family).integers(1 << 48))


def _write_image(task: Task, scene: Scene, split: str) -> dict[str, Any]:
    name, defect = f"{task.number:05d}", scene.defect_type or "good"
    if task.order.layout == "instruct":
        image, mask = f"images/{task.category}/{name}.png", f"masks/{task.category}/{name}.png"
    else:
        image, mask = (
            f"{task.category}/{split}/{defect}/{name}.png",
            f"{task.category}/ground_truth/{defect}/{name}_mask.png",
        )
    _replace(task.folder / image, _png(scene.image))
    if scene.anomalous:
        _replace(task.folder / mask, _png(scene.mask.astype(np.uint8) * 255))
    return {
        "id": f"{task.category}/{name}", "image": image, "mask": mask if scene.anomalous else None,
        "anomalous": scene.anomalous,
        "category": task.category, "split": split, "object": scene.object, "defect_type": scene.defect_type,
        "strength": round(scene.strength, 3), "where": scene.where, "near_miss": scene.near_miss,
        "conversations": conversation(scene),
        "sections": {"description": scene.description, "impact": scene.impact, "suggestion": scene.recommendation},
        "rules": [finding.model_dump() for finding in scene.rules],
    }  # fmt: skip


def conversation(scene: Scene) -> list[dict[str, str]]:
    """The questions about a scene and their answers in LLaVA's format; the first one carries the picture."""
    turns = []
    for number, one in enumerate(scene.questions):
        turns.append({"from": "human", "value": ("<image>\n" if number == 0 else "") + one.question})
        turns.append({"from": "gpt", "value": one.answer})
    return turns


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=3)
    return file.getvalue()


def _make_cloud(task: Task) -> dict[str, Any]:
    made = CloudFamily(task.category, _seed(task.order, task.category, 0))
    split, defective, _ = _role(task.number, task.order.count)
    scene = made.defective(task.number, points=POINTS) if defective else made.good(task.number, POINTS)
    return _filed(task, split, scene, ".ply", scene.labels, lambda path: write_ply(path, scene.points))


def _make_video(task: Task) -> dict[str, Any]:
    made = FilmFamily(task.category, _seed(task.order, task.category, 0))
    split, defective, _ = _role(task.number, task.order.count)
    size = 2 * (3 * task.order.size // 8), task.order.size
    scene = made.defective(task.number, size=size) if defective else made.good(task.number, size=size)
    return _filed(task, split, scene, ".mp4", scene.labels, lambda path: write_mp4(path, scene.frames, scene.fps))


def _filed(
    task: Task, split: str, scene: Any, suffix: str, labels: np.ndarray, write: Callable[[Path], None]
) -> dict[str, Any]:
    """Write one cloud or video and its labels, one number a point or frame."""
    name, defect = f"{task.number:05d}", scene.defect_type or "good"
    path, mask = f"{task.category}/{split}/{defect}/{name}{suffix}", f"{task.category}/ground_truth/{defect}/{name}.npy"
    place = task.folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.parent / f".{name}.{os.getpid()}.tmp{suffix}"
    try:
        write(beside)
        os.replace(beside, place)
    finally:
        with suppress(OSError):
            beside.unlink()
    if scene.anomalous:
        file = io.BytesIO()
        np.save(file, labels.astype(np.uint8))
        _replace(task.folder / mask, file.getvalue())
    words = scene.words
    return {
        "path": path, "label": int(scene.anomalous), "mask": mask if scene.anomalous else "", "type": scene.defect_type,
        "category": task.category, "split": split, "object": scene.object, "where": words.where,
        "question": f"Is anything wrong with this {scene.object}?",
        "answer": f"{'Yes' if scene.anomalous else 'No'}. {words.description}",
        "sections": {"description": words.description, "impact": words.impact, "suggestion": words.recommendation},
    }  # fmt: skip


# ---------------------------------------------------------------- lists


def _write_lists(folder: Path, order: Order, records: list[dict[str, Any]]) -> None:
    """What the loaders read beside the files."""
    records = sorted(records, key=lambda record: str(record.get("image") or record.get("path")))
    if order.kind != "images":
        file = io.StringIO(newline="")
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
        _replace(folder / "list.csv", file.getvalue().encode("utf-8"))
        _replace(
            folder / "words.json", _json([{k: r[k] for k in ("path", "object", "where", "sections")} for r in records])
        )
    elif order.layout == "riad":
        _replace(folder / "instruct.json", _json(records))
    elif order.layout == "instruct":
        for category in order.categories:
            _replace(folder / f"{category}.json", _json([r for r in records if r["category"] == category]))
    else:
        _replace(folder / "words.json", _json(records))


def _json(content: Any) -> bytes:
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode("utf-8")
