"""Answers that can be counted: yes or no, and the options of MMAD.

An answer that cannot be read is wrong, stays in the denominator and is reported: a model must not gain by mumbling.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from looktwice.errors import UsageError, unknown_name
from looktwice.metrics.ranking import NAN

# ---------------------------------------------------------------- yes or no

_ANSWER_LEAD = r"[\s*_\"'`#>({\[-]*(?:(?:final\s+)?answer\s*(?:is|:)?[\s*_\"'`:]*)?"
_NOT_AN_ANSWER = r"(?!\s*(?:,?\s*or\s+(?:yes|no)\b|/\s*(?:yes|no)\b|idea\b|doubt\b|clue\b|opinion\b|answer\b|matter\b))"


YesNoRule = Literal["strict", "substring"]


@dataclass(frozen=True)
class YesNo:
    """How N yes/no answers did; "yes" means anomalous. Shares in [0, 1], NaN where nothing is counted."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    unparsed: int  # answers that could not be read, each counted as wrong
    items: int  # N


def yes_no(answers: Sequence[str | bool | None], labels: Sequence[bool | int], rule: YesNoRule = "strict") -> YesNo:
    """Accuracy, precision, recall and F1 of yes/no answers against labels (1 = anomalous = yes).

    Texts are read by `parse_yes_no` with `rule`. An unread answer (or None) counts as the opposite of the truth: a
    false alarm on a normal item, a miss on an anomalous one. Without any "yes" precision is NaN when nothing is
    anomalous, else 0.

    >>> yes_no(["Yes, a crack.", "No.", "Hmm."], [1, 0, 0])
    YesNo(accuracy=0.6666666666666666, precision=0.5, recall=1.0, f1=0.6666666666666666, unparsed=1, items=3)
    """
    if len(answers) != len(labels):
        raise UsageError(f"{len(answers)} answers have {len(labels)} labels: give one per answer")
    truth = [bool(label) for label in labels]
    read = [parse_yes_no(answer, rule) if isinstance(answer, str) else answer for answer in answers]
    said = [(not true) if answer is None else bool(answer) for answer, true in zip(read, truth, strict=True)]
    hits = sum(s and t for s, t in zip(said, truth, strict=True))
    wrong = sum(s != t for s, t in zip(said, truth, strict=True))
    alarms, defects = sum(said), sum(truth)
    empty = NAN if not defects else 0.0
    return YesNo(
        accuracy=(len(truth) - wrong) / len(truth) if truth else NAN,
        precision=hits / alarms if alarms else empty,
        recall=hits / defects if defects else NAN,
        f1=2 * hits / (alarms + defects) if alarms + defects else NAN,
        unparsed=sum(answer is None for answer in read),
        items=len(truth),
    )


def parse_yes_no(text: str, rule: YesNoRule = "strict") -> bool | None:
    """True for yes, False for no; None rather than a guess.

    "strict": the reply must begin with the word, whatever marks stand before it, or say "answer: yes" or "answer is no"
    once or always alike. "No idea", "yes or no" and a "no" in the middle of a sentence are None. "substring" is the
    published rule of VisA-D&R: Yes or yes anywhere is yes, anything else is no.

    >>> parse_yes_no("**Yes**, there is a scratch."), parse_yes_no("No."), parse_yes_no("There is no way to tell.")
    (True, False, None)
    >>> parse_yes_no("I cannot say yes or no.", rule="substring")
    True
    """
    if rule == "substring":
        return "Yes" in text or "yes" in text
    begins = re.match(rf"{_ANSWER_LEAD}(yes|no)\b{_NOT_AN_ANSWER}", text, re.IGNORECASE)
    if begins:
        return begins[1].lower() == "yes"
    pattern = rf"\banswer\s*(?:is|:)[\s*_\"'`:]*(yes|no)\b{_NOT_AN_ANSWER}"
    said = {word.lower() for word in re.findall(pattern, text, re.IGNORECASE)}
    return said.pop() == "yes" if len(said) == 1 else None


