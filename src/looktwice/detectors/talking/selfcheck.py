"""Whether an answer holds: its own statements are judged again, and those that flip are named.

Four ways: in neutral words; with a colleague said to doubt; with the part before the references (or its pictures in
the other order); and from an enlarged picture of the stated place alone. A way that a case does not allow is left out.
A statement flips where the talker calls it false; "cannot tell" is no flip. The instability is the share of
judgements that are flips.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from looktwice.detectors.talking import maps
from looktwice.detectors.talking.inquiry import Case, Dialogue, Inquiry, Outcome, joined
from looktwice.detectors.talking.pictures import crop
from looktwice.errors import LookTwiceError
from looktwice.prompts import check
from looktwice.prompts.check import Statement
from looktwice.records import Prediction
from looktwice.talkers.protocol import Asking, Part, Picture, TalkerError, Turn

HOW = Asking(max_tokens=16 * check.MOST)  # the same for all, so that all can be asked together


@dataclass(frozen=True)
class _Way:
    """One way of asking again."""

    name: str
    dialogue: Dialogue
    blind: tuple[str, ...] = ()  # statements that cannot be judged so


def checked(
    inquiry: Inquiry, cases: Sequence[Case], outcomes: Sequence[Outcome], predictions: Sequence[Prediction]
) -> list[Prediction | LookTwiceError]:
    """Return the predictions with what the self-check found; an error in place of one that could not be checked."""
    claims = [check.statements(inquiry.templates, outcome.answer, inquiry.spec) for outcome in outcomes]
    ways = [list(_ways(inquiry, *one)) if one[2] else [] for one in zip(cases, outcomes, claims, strict=True)]
    replies = iter(inquiry.chat([(way.dialogue, HOW) for each in ways for way in each]))
    found: list[Prediction | LookTwiceError] = []
    for each, said, prediction in zip(ways, claims, predictions, strict=True):
        answered = [(way, next(replies)) for way in each]
        failed = next((reply for _, reply in answered if isinstance(reply, TalkerError)), None)
        read = [
            (way, check.parse(reply.text, len(said))) for way, reply in answered if not isinstance(reply, TalkerError)
        ]
        found.append(failed or _marked(prediction, said, read))
    return found


def _ways(inquiry: Inquiry, case: Case, outcome: Outcome, claims: Sequence[Statement]) -> Iterator[_Way]:
    neutral = check.render(inquiry.templates, claims, "neutral")
    leading = check.render(inquiry.templates, claims, "leading")
    start = inquiry.start(case, formatted=False)
    yield _Way("neutral", _dialogue(*start, neutral))
    yield _Way("leading", _dialogue(*start, leading))
    # the published words name the first picture and the second
    if inquiry.config.style != "paper" and (case.references or len(case.pictures) > 1):
        yield _Way("swapped", _dialogue(*inquiry.start(case, formatted=False, swapped=True), neutral))
    found = maps.places(outcome.answer, case.shots, case.marks)
    if found:
        view, boxes = min(found.items())
        place = Picture(crop(case.views.images[view], boxes[0], inquiry.config.max_side), "crop")
        label = inquiry.templates.fill("check.crop")
        opening = inquiry.style.opening(case.brief, formatted=False)
        yield _Way("crop", _dialogue(opening, *case.references, label, place, neutral), blind=("location",))


def _dialogue(*parts: Part) -> Dialogue:
    return (Turn("user", joined(parts)),)


def _marked(
    prediction: Prediction, claims: Sequence[Statement], read: Sequence[tuple[_Way, tuple[bool | None, ...] | None]]
) -> Prediction:
    judged, flips = 0, 0
    unstable: list[str] = []
    for way, judgements in read:
        for claim, holds in zip(claims, judgements or (), strict=False):
            if holds is None or claim.name in way.blind:
                continue
            judged += 1
            if not holds:
                flips += 1
                unstable.append(claim.name)
    names = ", ".join(way.name for way, judgements in read if judgements is not None)
    evidence = {**prediction.evidence, "checked": names or "no answer could be read"}
    if judged:
        evidence["instability"] = flips / judged
    explanation = prediction.explanation
    if explanation is not None:
        explanation = explanation.model_copy(update={"unstable": tuple(dict.fromkeys(unstable))})
    return prediction.model_copy(update={"explanation": explanation, "evidence": evidence})
