"""CUHK Avenue: an avenue seen by a fixed camera; 16 normal and 21 test videos with a mask a frame.

Odd: masks are MATLAB cell arrays in an archive of their own, numbered without a leading zero. Whether a test video
holds anything anomalous is known only from its masks, so its label is found when it is loaded. The camera shakes,
a few frames are mislabelled, and the training part holds some outliers.
"""

from __future__ import annotations

from collections.abc import Iterator

from looktwice.data.dataset import Count, DataSet, Tree
from looktwice.data.items import FrameTruth, Item, NoAnomaly


def read(dataset: DataSet, tree: Tree, variant: str) -> Iterator[Item]:
    """Videos by number."""
    bases = [tree.root / inside for inside in dataset.inside]
    base = next((b for b in bases if tree.files(b / "testing_videos") or tree.files(b / "training_videos")), bases[0])
    labels = [b / "ground_truth_demo" / "testing_label_mask" for b in (base, tree.root, base.parent)]
    for split, folder in (("train", "training_videos"), ("test", "testing_videos")):
        for path, bound in tree.match("{stem}.avi|mp4", base / folder):
            truth: FrameTruth | NoAnomaly | None = NoAnomaly() if split == "train" else None
            if split == "test" and bound["stem"].isdecimal():
                name = f"{int(bound['stem'])}_label.mat"
                masks = next((d / name for d in labels if name in tree.files(d)), None)
                truth = FrameTruth(masks=masks) if masks else None
            yield Item(
                id=tree.relative(path),
                paths=(path,),
                modality="video",
                category="avenue",
                split=split,
                label=0 if split == "train" else None,
                truth=truth,
            )


DATASET = DataSet(
    name="avenue",
    title="CUHK Avenue",
    modality="video",
    owner="CUHK",
    page='"Abnormal Event Detection at 150 FPS in MATLAB"',
    licence="not stated",
    truth="frame and pixel masks",
    categories=("avenue",),
    display={"avenue": "campus avenue"},
    inside=("", "Avenue Dataset", "Avenue_Dataset"),
    read=read,
    splits=("train", "test"),
    counts={
        "": (
            Count(category="avenue", split="train", total=16, verified=False),
            Count(category="avenue", split="test", total=21, verified=False),
        )
    },
    extras=("*training_vol/*", "*testing_vol/*", "*ground_truth_demo/*", "*.txt", "*.m"),
)
