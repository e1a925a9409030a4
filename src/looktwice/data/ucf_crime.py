"""UCF-Crime: 1,900 surveillance videos, normal or one of 13 crimes; training labels are of whole videos.

Odd: videos lie in several parts of the archive and 50 normal ones lie there twice, so they are found by name; the
annotation has two blanks between its columns, frames count from 1 at 30 frames a second, -1 means none.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from looktwice.data.dataset import Count, DataSet, Tree
from looktwice.data.items import FrameTruth, Item, NoAnomaly
from looktwice.data.lists import read_lines, read_text
from looktwice.errors import BadFile

ANNOTATION = "Temporal_Anomaly_Annotation_for_Testing_Videos.txt"
LISTS = {"train": "Anomaly_Train.txt", "test": "Anomaly_Test.txt"}
Ranges = tuple[tuple[int, int], ...]


def read(dataset: DataSet, tree: Tree, variant: str) -> Iterator[Item]:
    """Videos in the order of the split lists."""
    videos: dict[str, list[Path]] = {}
    for path in tree.walk():
        if path.suffix.lower() == ".mp4":
            videos.setdefault(path.name, []).append(path)
    annotation = tree.find(ANNOTATION)
    ranges = anomalous_frames(tree, annotation) if annotation else {}
    for split, name in LISTS.items():
        file = tree.find(name)
        if file is None and videos:
            raise BadFile("missing_file", tree.root / name, "the list of this split is not there")
        for number, line in enumerate(read_text(tree, file).splitlines() if file else (), 1):
            if line.strip():
                source = f"{name}, line {number}"
                yield _video(tree, line.strip(), split, videos, ranges.get(Path(line.strip()).name), annotation, source)


def anomalous_frames(tree: Tree, file: Path) -> dict[str, Ranges]:
    """Of each test video its anomalous ranges, as frames from 0, both ends in; raises BadFile with the line."""
    found: dict[str, Ranges] = {}
    for number, words in read_lines(tree, file):
        try:
            name, _, *ends = words
            a, b, c, d = (int(end) for end in ends)
        except ValueError as error:
            why = f"line {number}: expected name, class, start, end, start, end, got {' '.join(words)}"
            raise BadFile("unsupported", file, why) from error
        found[name] = tuple((max(first, 1) - 1, last - 1) for first, last in ((a, b), (c, d)) if first >= 0)
    return found


def _video(
    tree: Tree,
    listed: str,
    split: str,
    videos: dict[str, list[Path]],
    ranges: Ranges | None,
    annotation: Path | None,
    source: str,
) -> Item:
    folder, name = Path(listed).parent.name, Path(listed).name
    copies = videos.get(name, [])
    path = next((p for p in copies if p.parent.name == folder), copies[0] if copies else tree.root / listed)
    normal = name.startswith("Normal_Videos")
    truth: FrameTruth | NoAnomaly | None = NoAnomaly() if normal and split == "train" else None
    if split == "test" and ranges is not None:
        truth = FrameTruth(ranges=ranges, listed=annotation)
    return Item(
        id=listed,
        paths=(path,),
        modality="video",
        category="surveillance",
        split=split,
        label=0 if normal else 1,
        defect_type="" if normal else folder,
        truth=truth,
        source=source,
    )


DATASET = DataSet(
    name="ucf_crime",
    title="UCF-Crime",
    modality="video",
    owner="UCF CRCV",
    page='"Real-world Anomaly Detection in Surveillance Videos"',
    licence="research use; the videos are web footage",
    truth="frame labels",
    categories=("surveillance",),
    display={"surveillance": "surveillance video"},
    read=read,
    splits=("train", "test"),
    counts={
        "": (
            Count(category="surveillance", split="train", normal=800, anomalous=810, verified=False),
            Count(category="surveillance", split="test", normal=150, anomalous=140, verified=False),
        )
    },
    defects={
        "": (
            *("Abuse", "Arrest", "Arson", "Assault", "Burglary", "Explosion", "Fighting", "RoadAccidents"),
            *("Robbery", "Shooting", "Shoplifting", "Stealing", "Vandalism"),
        )
    },
    weak=("train",),
    extras=("*Normal_Videos*.mp4", "*.txt", "*.mat", "*.pdf", "*.md"),
)
