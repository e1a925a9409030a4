"""AITEX (AFID): strips of woven fabric, 4096 x 256 pixels; the variant `tiles` cuts them as the papers do.

Odd: file names carry the defect code; some strips are grey with alpha; some defects have two masks; some copies
nest each folder once more. The paper counts 140 + 105 strips, the files are 141 + 106: one has a misspelt name,
one (0100_025_08) is shorter and has no mask.
Tiles: 16 of 256 x 256 a strip; of defective strips only the tiles with a defect. Which quarter of the normal tiles
is the test part is our own draw with seed 42: the papers state the seed and not the generator.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from looktwice.data.dataset import Count, DataSet, Tree
from looktwice.data.items import Item, MaskPictures, NoAnomaly, picture_size, read_truth

CODES = {
    "002": "broken_end",
    "006": "broken_yarn",
    "010": "broken_pick",
    "016": "weft_curling",
    "019": "fuzzyball",
    "022": "cut_selvage",
    "023": "crease",
    "025": "warp_ball",
    "027": "knots",
    "029": "contamination",
    "030": "nep",
    "036": "weft_crack",
}
IMAGES_OF_CODE = (9, 8, 10, 3, 39, 9, 5, 6, 1, 1, 14, 1)
TILE = 256
TEST_SHARE = 0.25


def read(dataset: DataSet, tree: Tree, variant: str) -> Iterator[Item]:
    """Whole strips, or their tiles."""
    strips = [*_normal(tree), *_defective(tree)]
    return iter(strips) if variant == "strips" else _tiles(strips)


def _folder(tree: Tree, name: str) -> Path:
    nested = tree.root / name / name
    return nested if tree.folders(nested) or tree.files(nested) else tree.root / name


def _normal(tree: Tree) -> Iterator[Item]:
    for path, _ in tree.match("{fabric}/{stem}.png", _folder(tree, "NODefect_images")):
        yield _strip(tree, path, 0)


def _defective(tree: Tree) -> Iterator[Item]:
    for path, bound in tree.match("{stem}.png", _folder(tree, "Defect_images")):
        item = _strip(tree, path, 1)
        masks = tree.lookup("{stem}_mask*.png", bound, _folder(tree, "Mask_images"))
        code = bound["stem"].split("_")[1] if "_" in bound["stem"] else ""
        truth = MaskPictures(masks) if masks else None
        yield dataclasses.replace(item, defect_type=CODES.get(code, code), truth=truth)


def _strip(tree: Tree, path: Path, label: int) -> Item:
    return Item(
        id=tree.relative(path),
        paths=(path,),
        modality="image",
        category="fabric",
        split="test",
        label=1 if label else 0,
        truth=None if label else NoAnomaly(),
    )


def _tiles(strips: list[Item]) -> Iterator[Item]:
    normal = [tile for strip in strips if strip.label == 0 for tile in _cut(strip)]
    chosen = np.random.default_rng(42).permutation(len(normal))[: round(len(normal) * TEST_SHARE)]
    in_test = np.zeros(len(normal), np.bool_)
    in_test[chosen] = True
    for tile, test in zip(normal, in_test, strict=True):
        yield dataclasses.replace(tile, split="test" if test else "train")
    for strip in strips:
        for tile in _cut(strip) if strip.truth and strip.label else ():
            mask = read_truth(tile)
            if mask is not None and mask.any():
                yield tile


def _cut(strip: Item) -> Iterator[Item]:
    height, width = picture_size(strip.path)
    for number, x in enumerate(range(0, width, TILE)):
        crop = (x, 0, min(x + TILE, width), height)
        yield dataclasses.replace(strip, id=f"{strip.id}#{number}", crop=crop)


DATASET = DataSet(
    name="aitex",
    title="AITEX (AFID)",
    modality="image",
    owner="AITEX",
    page='page "AFID"',
    licence="research use",
    truth="pixel masks",
    categories=("fabric",),
    display={"fabric": "woven fabric"},
    read=read,
    splits=("train", "test"),
    variants=("strips", "tiles"),
    counts={
        "strips": (
            Count(category="fabric", split="test", normal=141, anomalous=106),
            *(
                Count(category="fabric", split="test", defect=defect, anomalous=number)
                for defect, number in zip(CODES.values(), IMAGES_OF_CODE, strict=True)
            ),
        ),
        "tiles": (
            Count(category="fabric", split="train", normal=1692, anomalous=0),
            Count(category="fabric", split="test", normal=564),
            Count(category="fabric", split="test", anomalous=183, verified=False),
        ),
    },
    may_lack_mask=("0100_025_08",),
)
