"""report.html: one file that shows a whole run, needs no network and runs nothing but its own few lines of script.

Every text that comes from a file, a sheet or a model is untrusted. Three fences: Jinja2 escapes all of it, control
and text-direction characters are made visible, and the page's own content security policy allows no script and no
style but the two inline blocks, known by their SHA-256, and no address at all but embedded pictures.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from looktwice.records import Region, Result, RuleFinding, Sample, Spec
from looktwice.report.atomic import write_atomically
from looktwice.report.embed import ASIDE_SIDE, Album, Embedded, NotShown, Shown
from looktwice.report.overlay import heat_colors
from looktwice.report.paths import below, inside, link, shared_folder
from looktwice.report.plot import Plot, plot

VERDICTS = ("anomalous", "unsure", "normal", "failed")
SIGNS = {"anomalous": "▲", "unsure": "◆", "normal": "●", "failed": "✕"}
RULE_SIGNS = {"kept": "✓", "broken": "✕", "not visible": "?", "not judged": "–"}
MODALITIES = {"image": "image", "point_cloud": "point cloud", "video": "video", None: "not recognised"}
FILES = {  # what a reader may want to open, in this order
    "ply": "coloured cloud (PLY)",
    "mp4": "annotated video (MP4)",
    "overlay": "overlay",
    "picture": "picture",
    "heat": "heat",
    "map": "anomaly map",
    "expected": "expected",
    "reference": "reference",
}
ROWS = 5000  # rows of the summary table; a longer run is read from results.jsonl
CARDS = 1000  # samples with a section of their own
REGIONS = 5  # of a sample; more are folded
TEMPLATE, STYLE, SCRIPT = "report.html.j2", "report.css", "report.js"


def write_html(
    folder: Path,
    results: Sequence[Result],
    spec: Spec | None,
    made: Mapping[str, str],
    title: str = "Inspection report",
    max_pictures: int = 200,
) -> Path:
    """Write folder/report.html from results and the files they name in `folder`; returns its path.

    made: how the run was made, as words to show. Pictures of the `max_pictures` most anomalous samples are embedded,
    fewer when the page would grow beyond about 60 MB; the page says how many are left out. A file that is missing
    is said to be missing. Raises OSError when the page cannot be written.
    """
    folder = Path(folder)
    judged = sorted((r for r in results if r.error is None), key=lambda r: -(r.score or 0.0))
    failed = [r for r in results if r.error is not None]
    album = Album(folder, max_pictures)
    base = shared_folder(result.path for result in results)
    cards = [_card(number, result, album, base) for number, result in enumerate(judged[:CARDS], 1)]
    rows = [_row(number, result, base) for number, result in enumerate([*judged, *failed][:ROWS], 1)]
    environment = _environment()
    page = environment.get_template(TEMPLATE).render(
        title=title,
        **_blocks(environment),
        counts=_counts(results),
        total=len(results),
        by_modality=_by_modality(results),
        signs=SIGNS,
        rule_signs=RULE_SIGNS,
        sheet=_sheet(spec),
        made=dict(made),
        rows=rows,
        rows_left=len(results) - len(rows),
        cards=cards,
        cards_left=len(judged) - len(cards),
        failures=[_row(len(judged) + number, result, base) for number, result in enumerate(failed, 1)],
        base=one_line(base),
        shown_regions=REGIONS,
        shared=list(album.shared.values()),
        with_pictures=album.samples,
        pictures_left=sum(card.left_out for card in cards),
        legend=_legend(),
    )
    return write_atomically(folder / "report.html", page)


# ---------------------------------------------------------------- the page's own code


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("looktwice.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["link"] = link
    environment.filters["said"] = said
    environment.tests["embedded"] = lambda shown: isinstance(shown, Embedded)
    return environment


def _blocks(environment: Environment) -> dict[str, Markup]:
    """The style, the script and the policy that lets these two and nothing else run."""
    assert environment.loader is not None
    texts = [environment.loader.get_source(environment, name)[0].replace("\r\n", "\n") for name in (STYLE, SCRIPT)]
    style, script = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{style}'; script-src 'sha256-{script}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return {"style": Markup(texts[0]), "script": Markup(texts[1]), "policy": Markup(policy)}


def _hidden_characters() -> dict[int, str]:
    """Control characters, marks that turn the writing direction, and halves of characters -> something to see."""
    table = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"}
    table[127] = "\u2421"
    for first, last in ((0x80, 0x9F), (0x200E, 0x200F), (0x2028, 0x202E), (0x2066, 0x2069), (0x61C, 0x61C)):
        table |= {code: f"\u27e8U+{code:04X}\u27e9" for code in range(first, last + 1)}
    return table | dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


_HIDDEN = _hidden_characters()


def visible(value: Any) -> Any:
    """Make what would act unseen in a text visible; every value the template prints goes through here.

    >>> visible("photo\\u202egpj.exe\\0")
    'photo⟨U+202E⟩gpj.exe␀'
    """
    if isinstance(value, str) and not isinstance(value, Markup):
        return value.translate(_HIDDEN)
    return "" if value is None else value


def one_line(text: str) -> str:
    """A text whose line ends are shown instead of made: file names may hold them."""
    return str(visible(text)).replace("\n", "␊").replace("\t", "␉")


def said(region: Region) -> tuple[str, str]:
    """(where, what) of a region: words that begin with the place do not say it twice.

    >>> said(Region(score=1, where="centre", words="Centre: a compact region"))
    ('Centre', 'A compact region')
    """
    where, rest = region.words[: len(region.where)], region.words[len(region.where) :]
    if region.where and where.lower() == region.where.lower() and rest.startswith(": "):
        return where, rest[2:3].upper() + rest[3:]
    return region.where, region.words


# ---------------------------------------------------------------- what the page says about the run


def _verdict(result: Result) -> str:
    return result.verdict or "failed"


def _counts(results: Sequence[Result]) -> dict[str, int]:
    found = Counter(_verdict(result) for result in results)
    return {verdict: found[verdict] for verdict in VERDICTS}


def _by_modality(results: Sequence[Result]) -> list[tuple[str, dict[str, int]]]:
    return [
        (words, _counts(some))
        for name, words in MODALITIES.items()
        if (some := [result for result in results if result.modality == name])
    ]


def _sheet(spec: Spec | None) -> dict[str, Any] | None:
    if spec is None:
        return None
    references = [str(r.path) if isinstance(r, Sample) else r for r in spec.references]
    sheet = {
        "task": spec.task,
        "object": spec.object,
        "context": spec.context,
        "rules": spec.rules,
        "references": [one_line(r) for r in references],
        "defects": spec.defects,
    }
    return sheet if any(sheet.values()) else None


def _legend() -> list[tuple[str, str]]:
    """(offset, colour) stops of the heat colours."""
    steps = np.linspace(0, 1, 9)
    return [
        (f"{100 * step:g}%", "#{:02x}{:02x}{:02x}".format(*color))
        for step, color in zip(steps, heat_colors(steps[None])[0].tolist(), strict=True)
    ]


# ---------------------------------------------------------------- what it says about one sample


def _name(result: Result, base: str) -> tuple[str, str]:
    """(folder below `base`, name) of the inspected file, as text."""
    path = PurePosixPath(below(result.path, base))
    folder = "" if str(path.parent) == "." else str(path.parent)
    return one_line(folder), one_line(path.name or result.path or result.id)


@dataclass(frozen=True)
class Row:
    """One line of the summary."""

    number: int
    name: str
    folder: str
    modality: str
    verdict: str
    result: Result
    linked: bool  # whether the page has a section about it


def _row(number: int, result: Result, base: str) -> Row:
    folder, name = _name(result, base)
    linked = result.error is not None or number <= CARDS
    return Row(number, name, folder, MODALITIES[result.modality], _verdict(result), result, linked)


@dataclass(frozen=True)
class Box:
    """A numbered region on the picture, in per cent of it."""

    number: int
    x: float
    y: float
    width: float
    height: float
    label_x: float
    inside: bool  # the number stands in the box: there is no room above


@dataclass(frozen=True)
class Card:
    """One section about one sample."""

    row: Row
    picture: Shown
    heat: Shown
    baked: bool  # the picture has its heat and boxes drawn into it
    expected: Shown
    reference: Shown
    left_out: bool
    boxes: tuple[Box, ...]
    plot: Plot | None
    files: tuple[tuple[str, str, bool], ...]  # (what it is, relative path, is it there)
    rules: tuple[RuleFinding, ...]
    size: str

    @property
    def result(self) -> Result:
        """What the card is about."""
        return self.row.result


def _card(number: int, result: Result, album: Album, base: str) -> Card:
    pictures = _pictures(result, album)
    return Card(
        row=_row(number, result, base),
        boxes=_boxes(result, album.folder),
        plot=_plot(result),
        files=_files(result, album.folder),
        rules=result.rules or tuple(result.explanation.rules.values() if result.explanation else ()),
        size=_size(result),
        **pictures,
    )


def _pictures(result: Result, album: Album) -> dict[str, Any]:
    """The pictures of a sample, as long as the album has room."""
    files = result.files
    if album.full():
        out = {name: NotShown("left out" if files.get(name) else "none", files.get(name, "")) for name in _SHOWN}
        return {**out, "baked": False, "left_out": any(files.get(name) for name in _SHOWN)}
    picture = album.picture(files.get("picture"))
    heat = album.heat(files.get("heat"), picture)
    baked = False
    if not (isinstance(picture, Embedded) and isinstance(heat, Embedded)):
        overlay = album.picture(files.get("overlay"))
        if isinstance(overlay, Embedded):
            picture, baked = overlay, True
    shown = {
        "picture": picture,
        "heat": heat,
        "expected": album.picture(files.get("expected"), ASIDE_SIDE),
        "reference": album.reference(files.get("reference")),
    }
    embedded = any(isinstance(one, Embedded) for one in shown.values())
    album.samples += embedded
    return {**shown, "baked": baked, "left_out": not embedded and any(_left_out(one) for one in shown.values())}


_SHOWN = ("picture", "heat", "expected", "reference")


def _left_out(shown: Shown) -> bool:
    return isinstance(shown, NotShown) and shown.why == "left out"


def _boxes(result: Result, folder: Path) -> tuple[Box, ...]:
    """The regions of a picture; of a contact sheet those that `sheet.write_boxes` kept."""
    if result.modality == "image" and result.size is not None and len(result.size) == 2:
        size: Sequence[int] = result.size
        boxes: Sequence[Sequence[float] | None] = [region.box for region in result.regions]
    else:
        size, boxes = _kept_boxes(inside(folder, result.files.get("boxes")))
    placed = [_box(number, box, size) for number, box in enumerate(boxes, 1) if box is not None]
    return tuple(box for box in placed if box is not None)


def _kept_boxes(file: Path | None) -> tuple[Sequence[int], Sequence[Sequence[float] | None]]:
    """What `sheet.write_boxes` wrote, or nothing where the file is missing or holds something else."""
    try:
        kept = json.loads(file.read_text("utf-8")) if file else {}
        height, width = (int(side) for side in kept["size"])
        boxes = [None if box is None else tuple(float(v) for v in box) for box in kept["boxes"]]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return (1, 1), []
    return (height, width), [box for box in boxes if box is None or len(box) == 4]


def _box(number: int, box: Sequence[float], size: Sequence[int]) -> Box | None:
    height, width = size
    if min(height, width) < 1 or not all(math.isfinite(v) for v in box):
        return None
    x0, x1 = (100 * min(max(v / width, 0.0), 1.0) for v in (box[0], box[2]))
    y0, y1 = (100 * min(max(v / height, 0.0), 1.0) for v in (box[1], box[3]))
    if x1 <= x0 or y1 <= y0:
        return None
    return Box(number, x0, y0, x1 - x0, y1 - y0, min(x0, 95.0), y0 < 8)


def _plot(result: Result) -> Plot | None:
    if result.curve is None:
        return None
    spans = [(n, *region.interval) for n, region in enumerate(result.regions, 1) if region.interval is not None]
    return plot(result.curve, result.threshold, spans)


def _files(result: Result, folder: Path) -> tuple[tuple[str, str, bool], ...]:
    """(what it is, relative path, is it there) of each file a reader may want to open, FILES first."""
    known = [purpose for purpose in FILES if purpose in result.files]
    listed = []
    for purpose in known + sorted(set(result.files) - set(FILES) - {"boxes"}):
        place = inside(folder, result.files[purpose])
        there = place is not None and place.exists()
        listed.append((FILES.get(purpose, purpose), result.files[purpose], there))
    return tuple(listed)


def _size(result: Result) -> str:
    if result.size is None:
        return ""
    if len(result.size) == 2:
        return f"{result.size[1]} × {result.size[0]} px"
    return f"{result.size[0]:,} points"
