"""One thing of a data set before it is loaded: where its files are, and what is known about it.

Letters: H W pixels of the original, N points, F frames.
"""

from __future__ import annotations

import dataclasses
import hashlib
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from looktwice import modalities
from looktwice.errors import BadFile, UsageError
from looktwice.records import ImageData, ModalityName, PointCloudData, Sample, Truth, VideoData
from looktwice.settings import Settings

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
JPEG_ABOVE = 127  # a lossy mask rings around its edges, so "not black" is not enough


class TruthSource(Protocol):
    """Where the truth of an item lies: `files` on disk, and how they become an array."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that are read."""

    def read(self, item: Item, size: tuple[int, ...]) -> np.ndarray:
        """Bool truth of the given size: (H, W), (N,) or (F,)."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a dialogue."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """One question with its right answer ("" when not given): a letter when there are options, else words."""

    text: str
    answer: str = ""
    options: tuple[tuple[str, str], ...] = ()  # (letter, words)
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing of a data set: light, nothing is read until it is asked for."""

    id: str  # unique within the data set, the same on every machine
    paths: tuple[Path, ...]  # what is inspected first, then other pictures of the same thing
    modality: ModalityName
    category: str
    split: str
    label: Literal[0, 1] | None  # 1 = anomalous, None = not stated
    defect_type: str = ""  # empty for normal things and where the kind is not stated
    truth: TruthSource | None = None  # None: nothing finer than the label is known
    references: tuple[Path, ...] = ()  # normal pictures to compare with
    similar: tuple[Path, ...] = ()  # normal pictures chosen because they look like this one
    turns: tuple[Turn, ...] = ()
    questions: tuple[Question, ...] = ()
    knowledge: str = ""  # what the data set knows of the class, in words
    crop: tuple[int, int, int, int] | None = None  # x0, y0, x1, y1: the item is this part of the picture
    source: str = ""  # where a list names it: "labels.csv, line 7"

    @property
    def path(self) -> Path:
        """The file or folder of frames that is inspected."""
        return self.paths[0]

    def photograph(self) -> Item:
        """The same item as its colour picture, where one lies beside the scan; raises UsageError otherwise."""
        if self.modality == "image":
            return self
        pictures = tuple(p for p in self.paths if p.suffix.lower() in PICTURES and p != self.path)
        if not pictures:
            raise UsageError(f"{self.id} has no colour picture beside its {self.modality.replace('_', ' ')}")
        others = tuple(p for p in self.paths if p != pictures[0])
        return dataclasses.replace(self, modality="image", paths=(pictures[0], *others))


# ---------------------------------------------------------------- reading what is known


def read_truth(item: Item, size: tuple[int, ...] | None = None) -> np.ndarray | None:
    """Bool truth in the frame of the original: (H, W) of a picture, (N,) of a cloud, (F,) of a video.

    None where the set states nothing finer than the label. `size` saves a look at the item when the
    caller knows it. Raises BadFile when a file is missing, broken or does not fit the item.
    """
    if item.truth is None:
        return None
    if size is None:
        size = size_of(item)
    return item.truth.read(item, size)


def read_frame_masks(item: Item) -> Iterator[np.ndarray]:
    """Yield one bool mask (H, W) a frame of a video with pixel truth; raises UsageError when it has none."""
    if not isinstance(item.truth, FrameTruth) or item.truth.masks is None:
        raise UsageError(f"{item.id} has no pixel masks for its frames")
    return item.truth.frames()


def size_of(item: Item) -> tuple[int, ...]:
    """(H, W) of a picture, (N,) of a cloud, (F,) of a video; raises BadFile, MissingExtra."""
    if item.crop is not None:
        return item.crop[3] - item.crop[1], item.crop[2] - item.crop[0]
    if item.modality == "image":
        return picture_size(item.path)
    if isinstance(item.truth, PointRows):
        return (len(item.truth.rows()),)
    if item.path.is_dir():
        return (len(pictures_in(item.path)),)
    sample = modalities.load(item.path, modality_name=item.modality)
    return (sample.data.total,) if isinstance(sample.data, VideoData) else sample.size


def load_item(item: Item, settings: Settings | None = None) -> Sample:
    """Load an item as a Sample with its truth; of a video, the truth of the frames that are looked at.

    Raises BadFile, MissingExtra.
    """
    refuse(item.path)
    if isinstance(item.truth, PointRows):
        sample = item.truth.sample(item)
    else:
        sample = modalities.load(item.path, settings or Settings(), item.modality)
    if item.crop is not None:
        sample = _cropped(sample, item.crop)
    return sample.model_copy(update={"id": item.id, "truth": _truth(item, sample)})


