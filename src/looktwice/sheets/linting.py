"""Everything that is wrong or odd about a sheet and the files it names, in one pass."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from looktwice import modalities
from looktwice.errors import LookTwiceError, UsageError
from looktwice.records import PointCloudData, Sample
from looktwice.settings import Settings
from looktwice.sheets.draft import KEYS, TESTS, Draft, DraftRule, Finding, Text, read_draft
from looktwice.sheets.files import Found, match, some

# How much references of one modality may differ before one of them is called odd.
SIDE, ASPECT = 2.0, 1.5  # pictures and videos: of side lengths, of width over height
POINTS, EXTENT = 10.0, 2.0  # clouds: of the number of points, of the length across
ASK = "do they show the same thing in the same way?"

PLACEHOLDER = re.compile(
    r"\b(?:todo|tbd|fixme|xxx+|placeholder|lorem ipsum|fill (?:me |this )?in|n/a)\b|\.\.\.|…|<[a-z][a-z _-]*>",
    re.IGNORECASE,
)
FILLERS = frozenset({
    "a", "all", "an", "and", "any", "are", "at", "be", "by", "each", "every", "has", "have", "in", "is", "it", "its",
    "must", "of", "on", "or", "shall", "should", "that", "the", "there", "to", "with",
})  # fmt: skip
ALIKE = 0.8  # words of four letters and more that are this similar differ by a slip or an ending


def lint(path: Path | str, settings: Settings | None = None) -> list[Finding]:
    """Check a sheet and all files it names: every finding, by line; those about the whole sheet come last.

    References are decoded, tests are only hashed. Raises UsageError when there is no text to check.
    """
    path = Path(path)
    draft = read_draft(path)
    findings = [*draft.errors]
    if draft.named:  # else it is no sheet at all, and that is said
        findings += _text_findings(draft)
        found: dict[str, Found] = {}
        for name, patterns in draft.paths.items():
            found[name] = Found()
            findings += _path_findings(name, patterns, path.parent, found[name])
        references, wrong = _decoded(found.get("references", Found()), settings or Settings())
        findings += wrong
        findings += _twin_findings(references)
        findings += _size_findings(references)
        findings += _test_findings(references, found)
    return sorted(findings, key=lambda finding: (finding.line is None, finding.line or 0))


# ---------------------------------------------------------------- words


def _text_findings(draft: Draft) -> Iterator[Finding]:
    for blank in draft.empty:
        yield Finding("warning", blank.line, f"{blank.text} is empty: fill it in, or remove the line")
    absent = {*KEYS} - draft.named
    for key, why in (
        ("task", "say what the inspection is for; models that read text need it"),
        ("object", "say what the parts are called; models that read text need it"),
        ("references", "name normal samples; without them a model can only guess what is normal"),
    ):
        if key in absent:
            yield Finding("warning", None, f"no {key}: {why}")
    named = [*draft.texts.items(), *((f"rule '{rule.id.text}'", rule.text) for rule in draft.rules)]
    for name, text in [*named, *(("a defect", text) for text in draft.defects)]:
        if holder := _placeholder(text.text):
            yield Finding("warning", text.line, f"{name} holds '{holder}': is it a placeholder?")
    yield from _alike_rules(draft.rules)
    first: dict[str, Text] = {}
    for defect in draft.defects:
        if (same := first.setdefault(defect.text.casefold(), defect)) is not defect:
            message = f"the defect '{defect.text}' stands twice, first in line {same.line}"
            yield Finding("warning", defect.line, message)


def _placeholder(text: str) -> str | None:
    if not re.search(r"\w", text):
        return text
    found = PLACEHOLDER.search(text)
    return found[0] if found else None


def _alike_rules(rules: Sequence[DraftRule]) -> Iterator[Finding]:
    words = [_words(rule.text.text) for rule in rules]
    for i, rule in enumerate(rules):
        other = next((rules[j] for j in range(i) if _same_words(words[j], words[i])), None)
        if other is not None:
            same = _plain(rule.text.text) == _plain(other.text.text)
            how = "says the same as" if same else "says nearly the same as"
            message = f"rule '{rule.id.text}' {how} rule '{other.id.text}' (line {other.text.line}): keep one of them"
            yield Finding("warning", rule.text.line, message)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".")


def _words(text: str) -> Counter[str]:
    """The words that carry the meaning, in any order."""
    every = re.findall(r"\w+", text.casefold())
    return Counter(word for word in every if word not in FILLERS) or Counter(every)


def _same_words(a: Counter[str], b: Counter[str]) -> bool:
    """Whether two rules differ at most by slips and endings; "hole 1" and "hole 2", "left" and "right" do not."""
    only_a, only_b = sorted((a - b).elements()), sorted((b - a).elements())
    if len(only_a) != len(only_b) or len(only_a) > max(1, a.total() // 3):
        return False
    return all(_same_word(one, other) for one, other in zip(only_a, only_b, strict=True))


def _same_word(a: str, b: str) -> bool:
    if any(c.isdigit() for c in a + b) or min(len(a), len(b)) < 4:
        return False
    return difflib.SequenceMatcher(None, a, b, autojunk=False).ratio() >= ALIKE


# ---------------------------------------------------------------- files


def _path_findings(name: str, patterns: Sequence[Text], base: Path, found: Found) -> Iterator[Finding]:
    """Resolve the patterns of one list into `found`, and say what is wrong about them."""
    for pattern in patterns:
        try:
            met = match(pattern.text, base)
        except UsageError as error:
            yield Finding("error", pattern.line, f"{name}: {error}")
            continue
        for path in found.add(met.paths, pattern.line):
            yield Finding("warning", pattern.line, f"{name}: {path} is named twice, first in line {found.line(path)}")
        if met.left_out:
            what = "a picture, point cloud or video"
            message = f"{name}: '{pattern.text}' leaves out what is not {what}: {some(met.left_out)}"
            yield Finding("warning", pattern.line, message)


class _Reference(NamedTuple):
    """What is kept of a reference; the sample itself is let go."""

    path: Path
    line: int | None
    modality: str
    sha256: str
    size: tuple[int, ...]  # (H, W) or (N,)
    across: float  # of a cloud: its length across in its own units; 0 for others


def _decoded(found: Found, settings: Settings) -> tuple[list[_Reference], list[Finding]]:
    references, findings = [], []
    for path in found.paths:
        line = found.line(path)
        try:
            sample = modalities.load(path, settings)
        except LookTwiceError as error:
            findings.append(Finding("error", line, f"references: {error}"))
            continue
        references.append(
            _Reference(path, line, sample.modality, sample.sha256, sample.size, _across(sample)),
        )
    return references, findings


def _across(sample: Sample) -> float:
    """The diagonal of a cloud without its outermost hundredths: a stray point must not count."""
    if not isinstance(sample.data, PointCloudData):
        return 0.0
    low, high = np.percentile(sample.data.points[sample.data.valid], [1, 99], axis=0)
    return float(np.linalg.norm(high - low))


def _twin_findings(references: Sequence[_Reference]) -> Iterator[Finding]:
    first: dict[str, _Reference] = {}
    for one in references:
        if (twin := first.setdefault(one.sha256, one)) is not one:
            message = f"references: {one.path} has the same content as {twin.path}: it teaches nothing new"
            yield Finding("warning", one.line, message)


def _size_findings(references: Sequence[_Reference]) -> Iterator[Finding]:
    """Name the references whose size is unlike that of most others of their modality."""
    for name in modalities.MODALITIES:
        same = [one for one in references if one.modality == name]
        if not same:
            continue
        alike: Callable[[_Reference, _Reference], bool] = _alike_clouds if name == "point_cloud" else _alike_pictures
        usual = max(same, key=lambda one: sum(alike(one, other) for other in same))
        odd = [one for one in same if not alike(usual, one)]
        if odd and 2 * (len(same) - len(odd)) <= len(same):  # no majority: which one is odd cannot be told
            pair = f"{usual.path} is {_size(usual)}, {odd[0].path} is {_size(odd[0])}"
            yield Finding("warning", odd[0].line, f"references: they differ wildly in size, {pair}: {ASK}")
            continue
        for one in odd:
            others = f"most others are like {usual.path}, {_size(usual)}"
            yield Finding("warning", one.line, f"references: {one.path} is {_size(one)}, {others}: {ASK}")


def _alike_pictures(a: _Reference, b: _Reference) -> bool:
    (ha, wa), (hb, wb) = a.size, b.size
    return _ratio((ha * wa) ** 0.5, (hb * wb) ** 0.5) < SIDE and _ratio(wa / ha, wb / hb) < ASPECT


def _alike_clouds(a: _Reference, b: _Reference) -> bool:
    return _ratio(a.size[0], b.size[0]) < POINTS and _ratio(a.across, b.across) < EXTENT


def _ratio(a: float, b: float) -> float:
    low, high = sorted((a, b))
    if low == high:
        return 1.0
    return high / low if low > 0 else float("inf")


def _size(one: _Reference) -> str:
    if one.modality == "point_cloud":
        return f"{one.size[0]} points and {one.across:.3g} units across"
    return f"{one.size[1]} x {one.size[0]} px"


def _test_findings(references: Sequence[_Reference], found: Mapping[str, Found]) -> Iterator[Finding]:
    """Tests that prove nothing: parts that are references, or that must both pass and fail."""
    known = {one.sha256: one.path for one in references}
    passing: dict[str, Path] = {}
    for name in TESTS:
        tests = found.get(name, Found())
        for path in tests.paths:
            line = tests.line(path)
            try:
                digest = modalities.sha256_of(path)
            except OSError as error:
                yield Finding("error", line, f"{name}: {path}: cannot be read: {error.strerror}")
                continue
            if name == "must_pass":
                passing.setdefault(digest, path)
            elif digest in passing:
                yield Finding("error", line, f"{name}: {_both(path, passing[digest])} is also in must_pass")
            if digest not in known:
                continue
            same = f"{name}: {_both(path, known[digest])} is also a reference"
            if name == "must_fail":
                yield Finding("error", line, f"{same}: references must be normal")
            else:
                yield Finding("warning", line, f"{same}: that it passes proves nothing")


def _both(path: Path, other: Path) -> str:
    same = path.exists() and other.exists() and path.samefile(other)
    return str(path) if same else f"{path} (same content as {other})"
