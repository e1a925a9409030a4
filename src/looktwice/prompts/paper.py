"""The prompts of Customizable-VLM as published (Xu et al., arXiv 2403.11083), and of the authors' earlier study.

The ladder T, + C, + N, + R stacks the task, the class, normality rules and a reference (cases of
caoyunkang/GPT4V-for-Generic-Anomaly-Detection at a6d6804). The form of the answer is that of `ad_prompt.txt`
(Xiaohao-Xu/Customizable-VLM at d6e0087), whose whole text comes out where a sheet names an object and no rules.
Its polarity, 1 for normal, ends here. In the published one-shot cases with rules "given" is followed by two spaces;
here, as in `ad_prompt.txt`, by one.

Not in the ladder, and so not told in this style: the sheet's own task and context.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from looktwice.prompts import question
from looktwice.prompts.answer import Answer, clean, text
from looktwice.prompts.inspector import ENGLISH
from looktwice.prompts.loose import objects, spoken
from looktwice.prompts.style import Brief
from looktwice.prompts.templates import Templates

Wording = Literal["image", "depth", "logical", "medical"]
Reading = Literal["lenient", "reference", "reference-internvl"]

REASON = "If yes, give a specific reason."
LOCATED = "The first image needs to be inspected. The second image contains its corresponding marks."
CORRECTNESS = re.compile(r"[\"']?correctness[\"']?\s*[:=]\s*[\"']?([01])\b(?!\.)")


class Paper:
    """Renders and reads prompts of this style; the lengths of lists do not change them."""

    def __init__(
        self,
        templates: Templates,
        language: str = ENGLISH,
        wording: Wording | Literal["auto"] = "auto",
        reading: Reading = "lenient",
    ) -> None:
        self.templates, self.language, self.wording, self.reading = templates, language, wording, reading

    def opening(self, brief: Brief, formatted: bool = True) -> str:
        """The question of the ladder and the form of the answer; a template of the user's own stands as it is."""
        spec = brief.spec
        whole = self.templates.fill("ad_prompt", {"0": clean(spec.object)})
        form = whole.partition("\n\n")[2]
        wording = self.wording if self.wording != "auto" else "depth" if brief.kind == "points" else "image"
        asked = ladder(
            clean(spec.object),
            tuple(clean(rule.text) for rule in spec.rules) if "rules" in brief.parts else None,
            tuple(map(clean, spec.defects)),
            one_shot=brief.references > 0,
            wording=wording,
            located=brief.marks > 0,
        )
        if formatted:
            asked = whole if "ad_prompt" in self.templates.own else f"{asked}\n\n{form}"
        if self.language != ENGLISH:
            asked += "\n\n" + self.templates.fill("inspector.language", language=self.language)
        return asked

    def reference(self, number: int, of: int, name: str) -> str:
        """Nothing: the text says which picture is which."""
        return ""

    def part(self, brief: Brief) -> str:
        """Nothing."""
        return ""

    def picture(self, number: int, of: int, name: str) -> str:
        """Nothing."""
        return ""

    def grid(self, brief: Brief) -> str:
        """Nothing."""
        return ""

    def closing(self, brief: Brief) -> str:
        """Nothing: the form of the answer stands in the opening."""
        return ""

    def schema(self, brief: Brief) -> Mapping[str, Any] | None:
        """None: the published run sends none."""
        return None

    def parse(self, text: str, brief: Brief) -> Answer | None:
        """Read reasoning and correctness, as the published code does or leniently."""
        return parse_lenient(text) if self.reading == "lenient" else parse_reference(text, self.reading)

    def repair(self) -> str:
        """Ask again, except where answers are read as the published code reads them."""
        return self.templates.fill("inspector.repair") if self.reading == "lenient" else ""


def ladder(
    object: str = "",
    rules: tuple[str, ...] | None = None,
    defects: tuple[str, ...] = (),
    one_shot: bool = False,
    wording: Wording = "image",
    located: bool = False,
) -> str:
    """The question, byte for byte as published for these inputs.

    object: what the parts are called, in the plural for `logical`; "" leaves the class out. rules: a normal standard
    in a few words ("clear and identifiable bottles"), or whole sentences, which stand as they are; None leaves this
    rung out, () takes the standard of `ad_prompt.txt` unless there are defects. located: a second picture shows
    numbered marks.

    >>> ladder("bottle", ("clear and identifiable bottles",), ("broken parts",)).partition(" If yes")[2]
    ', give a specific reason. Normally, the image given should depict clear and identifiable bottles. \
It may have defects such as broken parts.'
    """
    if wording == "logical":
        return _logical(object, rules or (), one_shot)
    if located:
        return f"{LOCATED} Please determine whether the image contains {_anomalies(wording)}. {REASON}"
    if wording == "medical":
        return " ".join(filter(None, (_medical(object, one_shot), _classes(rules or (), defects))))
    image = "rendered depth image" if wording == "depth" else "image"
    about = f" given about the {object}" if object else ""
    first = f"The first {image}{about} is normal. " if one_shot else ""
    which = f"second {image}" if one_shot else image
    asked = f"{first}Please determine whether the {which}{about} contains {_anomalies(wording)}. {REASON}"
    return asked if rules is None else " ".join(filter(None, (asked, _normality(object, rules, defects))))


