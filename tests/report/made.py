"""A small run made of drawn pictures: what an inspection leaves in its folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from looktwice.records import Curve, Explanation, Failure, Region, Result, RuleFinding, Spec
from looktwice.report.overlay import blend, draw_regions
from looktwice.report.ply import write_ply
from looktwice.report.sheet import contact_sheet, regions_on_sheet, sheet_maps, write_boxes

SPEC = Spec(
    task="Find any damage of the surface and any missing part.",
    object="brushed metal plate with four holes",
    context="Photographed from above under diffuse light. Fine brushing runs from left to right.",
    rules=(
        {"id": "holes", "text": "All four holes are open and round."},
        {"id": "surface", "text": "The surface has no scratch longer than 2 mm."},
        {"id": "edge", "text": "The edges are straight and without burrs."},
    ),
    references=("references/good_1.png", "references/good_2.png"),
    defects=("scratch", "dent", "stain"),
)
MADE = {
    "Date": "2025-11-20 14:03",
    "Model": "memory",
    "Command": "looktwice inspect parts --sheet plate.yaml --out out/demo",
}


def gauss(size: tuple[int, int], at: tuple[float, float], width: float, turn: float = 1.0) -> np.ndarray:
    """(H, W) float32 in [0, 1]: a soft spot at (y, x); turn < 1 makes it long."""
    y, x = np.mgrid[: size[0], : size[1]]
    return np.exp(-(((y - at[0]) / (width * turn)) ** 2 + ((x - at[1]) / width) ** 2)).astype(np.float32)


def plate(size: tuple[int, int], seed: int, scratch: bool) -> np.ndarray:
    """(H, W, 3) uint8: a brushed plate with four holes, perhaps scratched."""
    rng = np.random.default_rng(seed)
    height, width = size
    grain = np.repeat(rng.normal(0, 6, (height, 1)), width, 1) + rng.normal(0, 2, size)
    grey = 150 + 25 * np.linspace(-1, 1, width)[None] + grain
    y, x = np.mgrid[:height, :width]
    for cy in (0.18, 0.82):
        for cx in (0.14, 0.86):
            far = np.hypot(y - cy * height, x - cx * width)
            grey = np.where(far < 0.07 * height, 40, grey)
    if scratch:
        grey = grey - 95 * (np.abs((y - 0.45 * height) - 0.35 * (x - 0.55 * width)) < 3) * (
            np.abs(x - 0.57 * width) < 0.12 * width
        )
    return np.clip(np.stack([grey, grey * 0.99, grey * 0.96], 2), 0, 255).astype(np.uint8)


def save(folder: Path, file: str, array: np.ndarray) -> str:
    """Write an array as a picture of the results; returns its relative path."""
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(folder / file)
    return file


def image_result(folder: Path, name: str = "plate_017", bad: bool = True, size: tuple[int, int] = (480, 640)) -> Result:
    """A picture with two regions (or none), its heat, map, expected and reference picture."""
    height, width = size
    pixels = plate(size, 1, bad)
    anomaly_map = np.full(size, 0.08, np.float32)
    if bad:
        anomaly_map = np.maximum(anomaly_map, gauss(size, (0.45 * height, 0.57 * width), 0.14 * width, 0.35) * 0.95)
        anomaly_map = np.maximum(anomaly_map, gauss(size, (0.82 * height, 0.3 * width), 0.05 * width) * 0.7)
    regions = ()
    if bad:
        regions = (
            _region(anomaly_map, (slice(0, int(0.65 * height)), slice(0, width)), "centre", "Darker, long and thin."),
            _region(anomaly_map, (slice(int(0.65 * height), height), slice(0, width)), "lower left", "Other texture."),
        )
    heat = (anomaly_map * 255).round().astype(np.uint8)
    overlay = draw_regions(blend(pixels, anomaly_map), regions)
    files = {
        "picture": save(folder, f"pictures/{name}.jpg", pixels),
        "heat": save(folder, f"heat/{name}.png", heat),
        "overlay": save(folder, f"overlays/{name}.jpg", overlay),
        "map": save(folder, f"maps/{name}.png", heat),
        "expected": save(folder, f"expected/{name}.jpg", plate(size, 2, False)),
        "reference": save(folder, "references/good_1.jpg", plate(size, 3, False)),
    }
    return Result(
        id=name,
        path=f"parts/top/{name}.png",
        modality="image",
        model="memory",
        score=0.912 if bad else 0.184,
        verdict="anomalous" if bad else "normal",
        threshold=0.5,
        regions=regions,
        words="2 anomalous regions: a long dark one in the centre (1.9 %), a compact one at the lower left (0.4 %)."
        if bad
        else "Nothing stands out.",
        explanation=Explanation(
            description="A dark line crosses the brushing at an angle.",
            defect_type="scratch",
            location="centre",
            impact="Cosmetic; may start corrosion.",
            suggestion="Check the gripper of station 3 for burrs.",
            raw="{'description': 'A dark line ...'}",
        )
        if bad
        else None,
        rules=(
            RuleFinding(id="holes", text="All four holes are open and round.", verdict="kept"),
            RuleFinding(
                id="surface",
                text="The surface has no scratch longer than 2 mm.",
                verdict="broken",
                reason="The line in the centre is about 9 mm long.",
            ),
            RuleFinding(id="edge", text="The edges are straight and without burrs.", verdict="not visible"),
        )
        if bad
        else (),
        files=files,
        seconds=0.214,
        notes=("reference good_1 was moved by (2.1, -0.4) px to fit",),
        evidence={"registered": "shift (2.1, -0.4) px", "nearest distance": 1.83},
        size=size,
        sha256="9f2c" * 16,
        settings_hash="51ab77e0",
        version="0.1.0",
    )


def _region(anomaly_map: np.ndarray, where: tuple[slice, slice], place: str, words: str) -> Region:
    """The region of everything from 0.5 on within a window, its box exact."""
    mask = np.zeros(anomaly_map.shape, bool)
    mask[where] = anomaly_map[where] >= 0.5
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    return Region(
        score=float(anomaly_map[mask].max()),
        words=words,
        where=place,
        box=(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1),
        area=int(mask.sum()),
        share=float(mask.mean()),
    )


def cloud_result(folder: Path, name: str = "bracket_3") -> Result:
    """A dome seen from six sides, with a dent."""
    size = (224, 224)
    y, x = np.mgrid[:224, :224] / 112 - 1
    views, maps = [], []
    for i in range(6):
        inside = np.hypot(x, y) < 0.8
        shade = 80 + 120 * np.clip(np.sqrt(np.clip(0.64 - x**2 - y**2, 0, 1)) + 0.3 * x * np.cos(i), 0, 1)
        views.append(np.repeat(np.where(inside, shade, 20)[..., None], 3, 2).astype(np.uint8))
        maps.append(gauss(size, (90, 130), 18) * (0.9 if i in (0, 3) else 0.1) * inside)
    sheet, _ = contact_sheet(np.stack(views), ("top", "bottom", "left", "right", "front", "back"))
    anomaly_map = sheet_maps(np.stack(maps).astype(np.float32))
    rng = np.random.default_rng(0)
    points = rng.normal(size=(4000, 3)) + 4_500_000.0
    scores = rng.random(4000).astype(np.float32)
    scores[:400] = np.nan
    (folder / "clouds").mkdir(parents=True, exist_ok=True)
    write_ply(folder / f"clouds/{name}.ply", points, scores, np.ones(4000, bool))
    return Result(
        id=name,
        path=f"parts/{name}.ply",
        modality="point_cloud",
        model="memory",
        score=0.71,
        verdict="unsure",
        p_value=0.031,
        regions=(
            Region(score=0.88, words="Dented, compact.", where="top side, centre", area=812, share=0.031, points=None),
        ),
        words="1 anomalous region on the top side, centre: 812 points (3.1 %).",
        files={
            "picture": save(folder, f"pictures/{name}.jpg", sheet),
            "heat": save(folder, f"heat/{name}.png", (anomaly_map * 255).round().astype(np.uint8)),
            "overlay": save(folder, f"overlays/{name}.jpg", blend(sheet, anomaly_map)),
            "ply": f"clouds/{name}.ply",
        },
        seconds=1.82,
        notes=("10 % of the points are seen by no view",),
        size=(4000,),
        sha256="77aa" * 16,
        version="0.1.0",
    )


def video_result(folder: Path, name: str = "press_line") -> Result:
    """A spot that comes and goes twice, with key frames and a curve."""
    times = np.arange(0, 24, 0.25)
    scores = 0.18 + 0.04 * np.sin(times * 3) + 0.7 * np.exp(-(((times - 8) / 1.1) ** 2))
    scores += 0.45 * np.exp(-(((times - 17.5) / 0.8) ** 2))
    size = (270, 480)
    frames = [int(t * 30) for t in (2, 8, 12, 17.5)]
    images = np.stack([plate(size, i, i == 1) for i in range(4)])
    maps = np.stack([gauss(size, (120, 280), 40) * s for s in (0.1, 0.9, 0.1, 0.6)]).astype(np.float32)
    names = [f"t={f / 30:.2f} s" for f in frames]
    sheet, placements = contact_sheet(images, names)
    anomaly_map = sheet_maps(maps)
    regions = (
        _stretch(7.0, 9.0, 0.88, 240, (480, 160, 640, 320)),
        _stretch(17.0, 18.0, 0.63, 525, (500, 180, 620, 300)),
    )
    on_sheet = regions_on_sheet(regions, frames, placements, (540, 960))
    write_boxes(folder / f"boxes/{name}.json", on_sheet, sheet.shape[:2])
    overlay = draw_regions(blend(sheet, anomaly_map), on_sheet)
    save(folder, f"videos/{name}.mp4.jpg", sheet)
    (folder / f"videos/{name}.mp4").write_bytes(b"not a real video, only linked")
    return Result(
        id=name,
        path=f"parts/{name}.mp4",
        modality="video",
        model="selfsim",
        score=0.88,
        verdict="anomalous",
        threshold=0.5,
        regions=regions,
        words="2 anomalous stretches: 7.00 s to 9.00 s and 17.00 s to 18.00 s.",
        curve=Curve(times=tuple(times.tolist()), scores=tuple(np.clip(scores, 0, 1).tolist())),
        files={
            "picture": save(folder, f"pictures/{name}.jpg", sheet),
            "heat": save(folder, f"heat/{name}.png", (anomaly_map * 255).round().astype(np.uint8)),
            "overlay": save(folder, f"overlays/{name}.jpg", overlay),
            "boxes": f"boxes/{name}.json",
            "mp4": f"videos/{name}.mp4",
        },
        seconds=6.4,
        size=(540, 960),
        version="0.1.0",
    )


def _stretch(start: float, end: float, score: float, frame: int, box: tuple[int, int, int, int]) -> Region:
    where = f"{start:.2f} s to {end:.2f} s"
    return Region(
        score=score, words="Darker than before.", where=where, interval=(start, end), frame=frame, box=box, area=16000
    )


def failed_result(name: str = "broken.png") -> Result:
    """A file that could not be inspected."""
    return Result(
        id=name,
        path=f"parts/{name}",
        modality="image",
        model="memory",
        error=Failure(kind="unreadable", message=f"parts/{name}: cut off after 1,204 of 88,310 bytes. Copy it again."),
    )


def run(folder: Path) -> list[Result]:
    """One of each."""
    return [
        image_result(folder, "plate_021", bad=False),
        image_result(folder),
        cloud_result(folder),
        video_result(folder),
        failed_result(),
    ]
