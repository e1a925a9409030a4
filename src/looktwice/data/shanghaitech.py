"""ShanghaiTech Campus: 13 scenes; normal training videos, test clips as folders of frames.

Odd: train is video and test is frames; some decoders miscount the frames of the training videos. This is the
original split: the weakly supervised re-split of other papers must not be mixed with it.
"""

from __future__ import annotations

from collections.abc import Iterator

from looktwice.data.dataset import Count, DataSet, Tree
from looktwice.data.items import FrameTruth, Item, NoAnomaly, load_numpy


def read(dataset: DataSet, tree: Tree, variant: str) -> Iterator[Item]:
    """Training videos, then test clips; names are scene_clip."""
    bases = [tree.root / inside for inside in dataset.inside]
    base = next((b for b in bases if {"training", "testing"} & set(tree.folders(b))), bases[0])
    for path, _ in tree.match("training/videos/{stem}.avi|mp4", base):
        yield Item(
            id=tree.relative(path),
            paths=(path,),
            modality="video",
            category="campus",
            split="train",
            label=0,
            truth=NoAnomaly(),
        )
    for path, bound in tree.match("testing/frames/{stem}", base):
        labels = tree.lookup("testing/test_frame_mask/{stem}.npy", bound, base)
        masks = tree.lookup("testing/test_pixel_mask/{stem}.npy", bound, base)
        yield Item(
            id=tree.relative(path),
            paths=(path,),
            modality="video",
            category="campus",
            split="test",
            label=(1 if load_numpy(labels[0]).any() else 0) if labels else None,
            truth=FrameTruth(labels=labels[0], masks=masks[0] if masks else None) if labels else None,
        )


DATASET = DataSet(
    name="shanghaitech",
    title="ShanghaiTech Campus",
    modality="video",
    owner="SVIP lab, ShanghaiTech",
    page='"ShanghaiTech Campus"',
    licence="BSD-2, as stated by anomalib",
    truth="frame and pixel masks",
    categories=("campus",),
    display={"campus": "university campus"},
    inside=("", "shanghaitech"),
    read=read,
    splits=("train", "test"),
    counts={
        "": (
            Count(category="campus", split="train", total=330, verified=False),
            Count(category="campus", split="test", total=107, verified=False),
        )
    },
)
