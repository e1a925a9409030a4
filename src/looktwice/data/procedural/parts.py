"""A folder of made parts: references, one good and one defective part of each modality, their sheet and their truth.

Letters: N points, F frames, H W pixels.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from looktwice.data.procedural.bearing_cover import solid
from looktwice.data.procedural.gear_belt import conveyor
from looktwice.data.procedural.mounting_plate import plate
from looktwice.errors import UsageError, need

REFERENCES = {"plate": 4, "cover": 3, "belt": 2}
SUFFIX = {"plate": ".png", "cover": ".ply", "belt": ".mp4"}
DEFECT = {"plate": "scratch", "cover": "dent", "belt": "broken"}  # shown by the defective part of each kind
FPS = 25
SEEDS_PER_FOLDER = 100  # so that folders of neighbouring seeds share no part

SHEET = """\
# Inspection sheet of the sample parts: what an inspector knows, in the inspector's words.
task: >-
  Final inspection of a small gearbox line: release parts that keep every rule below, hold back all others.
object: >-
  mounting plate LT-204 (photo from above), flanged bearing cover (3-D scan, millimetres)
  and brass gear wheels on the outfeed belt (video, fixed camera)
context: >-
  Light level, brush lines of the finish, the angle of screw slots, sensor noise, flicker of the lamp and a few
  pixels, one millimetre or one degree of misplacement are normal. Gears arrive one by one, about 1.4 s apart.
rules:
  - id: plate-screws
    text: All four corner screws are present and seated in their countersinks.
  - id: plate-surface
    text: The brushed face has no scratch longer than 5 mm and no dent that can be seen from arm's length.
  - id: plate-clean
    text: No oil, coolant stain or fingerprint on the plate; engraving, scale and label are fully legible.
  - id: plate-edge
    text: The bevelled edge is continuous, without chips or burrs.
  - id: cover-flange
    text: The flange is flat within 0.5 mm, without dents or weld spatter.
  - id: cover-boss
    text: The boss is complete and its bore is open; no corner of the flange is broken.
  - id: belt-teeth
    text: Every gear is complete, with all 22 teeth.
  - id: belt-clean
    text: Gears are bright, without burnt oil or discolouration.
  - id: belt-clear
    text: Nothing but gears lies on the belt.
references:
  - references/plate_*.png
  - references/cover_*.ply
  - references/belt_*.mp4
defects:
  - scratch
  - missing screw
  - stain
  - dent
  - chipped edge
  - bump
  - missing boss
  - broken edge
  - broken gear
  - foreign object
tests:
  must_pass:
    - plate_good.png
    - cover_good.ply
    - belt_good.mp4
  must_fail:
    - plate_defect.png
    - cover_defect.ply
    - belt_defect.mp4
"""


@dataclass(frozen=True)
class DemoParts:
    """Where the made parts lie, each list in the order plate, cover, belt."""

    folder: Path
    sheet: Path
    truth: Path
    references: tuple[Path, ...]
    good: tuple[Path, ...]
    defective: tuple[Path, ...]


def write_demo_parts(folder: Path, seed: int = 0) -> DemoParts:
    """Write the sample parts, `sheet.yaml` and `truth.json` into `folder`; existing files of these names are replaced.

    The same seed gives the same bytes of pictures, clouds, sheet and truth, and the same frames of videos.
    `truth.json` says for each file which function, seed and defect made it, so that its exact mask can be made again,
    and where the defect is: a box x0, y0, x1, y1 in pixels (ends outside), the lowest and highest corner in mm, or
    the seconds from its first to its last frame. Raises UsageError, MissingExtra (videos need the extra 'video').
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UsageError(f"seed must be a whole number of at least 0, got {seed!r}")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: name a folder for the sample parts")
    need("av", "video", "Writing MP4")  # before anything is on disk
    (folder / "references").mkdir(parents=True, exist_ok=True)
    truth: dict[str, dict[str, Any]] = {}
    files: dict[str, list[Path]] = {"references": [], "good": [], "defect": []}
    for kind, references in REFERENCES.items():
        names = [f"references/{kind}_{i + 1}" for i in range(references)] + [f"{kind}_good", f"{kind}_defect"]
        for i, name in enumerate(names):
            role = "references" if i < references else name.removeprefix(f"{kind}_")
            file = name + SUFFIX[kind]
            defect = DEFECT[kind] if role == "defect" else None
            truth[file] = _WRITERS[kind](folder / file, SEEDS_PER_FOLDER * seed + i, defect)
            files[role].append(folder / file)
    sheet, answers = folder / "sheet.yaml", folder / "truth.json"
    sheet.write_text(SHEET, encoding="utf-8")
    answers.write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8")
    return DemoParts(folder, sheet, answers, tuple(files["references"]), tuple(files["good"]), tuple(files["defect"]))