def _anomalies(wording: Wording) -> str:
    return "anomalies" if wording == "medical" else "anomalies or defects"


def _normality(object: str, rules: tuple[str, ...], defects: tuple[str, ...]) -> str:
    if not rules and not defects:
        if not object:
            return ""
        rules, defects = (f"clear and identifiable {object}",), ("broken parts", "and contaminations")
    sentences = []
    if phrases := [rule for rule in rules if not rule.endswith(".")]:
        sentences.append(f"Normally, the image given should depict {', '.join(phrases)}.")
    sentences += [rule for rule in rules if rule.endswith(".")]
    if defects:
        sentences.append(f"It may have defects such as {', '.join(defects)}.")
    return " ".join(sentences)


def _logical(object: str, rules: tuple[str, ...], one_shot: bool) -> str:
    about = f" given about {object}" if object else ""
    sentences = []
    if rules:
        numbered = " ".join(f"{i}. {rule}" for i, rule in enumerate(rules, 1))
        sentences.append(f"The image{about} should obey the following rules: {numbered}")
    if one_shot:
        sentences.append("The first image meets all the standards and is normal.")
    which = "second" if one_shot else "given"
    sentences.append(f"Please determine whether the {which} image contains {_anomalies('logical')}. {REASON}")
    return " ".join(sentences)


def _medical(object: str, one_shot: bool) -> str:
    if one_shot:
        of, given = (f" of {object}", " given") if object else ("", "")
        return (
            f"The first image{of} is normal. "
            f"Please determine whether the second image{given} contains anomalies. {REASON}"
        )
    if object:
        return f"Please determine whether this {object} image contains any anomalies. If yes, please give your reason."
    return f"Please determine whether the image contains anomalies. {REASON}"


def _classes(rules: tuple[str, ...], defects: tuple[str, ...]) -> str:
    """What the picture may show: "normal or hemorrhage", "normal, a or b"."""
    sentences = list(rules)
    if defects:
        known = ("normal", *defects)
        sentences.append(f"The image given should be classified as {', '.join(known[:-1])} or {known[-1]}.")
    return " ".join(sentences)


# ---------------------------------------------------------------- reading


def parse_reference(reply: str, reading: Reading = "reference") -> Answer | None:
    """Read a reply exactly as the published code does; None where that code drops the item.

    `reference` is the rule of main_gpt.py, main_gemini.py and main_qwenvl2.py: every backslash, line break and tab of
    the reply is escaped first, so that JSON over several lines and escaped quotes fail. `reference-internvl` is that of
    main_internvl2.py: they are deleted, and so are ``` and the word json. Both keys must be there; correctness may be
    anything, and what is not 1 or 0 cannot be scored here and counts as dropped.
    """
    if reading == "reference-internvl":
        for char in ("\\", "\n", "\t", "\r", "```", "json"):
            reply = reply.replace(char, "")
    else:
        reply = reply.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    try:
        made = json.loads(reply)
        reasoning, correctness = made["reasoning"], made["correctness"]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None
    return _answer(reasoning, correctness)


def parse_lenient(reply: str) -> Answer | None:
    """Read the first object that holds a correctness, else its value in the text, else a leading yes or no."""
    said = spoken(reply)
    for made in objects(said):
        answer = _answer(made.get("reasoning"), made.get("correctness"))
        if answer is not None:
            return answer
    values = {found[1] for found in CORRECTNESS.finditer(said)}
    if len(values) == 1:
        return _answer(said, int(values.pop()))
    anomalous = question.parse(said) if not values else None
    return None if anomalous is None else _answer(said, int(not anomalous))


def _answer(reasoning: Any, correctness: Any) -> Answer | None:
    """1 is normal. "1" is taken for 1, and 1.0 and true equal it."""
    if isinstance(correctness, str) and correctness.strip() in ("0", "1"):
        correctness = int(correctness)
    if not isinstance(correctness, (int, float)) or correctness not in (0, 1):
        return None
    return Answer(verdict="normal" if correctness else "anomalous", description=text(reasoning))