def _truth(item: Item, sample: Sample) -> Truth | None:
    mask = read_truth(item, (sample.data.total,) if isinstance(sample.data, VideoData) else sample.size)
    label = item.label
    if label is None:
        if mask is None:
            return None
        label = 1 if mask.any() else 0
    if mask is not None and isinstance(sample.data, VideoData):
        mask = mask[sample.data.frames]
    answer = next((turn.text for turn in item.turns if turn.role == "assistant"), None)
    return Truth(label=label, mask=mask, defect_type=item.defect_type or None, answer=answer)


def _cropped(sample: Sample, crop: tuple[int, int, int, int]) -> Sample:
    if not isinstance(sample.data, ImageData):
        raise UsageError(f"only pictures have parts, got a {sample.modality}")
    x0, y0, x1, y1 = crop
    pixels = np.ascontiguousarray(sample.data.pixels[y0:y1, x0:x1])
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()  # parts of one file must not share its hash
    return sample.model_copy(update={"data": ImageData(pixels=pixels), "sha256": digest})


# ---------------------------------------------------------------- where truth lies


@dataclass(frozen=True, slots=True)
class NoAnomaly:
    """Nothing is anomalous: normal items of sets that store no mask for them."""

    files: tuple[Path, ...] = ()

    def read(self, item: Item, size: tuple[int, ...]) -> np.ndarray:
        """All False; (H, W) rows first, whatever the shape."""
        return np.zeros(size, np.bool_)


@dataclass(frozen=True, slots=True)
class MaskPictures:
    """One or several mask pictures; their union counts."""

    files: tuple[Path, ...]
    above: int | None = None  # anomalous above this value; None: 0, or 127 when the file is a JPEG
    resize: bool = False  # nearest neighbour, only for sets known to store masks at another size

    def read(self, item: Item, size: tuple[int, ...]) -> np.ndarray:
        """(H, W), or (N,) rows first for an organised cloud."""
        union: np.ndarray | None = None
        for file in self.files:
            mask = read_mask(file, self.above)
            mask = mask if item.crop is None else mask[item.crop[1] : item.crop[3], item.crop[0] : item.crop[2]]
            mask = mask.reshape(-1) if item.modality == "point_cloud" else mask
            if mask.shape != size:
                if not self.resize or item.modality != "image":
                    raise BadFile("unsupported", file, f"the mask is {_by(mask.shape)}, {item.path} is {_by(size)}")
                mask = _nearest(mask, size)
            union = mask if union is None else union | mask
        if union is None:
            raise BadFile("missing_file", item.path, "no mask picture")
        return union


def read_mask(file: Path, above: int | None = None) -> np.ndarray:
    """(H, W) bool: any colour above `above` (None: 0, or 127 when the file is a JPEG) that is not transparent."""
    from PIL import ImageOps

    with open_picture(file) as picture:
        if above is None:
            above = JPEG_ABOVE if picture.format == "JPEG" else 0
        upright = ImageOps.exif_transpose(picture)
        if upright.mode in ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV"):
            upright = upright.convert("RGBA")
        bands = upright.getbands()
        values = np.asarray(upright)
    if values.ndim == 2:
        return np.asarray(values > above) if values.dtype != np.bool_ else values.copy()
    if bands[-1] in ("A", "a"):
        return np.asarray((values[..., :-1] > above).any(-1) & (values[..., -1] > 0))
    return np.asarray((values > above).any(-1))


