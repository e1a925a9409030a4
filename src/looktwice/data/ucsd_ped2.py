"""UCSD Ped2: a walkway seen by a fixed camera; folders of grey frames, bikes and carts are anomalous.

Odd: anomalous frames are ranges in a MATLAB script, from 1, both ends in, several a clip; the archive is full of
hidden files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from looktwice.data.dataset import Count, DataSet, Tree
from looktwice.data.items import FrameTruth, Item, NoAnomaly
from looktwice.data.lists import read_text
from looktwice.errors import BadFile


def read(dataset: DataSet, tree: Tree, variant: str) -> Iterator[Item]:
    """Clips in order of their number."""
    bases = [tree.root / inside for inside in dataset.inside]
    base = next((b for b in bases if {"Train", "Test"} & set(tree.folders(b))), bases[0])
    for name in tree.folders(base / "Train"):
        if re.fullmatch(r"Train\d{3}", name):
            yield _clip(tree, base / "Train" / name, "train", 0, NoAnomaly())
    clips = [name for name in tree.folders(base / "Test") if re.fullmatch(r"Test\d{3}", name)]
    script = base / "Test" / "UCSDped2.m"
    ranges = anomalous_frames(tree, script) if clips else []
    for name in clips:
        number = int(name[4:])
        if number > len(ranges):
            raise BadFile("unsupported", script, f"gives frames of {len(ranges)} clips, but there is {name}")
        masks = base / "Test" / f"{name}_gt"
        found = ranges[number - 1]
        truth = FrameTruth(ranges=found, masks=masks if masks.is_dir() else None, listed=script)
        yield _clip(tree, base / "Test" / name, "test", 1 if found else 0, truth)


def anomalous_frames(tree: Tree, script: Path) -> list[tuple[tuple[int, int], ...]]:
    """Of each clip the ranges in lines such as `gt_frame = [61:180, 200:210];`, as frames from 0, both ends in."""
    text = re.sub(r"%.*", "", read_text(tree, script))
    found = []
    for inside in re.findall(r"gt_frame\s*=\s*\[([^\]]*)\]", text):
        pieces = [piece for piece in re.split(r"[,;\s]+", re.sub(r"\s*:\s*", ":", inside)) if piece]
        if not all(re.fullmatch(r"\d+(:\d+)?", piece) for piece in pieces):
            raise BadFile("unsupported", script, f"expected ranges such as [61:180, 200:210], got [{inside}]")
        ends = [piece.split(":") for piece in pieces]
        found.append(tuple((int(end[0]) - 1, int(end[-1]) - 1) for end in ends))
    if not found:
        raise BadFile("unsupported", script, "no line such as 'gt_frame = [61:180];'")
    return found


def _clip(tree: Tree, folder: Path, split: str, label: int, truth: NoAnomaly | FrameTruth) -> Item:
    return Item(
        id=tree.relative(folder),
        paths=(folder,),
        modality="video",
        category="walkway",
        split=split,
        label=1 if label else 0,
        truth=truth,
    )


DATASET = DataSet(
    name="ucsd_ped2",
    title="UCSD Ped2",
    modality="video",
    owner="UCSD SVCL",
    page='"UCSD Anomaly Detection Dataset"',
    licence="not stated",
    truth="frame and pixel masks",
    categories=("walkway",),
    display={"walkway": "pedestrian walkway"},
    inside=("UCSDped2", "UCSD_Anomaly_Dataset.v1p2/UCSDped2", ""),
    read=read,
    splits=("train", "test"),
    counts={
        "": (
            Count(category="walkway", split="train", total=16, frames=2550),
            Count(category="walkway", split="test", total=12, frames=2010),
        )
    },
    extras=("*UCSDped1/*", "UCSDped1/*", "*.m", "*README*", "*readme*"),
)
