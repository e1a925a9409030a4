"""Reading clouds from files: PLY, PCD, OBJ, STL, XYZ / TXT / CSV, NPY and organised XYZ TIFF.

Each reader returns what the file says (`Raw`); `settle` then decides what counts as a point. Headers are read here,
before anything is allocated, so that a wrong count or a too large cloud is refused in words. trimesh, pypcd4 and
tifffile are asked only for what needs them: faces, compressed PCD and TIFF.

Meshes are sampled evenly over their surface with a fixed seed; a mesh that already has as many vertices as would be
sampled is taken by its vertices. Normals, intensities and labels beside the coordinates are not used.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from looktwice.errors import BadFile, need
from looktwice.records import PointCloudData
from looktwice.settings import PointCloudSettings

FARTHEST = 1e30  # coordinates beyond it are the filling of a broken file, not a place
HEAD = 1 << 16  # bytes that decide whether a text is a cloud
PLY_TYPES = {
    "char": "i1",
    "uchar": "u1",
    "short": "i2",
    "ushort": "u2",
    "int": "i4",
    "uint": "u4",
    "float": "f4",
    "double": "f8",
    "int8": "i1",
    "uint8": "u1",
    "int16": "i2",
    "uint16": "u2",
    "int32": "i4",
    "uint32": "u4",
    "float32": "f4",
    "float64": "f8",
}
PLY_FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
COLOR_NAMES = (("red", "green", "blue"), ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue"))


class Raw(NamedTuple):
    """What a file says: points (N, 3) float64, colors (N, 3) uint8 or None, grid (rows, columns) or None, notes."""

    points: np.ndarray
    colors: np.ndarray | None = None
    grid: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()


def recognise(path: Path) -> bool:
    """Whether this looks like a cloud: by its ending, or its first bytes where the ending is not enough."""
    try:
        if not path.is_file():
            return False
        suffix = path.suffix.lower()
        if suffix in (".txt", ".csv"):
            with path.open("rb") as stream:
                return _text_layout(path, stream.read(HEAD)) is not None
        if suffix == ".npy":
            return _npy_recognised(path)
        if suffix in (".tif", ".tiff"):
            return _tiff_grid(path) is not None
        return suffix in READERS or _magic(path) is not None
    except Exception:  # asked about any file at all; what is wrong with a cloud is said when it is loaded
        return False


def read(path: Path, settings: PointCloudSettings) -> Raw:
    """Read one file; raises BadFile and MissingExtra."""
    if not path.exists():
        raise BadFile("missing_file", path, "no such file")
    if not path.is_file():
        raise BadFile("unsupported", path, "a folder is not a point cloud: name its files")
    try:
        with path.open("rb") as stream:
            head = stream.read(64)
        if not head:
            raise BadFile("empty", path, "the file is empty (0 bytes)")
        if head.startswith(b"version https://git-lfs"):
            raise BadFile("unreadable", path, "a Git LFS pointer, not the data itself: run git lfs pull")
        reader = READERS.get(path.suffix.lower()) or _magic(path)
        if reader is None:
            raise BadFile("unsupported", path, f"not a point cloud. Known endings: {', '.join(SUFFIXES)}")
        with np.errstate(invalid="ignore", over="ignore"):  # some NaNs complain when they are cast
            raw = reader(path, settings)
    except OSError as error:
        raise BadFile("unreadable", path, error.strerror or str(error)) from error
    if len(raw.points) == 0:
        raise BadFile("empty", path, "the file holds no points")
    _check_budget(path, len(raw.points), settings)
    return raw


def settle(path: Path | str, raw: Raw) -> tuple[PointCloudData, tuple[str, ...]]:
    """Decide which points are valid, and say so in notes; raises BadFile(empty) when none is."""
    points = np.array(raw.points, np.float64)  # a copy: invalid points are set to zero below
    notes = list(raw.notes)
    finite = (np.abs(points) <= FARTHEST).all(1)  # False for NaN
    points[~finite] = 0
    zero = finite & ~points.any(1)
    if bad := len(points) - int(finite.sum()):
        notes.append(f"{bad} of {len(points)} points are not finite: kept in place, not inspected")
    valid = finite
    zeros = int(zero.sum())
    if raw.grid is not None and zeros:
        notes.append(f"{zeros} of {len(points)} grid cells are (0, 0, 0): no point there")
        valid = finite & ~zero
    elif zeros > 1:
        notes.append(f"(0, 0, 0) stands {zeros} times: taken as no reading, not inspected")
        valid = finite & ~zero
    if not valid.any():
        raise BadFile("empty", path, f"none of the {len(points)} points is valid (finite and not a repeated 0, 0, 0)")
    if again := _duplicates(points[valid]):
        notes.append(f"{again} points repeat another one: all kept and scored alike")
    return PointCloudData(points=points, valid=valid, colors=raw.colors, grid=raw.grid), tuple(notes)


def _duplicates(points: np.ndarray) -> int:
    """How many points (N, 3) are exact copies of an earlier one; by 64-bit hashes, as sorting rows is slow."""
    bits = (points + 0.0).view(np.uint64)  # -0.0 becomes 0.0
    mixed = np.zeros(len(points), np.uint64)
    for axis in range(3):
        mixed = (mixed ^ bits[:, axis]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    mixed.sort()
    return int((mixed[1:] == mixed[:-1]).sum())


def _need_quiet(module: str, extra: str, what: str) -> ModuleType:
    """Import an optional reader that would print its doubts about a file between the lines of our progress."""
    made = need(module, extra, what)
    logger = logging.getLogger(module)
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return made


def _check_budget(path: Path, number: int, settings: PointCloudSettings) -> None:
    if number > settings.max_points:
        why = f"{number:,} points, the budget is {settings.max_points:,}: thin the cloud or raise max_points"
        raise BadFile("too_large", path, why)


def _magic(path: Path) -> Reader | None:
    with path.open("rb") as stream:
        head = stream.read(6)
    if head[:4] in (b"ply\n", b"ply\r"):
        return _read_ply
    return _read_pcd if head == b"# .PCD" else None


def _to_colors(values: np.ndarray, named: bool) -> np.ndarray | None:
    """Three columns (N, 3) of numbers -> uint8, or None where they are not colours.

    Unnamed columns are colours when they are whole numbers in 0..255 of which some exceed 1; named
    ones may also be in 0..1 or 16-bit.
    """
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    numbers = np.nan_to_num(values.astype(np.float64), nan=0, posinf=0, neginf=0)
    if len(numbers) == 0 or numbers.min() < 0:
        return None
    top, whole = numbers.max(), not (numbers % 1).any()
    if whole and 1 < top <= 255:
        return numbers.astype(np.uint8)
    if named and top <= 1:
        return np.rint(numbers * 255).astype(np.uint8)
    if named and 255 < top <= 65535:
        return np.rint(numbers / 257).astype(np.uint8)
    return None


def _named_colors(names: Sequence[str]) -> tuple[str, str, str] | None:
    return next((three for three in COLOR_NAMES if set(three) <= set(names)), None)


# ---------------------------------------------------------------- numbers in lines


def _parse_rows(path: Path, lines: Sequence[str], columns: Sequence[int], delimiter: str | None) -> np.ndarray:
    """Read these columns of lines of numbers: (rows, columns) float64; raises BadFile."""
    try:
        return np.loadtxt(lines, np.float64, usecols=tuple(columns), delimiter=delimiter, ndmin=2)
    except ValueError as error:
        raise BadFile("unreadable", path, f"not lines of numbers: {error}") from error


def _text_of(path: Path, data: bytes) -> str:
    if b"\0" in data:
        raise BadFile("unreadable", path, "binary data where text was expected")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")  # only comments and header names can hold letters


class TextLayout(NamedTuple):
    """How the lines of a text are laid out."""

    skip: int  # lines before the first row of numbers
    delimiter: str | None  # None: spaces and tabs
    xyz: tuple[int, int, int]
    rgb: tuple[int, int, int] | None
    named: bool  # rgb by a header


DELIMITERS = (";", ",", None)  # beside ";" a comma is the decimal point


def _text_layout(path: Path, head: bytes) -> TextLayout | None:
    """Look at the first bytes of a text; None where its first rows do not hold three numbers each."""
    if len(head) == HEAD:
        head = head[: head.rfind(b"\n") + 1]  # the last line may be cut in two
    lines = [line.strip() for line in _text_of(path, head).splitlines()]
    names: list[str] = []
    for skip, line in enumerate(lines):
        bare = line.lstrip("#/%;").strip()
        if not bare:
            continue
        at = {name: index for index, name in enumerate(names)}
        xyz = (at["x"], at["y"], at["z"]) if {"x", "y", "z"} <= set(names) else (0, 1, 2)
        fitting = [one for one in DELIMITERS if _is_row(line, one, xyz)]
        if fitting:
            rows = [row for row in lines[skip : skip + 5] if row and not row.startswith("#")]
            if not all(_is_row(row, fitting[0], xyz) for row in rows):
                return None
            rgb, three = None, _named_colors(names)
            if three is not None:
                rgb = (at[three[0]], at[three[1]], at[three[2]])
            elif not names and _is_row(line, fitting[0], (3, 4, 5)):
                rgb = (3, 4, 5)
            return TextLayout(skip, fitting[0], xyz, rgb, three is not None)
        if bare != line:  # a comment: some programs hide the names of the columns there
            names = _header(bare) or names
        elif not names and _header(line):
            names = _header(line)
        elif not line.isdigit():  # one lone number is a count of points
            return None
    return None


def _is_row(line: str, delimiter: str | None, columns: Sequence[int]) -> bool:
    """Whether a line has numbers in these columns."""
    parts = _point_for_comma(line, delimiter).split(delimiter)
    return len(parts) > max(columns) and all(_is_number(parts[column]) for column in columns)


def _point_for_comma(text: str, delimiter: str | None) -> str:
    return text.replace(",", ".") if delimiter == ";" else text


def _header(line: str) -> list[str]:
    """Names of the columns, lower case, units in brackets cut off; empty where it is no such line."""
    bare = re.sub(r"\s*[\[(][^\])]*[\])]", "", line)
    delimiter = next((one for one in ";,\t" if one in bare), None)
    parts = [part.strip(" \"'").lower() for part in bare.split(delimiter)]
    return parts if len(parts) >= 3 else []


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word


def _read_text(path: Path, settings: PointCloudSettings) -> Raw:
    data = path.read_bytes()
    layout = _text_layout(path, data[:HEAD])
    if layout is None:
        raise BadFile("unreadable", path, "expected lines of three or more numbers, x y z, after at most one header")
    text = _point_for_comma(_text_of(path, data), layout.delimiter)
    lines = text.splitlines()[layout.skip :]
    _check_budget(path, sum(1 for line in lines if line and not line.isspace()), settings)
    wanted = layout.xyz + (layout.rgb or ())
    table = _parse_rows(path, lines, wanted, layout.delimiter)
    colors = _to_colors(table[:, 3:], layout.named) if layout.rgb else None
    return Raw(table[:, :3], colors)


# ---------------------------------------------------------------- PLY


class Element(NamedTuple):
    """One element of a PLY header: its name, how many, and (name, NumPy type or None for a list) of its properties."""

    name: str
    number: int
    properties: list[tuple[str, str | None]]

    @property
    def row(self) -> list[tuple[str, str]]:
        """Names and types of one row, as long as it has no list."""
        return [(name, kind) for name, kind in self.properties if kind is not None]

    @property
    def has_list(self) -> bool:
        """Whether its rows differ in length."""
        return any(kind is None for _, kind in self.properties)


def _read_ply(path: Path, settings: PointCloudSettings) -> Raw:
    order, elements, offset = _ply_header(path)
    before = [element.name for element in elements].index("vertex")
    vertex = elements[before]
    _check_budget(path, vertex.number, settings)
    names = [name for name, _ in vertex.properties]
    if vertex.has_list or any(element.has_list for element in elements[:before]):
        raise BadFile("unsupported", path, "lists in or before the vertices are not supported")
    if not {"x", "y", "z"} <= set(names):
        raise BadFile("unsupported", path, f"vertices need x, y and z, they have {', '.join(names) or 'nothing'}")
    table = _ply_rows(path, order, elements, before, offset)
    points = np.stack([table[axis] for axis in "xyz"], 1)
    faces = sum(element.number for element in elements if element.name == "face")
    three = _named_colors(names)
    colors = _to_colors(np.stack([table[name] for name in three], 1), named=True) if three else None
    if faces and vertex.number < settings.mesh_points:
        return _read_mesh(path, "ply", settings, faces)
    return Raw(points, colors, None, _vertices_only(vertex.number, faces))


def _vertices_only(vertices: int, faces: int) -> tuple[str, ...]:
    return (f"a mesh of {faces} faces: its {vertices} vertices are the points",) if faces else ()


def _ply_header(path: Path) -> tuple[str, list[Element], int]:
    """Return the byte order ("" for ascii), the elements, and the offset of the data."""
    with path.open("rb") as stream:
        head = stream.read(1 << 20)
    end = re.search(rb"(?:^|\n|\r)end_header[ \t]*(\r\n|\n|\r)", head)
    if not head.startswith(b"ply") or end is None:
        raise BadFile("unreadable", path, "no PLY header: it must start with 'ply' and end with 'end_header'")
    order: str | None = None
    elements: list[Element] = []
    for line in head[: end.start()].decode("latin-1").splitlines():
        words = line.split()
        try:
            if words[:1] == ["format"]:
                order = PLY_FORMATS[words[1]]
            elif words[:1] == ["element"]:
                elements.append(Element(words[1], int(words[2]), []))
            elif words[:2] == ["property", "list"]:
                elements[-1].properties.append((words[4], None))
            elif words[:1] == ["property"]:
                elements[-1].properties.append((words[2], PLY_TYPES[words[1]]))
        except (KeyError, IndexError, ValueError) as error:
            raise BadFile("unreadable", path, f"cannot read the PLY header line '{line.strip()}'") from error
    if order is None or any(element.number < 0 for element in elements):
        raise BadFile("unreadable", path, "the PLY header has no format line or a negative count")
    if "vertex" not in [element.name for element in elements]:
        raise BadFile("unsupported", path, "the PLY file has no vertices")
    return order, elements, end.end()


def _ply_rows(path: Path, order: str, elements: list[Element], index: int, offset: int) -> np.ndarray:
    """Read the rows of one element as a structured array."""
    element = elements[index]
    row = np.dtype([(name, (order or "<") + kind) for name, kind in element.row])
    if order:
        skip = sum(np.dtype([(n, k) for n, k in one.row]).itemsize * one.number for one in elements[:index])
        return _binary_rows(path, row, element.number, offset + skip, "vertices")
    lines = _text_of(path, path.read_bytes()[offset:]).splitlines()
    lines = [line for line in lines if line and not line.isspace()]
    promised = sum(one.number for one in elements)
    if len(lines) < promised:
        raise BadFile("unreadable", path, f"truncated: the header promises {promised} lines, there are {len(lines)}")
    start = sum(one.number for one in elements[:index])
    made = np.zeros(element.number, row)
    if element.number:
        numbers = _parse_rows(path, lines[start : start + element.number], range(len(row.names or ())), None)
        for column, name in enumerate(row.names or ()):
            made[name] = numbers[:, column]
    return made


def _binary_rows(path: Path, row: np.dtype[Any], count: int, offset: int, what: str) -> np.ndarray:
    held = (path.stat().st_size - offset) // row.itemsize
    if held < count:
        why = f"truncated: the header promises {count} {what}, the file holds {max(0, held)}"
        raise BadFile("unreadable", path, why)
    return np.fromfile(path, row, count, offset=offset)


# ---------------------------------------------------------------- meshes


def _read_mesh(path: Path, kind: str, settings: PointCloudSettings, promised: int = 0) -> Raw:
    """Sample a PLY, OBJ or STL mesh; take the vertices of one without faces."""
    trimesh = _need_quiet("trimesh", "points", f"Reading {kind.upper()} meshes")
    options = {"skip_materials": True, "maintain_order": True} if kind == "obj" else {}
    try:
        # from memory: files the mesh names, such as textures, are not followed
        made = trimesh.load(io.BytesIO(path.read_bytes()), file_type=kind, process=False, **options)
        if not hasattr(made, "vertices"):
            raise ValueError("it has no vertices")
        vertices = np.asarray(made.vertices, np.float64).reshape(-1, 3)
        faces = np.asarray(getattr(made, "faces", np.zeros((0, 3))), np.int64).reshape(-1, 3)
        shades = _vertex_colors(made, len(vertices))
    except Exception as error:  # trimesh raises whatever its parsers run into
        why = f"not a readable {kind.upper()} mesh ({type(error).__name__}: {error})"
        raise BadFile("unreadable", path, why) from error
    if len(faces) < promised:
        why = f"truncated: the header promises {promised} faces, {len(faces)} could be read"
        raise BadFile("unreadable", path, why)
    if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise BadFile("unreadable", path, f"a face names a vertex that does not exist ({len(vertices)} vertices)")
    _check_budget(path, len(vertices), settings)
    if len(faces) == 0 or len(vertices) >= settings.mesh_points:
        return Raw(vertices, shades, None, _vertices_only(len(vertices), len(faces)))
    return _sample(vertices, faces, shades, settings)


def _vertex_colors(made: Any, number: int) -> np.ndarray | None:
    shades = getattr(made, "colors", None)  # of a mesh without faces
    if shades is None and getattr(getattr(made, "visual", None), "kind", None) == "vertex":
        shades = made.visual.vertex_colors
    if shades is None or np.shape(shades)[:1] != (number,) or np.ndim(shades) != 2:
        return None
    return np.ascontiguousarray(np.asarray(shades, np.uint8)[:, :3])


def _sample(vertices: np.ndarray, faces: np.ndarray, shades: np.ndarray | None, settings: PointCloudSettings) -> Raw:
    """Spread mesh_points points over the faces, the same number per area everywhere."""
    sound = (np.abs(vertices[faces]) <= FARTHEST).all((1, 2))
    corner, right, left = (vertices[faces[sound]][:, i] for i in range(3))
    area = np.linalg.norm(np.cross(right - corner, left - corner), axis=1) / 2
    notes = [f"{int((~sound).sum())} faces with corners that are not finite: left out"] if not sound.all() else []
    if not len(area) or not 0 < area.sum() < np.inf:
        notes.append("the faces have no area: the vertices are the points")
        return Raw(vertices, shades, None, tuple(notes))
    rng = np.random.default_rng(settings.seed)
    number = settings.mesh_points
    ends = np.cumsum(area)
    where = (np.arange(number) + rng.random(number)) / number * ends[-1]  # one per slice of area: evenly spread
    chosen = np.minimum(np.searchsorted(ends, where, side="right"), len(area) - 1)
    u, v = rng.random((2, number))
    u, v = np.where(u + v > 1, (1 - u, 1 - v), (u, v))  # fold the square onto the triangle
    weights = np.stack([1 - u - v, u, v], 1)
    picked = faces[sound][chosen]
    points = np.einsum("nk,nkd->nd", weights, vertices[picked])
    colors = None
    if shades is not None:
        colors = np.rint(np.einsum("nk,nkd->nd", weights, shades[picked].astype(float))).astype(np.uint8)
    notes.append(f"a mesh of {len(faces)} faces: {number} points sampled on its surface, seed {settings.seed}")
    return Raw(points, colors, None, tuple(notes))


def _read_obj(path: Path, settings: PointCloudSettings) -> Raw:
    return _read_mesh(path, "obj", settings)


def _read_stl(path: Path, settings: PointCloudSettings) -> Raw:
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    if head.lstrip().startswith(b"solid") and b"\0" not in head and b"facet" in head:
        if b"endsolid" not in path.read_bytes()[-HEAD:]:
            raise BadFile("unreadable", path, "truncated: an ASCII STL file ends with 'endsolid'")
        return _read_mesh(path, "stl", settings)
    if size < 84:
        raise BadFile("unreadable", path, f"truncated: an STL file has at least 84 bytes, this one {size}")
    faces = int.from_bytes(head[80:84], "little")
    if size < 84 + 50 * faces:
        why = f"truncated: the header promises {faces} faces, the file holds {(size - 84) // 50}"
        raise BadFile("unreadable", path, why)
    if faces == 0:
        raise BadFile("empty", path, "the STL file holds no faces")
    return _read_mesh(path, "stl", settings, faces)


# ---------------------------------------------------------------- PCD

PCD_KINDS = {"F": "f", "I": "i", "U": "u"}


def _read_pcd(path: Path, settings: PointCloudSettings) -> Raw:
    header, offset = _pcd_header(path)
    try:
        names = [name.lower() for name in header["FIELDS"]]
        counts = [int(word) for word in header.get("COUNT", ["1"] * len(names))]
        kinds = [PCD_KINDS[kind] + size for kind, size in zip(header["TYPE"], header["SIZE"], strict=True)]
        width, height = int(header["WIDTH"][0]), int(header["HEIGHT"][0])
        number = int(header.get("POINTS", [str(width * height)])[0])
        # names may repeat ("_" is padding), so fields go by their place
        fields = [(str(i), "<" + k, (c,)) for i, (k, c) in enumerate(zip(kinds, counts, strict=True))]
        row = np.dtype(fields)
        form = header["DATA"][0].lower()
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise BadFile("unreadable", path, f"cannot read the PCD header ({type(error).__name__}: {error})") from error
    if len(names) != len(kinds) or min(number, width, height, *counts) < 0 or width * height != number:
        why = f"the PCD header contradicts itself: {len(names)} fields, WIDTH {width}, HEIGHT {height}, POINTS {number}"
        raise BadFile("unreadable", path, why)
    if not {"x", "y", "z"} <= set(names):
        raise BadFile("unsupported", path, f"points need x, y and z, they have {', '.join(names) or 'nothing'}")
    _check_budget(path, number, settings)
    if form == "ascii":
        table = _pcd_ascii(path, row, number, offset)
    elif form == "binary":
        table = _binary_rows(path, row, number, offset, "points")
    elif form == "binary_compressed":
        table = _pcd_compressed(path, row, number, offset)
    else:
        raise BadFile("unsupported", path, f"PCD data is ascii, binary or binary_compressed, here '{form}'")
    points = np.stack([table[str(names.index(axis))][:, 0].astype(np.float64) for axis in "xyz"], 1)
    return Raw(points, _pcd_colors(table, names), (height, width) if height > 1 else None)


def _pcd_header(path: Path) -> tuple[dict[str, list[str]], int]:
    """Return the words of each header line, and the offset of the data."""
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    end = re.search(rb"(?:^|\n)DATA[ \t]+\w+[ \t]*\r?\n", head)
    if end is None:
        raise BadFile("unreadable", path, "no PCD header: it must end with a line 'DATA ascii', 'DATA binary' ...")
    header = {}
    for line in head[: end.end()].decode("latin-1").splitlines():
        words = line.split("#")[0].split()
        if words:
            header[words[0].upper()] = words[1:]
    return header, end.end()


def _pcd_ascii(path: Path, row: np.dtype[Any], number: int, offset: int) -> np.ndarray:
    lines = _text_of(path, path.read_bytes()[offset:]).splitlines()
    lines = [line for line in lines if line and not line.isspace()]
    if len(lines) < number:
        raise BadFile("unreadable", path, f"truncated: the header promises {number} points, there are {len(lines)}")
    made = np.zeros(number, row)
    if number:
        width = sum(row[name].shape[0] for name in row.names or ())
        numbers = _parse_rows(path, lines[:number], range(width), None)
        column = 0
        for name in row.names or ():
            made[name] = numbers[:, column : column + row[name].shape[0]]
            column += row[name].shape[0]
    return made


def _pcd_compressed(path: Path, row: np.dtype[Any], number: int, offset: int) -> np.ndarray:
    """LZF over the fields one after the other: all x, then all y ..."""
    pypcd4 = need("pypcd4", "points", "Reading compressed PCD")
    with path.open("rb") as stream:
        stream.seek(offset)
        head = stream.read(8)
    held = path.stat().st_size - offset - 8
    packed, unpacked = (int.from_bytes(head[i : i + 4], "little") for i in (0, 4))
    if held < max(packed, 1):
        raise BadFile("unreadable", path, "truncated: the compressed data ends too early")
    if unpacked != number * row.itemsize:
        why = f"the compressed data holds {unpacked} bytes, {number} points need {number * row.itemsize}"
        raise BadFile("unreadable", path, why)
    try:
        read = pypcd4.PointCloud.from_path(path).pc_data
        columns = [read[name] for name in read.dtype.names]
    except Exception as error:  # whatever the LZF library runs into
        why = f"the compressed data is broken ({type(error).__name__}: {error})"
        raise BadFile("unreadable", path, why) from error
    made = np.zeros(number, row)
    column = 0
    for name in row.names or ():
        for part in range(row[name].shape[0]):
            made[name][:, part] = columns[column]
            column += 1
    return made


def _pcd_colors(table: np.ndarray, names: list[str]) -> np.ndarray | None:
    """Colours packed into the 32 bits of a field rgb or rgba, or in fields of their own."""
    for packed in ("rgb", "rgba"):
        if packed in names:
            field = table[str(names.index(packed))][:, 0]
            if field.dtype.itemsize != 4:
                return None
            bits = np.ascontiguousarray(field).view("<u4")
            return np.stack([bits >> 16 & 255, bits >> 8 & 255, bits & 255], 1).astype(np.uint8)
    three = _named_colors(names)
    if three is None:
        return None
    return _to_colors(np.stack([table[str(names.index(name))][:, 0] for name in three], 1), named=True)


# ---------------------------------------------------------------- NPY


def _npy_header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Return shape, type and the offset of the data; raises BadFile."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    with path.open("rb") as stream:
        try:
            shape, _, dtype = readers[np.lib.format.read_magic(stream)](stream)
        except Exception as error:  # the header is Python text, and fails in as many ways
            raise BadFile("unreadable", path, f"no NPY header ({error})") from error
        return shape, dtype, stream.tell()


def _npy_recognised(path: Path) -> bool:
    """False only for a sound array of something else: a broken one is ours to complain about."""
    try:
        shape, dtype, _ = _npy_header(path)
    except BadFile:
        return True
    if dtype.names:
        return len(shape) <= 2 and {"x", "y", "z"} <= {name.lower() for name in dtype.names}
    # wider tables and 8-bit grids are pictures
    return (len(shape) == 2 and 3 <= shape[1] <= 12) or (len(shape) == 3 and shape[2] == 3 and dtype.kind == "f")


def _read_npy(path: Path, settings: PointCloudSettings) -> Raw:
    shape, dtype, offset = _npy_header(path)
    if dtype.hasobject:
        raise BadFile("unsupported", path, "an array of Python objects: save plain numbers")
    number = int(np.prod(shape if dtype.names else shape[:-1], dtype=np.int64))
    _check_budget(path, number, settings)
    needed = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if path.stat().st_size - offset < needed:
        held = path.stat().st_size - offset
        raise BadFile("unreadable", path, f"truncated: the array needs {needed} bytes, the file holds {held}")
    try:
        array = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise BadFile("unreadable", path, f"not a readable NPY file ({error})") from error
    return _from_array(path, array)


def _from_array(path: Path, array: np.ndarray) -> Raw:
    if array.dtype.names:
        columns = {name.lower(): name for name in array.dtype.names}
        if not {"x", "y", "z"} <= set(columns):
            why = f"a structured array needs x, y and z, it has {', '.join(array.dtype.names)}"
            raise BadFile("unsupported", path, why)
        three = _named_colors(list(columns))
        fields = [array[columns[name]] for name in ("x", "y", "z", *(three or ()))]
        table = np.stack([field.astype(np.float64) for field in fields], -1)
        grid = (table.shape[0], table.shape[1]) if table.ndim == 3 else None
        table = table.reshape(-1, table.shape[-1])
        return Raw(table[:, :3], _to_colors(table[:, 3:], named=True) if three else None, grid)
    if array.dtype.kind not in "iuf":
        raise BadFile("unsupported", path, f"expected an array of numbers, got {array.dtype}")
    if array.ndim == 3 and array.shape[2] == 3 and array.dtype.kind == "f":
        return Raw(array.reshape(-1, 3).astype(np.float64), None, (array.shape[0], array.shape[1]))
    if array.ndim == 2 and array.shape[1] >= 3:
        colors = _to_colors(array[:, 3:6], named=False) if array.shape[1] >= 6 else None
        return Raw(array[:, :3].astype(np.float64), colors)
    why = f"expected (points, 3 or more) numbers or (rows, columns, 3) floats, got {array.dtype} of shape {array.shape}"
    raise BadFile("unsupported", path, why)


# ---------------------------------------------------------------- organised TIFF


def _tiff_grid(path: Path) -> tuple[int, int] | None:
    """(rows, columns) of a TIFF of three float channels, or None for any other."""
    tifffile = _need_quiet("tifffile", "tiff", "Reading XYZ TIFF")
    with tifffile.TiffFile(path) as tiff:
        shape, dtype = tiff.series[0].shape, tiff.series[0].dtype
    if dtype is None or dtype.kind != "f" or len(shape) != 3 or 3 not in (shape[0], shape[2]):
        return None
    return (shape[0], shape[1]) if shape[2] == 3 else (shape[1], shape[2])


def _read_tiff(path: Path, settings: PointCloudSettings) -> Raw:
    tifffile = _need_quiet("tifffile", "tiff", "Reading XYZ TIFF")
    try:
        grid = _tiff_grid(path)
        if grid is None:
            raise BadFile("unsupported", path, "expected a TIFF of three float channels x, y, z")
        _check_budget(path, grid[0] * grid[1], settings)
        array = tifffile.imread(path)
    except BadFile:
        raise
    except Exception as error:  # tifffile raises whatever its parsers run into
        why = f"not a readable TIFF ({type(error).__name__}: {error})"
        raise BadFile("unreadable", path, why) from error
    if array.shape[2] != 3:
        array = np.moveaxis(array, 0, 2)
    return Raw(array.reshape(-1, 3).astype(np.float64), None, grid)


Reader = Callable[[Path, PointCloudSettings], Raw]
READERS: dict[str, Reader] = {
    ".ply": _read_ply,
    ".pcd": _read_pcd,
    ".obj": _read_obj,
    ".stl": _read_stl,
    ".xyz": _read_text,
    ".txt": _read_text,
    ".csv": _read_text,
    ".npy": _read_npy,
    ".tif": _read_tiff,
    ".tiff": _read_tiff,
}
SUFFIXES = tuple(READERS)