def _nearest(mask: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    rows = (np.arange(size[0]) * 2 + 1) * mask.shape[0] // (2 * size[0])
    columns = (np.arange(size[1]) * 2 + 1) * mask.shape[1] // (2 * size[1])
    return np.asarray(mask[rows[:, None], columns])


def _by(shape: tuple[int, ...]) -> str:
    if len(shape) == 2:
        return f"{shape[1]}x{shape[0]} pixels"
    return f"{shape[0]} points"


@dataclass(frozen=True, slots=True)
class Outline:
    """A drawn shape in pixels: a polygon of corners, or an ellipse (centre, radii, turn in radians)."""

    corners: tuple[tuple[float, float], ...] = ()  # (x, y)
    centre: tuple[float, float] = (0.0, 0.0)
    radii: tuple[float, float] = (0.0, 0.0)
    turn: float = 0.0

    def fill(self, size: tuple[int, ...]) -> np.ndarray:
        """(H, W) bool: pixels inside."""
        from PIL import Image, ImageDraw

        if self.corners:
            canvas = Image.new("1", (size[1], size[0]))
            ImageDraw.Draw(canvas).polygon(self.corners, fill=1, outline=1)
            return np.asarray(canvas).copy()
        x = np.arange(size[1]) - self.centre[0]
        y = np.arange(size[0])[:, None] - self.centre[1]
        along = (x * np.cos(self.turn) + y * np.sin(self.turn)) / max(self.radii[0], 1e-9)
        across = (y * np.cos(self.turn) - x * np.sin(self.turn)) / max(self.radii[1], 1e-9)
        return np.asarray(along**2 + across**2 <= 1)


@dataclass(frozen=True, slots=True)
class Outlines:
    """Shapes from an annotation file; their union counts."""

    files: tuple[Path, ...]
    outlines: tuple[Outline, ...]

    def read(self, item: Item, size: tuple[int, ...]) -> np.ndarray:
        """(H, W)."""
        union = np.zeros(size, np.bool_)
        for outline in self.outlines:
            union |= outline.fill(size)
        return union


@dataclass(frozen=True, slots=True)
class PointRows:
    """A text file of rows "x y z label", blanks or commas between: its own points, in its own order."""

    file: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """The text file."""
        return (self.file,)

    def rows(self) -> np.ndarray:
        """(N, 4) float64; raises BadFile."""
        refuse(self.file)
        try:
            with self.file.open(encoding="utf-8") as stream:
                comma = "," in next((line for line in stream if line.strip()), "")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # "no data": said below in our words
                rows = np.loadtxt(self.file, delimiter="," if comma else None, ndmin=2, dtype=np.float64)
        except ValueError as error:
            raise BadFile("unreadable", self.file, f"not rows of 'x y z label': {error}") from error
        if rows.size == 0:
            raise BadFile("empty", self.file, "no rows")
        if rows.shape[1] != 4:
            raise BadFile("unsupported", self.file, f"expected 4 columns 'x y z label', got {rows.shape[1]}")
        return rows

    def read(self, item: Item, size: tuple[int, ...]) -> np.ndarray:
        """(N,)."""
        labels = self.rows()[:, 3] > 0
        if labels.shape != size:
            raise BadFile("unsupported", self.file, f"labels {_by(labels.shape)}, {item.path} has {_by(size)}")
        return np.asarray(labels)

    def sample(self, item: Item) -> Sample:
        """The cloud of this very file, so that points and labels agree."""
        points = self.rows()[:, :3]
        valid = np.isfinite(points).all(1)
        if not valid.any():
            raise BadFile("empty", self.file, "no finite point")
        data = PointCloudData(points=np.where(valid[:, None], points, 0.0), valid=valid)
        digest = modalities.sha256_of(self.file)
        return Sample(id=item.id, path=item.path, modality="point_cloud", data=data, sha256=digest)


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One number a point or a frame, in the order of the sample: .npy, or text with blanks or lines between."""

    file: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.file,)

    def read(self, item: Item, size: tuple[int, ...]) -> np.ndarray:
        """(N,) or (F,)."""
        refuse(self.file)
        try:
            if self.file.suffix.lower() == ".npy":
                labels = load_numpy(self.file).reshape(-1)
            else:
                labels = np.array(self.file.read_text(encoding="utf-8").split(), np.float64)
        except ValueError as error:
            raise BadFile("unreadable", self.file, f"not one number a point or frame: {error}") from error
        if labels.shape != size:
            raise BadFile("unsupported", self.file, f"{len(labels)} labels, but {item.path} has {size[0]} to label")
        return np.asarray(labels > 0)


@dataclass(frozen=True, slots=True)
class FrameTruth:
    """Truth of a video, first found of: ranges of frames, a label a frame, a mask a frame."""

    ranges: tuple[tuple[int, int], ...] | None = None  # first and last anomalous frame, from 0, both in
    labels: Path | None = None  # .npy, one number a frame
    masks: Path | None = None  # folder of pictures, .npy (F, H, W), or .mat with a cell array volLabel
    listed: Path | None = None  # the file that gives the ranges

    @property
    def files(self) -> tuple[Path, ...]:
        """All files and folders that are read."""
        return tuple(file for file in (self.labels, self.masks, self.listed) if file is not None)

    def read(self, item: Item, size: tuple[int, ...]) -> np.ndarray:
        """(F,). A range that ends behind the last frame is cut there: decoders disagree by a frame or two."""
        if self.ranges is not None:
            return self._from_ranges(item, size[0])
        if self.labels is not None:
            found = np.asarray(load_numpy(self.labels).reshape(-1) != 0)
        else:
            found = np.array([mask.any() for mask in self.frames()], np.bool_)
        if len(found) != size[0]:
            where = self.labels or self.masks or item.path
            raise BadFile("unsupported", where, f"labels {len(found)} frames, {item.path} has {size[0]}")
        return found

    def _from_ranges(self, item: Item, total: int) -> np.ndarray:
        found = np.zeros(total, np.bool_)
        for first, last in self.ranges or ():
            if not 0 <= first < total or last < first:
                where = self.listed or item.path
                raise BadFile(
                    "unsupported", where, f"frames {first + 1} to {last + 1} are not in {item.path} with {total} frames"
                )
            found[first : last + 1] = True
        return found

    def frames(self) -> Iterator[np.ndarray]:
        """Yield one (H, W) bool mask a frame, one in memory at a time where the file allows it."""
        if self.masks is None:
            return
        if self.masks.suffix.lower() == ".mat":
            yield from _cells(self.masks)
        elif self.masks.suffix.lower() == ".npy":
            for mask in load_numpy(self.masks):
                yield np.asarray(mask != 0)
        else:
            for file in pictures_in(self.masks):
                yield read_mask(file)


def _cells(file: Path) -> Iterator[np.ndarray]:
    from scipy.io import loadmat

    refuse(file)
    try:
        cells = loadmat(file)["volLabel"]
    except KeyError as error:
        raise BadFile("unsupported", file, "no cell array 'volLabel' in it") from error
    except (ValueError, TypeError, OSError, NotImplementedError) as error:
        raise BadFile("unreadable", file, f"not a MATLAB file: {error}") from error
    for cell in cells.reshape(-1):
        yield np.asarray(np.asarray(cell) != 0)


def load_numpy(file: Path) -> np.ndarray:
    """An array from a .npy file without unpickling, mapped, not read; raises BadFile."""
    refuse(file)
    try:
        return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
    except (ValueError, EOFError, OSError) as error:
        raise BadFile("unreadable", file, f"not a NumPy array: {error}") from error


# ---------------------------------------------------------------- files that are not what they seem


def refuse(path: Path) -> None:
    """Raise BadFile for a file that is missing, empty, or a Git LFS pointer in place of the file."""
    if path.is_dir():
        return
    if not path.exists():
        what = "a link to a file that is not there" if path.is_symlink() else "no such file"
        raise BadFile("missing_file", path, what)
    with path.open("rb") as stream:
        head = stream.read(32)
    if not head:
        raise BadFile("empty", path, "the file is empty")
    if head.startswith(b"version https://git-lfs"):
        raise BadFile(
            "unreadable", path, "a Git LFS pointer, not the file itself: run 'git lfs pull' where you cloned it"
        )


@contextmanager
def open_picture(path: Path) -> Iterator[PILImage]:
    """Open a picture for the with block; what goes wrong inside is a BadFile."""
    from PIL import Image

    refuse(path)
    try:
        with Image.open(path) as picture:
            yield picture
    except Image.DecompressionBombError as error:
        raise BadFile("too_large", path, str(error)) from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise BadFile("unreadable", path, f"not a readable picture: {error}") from error


def picture_size(path: Path) -> tuple[int, int]:
    """(H, W) as shown, EXIF rotation applied, from the header alone; raises BadFile."""
    with open_picture(path) as picture:
        width, height = picture.size
        # asked of a PNG without the tag in its header, getexif would decode the whole picture
        tagged = picture.format != "PNG" or "exif" in picture.info
        turned = tagged and picture.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    return (width, height) if turned else (height, width)


def pictures_in(folder: Path) -> list[Path]:
    """The pictures right in a folder, by number where names are numbers, without hidden files."""
    if not folder.is_dir():
        raise BadFile("missing_file", folder, "no such folder")
    found = [p for p in folder.iterdir() if p.suffix.lower() in PICTURES and not p.name.startswith(".")]
    return sorted(found, key=lambda p: (int(p.stem) if p.stem.isdecimal() else 0, p.name))
