"""What is asked: cases as dialogues, answers read and asked for once more where they cannot be, and a score.

Every dialogue about one modality begins with the same parts (the sheet, the references), the very same objects: a
talker may encode them once. All cases of a batch are asked together; one that fails takes no other with it.

The score, in order of preference: the probability of "Yes" as the first word to a short question, averaged over both
orders of its words; the share of yes in `votes` answers to it; the stated verdict with its confidence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Literal

from looktwice import modalities
from looktwice.detectors.talking import maps
from looktwice.detectors.talking.config import TalkingConfig, open_style
from looktwice.detectors.talking.pictures import Shot, draw_marks, grid, shots
from looktwice.errors import LookTwiceError, UsageError
from looktwice.prompts import question
from looktwice.prompts.answer import Answer, clean
from looktwice.prompts.expert import Mark
from looktwice.prompts.style import Brief, Kind, told
from looktwice.records import Explanation, Prediction, RuleFinding, Sample, Spec, Views
from looktwice.report.sheet import contact_sheet
from looktwice.settings import Settings
from looktwice.talkers.protocol import Asking, ChatModel, Part, Picture, Reply, TalkerError, Turn

WORD = 5  # tokens of an answer of one word, with what some models put around it
KEPT = 20_000  # characters of an answer that are kept as it came
SHOWN = 200  # characters of an unreadable answer that an error shows
REFERENCE_FRAMES = 8  # of a video that serves as a reference, on one sheet
SURE = 0.01  # least confidence: a stated "normal" stays below the border, however unsure

Dialogue = tuple[Turn, ...]


class Unparsed(LookTwiceError):
    """A talker's answer that could not be read, also when it was asked for once more."""

    kind = "unparsed"


@dataclass(frozen=True, eq=False)
class Reference:
    """One picture of a normal part."""

    name: str
    picture: Picture


@dataclass(frozen=True, eq=False)
class Case:
    """One part as it is shown."""

    views: Views
    brief: Brief
    shots: tuple[Shot, ...]
    pictures: tuple[tuple[str, Picture], ...]  # label and picture of each shot
    references: tuple[Part, ...]
    marks: tuple[Mark, ...] = ()
    hints: tuple[Part, ...] = ()  # what is shown and told besides: marks, findings of an expert


@dataclass(frozen=True)
class Outcome:
    """What became of asking about one case."""

    answer: Answer
    raw: str
    score: float  # in 0..1
    evidence: Mapping[str, float | str] = field(default_factory=dict)


