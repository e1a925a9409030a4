"""Real-IAD: thirty objects seen by five cameras, listed in json files.

Odd: which list is read decides the protocol: `multi` all views, `single` one camera, `fuiad_R` with a share R of
anomalies among the training pictures. Some copies nest each class once more. Of several sizes in one root, the
first of 1024, 512, 256, raw is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from looktwice.data.dataset import Count, DataSet, Tree
from looktwice.data.items import Item, MaskPictures, NoAnomaly
from looktwice.data.lists import check_record, read_json
from looktwice.errors import BadFile

LISTS = {
    "multi": "realiad_jsons",
    "single": "realiad_jsons_sv",
    **{f"fuiad_{share}": f"realiad_jsons_fuiad_{share}" for share in ("0.0", "0.1", "0.2", "0.4")},
}
SIZES = ("realiad_1024", "realiad_512", "realiad_256", "realiad_raw")
CODES = {
    "AK": "pit",
    "BX": "deformation",
    "CH": "abrasion",
    "HS": "scratch",
    "PS": "damage",
    "QS": "missing part",
    "YW": "foreign object",
    "ZW": "contamination",
}


def read(dataset: DataSet, tree: Tree, variant: str) -> Iterator[Item]:
    """Items of each class in the order of its list, train before test."""
    name = LISTS[variant]
    lists = next((d for d in (tree.root / "realiad_jsons" / name, tree.root / name) if _has_lists(tree, d)), None)
    if lists is None:
        return
    images = next((tree.root / size for size in SIZES if size in tree.folders(tree.root)), tree.root)
    for category in dataset.categories:
        file = lists / f"{category}.json"
        if file.name in tree.files(lists):
            yield from _class(tree, file, images / category)


def _has_lists(tree: Tree, folder: Path) -> bool:
    return any(name.endswith(".json") for name in tree.files(folder))


def _class(tree: Tree, file: Path, folder: Path) -> Iterator[Item]:
    content = read_json(tree, file)
    check_record(file, "the file", content, ("meta", "train", "test"))
    folder = folder / folder.name if folder.name in tree.folders(folder) else folder
    normal = str(content["meta"].get("normal_class", "OK"))
    for split in ("train", "test"):
        for number, one in enumerate(content[split], 1):
            what = f"{split} record {number}"
            check_record(file, what, one, ("category", "anomaly_class", "image_path"))
            kind, mask = str(one["anomaly_class"]), one.get("mask_path")
            label = 0 if kind == normal else 1
            if label == 0 and mask:
                raise BadFile("unsupported", file, f"{what} is {normal} and has a mask")
            path = folder / str(one["image_path"])
            yield Item(
                id=f"{file.stem}/{one['image_path']}",
                paths=(path,),
                modality="image",
                category=file.stem,
                split=split,
                label=1 if label else 0,
                defect_type=CODES.get(kind, kind) if label else "",
                truth=MaskPictures((folder / str(mask),)) if mask else None if label else NoAnomaly(),
                source=f"{file.name}, {what}",
            )


DATASET = DataSet(
    name="real_iad",
    title="Real-IAD",
    modality="image",
    owner="Tencent YouTu",
    page='project page "Real-IAD", on request',
    licence="CC BY-NC-SA 4.0",
    truth="pixel masks",
    categories=(
        *("audiojack", "bottle_cap", "button_battery", "end_cap", "eraser", "fire_hood", "mint", "mounts", "pcb"),
        *("phone_battery", "plastic_nut", "plastic_plug", "porcelain_doll", "regulator", "rolled_strip_base"),
        *("sim_card_set", "switch", "tape", "terminalblock", "toothbrush", "toy", "toy_brick", "transistor1"),
        *("u_block", "usb", "usb_adaptor", "vcpill", "wooden_beads", "woodstick", "zipper"),
    ),
    display={
        "audiojack": "audio jack",
        "pcb": "printed circuit board",
        "terminalblock": "terminal block",
        "u_block": "U-shaped block",
        "usb": "USB connector",
        "usb_adaptor": "USB adaptor",
        "vcpill": "vitamin C pill",
        "woodstick": "wooden stick",
    },
    read=read,
    splits=("train", "test"),
    variants=tuple(LISTS),
    counts={"multi": (Count(normal=99_721, anomalous=51_329),)},
    extras=("realiad_jsons*/*", *(f"{size}/*" for size in SIZES), "README*", "LICENSE*"),
    notes=("the counts are of all files; other lists than `multi` hold fewer",),
)
