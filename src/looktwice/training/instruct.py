"""Instruct records to train on: from data sets on disk, from files of records, from made pictures.

A record: {"id", "image": path or (H, W, 3) uint8, "mask": None, path or (H, W) bool, "anomalous": bool or None where it
is not stated, "object", "defect_type", "sections": {"description", "impact", "suggestion"}, "conversations": turns in
LLaVA's form or nothing}. Nothing is read until a record is asked for by its number, so a run can go on in the middle,
and processes need not share anything.

Sources in words:
    NAME:FOLDER             a data set of `looktwice datasets` with pictures; ?split=test,categories=a+b,variant=x
    instruct:FILE           a .json or .jsonl of records, or a folder of them; paths are relative to the file
    procedural:KEY=VALUE,.. made pictures: level, categories=a+b, families, seed, size, first, count, near
    3*...                   a number in front: three turns among the sources instead of one
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from looktwice.data import DATASETS, instruct_text, load_dataset, procedural
from looktwice.data.dataset import Tree
from looktwice.data.items import Item, load_item, read_truth
from looktwice.data.lists import records as listed_records
from looktwice.errors import BadFile, UsageError, unknown_name
from looktwice.records import ImageData

Record = Mapping[str, Any]
ENDLESS = 1 << 62  # made pictures, where no count is given
IMAGE = "<image>\n"


class Pool(Protocol):
    """Records of one kind by number: the same number is always the same record."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Record:
        """Raises BadFile for a record whose files are not there or broken."""


@dataclass(frozen=True)
class Source:
    """What one entry of `data` names: its normal records and all others."""

    name: str
    normal: Pool
    other: Pool
    turns: int = 1  # among the sources


def open_sources(texts: Sequence[str]) -> tuple[Source, ...]:
    """Open the sources that texts name; raises UsageError, UnknownName, BadFile for what holds nothing."""
    if not texts:
        raise UsageError("nothing to train on: name data, such as procedural:level=easy or mvtec_ad:FOLDER")
    return tuple(open_source(text) for text in texts)


def open_source(text: str) -> Source:
    """Open one source; raises like `open_sources`."""
    found = re.fullmatch(r"(\d+)\*(.*)", text, re.DOTALL)
    turns, rest = (found[1], found[2]) if found else ("1", text)
    kind, sign, where = rest.partition(":")
    known = ("procedural", "instruct", *DATASETS)
    if not sign:
        raise UsageError(f"data is NAME:WHERE, got '{text}'. Names: {', '.join(known)}")
    if kind not in known:
        raise unknown_name("data", kind, known)
    if int(turns) < 1:
        raise UsageError(f"'{text}': a source needs at least one turn")
    normal, other = {"procedural": _made, "instruct": _filed}.get(kind, _data_set)(kind, where)
    if not len(normal) and not len(other):
        raise UsageError(f"'{text}' holds no record")
    return Source(text, normal, other, int(turns))


# ---------------------------------------------------------------- data sets on disk


@dataclass(frozen=True)
class ItemPool:
    """Items of a data set, with sentences written from what is known about them."""

    dataset: str
    items: tuple[Item, ...]
    masked: bool  # whether an anomalous item without a mask is a broken one

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Record:
        """Raises BadFile where a mask is missing, broken or of another size."""
        item = self.items[index]
        mask = read_truth(item)
        if mask is None and item.label == 1 and self.masked:
            raise BadFile("missing_file", item.path, "this anomalous picture has no mask")
        thing = load_dataset(self.dataset).display_name(item.category)
        sections: Mapping[str, str] = {}
        if item.label is not None:
            sections = instruct_text.sections(
                thing, item.label == 1, item.defect_type, mask if item.label else None, index
            )
        return {
            "id": f"{self.dataset}/{item.id}",
            "image": _picture(item),
            "mask": mask,
            "anomalous": None if item.label is None else item.label == 1,
            "object": thing,
            "defect_type": item.defect_type,
            "sections": sections,
            "conversations": _turns(item),
        }


def _data_set(kind: str, where: str) -> tuple[Pool, Pool]:
    dataset = load_dataset(kind)
    folder, _, options = where.partition("?")
    asked = _pairs(options, ("split", "categories", "variant"))
    names = [name for name in asked.get("categories", "").split("+") if name] or None
    found = dataset.items(folder, split=asked.get("split"), categories=names, variant=asked.get("variant"))
    items = [item.photograph() for item in found]
    masked = dataset.has_masks and (not dataset.masks_optional or _some_masks(items))
    pools = ([one for one in items if one.label == 0], [one for one in items if one.label != 0])
    normal, other = (ItemPool(kind, tuple(pool), masked) for pool in pools)
    return normal, other


def _some_masks(items: Iterable[Item]) -> bool:
    return any(item.truth is not None for item in items if item.label == 1)


def _picture(item: Item) -> Any:
    if item.crop is None:
        return item.path
    data = load_item(item).data
    assert isinstance(data, ImageData)  # only pictures have crops
    return data.pixels


