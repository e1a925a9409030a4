"""Measured words: true sentences about a result, without any language model.

Every sentence stands in SENTENCES, so that a translation is one table; what follows only fills it in. A comparison is
made only where the pixels or points support it (`regions` holds the minimum for each); else the text says that no clear
difference was measured. "a|b" is singular|plural. Letters: H W pixels, N points, F frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from looktwice.errors import UsageError
from looktwice.records import PointCloudData, ToPoints, Verdict, Views
from looktwice.regions import (
    Difference,
    Found,
    Interval,
    Patch,
    Place,
    Relief,
    Shape,
    compare_with_expected,
    compare_with_surroundings,
    relief,
    shape_of,
)

SENTENCES = {
    # how sure
    "anomalous": "{sure} anomalous: the score {score} is {relation} the threshold {threshold}.",
    "normal": "No anomaly found: the score {score} is {relation} the threshold {threshold} ({sure} normal).",
    "unsure": "Unsure: the score {score} is {relation} the threshold {threshold}. A person should look.",
    "anomalous all the same": "Judged anomalous although the score {score} is {relation} the threshold {threshold}.",
    "normal all the same": "Judged normal although the score {score} is {relation} the threshold {threshold}.",
    "clearly": "clearly",
    "probably": "probably",
    "barely": "barely",
    "above": "above",
    "below": "below",
    "at": "at",
    # how many places
    "no place": "No place in the map reaches the threshold.",
    "places": "One region reaches the threshold; it covers {share} of {whole}: {list}.|"
    "{n} regions reach the threshold; together they cover {share} of {whole}: {list}.",
    "places left out": "{n} regions reach the threshold. The {kept} strongest are described; "
    "together they cover {share} of {whole}: {list}.",
    "strongest": "the strongest is {where}",
    "specks": "One speck is too small to count.|{n} specks are too small to count.",
    "picture": "the picture",
    "frame": "the frame",
    "seen points": "the seen points",
    # where, in rows of a 3 x 3 grid
    "0 0": "upper left",
    "0 1": "upper centre",
    "0 2": "upper right",
    "1 0": "centre left",
    "1 1": "centre",
    "1 2": "centre right",
    "2 0": "lower left",
    "2 1": "lower centre",
    "2 2": "lower right",
    "around": "around the {cell}",
    "everywhere": "the whole {what}",
    "a picture": "picture",
    "a frame": "frame",
    "spanning": "{where}, spanning {spans}",
    "of the width": "{share} of the width",
    "of the height": "{share} of the height",
    # one place
    "place": "{where}: {shape}, {width} x {height} px, {area} px in area ({share} of {whole}), score {score}.",
    "large": "a large area",
    "compact": "a compact region",
    "irregular": "an irregular region",
    "elongated": "an elongated region ({ratio} times as long as wide, {orientation})",
    "horizontal": "horizontal",
    "vertical": "vertical",
    "rising": "diagonal, rising to the right",
    "falling": "diagonal, falling to the right",
    # what it looks like
    "compared": "Compared with {against} it is {list}.",
    "reference": "the reference",
    "expected": "the expected picture",
    "surroundings": "its surroundings",
    "darker": "darker (brightness {here} against {there})",
    "lighter": "lighter (brightness {here} against {there})",
    "rougher": "rougher (local contrast {here} against {there})",
    "smoother": "smoother (local contrast {here} against {there})",
    "hue more": "more {hue}",
    "hue less": "less {hue}",
    "saturation more": "more saturated",
    "saturation less": "less saturated",
    "colour": "{list} (mean RGB {here} against {there})",
    "red": "red",
    "yellow": "yellow",
    "green": "green",
    "cyan": "cyan",
    "blue": "blue",
    "magenta": "magenta",
    "alike": "no clear difference from {against} in brightness, colour or texture was measured.",
    "alike, no texture": "no clear difference from {against} in brightness or colour was measured; "
    "the region is too small or too thin to judge its texture.",
    "beyond": "Beyond what differs all over the picture, {sentence}",
    "alone": "There are no surroundings to compare it with.",
    # point clouds
    "patch": "{where}: one point ({share} of the seen points), score {score}.|"
    "{where}: {n} points ({share} of the seen points), score {score}.",
    "extent": "It measures {x} x {y} x {z} along x, y and z in the units of the file; "
    "its longest side is {relative} of the object's longest side.",
    "seen from": "It is seen from {list}.",
    "view": "{name} ({share} of its points)",
    "in view": "{name}, {cell}",
    "at point": "near ({x}, {y}, {z})",
    "bump": "It is a bump: it stands out of the surface around it by {offset} (median), {extreme} at most.",
    "dent": "It is a dent: it lies below the surface around it by {offset} (median), {extreme} at most.",
    "unseen": "One point ({share} of all) was seen by no view and is not judged.|"
    "{n} points ({share} of all) were seen by no view and are not judged.",
    # videos
    "no interval": "No frame reaches the threshold.",
    "intervals": "One interval reaches the threshold, {seconds} s or {share} of the video: {list}.|"
    "{n} intervals reach the threshold, together {seconds} s or {share} of the video: {list}.",
    "peak": "The highest score is {score} at {time} s.",
    "time": "{start} s to {end} s",
    "interval": "{where}: {seconds} s long, with the highest score {score} at {time} s.",
    "no place at the peak": "No place in that frame reaches the threshold.",
    "at the peak": "One region there: {list}.|{n} regions there: {list}.",
    "at the peak, left out": "{n} regions there; the {kept} strongest: {list}.",
    "place at the peak": "{where} ({width} x {height} px, {share} of the frame)",
    # lists and numbers
    "and": "{most} and {last}",
    "and after brackets": "{most}, and {last}",
    "between": ", ",
    "apart": "; ",
    "percent": "{value} %",
    "under": "under {value} %",
    "over": "over {value} %",
}

CLEARLY, PROBABLY = 0.25, 0.05  # of the way from the threshold to 1 (or, below it, to 0)
ELONGATED = 3.0  # times as long as wide
COMPACT = 0.6  # of the ellipse with the same second moments that must be filled
LARGE = 0.25  # of the picture
SPAN = 0.5  # of the width or height
LISTED = 5  # places named in the overall words; of more, only the strongest


class Words(NamedTuple):
    """Sentences about one result; `regions` and `where` follow the order of its places."""

    overall: str
    regions: tuple[str, ...]
    where: tuple[str, ...]


# ---------------------------------------------------------------- pictures


def describe_picture(
    pixels: npt.NDArray[np.uint8],
    places: Found[Place],
    verdict: Verdict,
    score: float,
    threshold: float,
    expected: npt.NDArray[np.uint8] | None = None,
    against: Literal["reference", "expected"] = "reference",
) -> Words:
    """Describe a picture (H, W, 3) uint8 and its places.

    `expected` (h, w, 3) uint8 shows what normal looks like here, at the original size or in the smaller frame of a
    view; `against` says what it is called. Without it each place is compared with the ring around it.
    Raises UsageError for arrays of other shapes.
    """
    height, width = pixels.shape[:2]
    where = tuple(where_in(place, (height, width)) for place in places)
    named: str = "surroundings"
    looks: Sequence[Difference | None]
    if expected is None:
        looks = compare_with_surroundings(pixels, places)
    else:
        named, looks = against, compare_with_expected(pixels, places, expected)
    regions = tuple(
        f"{_place(place, at)} {_look(look, named)}" for place, at, look in zip(places, where, looks, strict=True)
    )
    overall = [sureness(verdict, score, threshold), _how_many(places, where, sum(p.share for p in places), "picture")]
    return Words(" ".join(filter(None, overall)), regions, where)


def sureness(verdict: Verdict, score: float, threshold: float) -> str:
    """Return the sentence about the verdict: how sure it is, from the margin between score and threshold.

    Clearly from a quarter of the way to the end of the scale, probably from a twentieth, else barely.
    """
    relation = "above" if score > threshold else "below" if score < threshold else "at"
    scale = 1 - threshold if score > threshold else threshold
    margin = abs(score - threshold) / scale if scale > 0 else 0.0
    sure = "clearly" if margin >= CLEARLY else "probably" if margin >= PROBABLY else "barely"
    fits = {"anomalous": score >= threshold, "normal": score < threshold, "unsure": True}[verdict]
    own, border = _told_apart(score, threshold)
    sentence = _say(
        verdict if fits else f"{verdict} all the same",
        sure=_say(sure),
        score=own,
        relation=_say(relation),
        threshold=border,
    )
    return _capital(sentence)


def where_in(place: Place, size: tuple[int, int], what: Literal["picture", "frame"] = "picture") -> str:
    """Return where a place lies in a picture (H, W): the cell of a 3 x 3 grid that holds its centroid.

    "around" that cell when none of its pixels are in it; what it spans when that is half the width or height.
    """
    height, width = size
    if place.area == height * width:
        return _say("everywhere", what=_say(f"a {what}"))
    row, column = _cell(*shape_of(place).centre, width, height)
    cell = _say(f"{row} {column}")
    if not _touches(place, row, column, size):
        cell = _say("around", cell=cell)
    x0, y0, x1, y1 = place.box
    spans = [
        _say(key, share=percent(share))
        for key, share in (("of the width", (x1 - x0) / width), ("of the height", (y1 - y0) / height))
        if share >= SPAN
    ]
    return _say("spanning", where=cell, spans=_listed(spans)) if spans else cell


def _cell(x: float, y: float, width: float, height: float) -> tuple[int, int]:
    return int(np.clip(3 * y / height, 0, 2)), int(np.clip(3 * x / width, 0, 2))


def _touches(place: Place, row: int, column: int, size: tuple[int, int]) -> bool:
    """Whether the centre of a pixel of the place lies in that cell."""
    rows, columns = ((np.arange(n) + 0.5) * 3 // n for n in size)
    x0, y0, x1, y1 = place.box
    inside = place.mask[rows[y0:y1] == row][:, columns[x0:x1] == column]
    return bool(inside.any())


def _place(place: Place, where: str) -> str:
    x0, y0, x1, y1 = place.box
    return _say(
        "place",
        where=_capital(where),
        shape=_shape(shape_of(place), place.share),
        width=x1 - x0,
        height=y1 - y0,
        area=place.area,
        share=percent(place.share),
        whole=_say("picture"),
        score=_score(place.score),
    )


def _shape(shape: Shape, share: float) -> str:
    if shape.elongation >= ELONGATED:
        return _say("elongated", ratio=number(shape.elongation), orientation=_say(_orientation(shape.angle)))
    if share >= LARGE:
        return _say("large")
    return _say("compact" if shape.filled >= COMPACT else "irregular")


def _orientation(angle: float) -> str:
    if abs(angle) <= 22.5:
        return "horizontal"
    if abs(angle) >= 67.5:
        return "vertical"
    return "rising" if angle > 0 else "falling"


def _look(difference: Difference | None, against: str) -> str:
    if difference is None:
        return _say("alone")
    here, there = difference.here, difference.there
    found = []
    if difference.brightness:
        own, other = _told_apart(here.brightness, there.brightness, digits=0)
        found.append(_say(difference.brightness, here=own, there=other))
    colours = []
    if difference.hue:
        colours.append(_say(f"hue {difference.hue[0]}", hue=_say(difference.hue[1])))
    if difference.saturation:
        colours.append(_say(f"saturation {difference.saturation}"))
    if colours:
        found.append(_say("colour", list=_listed(colours), here=_rgb(here.rgb), there=_rgb(there.rgb)))
    if difference.texture and here.contrast is not None and there.contrast is not None:
        found.append(_say(difference.texture, here=f"{here.contrast:.1f}", there=f"{there.contrast:.1f}"))
    if found:
        return _say("compared", against=_say(against), list=_listed(found, "and after brackets"))
    alike = _say("alike" if difference.texture_judged else "alike, no texture", against=_say(against))
    return _capital(_say("beyond", sentence=alike) if difference.drifted else alike)


def _rgb(rgb: tuple[float, float, float]) -> str:
    return " ".join(f"{channel:.0f}" for channel in rgb)


def _how_many(found: Found[Place] | Found[Patch], where: Sequence[str], share: float, whole: str) -> str:
    if not found:
        return _say("no place")
    total = len(found) + found.left_out
    listed = _say("apart").join(where) if total <= LISTED else _say("strongest", where=where[0])
    key = "places left out" if found.left_out else "places"
    said = _say(key, total, kept=len(found), share=percent(min(share, 1.0)), whole=_say(whole), list=listed)
    return f"{said} {_say('specks', found.specks)}" if found.specks else said


# ---------------------------------------------------------------- point clouds


def describe_cloud(
    cloud: PointCloudData,
    scores: npt.NDArray[np.floating],
    views: Views,
    patches: Found[Patch],
    verdict: Verdict,
    score: float,
    threshold: float,
) -> Words:
    """Describe a cloud of N points, its scores (N,), NaN where no view of `views` sees the point, and its patches.

    Bump or dent is said only where `regions.relief` is certain; in an organised cloud outside is towards the origin.
    Raises UsageError when the views are not those of a cloud or the scores are not those of its points.
    """
    if not isinstance(views.way, ToPoints) or scores.shape != cloud.valid.shape:
        raise UsageError(
            f"expected the views of a point cloud and {len(cloud.valid)} scores, "
            f"got views of {views.way.kind} and scores of shape {scores.shape}"
        )
    others = cloud.valid.copy()
    for patch in patches:
        others[patch.points] = False
    longest = float(np.ptp(cloud.points[cloud.valid], axis=0).max())
    outward: Literal["centre", "sensor"] = "sensor" if cloud.grid else "centre"
    boxes: dict[int, tuple[float, float, float, float]] = {}
    where, regions = [], []
    for patch in patches:
        seen = np.asarray((views.way.pixel[:, patch.points] >= 0).mean(1))
        where.append(_where_on(patch, views, views.way, seen, boxes))
        sentences = [
            _say("patch", patch.area, where=_capital(where[-1]), share=percent(patch.share), score=_score(patch.score)),
            _extent(patch, longest),
            _seen_from(views.names, seen),
            _relief(relief(cloud.points, patch, others, outward)),
        ]
        regions.append(" ".join(filter(None, sentences)))
    overall = [
        sureness(verdict, score, threshold),
        _how_many(patches, where, sum(p.share for p in patches), "seen points"),
        _unseen(scores, cloud.valid),
    ]
    return Words(" ".join(filter(None, overall)), tuple(regions), tuple(where))


def _where_on(
    patch: Patch,
    views: Views,
    way: ToPoints,
    seen: npt.NDArray[np.floating],
    boxes: dict[int, tuple[float, float, float, float]],
) -> str:
    """The view that sees most of it, and the cell of a 3 x 3 grid over the object in that view."""
    best = int(np.argmax(seen))
    if seen[best] == 0:
        x, y, z = (number(value) for value in patch.centre)
        return _say("at point", x=x, y=y, z=z)
    width = views.images.shape[2]
    pixel = way.pixel[best]
    if best not in boxes:
        ys, xs = np.divmod(pixel[pixel >= 0], width)
        low, high = [1, 99] if len(xs) >= 1000 else [0, 100]  # a few stray points do not move the grid
        x0, x1, y0, y1 = (float(np.percentile(side, end)) for side in (xs, ys) for end in (low, high))
        boxes[best] = x0, y0, x1 + 1, y1 + 1
    x0, y0, x1, y1 = boxes[best]
    own = pixel[patch.points]
    ys, xs = np.divmod(own[own >= 0], width)
    row, column = _cell(float(xs.mean()) + 0.5 - x0, float(ys.mean()) + 0.5 - y0, x1 - x0, y1 - y0)
    return _say("in view", name=views.names[best], cell=_say(f"{row} {column}"))


def _extent(patch: Patch, longest: float) -> str:
    x, y, z = (number(side) for side in patch.extent)
    relative = max(patch.extent) / longest if longest > 0 else 0.0
    return _say("extent", x=x, y=y, z=z, relative=percent(min(relative, 1.0)))


def _seen_from(names: Sequence[str], seen: npt.NDArray[np.floating]) -> str:
    """The views that see at least half as much of it as the best one does."""
    if seen.max() == 0:
        return ""
    order = [v for v in np.argsort(-seen, kind="stable") if seen[v] >= seen.max() / 2]
    return _say("seen from", list=_listed([_say("view", name=names[v], share=percent(float(seen[v]))) for v in order]))


def _relief(measured: Relief | None) -> str:
    if measured is None:
        return ""
    offset, extreme = number(abs(measured.offset)), number(abs(measured.extreme))
    return _say("bump" if measured.offset > 0 else "dent", offset=offset, extreme=extreme)


def _unseen(scores: npt.NDArray[np.floating], valid: npt.NDArray[np.bool_]) -> str:
    count = int(np.count_nonzero(np.isnan(scores) & valid))
    return _say("unseen", count, share=percent(count / np.count_nonzero(valid))) if count else ""


# ---------------------------------------------------------------- videos


def describe_video(
    times: npt.NDArray[np.floating],
    scores: npt.NDArray[np.floating],
    found: Sequence[Interval],
    duration: float,
    peaks: Sequence[Found[Place]],
    size: tuple[int, int],
    verdict: Verdict,
    score: float,
    threshold: float,
) -> Words:
    """Describe a video: frames at `times` (F,) with `scores` (F,), and the intervals `regions.intervals` found.

    `peaks` holds the places in the peak frame of each interval, in frames of `size` (H, W); `where` becomes when.
    Raises UsageError when there is no frame, no score for each, or not as many peaks as intervals.
    """
    if len(times) == 0 or len(times) != len(scores):
        raise UsageError(f"expected the scores of at least one frame, got {len(times)} times and {len(scores)} scores")
    if len(peaks) != len(found):
        raise UsageError(f"expected the places of {len(found)} peak frames, got {len(peaks)}")
    when = tuple(_time(interval) for interval in found)
    regions = tuple(
        f"{_interval(interval, at)} {_at_peak(places, size)}"
        for interval, at, places in zip(found, when, peaks, strict=True)
    )
    overall = [sureness(verdict, score, threshold), _how_long(found, when, max(duration, float(times[-1])))]
    peak = int(np.argmax(scores))
    overall.append(_say("peak", score=_score(float(scores[peak])), time=f"{times[peak]:.2f}"))
    return Words(" ".join(overall), regions, when)


def _time(interval: Interval) -> str:
    digits = 2 if interval.end - interval.start >= 0.1 else 3
    return _say("time", start=f"{interval.start:.{digits}f}", end=f"{interval.end:.{digits}f}")


def _interval(interval: Interval, when: str) -> str:
    return _say(
        "interval",
        where=_capital(when),
        seconds=_seconds(interval.end - interval.start),
        score=_score(interval.peak_score),
        time=f"{interval.peak_time:.2f}",
    )


def _at_peak(places: Found[Place], size: tuple[int, int]) -> str:
    if not places:
        return _say("no place at the peak")
    listed = [_place_at_peak(place, size) for place in places[:LISTED]]
    total = len(places) + places.left_out
    key = "at the peak" if total == len(listed) else "at the peak, left out"
    return _say(key, total, kept=len(listed), list=_say("apart").join(listed))


def _place_at_peak(place: Place, size: tuple[int, int]) -> str:
    x0, y0, x1, y1 = place.box
    where = where_in(place, size, "frame")
    return _say("place at the peak", where=where, width=x1 - x0, height=y1 - y0, share=percent(place.share))


def _how_long(found: Sequence[Interval], when: Sequence[str], duration: float) -> str:
    if not found:
        return _say("no interval")
    seconds = sum(interval.end - interval.start for interval in found)
    share = min(seconds / duration, 1.0) if duration > 0 else 1.0
    if len(found) <= LISTED:
        listed = _say("apart").join(when)
    else:
        strongest = max(range(len(found)), key=lambda i: found[i].peak_score)
        listed = _say("strongest", where=when[strongest])
    return _say("intervals", len(found), seconds=_seconds(seconds), share=percent(share), list=listed)


# ---------------------------------------------------------------- filling in


def _say(key: str, n: int = 1, **values: object) -> str:
    one, _, many = SENTENCES[key].partition("|")
    return (one if n == 1 or not many else many).format(n=n, **values)


def _listed(parts: Sequence[str], key: str = "and") -> str:
    if len(parts) == 1:
        return parts[0]
    return _say(key, most=_say("between").join(parts[:-1]), last=parts[-1])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def percent(share: float) -> str:
    """Return a share in [0, 1] in percent: two digits, and never 0 % or 100 % unless it is.

    >>> percent(0.5), percent(0.0142), percent(0.00031), percent(0.9999), percent(1)
    ('50 %', '1.4 %', '0.031 %', 'over 99.9 %', '100 %')
    """
    value = 100 * share
    if 0 < value < 0.001:
        return _say("under", value=0.001)
    if 99.95 <= value < 100:
        return _say("over", value=99.9)
    return _say("percent", value=f"{value:.2g}" if value < 9.95 else f"{value:.{1 if 99.5 <= value < 100 else 0}f}")


def number(value: float) -> str:
    """Return a length with three digits, without an exponent where that can be read.

    >>> number(12.3456), number(1234.5), number(0.05), number(2.0), number(0.00001234)
    ('12.3', '1234', '0.05', '2', '1.23e-05')
    """
    if abs(value) >= 1e9 or 0 < abs(value) < 1e-4:
        return f"{value:.3g}"
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}" if value else "0"


def _score(score: float) -> str:
    """Two digits, or more where two would claim a 0 or a 1 that it is not."""
    for digits in range(2, 7):
        text = f"{score:.{digits}f}"
        if float(text) not in (0, 1) or score in (0, 1):
            break
    return text


def _told_apart(one: float, other: float, digits: int = 2) -> tuple[str, str]:
    """Both numbers with so many digits that unequal ones read unequal, in their right order."""
    for more in range(digits, 16):
        texts = f"{one:.{more}f}", f"{other:.{more}f}"
        if texts[0] != texts[1] or one == other:
            return texts
    return repr(one), repr(other)  # they differ in the last bit


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f}" if seconds >= 0.1 else f"{seconds:.3f}"
