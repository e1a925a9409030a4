"""Questions to VMAD, and its answers: written for training and inspection, read into an Explanation.

Answers say, in this order: a verdict, a description, and on request the impact and a suggestion, then `<seg>`. The
first question of "suggest" and the shape of its answer are the paper's (arXiv 2409.20146); the others are our
definition. An answer is read by the order of its sentences. What it does not say stays empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from looktwice.records import Explanation, RuleFinding, Spec

Kind = Literal["detect", "mask", "impact", "suggest"]  # each asks for all that the one before it asks for

QUESTIONS: Mapping[Kind, tuple[str, ...]] = {
    "detect": (
        "Is there any anomaly on the {object}?",
        "Does the {object} in this image look normal or is something wrong with it? Answer yes for an anomaly.",
        "Can you find a defect on the surface of the {object}?",
        "Inspect the {object}. Is anything unusual to be seen?",
    ),
    "mask": (
        "Is there any anomaly on the {object}? Please output the segmentation mask.",
        "Can you find a defect on the surface of the {object}? Please respond with a segmentation mask.",
        "Inspect the {object} and output the segmentation mask of any anomaly.",
        "Is anything wrong with the {object}? If so, please mark it with a segmentation mask.",
    ),
    "impact": (
        "Is there any anomaly on the {object}? Please output the segmentation mask and explain its impact.",
        "Can you find a defect on the {object}? Please respond with a segmentation mask and say what it leads to.",
        "Inspect the {object}: output the segmentation mask of any anomaly and describe the impact it has.",
        "Is anything wrong with the {object}? If so, please mark it and tell which consequences it has.",
    ),
    "suggest": (
        "Would you identify any irregularities present on the surface of {object}? If so,please output the "
        "segmentation mask and suggest corrective actions for the defect.",
        "Is there any anomaly on the {object}? Please output the segmentation mask, explain its impact and suggest "
        "what to do.",
        "Inspect the {object}: mark any anomaly, describe its impact and recommend how to correct it.",
        "Is anything wrong with the {object}? If so, please mark it, tell its consequences and advise on a repair.",
    ),
}
ANYTHING = "object"  # where the sheet names none
YES, NO = "Yes, there is an anomaly.", "No, there is no anomaly."
RULE = "Does the {object} keep this rule: {rule} Answer Yes or No and give the reason."

SENTENCE = re.compile(r"(?<=[.!?])\s+")
HEAD = re.compile(r"(yes|no)\b", re.IGNORECASE)
WITH = re.compile(r"\bwith an? ([^.,;:]+?)(?= (?:in|on|at|near|along|across) |[.,;:]|$)")
ROW = {"upper": "upper", "top": "upper", "lower": "lower", "bottom": "lower", "left": "", "right": ""}
PLACE = re.compile(
    r"\b(?:(upper|lower|top|bottom|centre|center|middle)[ -](left|right|centre|center|middle)"
    r"|(upper|lower|top|bottom|left|right|centre|center|middle))\b",
    re.IGNORECASE,
)


def question(kind: Kind, thing: str = "", which: int = 0) -> str:
    """One question of a pool about a thing; `which` counts on from the start after the last."""
    pool = QUESTIONS[kind]
    return pool[which % len(pool)].replace("{object}", thing.strip() or ANYTHING)


def sheet_words(spec: Spec) -> str:
    """What the sheet says, as sentences ahead of the question; empty where it says nothing."""
    thing = spec.object.strip() or ANYTHING
    told = [_sentence(spec.task), _sentence(spec.context)]
    if spec.rules:
        rules = " ".join(f"({rule.id}) {_sentence(rule.text)}" for rule in spec.rules)
        told.append(f"A normal {thing} keeps these rules: {rules}")
    if spec.defects:
        told.append(f"Known defects: {', '.join(spec.defects)}.")
    return " ".join(text for text in told if text)


def answer(anomalous: bool, sections: Mapping[str, str], kind: Kind, seg_token: str) -> str:
    """Write the answer a model shall learn: sections "description", "impact", "suggestion", as far as `kind` asks.

    A normal thing has a description only. `<seg>` ends every answer but those of "detect".
    """
    wanted = ["description"]
    if anomalous:
        wanted += ["impact"] * (kind in ("impact", "suggest")) + ["suggestion"] * (kind == "suggest")
    said = [YES if anomalous else NO, *(_sentence(sections.get(name, "")) for name in wanted)]
    return " ".join([text for text in said if text] + [seg_token] * (kind != "detect"))


def verdict(text: str) -> bool | None:
    """True for an answer whose first word is Yes, False for No, None for another."""
    found = HEAD.match(text.strip())
    return None if found is None else found[1].lower() == "yes"


def parse(text: str, kind: Kind, defects: Sequence[str] = ()) -> Explanation:
    """Read an answer (without special tokens) by the order of its sentences, as far as `kind` asked for them.

    Asked for an impact, the second sentence on is the impact; asked for a suggestion too, the third on is it. The
    defect type is the one of `defects` that is named, or what a description says its thing is "with".
    """
    sentences = [one for one in SENTENCE.split(text.strip()) if one]
    anomalous = verdict(text)
    if anomalous is not None:
        first = HEAD.sub("", sentences[0], count=1).lstrip(" ,.")
        plain = first.lower().rstrip(".") in ("", "there is an anomaly", "there is no anomaly")
        sentences = sentences[1:] if plain else [first, *sentences[1:]]
    cuts = {"detect": None, "mask": None, "impact": 1, "suggest": 1}
    cut = cuts[kind] if anomalous else None
    end = 2 if kind == "suggest" else None
    description = " ".join(sentences[:cut])
    return Explanation(
        description=description,
        defect_type=_defect(text, description, defects) if anomalous else "",
        location=_place(text) if anomalous else "",
        impact=" ".join(sentences[cut:end]) if cut else "",
        suggestion=" ".join(sentences[2:]) if cut and kind == "suggest" else "",
        raw=text,
    )


def judge_rule(rule_id: str, rule: str, text: str) -> RuleFinding:
    """Read the answer to RULE: Yes keeps it, No breaks it, anything else does not judge it."""
    kept = verdict(text)
    reason = HEAD.sub("", text.strip(), count=1).lstrip(" ,.")
    return RuleFinding(
        id=rule_id, text=rule, verdict="not judged" if kept is None else "kept" if kept else "broken", reason=reason
    )


def place_of(anomaly_map: np.ndarray) -> str:
    """Where a map (H, W) is highest, in thirds: "upper left", "centre"; empty where it is flat."""
    if anomaly_map.size == 0 or anomaly_map.max() <= anomaly_map.min():
        return ""
    y, x = np.unravel_index(int(np.argmax(anomaly_map)), anomaly_map.shape)
    row = ("upper", "", "lower")[min(2, 3 * int(y) // anomaly_map.shape[0])]
    column = ("left", "", "right")[min(2, 3 * int(x) // anomaly_map.shape[1])]
    return " ".join(word for word in (row, column or ("centre" if row else "")) if word) or "centre"


def _defect(text: str, description: str, defects: Sequence[str]) -> str:
    named = [one for one in defects if re.search(rf"\b{re.escape(one)}\b", text, re.IGNORECASE)]
    if named:
        return max(named, key=len)
    found = WITH.search(description)
    return found[1] if found else ""


def _place(text: str) -> str:
    found = PLACE.search(text)
    return "" if found is None else found[0].lower().replace("-", " ")


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."
