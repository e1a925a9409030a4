"""Expert x talker: any detector with a map shows a chat model where to look; the chat model says what it is.

The talker sees the part, the detector's map over it with numbered places (set-of-mark), each place enlarged, and the
detector's findings in words. Its answer becomes the explanation and the verdicts on rules. The idea of AnomalyGPT,
Myriad and Anomaly-OV, each for one fixed pair, for any pair.

The score stays the expert's unless both are calibrated on normal parts (`fuse=calibrated`); the talker's stands in the
evidence either way. An answer that cannot be had fails the part: a run that goes on asks again. Letters: V views.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from looktwice.detectors.protocol import Detector, Fitted
from looktwice.detectors.talking.config import TalkingConfig, open_chat_model, open_early, open_style, spent_by
from looktwice.detectors.talking.fusion import check_normal, fuse
from looktwice.detectors.talking.inquiry import Case, Inquiry, Outcome, contradiction
from looktwice.detectors.talking.pictures import Sides, crop, draw_marks, fitted, visible
from looktwice.detectors.talking.seen import SeenByTalker
from looktwice.detectors.talking.selfcheck import checked
from looktwice.errors import BadFile, LookTwiceError, UsageError
from looktwice.prompts import expert as words
from looktwice.prompts.expert import Mark
from looktwice.records import Prediction, Result, Spec, Views
from looktwice.regions import picture_regions
from looktwice.report import jsonl
from looktwice.report.overlay import blend
from looktwice.settings import Settings
from looktwice.talkers.protocol import ChatModel, Part, Picture

EXPERT, TALKER = "expert", "talker"  # names of the two scores
NormalScores = dict[Literal["expert", "talker"], tuple[float, ...]]
NEAR_PEAK = 0.9  # of the highest of a map that stays below the border: where it is cut all the same


def normal_scores(results: Iterable[Result]) -> NormalScores:
    """Return both scores of normal parts from the results of an earlier run over them, for `normal_scores`.

    Raises UsageError for a result without both.
    """
    found: dict[Literal["expert", "talker"], list[float]] = {"expert": [], "talker": []}
    for result in results:
        for name, scores in found.items():
            score = result.evidence.get(name)
            if not isinstance(score, float):
                raise UsageError(
                    f"{result.path}: the result has no score of the {name}: was it made by an expert x talker?"
                )
            scores.append(score)
    return {name: tuple(scores) for name, scores in found.items()}


def _read_scores(value: Any) -> Any:
    """The results.jsonl of a run over normal parts may stand for their scores."""
    if not isinstance(value, (str, Path)):
        return value
    try:
        return normal_scores(jsonl.read(value))
    except BadFile as error:
        raise UsageError(f"normal_scores: {error}") from error


class ExplainedConfig(TalkingConfig):
    """What can be set of the talker, and of how both scores become one."""

    style: Literal["inspector"] = Field("inspector", description="own prompts; those published know no expert")
    marks: int = Field(5, ge=1, le=20, description="places of the expert that are marked and enlarged, at most")
    fuse: Literal["expert", "calibrated"] = Field("expert", description="whose score: the expert's, or both calibrated")
    alpha: float = Field(0.05, gt=0, le=0.5, description="share of normal parts above 0.5 when calibrated")
    normal_scores: Annotated[NormalScores, BeforeValidator(_read_scores)] = Field(
        {}, description="both scores of normal parts, or the results.jsonl of an explained run over such parts"
    )


class ExplainedRun(BaseModel):
    """What a run is known by."""

    model_config = ConfigDict(frozen=True)

    expert: str
    expert_options: dict[str, Any]
    explainer: ExplainedConfig


class Explained:
    """A detector whose findings a chat model explains: localises like the expert, talks like the talker."""

    Config = ExplainedConfig

    def __init__(
        self,
        expert: Detector,
        config: ExplainedConfig | None = None,
        talker: ChatModel | None = None,
        expert_name: str = "",
    ) -> None:
        """Join them; `talker` stands in for the one named in the config. Raises UsageError for templates and
        scores that cannot be used, and what opening the talker raises.

        expert_name: what the expert is called in prompts and reports.
        """
        self.expert = expert
        self.explainer = config or ExplainedConfig()
        if talker is not None and not self.explainer.talker:
            self.explainer = self.explainer.model_copy(update={"talker": talker.name})
        self.expert_name = expert_name or type(expert).__name__.lower()
        open_style(self.explainer)
        self._talker = talker or open_early(self.explainer, f"explaining {self.expert_name}")
        if self.explainer.normal_scores:
            check_normal(_pair(self.explainer.normal_scores), self.explainer.alpha)

    @property
    def name(self) -> str:
        """Both names: "memory + openai:gpt-4o"."""
        return f"{self.expert_name} + {self.explainer.talker}"

    @property
    def config(self) -> ExplainedRun:
        """The configuration of both."""
        own = getattr(self.expert, "config", None)
        options = own.model_dump(mode="json") if isinstance(own, BaseModel) else {}
        return ExplainedRun(expert=self.expert_name, expert_options=options, explainer=self.explainer)

    @property
    def spent(self) -> str:
        """What answers have cost so far, in words; "" where nothing is counted."""
        return spent_by(self._talker)

    def fit(self, spec: Spec, settings: Settings | None = None) -> FittedExplained:
        """Fit the expert, and prepare prompts and references; raises what the expert's fit raises, and UsageError."""
        if self._talker is None:
            self._talker = open_chat_model(self.explainer, f"explaining {self.expert_name}")
        inquiry = Inquiry(self.explainer, self._talker, spec, settings)
        return FittedExplained(self.expert.fit(spec, settings), inquiry, self.explainer, self.expert_name)