def _turns(item: Item) -> list[dict[str, str]]:
    spoken = [{"from": "human" if turn.role == "user" else "gpt", "value": turn.text} for turn in item.turns]
    if spoken:
        spoken[0]["value"] = IMAGE + spoken[0]["value"]
    return spoken


def _pairs(text: str, known: Sequence[str]) -> dict[str, str]:
    """ "a=1,b=2" -> {"a": "1", "b": "2"}; raises UsageError."""
    found = {}
    for piece in filter(None, text.split(",")):
        key, sign, value = piece.partition("=")
        if not sign:
            raise UsageError(f"expected KEY=VALUE, got '{piece}'. Keys: {', '.join(known)}")
        if key not in known:
            raise unknown_name("key", key, known)
        found[key] = value
    return found


# ---------------------------------------------------------------- files of records


@dataclass(frozen=True)
class FilePool:
    """Records of .json and .jsonl files, each with the file it stands in."""

    records: tuple[tuple[Path, int, Record], ...]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Record:
        file, number, record = self.records[index]
        return {
            "id": f"{file.name}/{record.get('id', number)}",
            "anomalous": None,
            **{key: value for key, value in record.items() if key != "id"},
            "image": _beside(file, record["image"]),
            "mask": _beside(file, record.get("mask")),
        }


def _filed(kind: str, where: str) -> tuple[Pool, Pool]:
    place = Path(where)
    if not place.exists():
        raise UsageError(f"{place}: no such file or folder of instruct records")
    files = [place] if place.is_file() else sorted(p for p in place.iterdir() if _is_list(p))
    found = [(file, *one) for file in files for one in _records(file)]
    normal = tuple(one for one in found if one[2].get("anomalous") is False)
    other = tuple(one for one in found if one[2].get("anomalous") is not False)
    return FilePool(normal), FilePool(other)


def _is_list(path: Path) -> bool:
    return path.suffix.lower() in (".json", ".jsonl") and not path.name.startswith(".")


def _records(file: Path) -> Iterable[tuple[int, Record]]:
    for number, record in enumerate(listed_records(Tree(file.parent), file, "image"), 1):
        if not (record.get("conversations") or record.get("sections")):
            raise BadFile("unsupported", file, f"record {number} has neither conversations nor sections")
        yield number, record


def _beside(file: Path, path: Any) -> Any:
    if isinstance(path, list):
        return [_beside(file, one) for one in path]
    return file.parent / str(path) if path else None


# ---------------------------------------------------------------- made pictures


class Making(BaseModel):
    """What `procedural:` can be told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: str = Field("easy", description="how hard defects are to see: easy, medium or hard")
    categories: tuple[str, ...] = Field((), description="names joined by +; all by default")
    families: int = Field(1, ge=1, description="families of each category")
    seed: int = Field(0, ge=0, description="of the first family; the others follow")
    size: int = Field(128, ge=64, le=512, description="side of a picture, pixels")
    first: int = Field(1000, ge=0, description="first part of each family: training and test parts must not overlap")
    count: int | None = Field(None, ge=1, description="parts of each family; without: no end")
    near: float = Field(0.0, ge=0, le=1, description="share of good parts under an odd light, focus or pose")


@dataclass(frozen=True)
class MadePool:
    """Good or defective parts of some families in turn."""

    making: Making
    anomalous: bool

    def __len__(self) -> int:
        making = self.making
        return ENDLESS if making.count is None else making.count * making.families * len(making.categories)

    def __getitem__(self, index: int) -> Record:
        making = self.making
        turn, which = divmod(index, making.families * len(making.categories))
        number, category = divmod(which, len(making.categories))
        family = procedural.family(making.categories[category], making.seed + number, making.level)
        part = making.first + turn
        odd = (part * 0.6180339887) % 1 < making.near  # evenly spread
        if self.anomalous:
            scene = family.defective(part, size=making.size)
        else:
            scene = family.near_miss(part, making.size) if odd else family.good(part, making.size)
        return {
            "id": f"{family.category}/{family.seed}/{part}/{scene.defect_type or 'good'}",
            "image": scene.image,
            "mask": scene.mask,
            "anomalous": self.anomalous,
            "object": family.object,
            "defect_type": scene.defect_type,
            "sections": instruct_text.sections(family.object, self.anomalous, scene.defect_type, scene.mask, index),
            "conversations": [],
        }


def _made(kind: str, where: str) -> tuple[Pool, Pool]:
    asked: dict[str, Any] = dict(_pairs(where, tuple(Making.model_fields)))
    names = [name for name in asked.pop("categories", "").split("+") if name]
    for name in names:
        if name not in procedural.CATEGORIES:
            raise unknown_name("category", name, procedural.CATEGORIES)
    try:
        making = Making(categories=tuple(names or procedural.CATEGORIES), **asked)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"procedural: {first['loc'][0]}: {first['msg']}, got {first['input']}") from error
    if making.level not in procedural.LEVELS:
        raise UsageError(f"level must be one of {', '.join(procedural.LEVELS)}, got '{making.level}'")
    return MadePool(making, False), MadePool(making, True)