# ---------------------------------------------------------------- one file and its truth


def _made(by: str, seed: int, defect: str | None) -> dict[str, Any]:
    return {"label": int(defect is not None), "defect": defect, "made_by": by, "seed": seed}


def _write_plate(path: Path, seed: int, defect: str | None) -> dict[str, Any]:
    pixels, mask = plate(seed, defect)
    Image.fromarray(pixels).save(path, compress_level=3)
    where = {"box": _box(mask), "pixels": int(mask.sum())} if defect else {}
    return _made("plate", seed, defect) | where


def _write_cover(path: Path, seed: int, defect: str | None) -> dict[str, Any]:
    points, labels = solid(seed, defect)
    write_ply(path, points)
    found = points[labels]
    corners = {"low": found.min(0).round(2).tolist(), "high": found.max(0).round(2).tolist()} if defect else {}
    where = {"points": int(labels.sum())} if defect else {}
    return _made("solid", seed, defect) | where | corners


def _write_belt(path: Path, seed: int, defect: str | None) -> dict[str, Any]:
    frames, labels, masks = conveyor(seed, defect, fps=FPS)
    write_mp4(path, frames, FPS)
    at = np.flatnonzero(labels)
    where: dict[str, Any] = {}
    if defect:
        middle = int(at[len(at) // 2])
        where = {"interval": [at[0] / FPS, at[-1] / FPS], "frame": middle, "box": _box(masks[middle])}
    return _made("conveyor", seed, defect) | where


_WRITERS = {"plate": _write_plate, "cover": _write_cover, "belt": _write_belt}


def _box(mask: npt.NDArray[np.bool_]) -> list[int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


# ---------------------------------------------------------------- file formats


def write_ply(path: Path, points: npt.NDArray[np.floating]) -> None:
    """Write points (N, 3) as binary little-endian PLY with float x, y, z."""
    header = (
        "ply\nformat binary_little_endian 1.0\ncomment units: millimetres\n"
        f"element vertex {len(points)}\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    )
    path.write_bytes(header.encode("ascii") + np.ascontiguousarray(points, "<f4").tobytes())


def write_mp4(path: Path, frames: npt.NDArray[np.uint8], fps: int) -> None:
    """Write frames (F, H, W, 3) uint8 RGB as MP4: H.264, or MPEG-4 part 2 where this build of PyAV has no H.264.

    Encoded finely, so that compression does not look like a defect. Raises MissingExtra, and UsageError when a side
    is odd: both encoders store colour for two pixels at a time.
    """
    av = need("av", "video", "Writing MP4")
    height, width = frames.shape[1:3]
    if height % 2 or width % 2:
        raise UsageError(f"the sides of an MP4 must be even, got {height} x {width}")
    h264 = "libx264" in av.codecs_available
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264" if h264 else "mpeg4", rate=Fraction(fps))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if h264:
            # several threads, and the look-ahead over macroblocks, encode the same frames differently each time
            stream.options = {"crf": "18", "preset": "veryfast", "threads": "1", "x264-params": "mbtree=0"}
        else:
            stream.bit_rate = 4_000_000
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p", threads=1)))  # more convert differently
        container.mux(stream.encode())