class Inquiry:
    """A sheet and a talker, ready to be asked about parts."""

    def __init__(self, config: TalkingConfig, talker: ChatModel, spec: Spec, settings: Settings | None = None) -> None:
        """Look at the references once; raises UsageError for templates, BadFile for a reference."""
        self.config, self.talker, self.sheet = config, talker, spec
        self.style, self.templates = open_style(config)
        self.spec = told(spec, config.prompt_parts)
        self.references = _references(self.spec, config, settings)

    # ------------------------------------------------------------ a case

    def case(self, views: Views, marks: Sequence[Mark] = (), hints: Sequence[Part] = ()) -> Case:
        """Lay a part out: its pictures, the references of its kind, and marks to name places by."""
        config, kind = self.config, views.way.kind
        shown = shots(views, _layout(config), config.max_side)
        drawn = config.marks > 0 and not hints and len(shown) == 1 and len(shown[0].places) == 1
        if drawn:
            marks = [Mark(shown[0].places[0][0], box, 0.0) for box in grid(config.marks)]
        # the published words for a picture and its marks know of no reference
        references = () if drawn and config.style == "paper" else self.references.get(kind, ())
        brief = Brief(
            spec=self.spec,
            parts=config.prompt_parts,
            kind=kind,
            views=sum(len(shot.places) for shot in shown),
            references=len(references),
            pictures=len(shown),
            marks=len(marks),
            sheet=any(len(shot.places) > 1 for shot in shown),
        )
        if drawn:
            boxes = [mark.box for mark in marks]
            hints = (self.style.grid(brief), Picture(draw_marks(shown[0].pixels, boxes), "marks"))
        pictures = tuple(
            (self.style.picture(i, len(shown), shot.name), Picture(shot.pixels, shot.name))
            for i, shot in enumerate(shown, 1)
        )
        return Case(views, brief, shown, pictures, self._labelled(references), tuple(marks), tuple(hints))

    def _labelled(self, references: Sequence[Reference]) -> tuple[Part, ...]:
        parts: list[Part] = []
        for number, reference in enumerate(references, 1):
            parts += [self.style.reference(number, len(references), reference.name), reference.picture]
        return tuple(parts)

    def start(self, case: Case, formatted: bool = True, swapped: bool = False) -> tuple[Part, ...]:
        """Everything before the request. swapped: the part before the references, or its pictures backwards."""
        pictures = case.pictures[::-1] if swapped and not case.references else case.pictures
        part = (self.style.part(case.brief), *(one for pair in pictures for one in pair), *case.hints)
        opening = self.style.opening(case.brief, formatted)
        if swapped:
            return (opening, *part, *case.references)
        return (opening, *case.references, *part)

    # ------------------------------------------------------------ answers

    def ask(self, cases: Sequence[Case]) -> list[Outcome | LookTwiceError]:
        """Ask about all cases together; an error in place of each that failed."""
        outcomes: list[Outcome | LookTwiceError] = list(self._answers(cases))
        good = [i for i, outcome in enumerate(outcomes) if isinstance(outcome, Outcome)]
        scored = self._scores([cases[i] for i in good], [one for one in outcomes if isinstance(one, Outcome)])
        for i, outcome in zip(good, scored, strict=True):
            outcomes[i] = outcome
        return outcomes

    def _answers(self, cases: Sequence[Case]) -> list[Outcome | LookTwiceError]:
        asked = [self._request(case) for case in cases]
        found = [self._read(case, reply) for case, reply in zip(cases, self.chat(asked), strict=True)]
        again = [i for i, one in enumerate(found) if isinstance(one, Reply) and self._may_repair(one)]
        repaired = self.chat([self._repair(asked[i], _reply(found[i])) for i in again])
        for i, reply in zip(again, repaired, strict=True):
            found[i] = self._read(cases[i], reply, "asked once more")
        return [_unparsed(one) if isinstance(one, Reply) else one for one in found]

    def _request(self, case: Case) -> tuple[Dialogue, Asking]:
        parts = joined((*self.start(case), self.style.closing(case.brief)))
        schema = self.style.schema(case.brief)
        return (Turn("user", parts),), Asking(self.config.max_tokens, schema=schema, seed=self.config.seed)

    def _read(self, case: Case, reply: Reply | TalkerError, how: str = "") -> Outcome | Reply | TalkerError:
        """The answer, or the reply as it is where it cannot be read."""
        if isinstance(reply, TalkerError):
            return reply
        answer = self.style.parse(reply.text, case.brief)
        if answer is None:
            return reply
        evidence: dict[str, float | str] = {"stated verdict": answer.verdict}
        if how:
            evidence["answer"] = how
        if reply.finish == "length":
            evidence["cut off"] = f"the answer reached max_tokens={self.config.max_tokens}"
        return Outcome(answer, clean(reply.text[:KEPT]), 0.0, evidence)

    def _may_repair(self, reply: Reply) -> bool:
        return reply.finish != "refusal" and bool(self.style.repair())

    def _repair(self, asked: tuple[Dialogue, Asking], reply: Reply) -> tuple[Dialogue, Asking]:
        dialogue, how = asked
        said = clean(reply.text[:KEPT]).strip() or "(nothing)"  # some servers refuse an empty turn
        return (*dialogue, Turn("assistant", (said,)), Turn("user", (self.style.repair(),))), how

    # ------------------------------------------------------------ a score

    def _scores(self, cases: Sequence[Case], outcomes: Sequence[Outcome]) -> list[Outcome | LookTwiceError]:
        way = self.config.score
        if way == "auto" and self.config.style == "paper":
            way = "answer"  # as published
        if way == "answer":
            return [_stated(outcome) for outcome in outcomes]
        orders = 1 if way == "votes" and self.config.votes == 1 else 2
        words = () if way == "votes" else question.WORDS
        asked = [self._question(case, order, Asking(WORD, choices=words)) for case in cases for order in range(orders)]
        replies = self.chat(asked)
        pairs = [replies[i : i + orders] for i in range(0, len(replies), orders)]
        scored = [self._score(outcome, pair) for outcome, pair in zip(outcomes, pairs, strict=True)]
        voting = [i for i, one in enumerate(scored) if one is None]
        voted = self._votes([cases[i] for i in voting], [outcomes[i] for i in voting], [pairs[i] for i in voting])
        for i, outcome in zip(voting, voted, strict=True):
            scored[i] = outcome
        return [one for one in scored if one is not None]

    def _score(self, outcome: Outcome, pair: Sequence[Reply | TalkerError]) -> Outcome | LookTwiceError | None:
        """By probability; None where votes are needed."""
        for reply in pair:
            if isinstance(reply, TalkerError):
                return reply
        chances = [reply.choices for reply in pair if isinstance(reply, Reply) and reply.choices is not None]
        if self.config.score == "votes" or (len(chances) < len(pair) and self.config.score == "auto"):
            return None
        if len(chances) < len(pair):
            return UsageError(f"{self.talker.name} tells no probabilities of words: use score=votes or score=answer")
        yes = [min(max(float(one[question.WORDS[0]]), 0.0), 1.0) for one in chances]
        evidence: dict[str, float | str] = {
            "score from": "probability of yes, both orders",
            "yes": yes[0],
            "yes, other order": yes[1],
        }
        return _scored(outcome, fmean(yes), evidence)

    def _votes(
        self, cases: Sequence[Case], outcomes: Sequence[Outcome], pairs: Sequence[Sequence[Reply | TalkerError]]
    ) -> list[Outcome | LookTwiceError]:
        """The two answers that are there are the first votes; the others are sampled, in both orders by turns."""
        more = range(2, self.config.votes)
        asked = [
            self._question(case, i % 2, Asking(WORD, temperature=1.0, seed=self.config.seed + i))
            for case in cases
            for i in more
        ]
        sampled = self.chat(asked)
        found: list[Outcome | LookTwiceError] = []
        for number, (outcome, pair) in enumerate(zip(outcomes, pairs, strict=True)):
            replies = [*pair, *sampled[number * len(more) : (number + 1) * len(more)]][: self.config.votes]
            found.append(_by_votes(outcome, replies))
        return found

    def _question(self, case: Case, order: int, how: Asking) -> tuple[Dialogue, Asking]:
        asked = question.render(self.templates, order, self.spec.object)
        return (Turn("user", joined((*self.start(case, formatted=False), asked))),), how

    # ------------------------------------------------------------ the talker

    def chat(self, asked: Sequence[tuple[Dialogue, Asking]]) -> list[Reply | TalkerError]:
        """Ask all, those that are to be answered alike in one call; replies in order."""
        groups: list[tuple[Asking, list[int]]] = []
        for i, (_, how) in enumerate(asked):
            group = next((numbers for other, numbers in groups if other == how), None)
            if group is None:
                groups.append((how, [i]))
            else:
                group.append(i)
        found: dict[int, Reply | TalkerError] = {}
        for how, numbers in groups:
            replies = self.talker.chat([asked[i][0] for i in numbers], how)
            found |= dict(zip(numbers, replies, strict=True))
        return [found[i] for i in range(len(asked))]

    # ------------------------------------------------------------ a prediction

    def predict(self, case: Case, outcome: Outcome) -> Prediction:
        """Make a prediction of an outcome: its places become a coarse map."""
        answer = outcome.answer
        found = maps.places(answer, case.shots, case.marks)
        each = maps.view_scores(case.views, outcome.score, answer, case.shots, found)
        return Prediction(
            score=outcome.score,
            anomaly_map=maps.coarse_map(case.views, each, found),
            view_scores=each,
            explanation=self.explanation(outcome),
            evidence={**outcome.evidence, **contradiction(answer, outcome.score)},
        )

    def explanation(self, outcome: Outcome) -> Explanation:
        """Make an explanation of an answer; rules that it does not judge are said to be not judged."""
        answer = outcome.answer
        return Explanation(
            description=answer.description,
            defect_type=answer.defect_type,
            location=answer.location,
            impact=answer.impact,
            suggestion=answer.suggestion,
            confidence=answer.confidence,
            rules={rule.id: self._finding(rule.id, rule.text, answer) for rule in self.sheet.rules},
            raw=outcome.raw,
        )

    def _finding(self, id: str, text: str, answer: Answer) -> RuleFinding:
        if said := answer.rules.get(id):
            return RuleFinding(id=id, text=text, verdict=said.verdict, reason=said.seen)
        asked = self.spec.rules and self.config.style == "inspector"
        why = "the answer says nothing of it" if asked else "it was not asked about"
        return RuleFinding(id=id, text=text, verdict="not judged", reason=why)


