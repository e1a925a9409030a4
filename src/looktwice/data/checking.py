"""Whether a copy of a data set is whole: counts against the published ones, and every file that is missing or odd.

Reads names, headers and list files; with `deep`, every file and every truth. Letters: none.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from looktwice.data.dataset import Count, DataSet, Tree
from looktwice.data.items import (
    PICTURES,
    FrameTruth,
    Item,
    MaskPictures,
    load_item,
    open_picture,
    picture_size,
    pictures_in,
    read_truth,
    refuse,
)
from looktwice.errors import BadFile

MASK_FOLDERS = frozenset({"ground_truth", "masks", "mask", "mask_images", "gt", "test-mask", "ground truth", "labels"})
SHOWN = 3  # names given of each finding


@dataclass(frozen=True)
class Finding:
    """One thing that is off: a stable word for programs, where, and what in a sentence.

    `kind` is one of missing, count, list, missing_file, unreadable, empty, too_large, unsupported, no_mask,
    no_image, mask_size, empty_mask, wrong_label, unknown_type, nested_copy, unexpected.
    """

    kind: str
    where: str
    message: str


@dataclass(frozen=True)
class Report:
    """What a check found. `found` holds (category, split, normal, anomalous, unlabelled)."""

    name: str
    root: str
    variant: str
    items: int
    found: tuple[tuple[str, str, int, int, int], ...]
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing is off."""
        return not self.findings


@dataclass
class _Seen:
    """What one pass over the items leaves behind."""

    tree: Tree
    items: int = 0
    numbers: Counter[tuple[str, str, str, int | None]] = field(default_factory=Counter)  # category split type label
    frames: Counter[str] = field(default_factory=Counter)  # by split
    questions: int = 0
    masks: int = 0
    lacking: list[tuple[str, str]] = field(default_factory=list)  # (folder, name) of anomalous items without a mask
    used: set[Path] = field(default_factory=set)
    odd: defaultdict[tuple[str, str, str], list[str]] = field(default_factory=lambda: defaultdict(list))

    def note(self, kind: str, where: str, message: str, name: str) -> None:
        """Remember one oddity under its kind, folder and sentence."""
        self.odd[kind, where, message].append(name)


def check(dataset: DataSet, root: Path | str, *, variant: str | None = None, deep: bool = False) -> Report:
    """Compare a copy with what is published; raises UsageError for a wrong root or variant.

    A picture is opened, its header read and its checksums verified; `deep` decodes every file as an inspection would.
    """
    root = dataset.checked_root(root)
    chosen = dataset.checked_variant(variant)
    seen = _Seen(Tree(root if root.is_dir() else root.parent))
    tree = seen.tree if root.is_dir() else Tree(root)
    findings: list[Finding] = []
    try:
        for item in dataset.read_tree(tree, chosen):
            _look(dataset, item, seen, deep)
    except BadFile as error:
        findings.append(Finding("list", seen.tree.relative(Path(error.path)), error.why))
    seen.used |= tree.used
    if not seen.items and not findings:
        findings.append(Finding("missing", ".", dataset.nothing_found(root)))
    elif seen.items:
        findings += _missing(dataset, seen, chosen)
        findings += _counts(dataset, seen, chosen)
        findings += _types(dataset, seen)
        if seen.masks or not dataset.masks_optional:
            for where, name in seen.lacking:
                seen.note("no_mask", where, "an anomalous item without a mask", name)
        if root.is_dir():
            _leftovers(dataset, seen)
        findings += _grouped(seen)
    return Report(dataset.name, str(root), chosen, seen.items, _table(seen), tuple(findings))


def _table(seen: _Seen) -> tuple[tuple[str, str, int, int, int], ...]:
    rows: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for (category, split, _, label), number in seen.numbers.items():
        rows[category, split][2 if label is None else label] += number
    return tuple((category, split, n, a, u) for (category, split), (n, a, u) in rows.items())


# ---------------------------------------------------------------- one item


def _look(dataset: DataSet, item: Item, seen: _Seen, deep: bool) -> None:
    seen.items += 1
    seen.numbers[item.category, item.split, item.defect_type, item.label] += 1
    seen.questions += len(item.questions)
    sound = True
    for path in (*item.paths, *(item.truth.files if item.truth else ()), *item.references, *item.similar):
        if path not in seen.used:
            seen.used.add(path)
            sound = _sound(path, item, seen) and sound
    if item.path.is_dir() and sound:
        seen.frames[item.split] += len(pictures_in(item.path))
    seen.masks += item.truth is not None and item.label != 0
    if _lacks_mask(dataset, item):
        seen.lacking.append((_home(item.path, seen), _named(item, item.path)))
    if sound and isinstance(item.truth, MaskPictures) and item.modality == "image":
        _compare_sizes(item, item.truth, seen)
    if deep and sound:
        _load(dataset, item, seen)


