"""`folder`: anybody's own data, as folders named normal / anomalous / masks, or as a CSV.

Folders: `normal` and `anomalous` (or another name in the tables below), masks in `masks` or beside the picture with
_mask behind the stem; kinds of defects as folders in `anomalous`; or laid out as MVTec AD (train, test, ground_truth);
or one folder a category with either of these inside. A name in no table is an error, not a guess.

CSV: header `path,label,mask,type,reference,category,split,question,answer`; only path and label are needed. Paths are
relative to the CSV, several masks or references are joined by "|"; the mask of a cloud may be a .txt or .npy with a
number a point, of a video the same with a number a frame, or a folder of mask pictures. The label is normal / anomalous
in words, or 0 / 1 where 1 is anomalous; a column called `normal` in place of `label` holds 1 for normal. `question` and
`answer` are what a talking model is asked about it, and what it should say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from looktwice import modalities
from looktwice.data.dataset import DataSet, Tree
from looktwice.data.items import PICTURES, FrameTruth, Item, LabelRow, MaskPictures, NoAnomaly, Question, TruthSource
from looktwice.data.lists import read_csv
from looktwice.errors import BadFile, UsageError
from looktwice.records import ModalityName

NORMAL = ("normal", "good", "ok", "no", "negative", "healthy", "nodefect", "defect_free", "pass")
ANOMALOUS = (
    *("anomalous", "anomaly", "abnormal", "bad", "ng", "ko", "nok", "defect", "defects", "defective", "faulty"),
    *("yes", "ungood", "fail", "broken"),
)
MASKS = ("masks", "mask", "ground_truth", "gt", "labels", "annotations")
SPLITS = {"train": "train", "training": "train", "validation": "validation", "val": "validation", "test": "test"}
BESIDE = ("_mask", "_gt", "_label")
CLOUDS = (".pcd", ".ply", ".obj", ".stl", ".xyz", ".npy")
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm")
LOOK_INSIDE = (".tif", ".tiff", ".gif")  # a picture, an organised cloud or an animation
Label = Literal[0, 1]


class Folder(DataSet):
    """A data set whose root may also be the CSV itself."""

    def checked_root(self, root: Path | str) -> Path:
        """The root, a folder or a CSV; raises UsageError."""
        root = Path(root)
        return root if root.is_file() and root.suffix.lower() == ".csv" else super().checked_root(root)

    @property
    def where(self) -> str:
        """What is expected, in a sentence."""
        return (
            f"Give a folder with a folder of normal things ({', '.join(NORMAL[:4])} ...), one of anomalous things "
            f"({', '.join(ANOMALOUS[:4])} ...) and, if you have them, masks; or a CSV with path and label."
        )


def read(dataset: DataSet, tree: Tree, variant: str) -> Iterator[Item]:
    """Items of a CSV, or of folders."""
    if tree.root.is_file():
        return _listed(tree.root)
    lists = [tree.root / name for name in tree.files(tree.root) if name.lower().endswith(".csv")]
    roles = _roles(tree, tree.root)
    if lists and (roles or len(lists) > 1):
        also = "folders of normal or anomalous things" if roles else "more than one CSV"
        raise UsageError(f"{tree.root} holds {also} beside {lists[0].name}: give the CSV itself, or move it away")
    return _listed(lists[0]) if lists else _category(tree, tree.root, roles, deeper=True)


# ---------------------------------------------------------------- folders


def _roles(tree: Tree, folder: Path) -> dict[str, str]:
    """What each sub-folder with a known name is: normal, anomalous, masks or split."""
    found = {}
    for name in tree.folders(folder):
        plain = name.lower().replace(" ", "_").replace("-", "_")
        for role, names in (("normal", NORMAL), ("anomalous", ANOMALOUS), ("masks", MASKS), ("split", tuple(SPLITS))):
            if plain in names:
                found[name] = role
    return found


def _category(tree: Tree, folder: Path, roles: Mapping[str, str], deeper: bool) -> Iterator[Item]:
    kinds = set(roles.values())
    if "split" in kinds and kinds & {"normal", "anomalous"}:
        names = ", ".join(name for name, role in roles.items() if role != "masks")
        raise UsageError(f"{folder} holds both parts and labels ({names}): put the labels inside the parts")
    if "split" in kinds:
        return _split(tree, folder, roles)
    if kinds & {"normal", "anomalous"}:
        return _flat(tree, folder, roles)
    inside = {name: _roles(tree, folder / name) for name in tree.folders(folder)}
    if deeper and any(set(found.values()) & {"normal", "anomalous", "split"} for found in inside.values()):
        return (item for name, found in inside.items() for item in _category(tree, folder / name, found, deeper=False))
    if deeper and not inside and not tree.files(folder):
        return iter(())
    names = ", ".join(tree.folders(folder)[:6]) or "no folder"
    raise UsageError(
        f"{folder} holds {names}: which is normal? Name folders {', '.join(NORMAL[:3])} ... for normal and "
        f"{', '.join(ANOMALOUS[:3])} ... for anomalous things, or write a CSV with path and label"
    )


def _flat(tree: Tree, folder: Path, roles: Mapping[str, str]) -> Iterator[Item]:
    """normal, anomalous (with kinds inside) and masks side by side."""
    _refuse_unknown(tree, folder, roles)
    masks = [folder / name for name, role in roles.items() if role == "masks"]
    for label, role in ((0, "normal"), (1, "anomalous")):
        for name in (name for name, found in roles.items() if found == role):
            yield from _things(tree, folder, folder / name, 1 if label else 0, "", "test", masks)
            for kind in _kinds(tree, folder / name):
                if label == 0:
                    raise UsageError(f"{folder / name} is normal but holds the folder {kind}: move its files up")
                yield from _things(tree, folder, folder / name / kind, 1, kind, "test", masks)


def _refuse_unknown(tree: Tree, folder: Path, roles: Mapping[str, str]) -> None:
    unknown = [name for name in tree.folders(folder) if name not in roles]
    if unknown:
        home = next((name for name, role in roles.items() if role == "anomalous"), ANOMALOUS[0])
        raise UsageError(
            f"{folder / unknown[0]} is named neither for normal nor for anomalous things nor for masks. "
            f"If it is a kind of defect, move it to {folder / home / unknown[0]}; if it is neither, move it away"
        )


def _split(tree: Tree, folder: Path, roles: Mapping[str, str]) -> Iterator[Item]:
    """train, validation and test, each with good and kinds of defects inside, as MVTec AD."""
    _refuse_unknown(tree, folder, roles)
    masks = [folder / name for name, role in roles.items() if role == "masks"]
    ordered = sorted((n for n, r in roles.items() if r == "split"), key=lambda n: list(SPLITS).index(n.lower()))
    for name in ordered:
        found = _roles(tree, folder / name)
        kinds = _kinds(tree, folder / name)
        if kinds and "normal" not in found.values() and "anomalous" not in found.values():
            raise UsageError(f"{folder / name} holds {', '.join(kinds[:6])}: name the normal one good, ok or normal")
        if not kinds and tree.files(folder / name):
            raise UsageError(f"{folder / name} holds files without a label: put them in {folder / name / 'good'}")
        for kind in kinds:
            label: Label = 0 if found.get(kind) == "normal" else 1
            yield from _things(
                tree, folder, folder / name / kind, label, kind if label else "", SPLITS[name.lower()], masks
            )


def _kinds(tree: Tree, folder: Path) -> list[str]:
    return [name for name in tree.folders(folder) if name.lower() not in MASKS]


def _things(
    tree: Tree, category: Path, folder: Path, label: Label, kind: str, split: str, masks: list[Path]
) -> Iterator[Item]:
    stems = {name.rsplit(".", 1)[0] for name in tree.files(folder)}
    for name in tree.files(folder):
        modality = modality_by_name(folder / name)
        stem = name.rsplit(".", 1)[0]
        if modality is None or any(stem.endswith(tail) and stem[: -len(tail)] in stems for tail in BESIDE):
            continue
        found = _masks_of(tree, folder, kind, stem, masks)
        truth: TruthSource | None = MaskPictures(found) if found else None
        yield Item(
            id=tree.relative(folder / name),
            paths=(folder / name,),
            modality=modality,
            category=category.name or "part",
            split=split,
            label=label,
            defect_type=kind,
            truth=truth or (NoAnomaly() if label == 0 else None),
        )


def _masks_of(tree: Tree, folder: Path, kind: str, stem: str, masks: list[Path]) -> tuple[Path, ...]:
    """The mask beside a picture, or in a folder of masks: its own, its kind's, its label's."""
    endings = "|".join(suffix[1:] for suffix in PICTURES)
    homes = [folder / name for name in tree.folders(folder) if name.lower() in MASKS]
    homes += [
        home / inside
        for home in masks
        for inside in dict.fromkeys((kind, folder.name, f"{folder.parent.name}/{kind}", ""))
    ]
    for tail in BESIDE:
        found = tree.lookup("{stem}" + tail + "." + endings, {"stem": stem}, folder)
        if found:
            return found
    for home in homes:
        for tail in ("", *BESIDE):
            found = tree.lookup("{stem}" + tail + "." + endings, {"stem": stem}, home)
            if found:
                return found
    return ()


def modality_by_name(path: Path) -> ModalityName | None:
    """The modality by ending, by content where the ending is not enough; None for anything else. Folders are video."""
    suffix = path.suffix.lower()
    if path.is_dir() or suffix in VIDEOS:
        return "video"
    if suffix in CLOUDS:
        return "point_cloud"
    if suffix in LOOK_INSIDE:
        found = modalities.modality_of(path).name
        return "video" if found == "video" else "point_cloud" if found == "point_cloud" else "image"
    return "image" if suffix in PICTURES else None


# ---------------------------------------------------------------- CSV


@dataclass(frozen=True)
class _Row:
    file: Path
    line: int
    values: Mapping[str, str]

    def bad(self, why: str) -> BadFile:
        return BadFile("unsupported", self.file, f"line {self.line}: {why}")

    def paths(self, column: str) -> tuple[Path, ...]:
        pieces = (piece.strip() for piece in self.values.get(column, "").split("|"))
        return tuple(self.file.parent / piece for piece in pieces if piece)

    def label(self) -> Label:
        column = next(name for name in ("label", "anomalous", "normal") if name in self.values)
        value = self.values[column].lower()
        one: Label = 0 if column == "normal" else 1
        if value in ("1", "1.0", "true") or (column == "label" and value in ANOMALOUS):
            return one
        if value in ("0", "0.0", "false") or (column == "label" and value in NORMAL):
            return 0 if one else 1
        allowed = "normal or anomalous (or 0 for normal, 1 for anomalous)" if column == "label" else "0 or 1"
        raise self.bad(f"{column} must be {allowed}, got '{self.values[column]}'")


def _listed(file: Path) -> Iterator[Item]:
    tree = Tree(file.parent)
    seen: dict[str, int] = {}
    for line, values in read_csv(tree, file, ("path",)):
        row = _Row(file, line, values)
        if sum(name in values for name in ("label", "anomalous", "normal")) != 1:
            raise BadFile("unsupported", file, "the first line must name one of label, anomalous, normal")
        if not values["path"]:
            raise row.bad("path is empty")
        if values["path"] in seen:
            raise row.bad(f"{values['path']} stands in line {seen[values['path']]} too")
        seen[values["path"]] = line
        yield _row_item(row)


def _row_item(row: _Row) -> Item:
    values, label = row.values, row.label()
    path = row.file.parent / values["path"]
    if not path.exists():
        raise BadFile("missing_file", path, f"no such file ({row.file.name}, line {row.line})")
    modality = modality_by_name(path)
    if modality is None:
        raise row.bad(f"{values['path']} is not a picture, point cloud, video or folder of frames")
    masks = row.paths("mask")
    split = values.get("split", "") or "test"
    if split not in SPLITS:
        raise row.bad(f"split must be train, validation or test, got '{split}'")
    return Item(
        id=values["path"],
        paths=(path,),
        modality=modality,
        category=values.get("category", "") or row.file.resolve().parent.name or "part",
        split=SPLITS[split],
        label=label,
        defect_type=values.get("type", "") if label else "",
        truth=_truth(row, masks, modality) if masks else NoAnomaly() if label == 0 else None,
        references=row.paths("reference"),
        questions=_questions(row),
        source=f"{row.file.name}, line {row.line}",
    )


def _questions(row: _Row) -> tuple[Question, ...]:
    question, answer = row.values.get("question", ""), row.values.get("answer", "")
    if answer and not question:
        raise row.bad("an answer needs its question: name it in the column question")
    return (Question(question, answer),) if question else ()


def _truth(row: _Row, masks: tuple[Path, ...], modality: ModalityName) -> TruthSource:
    """Pictures; for a cloud or video also one number a point or frame; for a video also a mask a frame."""
    if all(mask.suffix.lower() in PICTURES for mask in masks) and modality != "video":
        return MaskPictures(masks)
    if len(masks) == 1 and modality == "video" and (masks[0].is_dir() or masks[0].suffix.lower() == ".mat"):
        return FrameTruth(masks=masks[0])
    if len(masks) == 1 and modality != "image" and masks[0].suffix.lower() in (".txt", ".npy"):
        return LabelRow(masks[0])
    allowed = {
        "image": "pictures",
        "point_cloud": "pictures, or one .txt or .npy with a number a point",
        "video": "one .txt or .npy with a number a frame, or a folder of mask pictures",
    }
    raise row.bad(
        f"the mask of this {modality.replace('_', ' ')} must be {allowed[modality]}, got {row.values['mask']}"
    )


DATASET = Folder(
    name="folder",
    title="your own data",
    modality="image",
    owner="you",
    page="folders normal / anomalous / masks, or a CSV",
    licence="yours",
    truth="pixel masks",
    masks_optional=True,
    read=read,
    splits=("train", "validation", "test"),
    size="any number",
    extras=("*.csv", "*.md", "*.txt", "*.yaml", "*.json"),
)