# ---------------------------------------------------------------- options

LETTERS = ("A", "B", "C", "D", "E")


ChoiceRule = Literal["strict", "last", "first"]


def parse_choice(reply: str, options: Mapping[str, str] | None = None, rule: ChoiceRule = "strict") -> str | None:
    """The letter A to E that a reply chooses, or None.

    "strict" accepts a letter alone ("B", "(B)."), before its text at the start of a line ("B. a crack"), after
    "answer", "option" or "choice" ("The answer is B"), and the exact text of one of `options`; different letters are
    None, and so is the article in "A crack". "last" and "first" take that lone letter wherever it stands, as published
    scripts do.

    >>> parse_choice("A crack runs along the rim, so the answer is B."), parse_choice("A crack runs along the rim.")
    ('B', None)
    """
    if rule != "strict":
        letters = re.findall(r"\b([A-E])\b", reply)
        return letters[-1 if rule == "last" else 0] if letters else None
    marks = r"[\s*_\"'`(\[]*"
    alone = re.fullmatch(rf"{marks}([A-E])[\s*_\"'`.):\]]*", reply)
    if alone:
        return alone[1]
    article = r"(?<=A)\s+(?!is\b|because\b|since\b|as\b|for\b|and\b|but\b)[a-z]"  # "the answer is A crack"
    named = re.findall(rf"(?i:\b(?:answer|option|choice)\b(?:\s+is)?\s*:?){marks}([A-E])\b(?!{article})", reply)
    starts = re.findall(rf"^{marks}([A-E])(?:[.):\]]+|\*\*)(?=\s|$)", reply, re.MULTILINE)
    chosen = set(named) or set(starts) or _by_text(reply, options or {})
    return chosen.pop() if len(chosen) == 1 else None


def _by_text(reply: str, options: Mapping[str, str]) -> set[str]:
    plain = reply.strip(" \n\t.*\"'").casefold()
    return {letter for letter, text in options.items() if text.strip(" .").casefold() == plain}


# ---------------------------------------------------------------- MMAD

DETECTION = "Anomaly Detection"
OBJECT_ANALYSIS = "Object Analysis"
MERGED = {"Object Structure": OBJECT_ANALYSIS, "Object Details": OBJECT_ANALYSIS}
SUB_TASKS = (
    DETECTION,
    "Defect Classification",
    "Defect Localization",
    "Defect Description",
    "Defect Analysis",
    "Object Classification",
    OBJECT_ANALYSIS,
)
AVERAGE = "Average"


@dataclass(frozen=True)
class MmadTable:
    """Accuracies of MMAD in percent, as its paper prints them; NaN where nothing was asked."""

    accuracy: dict[str, dict[str, float]]  # set (and "Average") -> sub-task (and "Average") -> percent
    overkill: dict[str, float]  # set -> percent of normal images called anomalous or answered unreadably
    miss: dict[str, float]  # set -> percent of anomalous images called normal or answered unreadably
    unparsed: dict[str, int]  # set -> answers that are no letter
    answers: dict[str, dict[str, int]]  # sub-task -> letter -> how often it was given: shows a model that always says B