def _lacks_mask(dataset: DataSet, item: Item) -> bool:
    if item.label == 0 or item.truth is not None or not dataset.has_masks or item.split in dataset.weak:
        return False
    return item.path.stem not in dataset.may_lack_mask


def _sound(path: Path, item: Item, seen: _Seen) -> bool:
    """Whether a file is there and readable by its header; notes it when not."""
    try:
        if path.is_dir():
            frames = pictures_in(path)
            if not frames:
                raise BadFile("empty", path, "a folder without pictures")
            sound = [_sound(frame, item, seen) for frame in frames]  # each is looked at, not up to the first bad one
            return all(sound)
        refuse(path)
        if path.suffix.lower() in PICTURES and not (item.modality == "point_cloud" and path == item.path):
            with open_picture(path) as picture:
                picture.verify()
    except BadFile as error:
        seen.note(error.kind, _home(Path(error.path), seen), error.why, _named(item, path))
        return False
    return True


def _compare_sizes(item: Item, truth: MaskPictures, seen: _Seen) -> None:
    for file in truth.files:
        try:
            mask, size = picture_size(file), picture_size(item.path)
        except BadFile as error:
            seen.note(error.kind, _home(Path(error.path), seen), error.why, _named(item, file))
            return
        if mask != size and not truth.resize:
            words = f"the mask is {mask[1]}x{mask[0]} pixels, its picture {size[1]}x{size[0]}"
            seen.note("mask_size", _home(file, seen), words, _named(item, file))


def _load(dataset: DataSet, item: Item, seen: _Seen) -> None:
    where = _home(item.path, seen)
    try:
        load_item(item)
        truth = read_truth(item)
        if isinstance(item.truth, FrameTruth) and item.truth.masks is not None and item.truth.labels is not None:
            masks = sum(1 for _ in item.truth.frames())
            if truth is not None and masks != len(truth):
                seen.note("mask_size", where, f"{masks} pixel masks for {len(truth)} frames", _named(item, item.path))
    except BadFile as error:
        seen.note(error.kind, _home(Path(error.path), seen), error.why, _named(item, item.path))
        return
    if truth is not None and item.label == 1 and not truth.any():
        seen.note("empty_mask", where, "labelled anomalous, but nothing is marked", _named(item, item.path))
    if truth is not None and item.label == 0 and truth.any():
        seen.note("wrong_label", where, "labelled normal, but something is marked", _named(item, item.path))


def _home(path: Path, seen: _Seen) -> str:
    return seen.tree.relative(path.parent)


def _named(item: Item, path: Path) -> str:
    return f"{path.name} ({item.source})" if item.source else path.name


# ---------------------------------------------------------------- against what is published


def _missing(dataset: DataSet, seen: _Seen, variant: str) -> Iterator[Finding]:
    """Categories, and splits of a category, without a single item."""
    have = {(category, split) for category, split, _, _ in seen.numbers}
    categories = {category for category, _ in have}
    expected = {(c.category, c.split): c for c in dataset.expected(variant) if c.category and not c.defect}
    for category in dataset.categories:
        if category not in categories:
            yield Finding("missing", category, f"class {category} is missing: not one item of it was found")
    for (category, split), count in expected.items():
        if category in categories and split and (category, split) not in have:
            yield Finding("missing", f"{category}/{split}", f"nothing found, {_words(count)} expected")
    for split in dict.fromkeys(c.split for c in dataset.expected(variant) if c.split and c.category in ("", "*")):
        if split not in {s for _, s in have}:
            yield Finding("missing", split, f"nothing found of the split {split}")
    if dataset.category_count is not None and len(categories) != dataset.category_count:
        words = f"expected {dataset.category_count} classes, got {len(categories)}"
        yield Finding("count", ".", words)


def _counts(dataset: DataSet, seen: _Seen, variant: str) -> Iterator[Finding]:
    categories = list(dict.fromkeys(category for category, *_ in seen.numbers))
    for count in dataset.expected(variant):
        names = categories if count.category == "*" else [count.category]
        for name in names:
            got = _got(seen, count, name)
            if got is None or (name and name not in categories):
                continue  # said above as missing
            wrong = [f"{word} {want} expected, {have} found" for word, want, have in got if want != have]
            if wrong:
                where = "/".join(piece for piece in (name, count.split, count.defect) if piece) or "all together"
                mark = "" if count.verified else " (as reported by its authors, not re-counted)"
                yield Finding("count", where, "; ".join(wrong) + mark)