def joined(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Texts that follow each other become one, empty ones stay away."""
    made: list[Part] = []
    for part in parts:
        if isinstance(part, str) and made and isinstance(made[-1], str):
            made[-1] = f"{made[-1]}\n\n{part}" if part else made[-1]
        elif not isinstance(part, str) or part:
            made.append(part)
    return tuple(made)


def _references(spec: Spec, config: TalkingConfig, settings: Settings | None) -> dict[Kind, tuple[Reference, ...]]:
    """The first references of each kind, as pictures that are made once."""
    wanted = min(config.n_reference, 1) if config.style == "paper" else config.n_reference
    found: dict[Kind, tuple[Reference, ...]] = {}
    taken: Counter[str] = Counter()
    for reference in spec.references if wanted else ():
        sample = reference if isinstance(reference, Sample) else modalities.load(reference, settings)
        taken[sample.modality] += 1
        if taken[sample.modality] <= wanted:
            views = next(modalities.views(sample, settings))  # of a video the first frames; its context shows all of it
            found[views.way.kind] = (*found.get(views.way.kind, ()), *_pictures(views, config))
    return found


def _pictures(views: Views, config: TalkingConfig) -> Iterator[Reference]:
    """One picture for each view, or one sheet; a video is always one sheet of a few frames."""
    if views.way.kind == "frames":
        images = views.images if views.context is None else views.context
        chosen = sorted({round(i * (len(images) - 1) / (REFERENCE_FRAMES - 1)) for i in range(REFERENCE_FRAMES)})
        names = [views.names[i] if views.context is None else "" for i in chosen]
        sheet, _ = contact_sheet(images[chosen], names, max_side=config.max_side)
        yield Reference("frames of a video", Picture(sheet, "frames of a video"))
        return
    made = shots(views, _layout(config), config.max_side)
    for shot in made:
        yield Reference(shot.name if len(made) > 1 else "", Picture(shot.pixels, shot.name))


def _layout(config: TalkingConfig) -> Literal["list", "sheet"]:
    return "sheet" if config.style == "paper" else config.layout  # the published words speak of one picture


def _reply(one: Outcome | Reply | TalkerError) -> Reply:
    assert isinstance(one, Reply)
    return one


def _unparsed(reply: Reply) -> Unparsed:
    said = " ".join(clean(reply.text[: 4 * SHOWN]).split())[:SHOWN]
    if reply.finish == "refusal":
        return Unparsed(f"the talker refused to answer: {said or '(no text)'}")
    cut = ", cut off: raise max_tokens" if reply.finish == "length" else ""
    return Unparsed(f"the talker's answer cannot be read{cut}: {said or '(no text)'}")


def _scored(outcome: Outcome, score: float, evidence: Mapping[str, float | str]) -> Outcome:
    return replace(outcome, score=score, evidence={**outcome.evidence, **evidence})


def _stated(outcome: Outcome, why: str = "") -> Outcome:
    """Half of the scale for each verdict, by confidence; unsure lies on the border."""
    answer = outcome.answer
    sure = 1.0 if answer.confidence is None else answer.confidence
    score = {"anomalous": 0.5 + sure / 2, "normal": 0.5 - max(sure, SURE) / 2, "unsure": 0.5}[answer.verdict]
    way = "stated verdict" if answer.confidence is None else "stated verdict and confidence"
    return _scored(outcome, score, {"score from": f"{way}{why}"})


def _by_votes(outcome: Outcome, replies: Sequence[Reply | TalkerError]) -> Outcome | LookTwiceError:
    said = []
    for reply in replies:
        if isinstance(reply, TalkerError):
            return reply
        said.append(question.parse(reply.text))
    votes = [vote for vote in said if vote is not None]
    if not votes:
        return _stated(outcome, ", since no vote could be read")
    return _scored(outcome, fmean(votes), {"score from": f"votes: {sum(votes)} of {len(votes)} yes"})


def contradiction(answer: Answer, score: float) -> dict[str, str]:
    """Evidence where parts of an answer do not fit each other, or the score."""
    found = []
    broken = sorted(id for id, said in answer.rules.items() if said.verdict == "broken")
    if answer.verdict == "normal" and broken:
        found.append(f"stated normal, but broken: {', '.join(broken)}")
    if answer.verdict != "unsure" and (answer.verdict == "anomalous") != (score >= 0.5):
        found.append(f"stated {answer.verdict}, but the score says otherwise")
    return {"contradiction": "; ".join(found)} if found else {}