class FittedExplained:
    """An expert that knows the sheet, and a talker to ask."""

    def __init__(self, expert: Fitted, inquiry: Inquiry, config: ExplainedConfig, expert_name: str) -> None:
        self.expert, self.inquiry, self.config, self.expert_name = expert, inquiry, config, expert_name

    def predict(self, batch: Sequence[Views]) -> list[Prediction]:
        """Judge each Views; raises the first error, also where others could be judged (see `attempt`)."""
        found = self.attempt(batch)
        for one in found:
            if isinstance(one, LookTwiceError):
                raise one
        return [one for one in found if isinstance(one, Prediction)]

    def attempt(self, batch: Sequence[Views]) -> list[Prediction | LookTwiceError]:
        """Judge each Views; in order, with an error in place of each that the talker failed at."""
        if self.config.fuse == "calibrated" and not self.config.normal_scores:
            raise UsageError(
                "fuse=calibrated needs scores of normal parts: call calibrate, or give normal_scores=results.jsonl of "
                "an explained run over normal parts that are no references"
            )
        start = time.perf_counter()
        found: list[Prediction | LookTwiceError] = list(self.expert.predict(batch))
        shown = [i for i, views in enumerate(batch) if visible(views)]
        measured = [one for one in found if isinstance(one, Prediction)]
        cases = [self._case(batch[i], measured[i]) for i in shown]
        outcomes = self.inquiry.ask(cases)
        for i, one in zip(shown, outcomes, strict=True):
            found[i] = self._combined(measured[i], one) if isinstance(one, Outcome) else one
        if self.config.verify:
            self._check(found, shown, cases, outcomes)
        each = (time.perf_counter() - start) / max(1, len(batch))
        return [one.model_copy(update={"seconds": each}) if isinstance(one, Prediction) else one for one in found]

    def look(self, views: Views) -> SeenByTalker:
        """Show a part and the expert's findings once, to ask about them; raises UsageError for an empty view."""
        if not visible(views):
            raise UsageError("there is nothing to see in these views")
        return SeenByTalker(self.inquiry, self._case(views, self.expert.predict([views])[0]))

    def calibrate(self, normal: Iterable[Views]) -> FittedExplained:
        """Score normal parts, one Views each, that are not references; return this with both scores calibrated.

        Raises UsageError where there are too few for alpha, and the first error of a part that cannot be judged.
        """
        plain = FittedExplained(
            self.expert, self.inquiry, self.config.model_copy(update={"fuse": "expert"}), self.expert_name
        )
        evidence = [plain.predict([views])[0].evidence for views in normal]
        scores = {name: tuple(float(one[name]) for one in evidence) for name in (EXPERT, TALKER)}
        check_normal(_pair(scores), self.config.alpha)
        config = self.config.model_copy(update={"fuse": "calibrated", "normal_scores": scores})
        return FittedExplained(self.expert, self.inquiry, config, self.expert_name)

    # ------------------------------------------------------------ what the talker is shown

    def _case(self, views: Views, measured: Prediction) -> Case:
        marks = find_marks(views, measured, self.config.marks)
        return self.inquiry.case(views, marks, tuple(self._hints(views, measured, marks)))

    def _hints(self, views: Views, measured: Prediction, marks: Sequence[Mark]) -> Iterator[Part]:
        templates, side = self.inquiry.templates, self.config.max_side
        names = views.names if len(visible(views)) > 1 else ("",) * len(views.names)
        yield words.render(templates, self.expert_name, measured.score, marks, names)
        for view in sorted({mark.view for mark in marks}):
            yield words.overlay(templates, names[view])
            yield Picture(_overlay(views, measured, marks, view, side), f"overlay {views.names[view]}")
        for number, mark in enumerate(marks, 1):
            yield words.crop(templates, number)
            yield Picture(crop(views.images[mark.view], mark.box, side // 2), f"mark {number}")

    # ------------------------------------------------------------ both together

    def _combined(self, measured: Prediction, outcome: Outcome) -> Prediction:
        evidence: dict[str, float | str] = {**measured.evidence, EXPERT: measured.score, TALKER: outcome.score}
        evidence |= {
            name if name != "score from" else "talker's score from": it for name, it in outcome.evidence.items()
        }
        if outcome.answer.marks:
            evidence["marks confirmed"] = ", ".join(map(str, outcome.answer.marks))
        score, evidence["score from"] = measured.score, self.expert_name
        each = measured.view_scores
        if self.config.fuse == "calibrated":
            normal = _pair(self.config.normal_scores)
            evidence["p_value of both"], score = fuse((measured.score, outcome.score), normal, self.config.alpha)
            evidence["score from"] = f"both, calibrated on {len(normal[0])} normal parts"
            each = _rescaled(each, measured.score, score)
        return measured.model_copy(
            update={
                "score": score,
                "view_scores": each,
                "explanation": self.inquiry.explanation(outcome),
                "evidence": evidence | contradiction(outcome.answer, score),
            }
        )

    def _check(
        self,
        found: list[Prediction | LookTwiceError],
        shown: Sequence[int],
        cases: Sequence[Case],
        outcomes: Sequence[Outcome | LookTwiceError],
    ) -> None:
        good = [(i, case, one) for i, case, one in zip(shown, cases, outcomes, strict=True) if isinstance(one, Outcome)]
        judged = [one for i, _, _ in good if isinstance(one := found[i], Prediction)]
        again = checked(self.inquiry, [case for _, case, _ in good], [one for _, _, one in good], judged)
        for (i, _, _), one in zip(good, again, strict=True):
            found[i] = one


def find_marks(views: Views, measured: Prediction, most: int) -> tuple[Mark, ...]:
    """The strongest places of the expert's map, over all views; none where its score stays below the border."""
    if measured.anomaly_map is None or measured.score < 0.5:
        return ()
    highest = float(measured.anomaly_map.max())
    if highest <= 0:
        return ()
    cut = 0.5 if highest >= 0.5 else NEAR_PEAK * highest
    height, width = measured.anomaly_map.shape[1:]
    found = [
        Mark(v, _shares(place.box, width, height), min(1.0, place.score))
        for v in visible(views)
        for place in picture_regions(np.asarray(measured.anomaly_map[v]), cut, limit=most)
    ]
    return tuple(sorted(found, key=lambda mark: -mark.score)[:most])


def _shares(box: tuple[int, int, int, int], width: int, height: int) -> Sides:
    return box[0] / width, box[1] / height, box[2] / width, box[3] / height


def _overlay(views: Views, measured: Prediction, marks: Sequence[Mark], view: int, side: int) -> np.ndarray:
    """(H, W, 3) uint8: a view with the map over it and its marks, numbered as they are listed."""
    assert measured.anomaly_map is not None
    heat = fitted(blend(views.images[view], np.asarray(measured.anomaly_map[view])), side)
    own = [(number, mark.box) for number, mark in enumerate(marks, 1) if mark.view == view]
    return draw_marks(heat, [box for _, box in own], [number for number, _ in own])


def _rescaled(each: Sequence[float] | None, before: float, after: float) -> tuple[float, ...] | None:
    """Scores of views, so that the highest is the new score."""
    if each is None:
        return None
    return tuple(min(1.0, one * after / before) if before > 0 else after for one in each)


def _pair(scores: Mapping[Any, Sequence[float]]) -> tuple[Sequence[float], Sequence[float]]:
    return scores.get(EXPERT, ()), scores.get(TALKER, ())
