"""What can be said about a scene, and is true of it: sentences, questions with answers, and rules with reasons.

Everything is written from what is known: the design, what happened to which part, and the mask. Places are cells of a
3 x 3 grid over the picture, with the words that results of an inspection use. A grammar chooses among phrases with a
stream of its own, so that records of one seed are always alike and those of two hardly ever. Letters: H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from looktwice.data.procedural.canvas import generator, key_of
from looktwice.data.procedural.design import Design, colour_name
from looktwice.data.procedural.phrases import (
    ADVICE,
    FILM_KINDS,
    IMPACT,
    KINDS,
    MOTION_ADVICE,
    MOTION_IMPACT,
    NEAR_MISS_WORDS,
    RULES,
    SEEN,
    USES,
)
from looktwice.records import RuleFinding

if TYPE_CHECKING:
    from looktwice.data.procedural.scenes import Family, Scene

CELLS = (
    ("upper left", "upper centre", "upper right"),
    ("centre left", "centre", "centre right"),
    ("lower left", "lower centre", "lower right"),
)


@dataclass(frozen=True)
class Rule:
    """A rule of an expert, the group of defects that break it, and the part it counts, if it counts one."""

    id: str
    text: str
    group: str
    part: str = ""


@dataclass(frozen=True)
class Question:
    """A question about a picture and its answer; `kind` says what is asked for."""

    kind: str
    question: str
    answer: str


@dataclass(frozen=True)
class Telling:
    """Everything that is said about one scene."""

    where: str  # "upper left"; "" for a normal part
    cells: tuple[str, ...]  # all cells that hold a piece of the mask, the largest piece first
    share: float  # of the picture, 0..1
    description: str
    impact: str  # "" for a normal part, and the next one
    recommendation: str
    questions: tuple[Question, ...]
    rules: tuple[RuleFinding, ...]

    @property
    def answer(self) -> str:
        """Description, impact and recommendation in one."""
        return " ".join(text for text in (self.description, self.impact, self.recommendation) if text)


# ---------------------------------------------------------------- places and sizes


def cell_of(row: float, column: float, size: tuple[int, int]) -> str:
    """The cell of a 3 x 3 grid over an (H, W) picture that holds a pixel."""
    return CELLS[min(2, int(3 * row / size[0]))][min(2, int(3 * column / size[1]))]


def places(mask: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    """The cells of the centroids of all pieces of a mask (H, W), the largest piece first, each once."""
    labels, many = ndimage.label(mask, np.ones((3, 3)))
    if many == 0:
        return ()
    rows, columns = np.nonzero(labels)
    piece = labels[rows, columns]
    area = np.bincount(piece)[1:]
    row, column = (np.bincount(piece, x + 0.5)[1:] / area for x in (rows, columns))
    order = np.argsort(-area, kind="stable")
    large = [i for i in order if area[i] >= 0.15 * area[order[0]]]
    return tuple(dict.fromkeys(cell_of(row[i], column[i], mask.shape) for i in large))


def size_word(share: float) -> str:
    """A word for a share of the picture."""
    return next(
        word
        for limit, word in ((0.002, "tiny"), (0.01, "small"), (0.05, "medium-sized"), (9, "large"))
        if share < limit
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 else "less than 0.1 %"


# ---------------------------------------------------------------- the family


def rules_of(made: Family) -> tuple[Rule, ...]:
    """The rules that an expert wrote down for this family: some of those that its defects break."""
    rng = generator(*made.seeds, 21)
    counts = part_counts(made.design)
    rules = []
    for group in dict.fromkeys(KINDS[name].group for name in made.defects):
        part = max(counts, key=lambda name: (counts[name], name), default="") if group == "missing" else ""
        if group != "missing" or part:
            texts = RULES[group][0]
            text = texts[int(rng.integers(len(texts)))].format(
                object=made.object, part=part, many=_count(counts.get(part, 0), part)
            )
            rules.append(Rule(group, text, group, part))
    return tuple(rules[i] for i in sorted(rng.permutation(len(rules))[: max(3, int(0.8 * len(rules)))]))


def part_counts(design: Design) -> dict[str, int]:
    """How many parts of each name a good item has, of those that could be missing."""
    counts: dict[str, int] = {}
    for part in design.parts:
        if "miss" in part.can:
            counts[part.name] = counts.get(part.name, 0) + 1
    return counts


# ---------------------------------------------------------------- the grammar


class _Grammar:
    """Chooses phrases; one per scene."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.rng = generator(*scene.family.seeds, scene.index, key_of(scene.defect_type + scene.near_miss), 22)
        self.cells = places(scene.mask)
        self.share = float(scene.mask.mean())
        self.kind = KINDS.get(scene.defect_type)
        self.subject = scene.subject or scene.object

    def one(self, *texts: str) -> str:
        return texts[int(self.rng.integers(len(texts)))]

    @property
    def where(self) -> str:
        return self.cells[0] if self.cells else ""

    def at(self) -> str:
        place = self.one(
            "at the {}", "in the {} of the picture", "in the {} part", "in the {} area", "at the {} of the picture"
        ).format(self.where)
        return place.replace("the centre of the picture", "the centre")

    def object(self) -> str:
        """ "a dark grey gear wheel of cast iron": what the picture shows."""
        design, scene = self.scene.family.design, self.scene
        colour = colour_name(design.colour) if not design.handling.grey else ""
        noun = self.one(scene.object, scene.object, f"{colour} {scene.object}".strip())
        if design.material not in noun and self.rng.uniform() < 0.6:
            noun = f"{noun} of {design.material}" if self.rng.uniform() < 0.6 else f"{noun} ({design.material})"
        return _a(noun)

    def parts(self) -> str:
        """Something about its parts, or nothing."""
        counts = part_counts(self.scene.family.design)
        if not counts or self.rng.uniform() < 0.4:
            return ""
        names = list(counts)
        name = names[int(self.rng.integers(len(names)))]
        return (
            f" with {_count(counts[name], name)}"
            if self.scene.subject != name
            else f" that should have {_count(counts[name], name)}"
        )

    def fault(self) -> str:
        """The sentence about the defect, without its end mark."""
        assert self.kind is not None
        if self.kind.sentence:
            text = self.kind.sentence.format(subject=self.subject, where=self.at())
            return text if self.rng.uniform() < 0.5 else text + self.extent()
        noun = self.kind.nouns[int(self.rng.integers(len(self.kind.nouns)))]
        adjective = self.one(
            "", size_word(self.share) + " ", self.strong() + " ", f"{size_word(self.share)}, {self.strong()} "
        ).strip()
        verb = self.kind.verbs[int(self.rng.integers(len(self.kind.verbs)))]
        text = f"{_a(f'{adjective} {noun}'.strip())} {verb} {self.at()}"
        return text + (self.extent() if self.rng.uniform() < 0.5 else "")

    def strong(self) -> str:
        """How plain it is."""
        contrast = self.scene.contrast
        return (
            self.one("faint", "subtle", "barely visible")
            if contrast < 1.5
            else self.one("clear", "distinct", "plain")
            if contrast < 4
            else self.one("obvious", "striking", "very clear")
        )

    def extent(self) -> str:
        share = _percent(self.share)
        if self.kind is not None and self.kind.sentence:
            return self.one(f" ({share} of the picture)", f"; {share} of the picture are concerned")
        return self.one(
            f", about {share} of the picture",
            f"; it covers {share} of the picture",
            f" and takes up {share} of the picture",
        )

    def elsewhere(self) -> str:
        others = self.cells[1:]
        return f" More of it is seen at the {_listed(others)}." if others else ""

    def description(self) -> str:
        shows = self.one(
            "The image shows {}{}.", "This is {}{}.", "We see {}{}.", "The picture shows {}{}.", "Shown is {}{}."
        ).format(self.object(), self.parts())
        if self.kind is None:
            fine = self.one(
                "There is no anomaly",
                "No defect is found",
                "Everything looks as it should",
                "It matches the good parts",
                "Nothing is wrong with it",
            )
            odd = NEAR_MISS_WORDS.get(self.scene.near_miss, "").format(object=self.scene.object)
            return f"{shows} {fine}{': ' + odd if odd else ''}."
        return f"{shows} {_upper(self.fault())}.{self.elsewhere()}"

    def impact(self) -> str:
        if self.kind is None:
            return ""
        first = self.one(*IMPACT[self.kind.group]).format(object=self.scene.object, subject=self.subject)
        if self.scene.family.design.use == "organ":
            return (
                self.one(
                    "It differs from healthy tissue; ",
                    "It breaks the usual pattern; ",
                    "It stands out from its surroundings; ",
                )
                + self.one(*USES["organ"])
                + "."
            )
        if (
            self.kind.group in ("surface", "dirt", "colour") and self.scene.family.design.use not in SEEN
        ) or self.rng.uniform() < 0.3:
            return f"{first}."
        last = self.one(*USES[self.scene.family.design.use])
        return f"{first}{self.one('; ', ', and so ', ': ')}{last}."

    def recommendation(self) -> str:
        if self.kind is None:
            return self.one("No action is needed.", "It can be released.", "Pass it on.", "Nothing needs to be done.")
        if self.scene.family.design.use == "organ":
            return self.one(
                "Have it examined by a specialist.",
                "Show it to a physician.",
                "Compare it with earlier images and have it examined.",
            )
        advice = self.one(*ADVICE[self.kind.group]).format(object=self.scene.object, subject=self.subject)
        first = self.one("", "Best ", "We advise: ", "Next step: ")
        return _upper(f"{first}{advice}.")

    # -------------------------------------------------------- questions

    def questions(self, description: str, impact: str, recommendation: str) -> tuple[Question, ...]:
        name = self.scene.object
        bad = self.kind is not None
        verdict = (
            self.one("Yes.", "Yes, there is an anomaly.", "Yes, it is defective.")
            if bad
            else self.one("No.", "No, there is no anomaly.", "No, it is normal.")
        )
        asked = self.one(
            f"Is there any anomaly in this image of {_a(name)}?",
            f"Would you identify any irregularities on the {name}?",
            f"Does this {name} have a defect?",
            f"Please inspect the {name}. Is something wrong with it?",
            f"Can you see anything unusual about this {name}?",
        )
        found = [Question("detection", asked, f"{verdict} {description}")]
        if bad:
            assert self.kind is not None
            noun = self.kind.nouns[0]
            found += [
                Question(
                    "type",
                    self.one("What kind of defect is it?", "What is the defect?", f"What is wrong with the {name}?"),
                    f"{_upper(_a(noun))}." if not self.kind.sentence else f"{_upper(self.fault())}.",
                ),
                Question(
                    "location",
                    self.one("Where is it?", "Where is the defect?", "In which part of the picture is it?"),
                    f"{_upper(self.at())}.{self.elsewhere()}",
                ),
                Question(
                    "size",
                    self.one("How large is it?", "How much of the picture does it cover?"),
                    f"It is {size_word(self.share)}: about {_percent(self.share)} of the picture.",
                ),
                Question(
                    "impact",
                    self.one("What may it lead to?", "Why does it matter?", "What are the consequences?"),
                    impact,
                ),
                Question(
                    "recommendation",
                    self.one("What should be done?", "What do you recommend?", "How should we handle it?"),
                    recommendation,
                ),
            ]
        else:
            found.append(
                Question("recommendation", self.one("What should be done?", "Can it be released?"), recommendation)
            )
        found.append(self._about_another_kind())
        found.append(self._about_a_cell())
        counted = self._about_a_count()
        return tuple(found + ([counted] if counted else []))

    def _about_another_kind(self) -> Question:
        names = sorted(KINDS)
        asked = KINDS[names[int(self.rng.integers(len(names)))]]
        noun = asked.nouns[0]
        question = self.one(f"Is there {_a(noun)}?", f"Do you see {_a(noun)}?")
        if self.kind is None:
            return Question(
                "other", question, self.one(f"No, there is no {noun}.", "No, nothing of that kind is seen.")
            )
        if asked is self.kind:
            return Question("other", question, f"Yes, {self.at()}.")
        mine = self.kind.nouns[0]
        return Question("other", question, f"No. What is seen is {_a(mine)}.")

    def _about_a_cell(self) -> Question:
        row, column = (int(i) for i in self.rng.integers(3, size=2))
        height, width = self.scene.mask.shape
        part = self.scene.mask[
            row * height // 3 : (row + 1) * height // 3, column * width // 3 : (column + 1) * width // 3
        ]
        cell = CELLS[row][column]
        question = self.one(f"Is the {cell} all right?", f"Is the {cell} of the picture free of defects?")
        return Question(
            "cell",
            question,
            f"No, part of the defect is at the {cell}." if part.any() else f"Yes, nothing is wrong at the {cell}.",
        )

    def _about_a_count(self) -> Question | None:
        counts = part_counts(self.scene.family.design)
        if not counts:
            return None
        names = list(counts)
        name = names[int(self.rng.integers(len(names)))]
        gone = int(self.scene.defect_type == "missing_part" and self.scene.subject == name)
        if self.scene.defect_type == "extra_part" or (
            self.scene.defect_type == "broken_part" and self.scene.subject == name
        ):
            return None
        many, be = counts[name], "is" if counts[name] - gone == 1 else "are"
        if gone:
            answer = (
                f"There {be} {many - 1} of {_count(many, name)}; one is missing." if many > 1 else "No, it is missing."
            )
        else:
            answer = f"There {be} {_count(many, name)}, as there should be."
        return Question("count", self.one(f"How many {_plural(name)} are there?", f"Is every {name} there?"), answer)

    # -------------------------------------------------------- rules

    def rules(self) -> tuple[RuleFinding, ...]:
        findings = []
        for rule in self.scene.family.rules:
            broken = self.kind is not None and rule.group == self.kind.group and rule.part in ("", self.subject)
            reason = _upper(self.fault()) + "." if broken else self.one(*RULES[rule.group][1]).format(part=rule.part)
            findings.append(
                RuleFinding(id=rule.id, text=rule.text, verdict="broken" if broken else "kept", reason=reason)
            )
        return tuple(findings)


