"""Findings about a picture: H W pixels of the original, h w pixels of the view."""

from __future__ import annotations

import numpy as np

from looktwice.findings.answers import Answers, cut_level, maps_of
from looktwice.findings.desk import Desk
from looktwice.records import ImageData, Region, Result, Sample, Views
from looktwice.regions import Found, Place, picture_regions
from looktwice.words import Words, describe_picture


def judge_image(desk: Desk, sample: Sample, answers: Answers, path: str) -> Result:
    """Judge a picture by the one answer about its one view; raises OSError when a file cannot be written."""
    ((views, prediction),) = answers
    assert isinstance(sample.data, ImageData)
    pixels = np.asarray(sample.data.pixels)
    judged = verdict, threshold, _ = desk.judge.verdict(prediction.score, "image")
    maps = maps_of(views, prediction)
    original = views.scatter(maps)
    places = Found[Place]()
    if verdict != "normal":
        places = picture_regions(original, cut_level(original, threshold, verdict))
    expected = None if prediction.expected is None else prediction.expected[0]
    words = describe_picture(pixels, places, verdict, prediction.score, threshold, expected)
    regions = _regions(places, words)
    files = {}
    if desk.folder is not None:
        files = _files(desk, sample, views, maps[0], original, regions)
        if expected is not None:
            files["expected"] = desk.jpeg(f"expected/{sample.id}.jpg", expected)
    return desk.result(sample, prediction, path, judged, regions=regions, words=words.overall, files=files)


def _files(
    desk: Desk, sample: Sample, views: Views, values: np.ndarray, original: np.ndarray, regions: list[Region]
) -> dict[str, str]:
    view = views.images[0]
    scale = (view.shape[1] / original.shape[1], view.shape[0] / original.shape[0])
    map_file = desk.png16(f"maps/{sample.id}.png", original)
    return {"map": map_file, **desk.pictures(sample, view, values, regions, scale)}


def _regions(places: Found[Place], words: Words) -> list[Region]:
    return [
        Region(score=place.score, words=text, where=where, box=place.box, area=place.area, share=place.share)
        for place, text, where in zip(places, words.regions, words.where, strict=True)
    ]