def _got(seen: _Seen, count: Count, category: str) -> list[tuple[str, int, int]] | None:
    """(word, wanted, found) of each number of a Count; None when its category and split were not found at all."""
    rows = [
        (label, number)
        for (c, s, d, label), number in seen.numbers.items()
        if category in ("", c) and count.split in ("", s) and count.defect in ("", d)
    ]
    if not rows and not count.defect:
        return None
    of = {label: sum(n for found, n in rows if found == label) for label in (0, 1)}
    wanted = (
        ("normal", count.normal, of[0]),
        ("anomalous", count.anomalous, of[1]),
        ("items", count.total, sum(number for _, number in rows)),
        ("frames", count.frames, seen.frames[count.split]),
        ("questions", count.questions, seen.questions),
    )
    return [(word, want, have) for word, want, have in wanted if want is not None]


def _words(count: Count) -> str:
    numbers = (
        (count.normal, "normal"),
        (count.anomalous, "anomalous"),
        (count.total, "items"),
    )
    return " and ".join(f"{number} {word}" for number, word in numbers if number)


def _types(dataset: DataSet, seen: _Seen) -> Iterator[Finding]:
    """Defect types that should not be there, and, where they are known by class, those that should."""
    if not dataset.defects:
        return
    found: defaultdict[str, set[str]] = defaultdict(set)
    for (category, _, defect, label), _ in seen.numbers.items():
        if label == 1 and defect:
            found[category].add(defect)
    for category, defects in found.items():
        known = dataset.defects.get(category, dataset.defects.get("", ()))
        for defect in sorted(defects - set(known)):
            yield Finding("unknown_type", category, f"'{defect}' is no defect type of it ({', '.join(known)})")
        for defect in known if category in dataset.defects else ():
            if defect not in defects:
                yield Finding("missing", f"{category}/{defect}", f"no item of the defect type {defect}")


# ---------------------------------------------------------------- what is left on disk


def _leftovers(dataset: DataSet, seen: _Seen) -> None:
    """Note every file that no item, mask or list uses and that does not belong to a whole copy."""
    used = {seen.tree.relative(path) for path in seen.used}
    folders = {seen.tree.relative(path) for path in seen.used if path.is_dir()}
    copies = used | {f"{folder}/" for folder in folders}
    for path in seen.tree.walk():
        name = seen.tree.relative(path)
        if name in used or any(parent in folders for parent in _parents(name)):
            continue
        prefix = _nested_in(name, copies)
        if prefix:
            words = "a second copy of the set inside the first; it is not read, delete it"
            seen.note("nested_copy", prefix, words, name[len(prefix) + 1 :])
        elif not any(fnmatchcase(name.lower(), pattern.lower()) for pattern in dataset.extras):
            kind, words = _leftover(dataset, path, seen)
            seen.note(kind, _home(path, seen), words, path.name)


def _parents(name: str) -> Iterator[str]:
    pieces = name.split("/")
    return ("/".join(pieces[:k]) for k in range(1, len(pieces)))


def _nested_in(name: str, copies: Iterable[str]) -> str:
    """The folder that repeats the set: brain_tumor_dataset for brain_tumor_dataset/yes/Y1.jpg beside yes/Y1.jpg."""
    pieces = name.split("/")
    for k in range(1, len(pieces) - 1):
        if "/".join(pieces[k:]) in copies:
            return "/".join(pieces[:k])
    return ""


def _leftover(dataset: DataSet, path: Path, seen: _Seen) -> tuple[str, str]:
    folders = {piece.lower() for piece in Path(seen.tree.relative(path)).parent.parts}
    if dataset.has_masks and folders & MASK_FOLDERS:
        return "no_image", "a mask without an image"
    try:
        refuse(path)
    except BadFile as error:
        return error.kind, error.why
    return "unexpected", "not a file of this data set"


def _grouped(seen: _Seen) -> Iterator[Finding]:
    """One finding a kind, folder and sentence, with how many and the first names."""
    for kind, where, message in sorted(seen.odd):
        names = seen.odd[kind, where, message]
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        yield Finding(kind, where, f"{message}: {', '.join(names[:SHOWN])}{more}")