def mmad_accuracy(rows: Iterable[Mapping[str, str | None]], compat: bool = False) -> MmadTable:
    """The seven sub-task accuracies of MMAD per set, their mean, and the mean over the sets.

    A row has "image" ("SET/class/.../name"), "question_type", "correct_answer" and "gpt_answer" (a letter A to E, else
    it counts as unread). Object Structure and Object Details count together as Object Analysis. Anomaly Detection is
    the mean of the accuracies on normal and on anomalous images; an image is normal when a folder of its path is
    "good".

    `compat=True` gives the figures of the published script instead: unread answers leave the count, each removal skips
    the row behind it, a sub-task or image kind without questions counts as 0, and "good" anywhere in the path means
    normal. Raises UsageError on a row that lacks a key and, unless compat, on an unknown type or a truth that is no
    letter.
    """
    table = [_checked_row(row, index, compat) for index, row in enumerate(rows)]
    sets = list(dict.fromkeys(row.set for row in table))
    types = list(dict.fromkeys(row.type for row in table)) if compat else list(SUB_TASKS)
    counted = _as_the_script_skips(table) if compat else table
    empty = 0.0 if compat else NAN
    accuracy: dict[str, dict[str, float]] = {}
    overkill, miss = {}, {}
    for name in sets:
        own = [row for row in counted if row.set == name]
        cells = {kind: _percent([row for row in own if row.type == kind], empty) for kind in types}
        detection = [row for row in own if row.type == DETECTION]
        on_normal = _percent([row for row in detection if row.normal], empty)
        on_anomalous = _percent([row for row in detection if not row.normal], empty)
        if DETECTION in types:
            cells[DETECTION] = (on_normal + on_anomalous) / 2
        accuracy[name] = {**cells, AVERAGE: _mean(cells.values())}
        overkill[name], miss[name] = 100 - on_normal, 100 - on_anomalous
    if sets:
        accuracy[AVERAGE] = {kind: _mean([accuracy[name][kind] for name in sets]) for kind in [*types, AVERAGE]}
    given = {kind: Counter(row.answer for row in counted if row.type == kind) for kind in types}
    return MmadTable(
        accuracy=accuracy,
        overkill=overkill,
        miss=miss,
        unparsed={name: sum(row.set == name and row.answer not in LETTERS for row in table) for name in sets},
        answers={kind: {letter: count[letter] for letter in LETTERS if count[letter]} for kind, count in given.items()},
    )


@dataclass(frozen=True)
class _Row:
    key: tuple[tuple[str, str | None], ...]  # the whole row: the published script removes the first equal one
    set: str
    type: str
    normal: bool
    truth: str | None
    answer: str | None

    @property
    def right(self) -> bool:
        return self.answer == self.truth


def _checked_row(row: Mapping[str, str | None], index: int, compat: bool) -> _Row:
    for key in ("image", "question_type", "correct_answer", "gpt_answer"):
        if key not in row:
            raise UsageError(f"MMAD row {index} lacks '{key}': it has {', '.join(sorted(row))}")
    image, kind = str(row["image"]), str(row["question_type"])
    merged = MERGED.get(kind, kind)
    if not compat and merged not in SUB_TASKS:
        raise unknown_name("MMAD question type", kind, [*SUB_TASKS, *MERGED])
    if not compat and row["correct_answer"] not in LETTERS:
        raise UsageError(f"MMAD row {index}: correct_answer must be one of A to E, got {row['correct_answer']!r}")
    return _Row(
        key=tuple(sorted(row.items())),
        set=image.split("/")[0],
        type=merged,
        normal="good" in (image if compat else image.split("/")[:-1]),
        truth=row["correct_answer"],
        answer=row["gpt_answer"],
    )


def _as_the_script_skips(rows: list[_Row]) -> list[_Row]:
    """The rows that the published script counts: it removes unread ones from the list that it is walking over."""
    left, counted, place = list(rows), [], 0
    keys = [row.key for row in left]
    while place < len(left):
        row = left[place]
        if row.truth in LETTERS and row.answer in LETTERS:
            counted.append(row)
        else:
            first = keys.index(row.key)
            del left[first], keys[first]
        place += 1  # after a removal this steps over the row that moved up
    return counted


def _percent(rows: list[_Row], empty: float) -> float:
    return 100 * sum(row.right for row in rows) / len(rows) if rows else empty


def _mean(values: Iterable[float]) -> float:
    """Plain mean of what is defined."""
    defined = [value for value in values if value == value]
    return sum(defined) / len(defined) if defined else NAN
