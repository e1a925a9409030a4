"""Findings about a point cloud: N points, V views of h x w pixels."""

from __future__ import annotations

import numpy as np

from looktwice.findings.answers import Answers, cut_level, maps_of
from looktwice.findings.desk import Desk
from looktwice.records import PointCloudData, Prediction, Region, Result, Sample, Views
from looktwice.regions import Found, Patch, cloud_regions
from looktwice.report.ply import write_ply
from looktwice.report.sheet import contact_sheet, sheet_maps
from looktwice.words import Words, describe_cloud


def judge_cloud(desk: Desk, sample: Sample, answers: Answers, path: str) -> Result:
    """Judge a cloud by the one answer about its views; raises OSError when a file cannot be written."""
    ((views, prediction),) = answers
    assert isinstance(sample.data, PointCloudData)
    judged = verdict, threshold, _ = desk.judge.verdict(prediction.score, "point_cloud")
    scores = views.scatter(maps_of(views, prediction))
    patches = Found[Patch]()
    if verdict != "normal":
        patches = cloud_regions(np.asarray(sample.data.points), scores, cut_level(scores, threshold, verdict))
    words = describe_cloud(sample.data, scores, views, patches, verdict, prediction.score, threshold)
    regions = _regions(desk, sample, patches, words)
    files = _files(desk, sample, sample.data, views, prediction, scores) if desk.folder is not None else {}
    return desk.result(sample, prediction, path, judged, regions=regions, words=words.overall, files=files)


def _regions(desk: Desk, sample: Sample, patches: Found[Patch], words: Words) -> list[Region]:
    regions = []
    for number, (patch, text, where) in enumerate(zip(patches, words.regions, words.where, strict=True), 1):
        points = None
        if desk.folder is not None:
            points = desk.npy(f"points/{sample.id}-{number}.npy", patch.points)
        regions.append(
            Region(score=patch.score, words=text, where=where, area=patch.area, share=patch.share, points=points)
        )
    return regions


def _files(
    desk: Desk, sample: Sample, cloud: PointCloudData, views: Views, prediction: Prediction, scores: np.ndarray
) -> dict[str, str]:
    files = {"map": desk.npy(f"maps/{sample.id}.npy", scores)}
    sheet, _ = contact_sheet(views.images, views.names)
    files |= desk.pictures(sample, sheet, sheet_maps(maps_of(views, prediction)))
    if prediction.expected is not None:
        expected, _ = contact_sheet(prediction.expected, views.names)
        files["expected"] = desk.jpeg(f"expected/{sample.id}.jpg", expected)
    if "ply" in desk.formats:
        assert desk.folder is not None
        files["ply"] = f"clouds/{sample.id}.ply"
        write_ply(desk.folder / files["ply"], np.asarray(cloud.points), scores, np.asarray(cloud.valid))
    return files
