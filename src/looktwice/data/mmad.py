"""MMAD: 39,672 multiple-choice questions about 8,366 pictures of four sources.

Odd: one object keyed by picture path; of several keys that begin with "conversation" the first is read. Normal is a
folder called good below the class, which is tested as a whole name: `GoodsAD` holds the word too. Masks are relative
to the class folder or, in some records, to the folder below it. A category is "source/class".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from looktwice.data.dataset import Count, DataSet, Tree
from looktwice.data.items import Item, MaskPictures, NoAnomaly, Question, TruthSource
from looktwice.data.lists import as_texts, check_record, read_json
from looktwice.errors import BadFile

CLASSES = {
    "DS-MVTec": (
        *("bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather", "metal_nut", "pill", "screw"),
        *("tile", "toothbrush", "transistor", "wood", "zipper"),
    ),
    "MVTec-LOCO": ("breakfast_box", "juice_bottle", "pushpins", "screw_bag", "splicing_connectors"),
    "VisA": (
        *("candle", "capsules", "cashew", "chewinggum", "fryum", "macaroni1", "macaroni2"),
        *("pcb1", "pcb2", "pcb3", "pcb4", "pipe_fryum"),
    ),
    "GoodsAD": ("cigarette_box", "drink_bottle", "drink_can", "food_bottle", "food_box", "food_package"),
}
KNOWLEDGE = "domain_knowledge.json"


def read(dataset: DataSet, tree: Tree, variant: str) -> Iterator[Item]:
    """Pictures with their questions, in the order of mmad.json."""
    file = tree.root / "mmad.json"
    if file.name not in tree.files(tree.root):
        return
    content = read_json(tree, file)
    if not isinstance(content, dict):
        raise BadFile("unsupported", file, "expected an object keyed by picture path")
    known = _known(tree)
    for key, one in content.items():
        check_record(file, f"record '{key}'", one, ())
        item = _item(tree, file, key, one)
        yield replace(item, knowledge=known.get(item.category, ""))


def _known(tree: Tree) -> dict[str, str]:
    """Category -> all texts of the class, joined as published; none without the file."""
    if KNOWLEDGE not in tree.files(tree.root):
        return {}
    known: dict[str, str] = {}
    for (source, name, _), text in domain_knowledge(tree.root).items():
        category = f"{source}/{name}"
        known[category] = f"{known[category]}\n{text}" if category in known else text
    return known


def _item(tree: Tree, file: Path, key: str, one: Mapping[str, Any]) -> Item:
    pieces = PurePosixPath(key).parts
    if len(pieces) < 4:
        raise BadFile("unsupported", file, f"record '{key}': expected source/class/.../picture")
    source, name, *folders = pieces[:-1]
    label = 0 if "good" in folders else 1
    asked = next((value for name, value in one.items() if name.startswith("conversation")), None)
    if not isinstance(asked, list):
        raise BadFile("unsupported", file, f"record '{key}' lacks conversation, a list of questions")
    return Item(
        id=key,
        paths=(tree.root / str(one.get("image_path", key)),),
        modality="image",
        category=f"{source}/{name}",
        split="test",
        label=1 if label else 0,
        defect_type=folders[-1] if label else "",
        truth=_truth(tree.root, pieces[:3], one.get("mask_path"), label),
        references=tuple(tree.root / path for path in as_texts(one.get("random_templates"))),
        similar=tuple(tree.root / path for path in as_texts(one.get("similar_templates"))),
        questions=tuple(_question(file, key, number, q) for number, q in enumerate(asked, 1)),
        source=f"mmad.json, record '{key}'",
    )


def _truth(root: Path, pieces: tuple[str, ...], mask: Any, label: int) -> TruthSource | None:
    if not mask:
        return None if label else NoAnomaly()
    places = [root.joinpath(*pieces[:2], str(mask)), root.joinpath(*pieces, str(mask)), root / str(mask)]
    return MaskPictures((next((place for place in places if place.exists()), places[0]),))


def _question(file: Path, key: str, number: int, one: Any) -> Question:
    what = f"record '{key}', question {number}"
    check_record(file, what, one, ("Question", "Answer", "Options", "type"))
    options = one["Options"]
    if not isinstance(options, dict) or one["Answer"] not in options:
        raise BadFile("unsupported", file, f"{what}: the answer '{one['Answer']}' is none of its options")
    words = tuple((str(letter), str(text)) for letter, text in options.items())
    return Question(str(one["Question"]), str(one["Answer"]), words, str(one["type"]))


def domain_knowledge(root: Path | str) -> dict[tuple[str, str, str], str]:
    """domain_knowledge.json as (source, class, type) -> text, its `MVTec` renamed `DS-MVTec` as in picture keys."""
    tree = Tree(Path(root))
    content = read_json(tree, tree.root / KNOWLEDGE)
    return {
        ("DS-MVTec" if source == "MVTec" else source, name, kind): str(text)
        for source, classes in content.items()
        for name, kinds in classes.items()
        for kind, text in kinds.items()
    }


DATASET = DataSet(
    name="mmad",
    title="MMAD",
    modality="image",
    owner="jam-cc",
    page="repository jam-cc/MMAD and the hub page of the same name",
    licence="CC BY-NC-SA 4.0",
    truth="answers",
    categories=tuple(f"{source}/{name}" for source, names in CLASSES.items() for name in names),
    display={f"{source}/{name}": name.rstrip("1234").replace("_", " ") for source, n in CLASSES.items() for name in n}
    | {f"VisA/pcb{k}": "printed circuit board" for k in (1, 2, 3, 4)},
    read=read,
    splits=("test",),
    counts={"": (Count(total=8366, questions=39_672),)},
    extras=(KNOWLEDGE, *(f"{source}/*" for source in CLASSES), "*.csv", "*.md", "LICENSE*"),
)
