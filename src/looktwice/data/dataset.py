"""What a data set is: a declaration of facts and path patterns, and how it is read.

A pattern is a path with `{category}`, `{defect}`, `{stem}` and `*` in it, `png|jpg` for either ending, and
without an ending for a folder of frames. Upper and lower case are the same. Letters: none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from looktwice.data.items import Item, MaskPictures, NoAnomaly, TruthSource
from looktwice.errors import BadFile, UsageError, did_you_mean
from looktwice.records import ModalityName

LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx", "ehthumbs.db"})

Reader = Callable[["DataSet", "Tree", str], Iterator[Item]]
TruthKind = Literal["image labels", "pixel masks", "point labels", "frame labels", "frame and pixel masks", "answers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """A published number of items; an empty category or split means all of them, "*" each category."""

    category: str = ""
    split: str = ""
    defect: str = ""
    normal: int | None = None
    anomalous: int | None = None
    total: int | None = None
    frames: int | None = None  # of all folders of frames together
    questions: int | None = None  # of all items together
    verified: bool = True  # False: as reported by the paper or page, not re-counted


@dataclass(frozen=True, slots=True)
class Part:
    """One pattern of a data set laid out in folders."""

    split: str
    files: str  # pattern of the samples
    mask: str | tuple[str, ...] = ""  # pattern of the mask of a sample, or several to try; with "*", all that match
    also: str = ""  # pattern of another picture of the same thing
    label: Literal[0, 1] | None = None  # where the pattern has no {defect}
    defect: str = ""
    above: int | None = None  # masks: anomalous above this value, where the usual rule would err


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """The facts about one public data set, its layout, and code only for what is odd."""

    name: str
    title: str
    modality: ModalityName
    owner: str
    page: str  # where to get it: the page or repository by name; nothing is ever downloaded
    licence: str
    truth: TruthKind
    categories: tuple[str, ...] = ()  # empty: whatever folders a copy has
    category_count: int | None = None  # where the number is known but not the names
    display: Mapping[str, str] = field(default_factory=dict)  # words for prompts, where the rule below errs
    normal: tuple[str, ...] = ("good",)  # folder names of normal items, in any case
    parts: tuple[Part, ...] = ()
    inside: tuple[str, ...] = ("",)  # folders of the archive that may or may not have been kept
    read: Reader | None = None  # instead of parts
    splits: tuple[str, ...] = ()  # needed with `read`
    variants: tuple[str, ...] = ("",)  # ways to read it, the usual one first
    counts: Mapping[str, tuple[Count, ...]] = field(default_factory=dict)  # by variant
    defects: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by category, "" for all
    size: str = ""  # in words, where counts cannot say it
    extras: tuple[str, ...] = ()  # patterns of further files of a whole copy; "*" crosses folders
    may_lack_mask: tuple[str, ...] = ()  # stems of anomalous pictures published without a mask
    masks_optional: bool = False  # a copy may have masks for all anomalous items or for none
    weak: tuple[str, ...] = ()  # splits that have labels only
    notes: tuple[str, ...] = ()

    def items(
        self,
        root: Path | str,
        *,
        split: str | None = None,
        categories: Iterable[str] | None = None,
        variant: str | None = None,
    ) -> Iterator[Item]:
        """Stream the items of a copy in a fixed order, category by category; no picture is opened.

        Raises UsageError for a wrong root, split, category or variant, BadFile for an unreadable list file
        and for a root that holds nothing of this set.
        """
        root = self.checked_root(root)
        variant = self.checked_variant(variant)
        if split is not None and split not in self.all_splits:
            raise UsageError(f"Expected split of {self.name} to be one of {', '.join(self.all_splits)}, got '{split}'.")
        wanted = None if categories is None else [self.checked_category(c) for c in categories]
        return self._stream(Tree(root), variant, split, wanted)

    def _stream(self, tree: Tree, variant: str, split: str | None, wanted: list[str] | None) -> Iterator[Item]:
        nothing = True
        for item in self.read_tree(tree, variant):
            nothing = False
            if (split is None or item.split == split) and (wanted is None or item.category in wanted):
                yield item
        if nothing:
            raise BadFile("empty", tree.root, self.nothing_found(tree.root))

    def read_tree(self, tree: Tree, variant: str) -> Iterator[Item]:
        """All items of a copy, without checks of the request."""
        return self.read(self, tree, variant) if self.read else read_parts(self, tree)

    @property
    def all_splits(self) -> tuple[str, ...]:
        """The splits it has, in reading order."""
        return self.splits or tuple(dict.fromkeys(part.split for part in self.parts))

    @property
    def has_masks(self) -> bool:
        """Whether every anomalous item should have truth finer than a label."""
        return self.truth not in ("image labels", "answers")

    def display_name(self, category: str) -> str:
        """The category as words for a prompt: "metal_nut" -> "metal nut", "ashtray0" -> "ashtray"."""
        if category in self.display:
            return self.display[category]
        words = re.sub(r"[_\-/]+", " ", category).strip()
        return re.sub(r"(?<=[A-Za-z])\d+$", "", words) or words

    def expected(self, variant: str = "") -> tuple[Count, ...]:
        """The published counts of a variant."""
        return self.counts.get(variant or self.variants[0], ())

    def label_of(self, defect: str) -> Literal[0, 1]:
        """0 for the folder names of normal items; the whole name must match."""
        return 0 if defect.lower() in {name.lower() for name in self.normal} else 1

    def checked_root(self, root: Path | str) -> Path:
        """The root as a path; raises UsageError."""
        root = Path(root)
        if not root.exists():
            raise UsageError(f"{root}: no such folder. {self.where}")
        if not root.is_dir():
            raise UsageError(f"{root} is a file: give the folder that holds {self.title}")
        return root

    def checked_variant(self, variant: str | None) -> str:
        """The variant, or the usual one; raises UsageError."""
        if variant is None:
            return self.variants[0]
        if variant not in self.variants:
            known = ", ".join(v for v in self.variants if v)
            allowed = f"one of {known}" if known else "left out, it has only one"
            near = did_you_mean(variant, self.variants)
            raise UsageError(f"Expected variant of {self.name} to be {allowed}, got '{variant}'.{near}")
        return variant

    def checked_category(self, category: str) -> str:
        """The category; raises UsageError with the data set it belongs to, if any."""
        if self.categories and category not in self.categories:
            owner = _owner_of(category)
            elsewhere = f" (it belongs to {owner})" if owner else ""
            near = did_you_mean(category, self.categories)
            raise UsageError(
                f"Expected category of {self.name} to be one of {', '.join(self.categories)}, "
                f"got '{category}'{elsewhere}.{near}"
            )
        return category

    @property
    def where(self) -> str:
        """Where to get it, in a sentence."""
        return f"Get {self.title} from its owner: {self.owner}, {self.page}."

    def nothing_found(self, root: Path) -> str:
        """Why a root holds nothing, with the folder that does, if one lies inside."""
        shape = f", for example {self.parts[0].files}" if self.parts else ""
        words = f"nothing of {self.title} in this folder{shape}"
        for name in Tree(root).folders(root)[:50]:
            try:
                next(self.read_tree(Tree(root / name), self.variants[0]))
            except (StopIteration, BadFile, UsageError):
                continue
            return f"{words}. It lies in {root / name}: give that folder"
        return f"{words}. {self.where}"


def _owner_of(category: str) -> str:
    from looktwice.data import DATASETS

    return next((name for name in DATASETS if category in DATASETS.load(name).categories), "")


def per_category(
    columns: tuple[str, ...], rows: Mapping[str, tuple[int | tuple[int, int], ...]], reported: tuple[str, ...] = ()
) -> tuple[Count, ...]:
    """Counts from a table: a column a split, a number of normal items or (normal, anomalous) a cell."""
    return tuple(
        Count(
            category=category,
            split=split,
            normal=cell if isinstance(cell, int) else cell[0],
            anomalous=0 if isinstance(cell, int) else cell[1],
            verified=split not in reported,
        )
        for category, cells in rows.items()
        for split, cell in zip(columns, cells, strict=True)
    )


# ---------------------------------------------------------------- a copy on disk


class Tree:
    """A folder on disk, each of its folders listed once: sorted, without hidden files and litter."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.used: set[Path] = set()  # list files that were read
        self._listed: dict[Path, tuple[list[str], list[str]]] = {}
        self._stems: dict[Path, dict[str, list[str]]] = {}

    def folders(self, at: Path) -> list[str]:
        """Names of the folders in a folder; none when it is not there."""
        return self._list(at)[0]

    def files(self, at: Path) -> list[str]:
        """Names of the files in a folder; none when it is not there."""
        return self._list(at)[1]

    def _list(self, at: Path) -> tuple[list[str], list[str]]:
        if at not in self._listed:
            folders: list[str] = []
            files: list[str] = []
            try:
                with os.scandir(at) as entries:
                    for entry in entries:
                        if not is_litter(entry.name):
                            (folders if entry.is_dir() else files).append(entry.name)
            except (FileNotFoundError, NotADirectoryError):
                pass
            except OSError as error:
                raise BadFile("unreadable", at, f"this folder cannot be listed: {error}") from error
            self._listed[at] = (sorted(folders), sorted(files))
        return self._listed[at]

    def match(self, pattern: str, base: Path | None = None, **bound: str) -> Iterator[tuple[Path, dict[str, str]]]:
        """Yield every file (or folder, for a pattern without an ending) with what its braces stand for."""
        return self._match(base or self.root, pattern.split("/"), bound)

    def _match(self, at: Path, components: list[str], bound: dict[str, str]) -> Iterator[tuple[Path, dict[str, str]]]:
        head, *rest = components
        is_file = not rest and "." in head
        for name in self.files(at) if is_file else self.folders(at):
            found = _component(head, bound, is_file).fullmatch(name)
            if found and rest:
                yield from self._match(at / name, rest, {**bound, **found.groupdict()})
            elif found:
                yield at / name, {**bound, **found.groupdict()}

    def walk(self, at: Path | None = None) -> Iterator[Path]:
        """Yield all files below a folder (the root): sorted, its own files first."""
        at = at or self.root
        for name in self.files(at):
            yield at / name
        for name in self.folders(at):
            yield from self.walk(at / name)

    def find(self, name: str) -> Path | None:
        """The first file of this name anywhere below the root, any case."""
        return next((path for path in self.walk() if path.name.lower() == name.lower()), None)

    def lookup(self, pattern: str, bound: Mapping[str, str], base: Path | None = None) -> tuple[Path, ...]:
        """The files that a pattern names once its braces are filled: by stem, never by position."""
        *folders, last = pattern.split("/")
        at = base or self.root
        for folder in folders:
            wanted = folder.format_map(bound)
            at = at / _same_name(wanted, self.folders(at))
        if "." not in last:
            wanted = last.format_map(bound)
            return tuple(at / name for name in self.folders(at) if name == wanted)
        if "*" in last:
            rule = _component(last, dict(bound), True)
            return tuple(at / name for name in self.files(at) if rule.fullmatch(name))
        stem, endings = last.rsplit(".", 1)
        wanted = stem.format_map(bound)
        near = [n for n in self._by_stem(at).get(wanted.lower(), []) if _ending(n) in endings.split("|")]
        exact = [n for n in near if n.rsplit(".", 1)[0] == wanted]
        return tuple(at / name for name in exact or near)

    def _by_stem(self, at: Path) -> dict[str, list[str]]:
        if at not in self._stems:
            index: dict[str, list[str]] = {}
            for name in self.files(at):
                index.setdefault(name.rsplit(".", 1)[0].lower(), []).append(name)
            self._stems[at] = index
        return self._stems[at]

    def relative(self, path: Path) -> str:
        """The path below the root, with "/" between folders."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.as_posix()


def is_litter(name: str) -> bool:
    """Whether a name is a hidden file or what file managers leave behind."""
    return name.startswith(".") or name.lower() in LITTER


def _ending(name: str) -> str:
    return name.rsplit(".", 1)[-1].lower() if "." in name else ""


def _same_name(wanted: str, names: list[str]) -> str:
    if wanted in names:
        return wanted
    return next((name for name in names if name.lower() == wanted.lower()), wanted)


def _component(text: str, bound: Mapping[str, str], is_file: bool) -> re.Pattern[str]:
    """One component of a pattern as a rule for names."""
    stem, endings = text.rsplit(".", 1) if is_file else (text, "")
    rule, seen = "", set()
    for piece in re.split(r"(\{\w+\}|\*)", stem):
        name = piece[1:-1]
        if piece == "*":
            rule += ".*"
        elif not piece.startswith("{"):
            rule += re.escape(piece)
        elif name in bound:
            rule += re.escape(bound[name])
        else:
            rule += f"(?P={name})" if name in seen else f"(?P<{name}>.+)"
            seen.add(name)
    return re.compile(rule + (rf"\.(?:{endings})" if is_file else ""), re.IGNORECASE)


# ---------------------------------------------------------------- reading folders


def read_parts(dataset: DataSet, tree: Tree) -> Iterator[Item]:
    """The items of a data set whose parts say everything."""
    base = base_of(dataset, tree)
    for category in dataset.categories or tree.folders(base):
        for part in dataset.parts:
            for path, bound in tree.match(part.files, base, category=category):
                yield item_of(dataset, tree, part, path, bound, base)


def base_of(dataset: DataSet, tree: Tree) -> Path:
    """The root, or the folder of the archive inside it that holds the parts."""
    bases = [tree.root / inside for inside in dataset.inside]
    known = {"category": dataset.categories[0]} if len(dataset.categories) == 1 else {}
    for base in bases:
        for part in dataset.parts:
            for _, bound in tree.match(part.files, base, **known):
                if not dataset.categories or bound.get("category", dataset.categories[0]) in dataset.categories:
                    return base
    return bases[0]


def item_of(dataset: DataSet, tree: Tree, part: Part, path: Path, bound: dict[str, str], base: Path) -> Item:
    """One matched file as an item, its mask found by its stem."""
    defect = bound.get("defect", part.defect)
    label = part.label if part.label is not None else dataset.label_of(defect)
    patterns = (part.mask,) if isinstance(part.mask, str) else part.mask
    found = (tree.lookup(pattern, bound, base) for pattern in patterns if pattern)
    masks = next((files for files in found if files), ())
    truth: TruthSource | None = None
    if masks:
        truth = MaskPictures(masks, part.above)
    elif label == 0 and dataset.has_masks:
        truth = NoAnomaly()
    return Item(
        id=tree.relative(path),
        paths=(path, *(tree.lookup(part.also, bound, base) if part.also else ())),
        modality=dataset.modality,
        category=bound.get("category", ""),
        split=part.split,
        label=label,
        defect_type=defect if label else "",
        truth=truth,
    )
