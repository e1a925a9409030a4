"""What a detector is: two verbs, and two more for systems that can talk.

`fit` looks once at what the expert knows; `predict` is batched and gives the same answer alone or in a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from looktwice import modalities
from looktwice.errors import LookTwiceError
from looktwice.records import Prediction, Sample, Spec, Views
from looktwice.settings import Settings


class Fitted(Protocol):
    """A detector that knows the expert's sheet."""

    def predict(self, batch: Sequence[Views]) -> list[Prediction]:
        """Judge each Views; one Prediction each, in order, independent of the rest of the batch."""


class Detector(Protocol):
    """A detector before it has seen the sheet."""

    def fit(self, spec: Spec, settings: Settings | None = None) -> Fitted:
        """Look once at the sheet (encode its prompts and references); raises NoReferences, BadFile."""


@runtime_checkable
class Attempting(Protocol):
    """A fitted detector that can fail at one of a batch and still judge the others."""

    def attempt(self, batch: Sequence[Views]) -> list[Prediction | LookTwiceError]:
        """Judge each Views; in order, with the error in place of each that failed."""


class Seen(Protocol):
    """One thing that was looked at: questions are cheap."""

    def ask(self, question: str) -> str:
        """Answer one question in words; the text is untrusted."""


@runtime_checkable
class Reasoner(Protocol):
    """A fitted detector that can talk about what it sees."""

    def look(self, views: Views) -> Seen:
        """Encode the views once."""


def reference_views(spec: Spec, settings: Settings | None = None) -> Iterator[tuple[Sample, Views]]:
    """Load the references of a sheet, whatever they are, and yield each with its views.

    References given as paths are loaded here; raises BadFile for the first that cannot be read.
    """
    for reference in spec.references:
        sample = reference if isinstance(reference, Sample) else modalities.load(reference, settings)
        for views in modalities.views(sample, settings):
            yield sample, views