def tell(scene: Scene) -> Telling:
    """Everything that is said about a scene."""
    grammar = _Grammar(scene)
    description, impact, recommendation = grammar.description(), grammar.impact(), grammar.recommendation()
    questions = grammar.questions(description, impact, recommendation)
    return Telling(
        grammar.where, grammar.cells, grammar.share, description, impact, recommendation, questions, grammar.rules()
    )


# ---------------------------------------------------------------- English


def _a(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _count(many: int, name: str) -> str:
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    number = words[many] if many < len(words) else str(many)
    return f"{number} {name if many == 1 else _plural(name)}"


def _plural(name: str) -> str:
    head, sep, rest = name.partition(" of ")
    if sep:
        return f"{_plural(head)} of {rest}"
    head, sep, rest = name.partition(" in ")
    if sep:
        return f"{_plural(head)} in {rest}"
    if name.endswith(("s", "x", "ch", "sh")):
        return name + "es"
    return (
        name[:-1] + "ies"
        if name.endswith("y") and name[-2] not in "aeiou"
        else {"tooth": "teeth"}.get(name, name + "s")
    )


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


# ---------------------------------------------------------------- clouds and videos


@dataclass(frozen=True)
class Saying:
    """What is said about a cloud or a video."""

    where: str
    description: str
    impact: str
    recommendation: str

    @property
    def answer(self) -> str:
        """Description, impact and recommendation in one."""
        return " ".join(text for text in (self.description, self.impact, self.recommendation) if text)


def say(
    rng: np.random.Generator, name: str, material: str, defect: str, subject: str, where: str, share: float, whole: str
) -> Saying:
    """Sentences about something that is not a picture: `where` in words, `share` of `whole` concerned."""

    def one(*texts: str) -> str:
        return texts[int(rng.integers(len(texts)))]

    shown = one(f"Shown is {_a(name)}", f"This is {_a(name)}", f"The recording shows {_a(name)}") + (
        f" of {material}." if material and rng.uniform() < 0.6 else "."
    )
    if not defect:
        fine = one("There is no anomaly.", "Everything is as it should be.", "It matches the good ones.")
        return Saying("", f"{shown} {fine}", "", one("No action is needed.", "It can be released."))
    film = defect in FILM_KINDS and whole == "the frames"
    kind = FILM_KINDS[defect] if film else KINDS[defect]
    place = where if film else one(f"at the {where}", f"({where})")
    noun = kind.nouns[int(rng.integers(len(kind.nouns)))]
    fault = (
        kind.sentence.format(subject=subject or name, where=place)
        if kind.sentence
        else f"{_a(noun)} {kind.verbs[int(rng.integers(len(kind.verbs)))]} {place}"
    )
    extent = one("", f" ({_percent(share)} of {whole})")
    impact = one(*(MOTION_IMPACT if kind.group == "motion" else IMPACT[kind.group])).format(
        object=name, subject=subject or name
    )
    advice = one(*(MOTION_ADVICE if kind.group == "motion" else ADVICE[kind.group])).format(
        object=name, subject=subject or name
    )
    return Saying(where, f"{shown} {_upper(fault)}{extent}.", f"{impact}.", _upper(f"{advice}."))
