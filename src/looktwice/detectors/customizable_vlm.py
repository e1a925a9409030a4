"""customizable-vlm: any chat model that sees, customised by the sheet, as inspector and reasoner.

After Xu, Cao, Zhang, Sang & Huang, "Customizing Visual-Language Foundation Models for Multi-modal Anomaly Detection and
Reasoning" (arXiv 2403.11083): a prompt stacks up to four kinds of knowledge (task, class context, normality rules,
references), and every modality is shown as pictures. Differs from the published code: the answer is structured and
read without guessing, there is a graded score and a coarse map, several references, and errors are told; `style=paper`
gives the published prompts and reading. No training.

Videos come in chunks of frames, and each chunk is judged on its own. Letters: V views.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from looktwice.detectors.talking.config import TalkingConfig, open_chat_model, open_early, open_style, spent_by
from looktwice.detectors.talking.inquiry import Inquiry, Outcome
from looktwice.detectors.talking.pictures import visible
from looktwice.detectors.talking.seen import SeenByTalker
from looktwice.detectors.talking.selfcheck import checked
from looktwice.errors import LookTwiceError, UsageError
from looktwice.records import Prediction, Spec, Views
from looktwice.settings import Settings
from looktwice.talkers.protocol import ChatModel

NAME = "customizable-vlm"


class CustomizableVlm:
    """A detector that asks a chat model: zero-shot or with references, localises coarsely, talks."""

    Config = TalkingConfig

    def __init__(self, config: TalkingConfig | None = None, talker: ChatModel | None = None) -> None:
        """Set it up; `talker` stands in for the one named in the config.

        Raises UsageError for templates that cannot be used, and what opening the talker raises; one that loads
        weights is opened when it is first needed.
        """
        self.config = config or TalkingConfig()
        if talker is not None and not self.config.talker:
            self.config = self.config.model_copy(update={"talker": talker.name})  # part of what a run is known by
        open_style(self.config)
        self._talker = talker or open_early(self.config, NAME)

    @property
    def talker(self) -> ChatModel:
        """The chat model; raises UsageError, UnknownName, MissingExtra."""
        if self._talker is None:
            self._talker = open_chat_model(self.config, NAME)
        return self._talker

    @property
    def spent(self) -> str:
        """What answers have cost so far, in words; "" where nothing is counted."""
        return spent_by(self._talker)

    def fit(self, spec: Spec, settings: Settings | None = None) -> FittedVlm:
        """Prepare the prompts and the pictures of the references, once; raises BadFile, and what `talker` raises."""
        return FittedVlm(Inquiry(self.config, self.talker, spec, settings))


class FittedVlm:
    """A sheet put into prompts, and a talker to ask."""

    def __init__(self, inquiry: Inquiry) -> None:
        self.inquiry = inquiry

    def predict(self, batch: Sequence[Views]) -> list[Prediction]:
        """Judge each Views; raises the first error, also where others could be judged (see `attempt`)."""
        found = self.attempt(batch)
        for one in found:
            if isinstance(one, LookTwiceError):
                raise one
        return [one for one in found if isinstance(one, Prediction)]

    def attempt(self, batch: Sequence[Views]) -> list[Prediction | LookTwiceError]:
        """Judge each Views; in order, with a TalkerError or Unparsed in place of each that failed."""
        start = time.perf_counter()
        shown = [i for i, views in enumerate(batch) if visible(views)]
        judged = dict(zip(shown, self._judge([batch[i] for i in shown]), strict=True))
        each = (time.perf_counter() - start) / max(1, len(shown))
        found: list[Prediction | LookTwiceError] = []
        for i, views in enumerate(batch):
            one = judged.get(i, nothing(views))
            found.append(one.model_copy(update={"seconds": each}) if isinstance(one, Prediction) else one)
        return found

    def look(self, views: Views) -> SeenByTalker:
        """Show a part once, to ask about it; raises UsageError for views that show nothing."""
        if not visible(views):
            raise UsageError("there is nothing to see in these views")
        return SeenByTalker(self.inquiry, self.inquiry.case(views))

    def _judge(self, batch: Sequence[Views]) -> list[Prediction | LookTwiceError]:
        cases = [self.inquiry.case(views) for views in batch]
        outcomes = self.inquiry.ask(cases)
        found: list[Prediction | LookTwiceError] = [
            self.inquiry.predict(case, one) if isinstance(one, Outcome) else one
            for case, one in zip(cases, outcomes, strict=True)
        ]
        if self.inquiry.config.verify:
            good = [i for i, one in enumerate(outcomes) if isinstance(one, Outcome)]
            again = checked(
                self.inquiry,
                [cases[i] for i in good],
                [one for one in outcomes if isinstance(one, Outcome)],
                [one for one in found if isinstance(one, Prediction)],
            )
            for i, one in zip(good, again, strict=True):
                found[i] = one
        return found


def nothing(views: Views) -> Prediction:
    """The prediction about views that show nothing of the thing: it is not asked about."""
    zeros = np.zeros(views.images.shape[:3], np.float32)
    return Prediction(score=0.0, anomaly_map=zeros, view_scores=(0.0,) * len(views.images))
