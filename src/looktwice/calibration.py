"""Calibration: scores of normal parts turn a score into a p-value and a verdict with a stated false-alarm rate.

Split-conformal prediction (Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005; Laxhammar &
Falkman, 2010, for anomalies). If a new normal part and the calibration parts come from one process, so that any
order of them is equally likely, then P(p <= a) <= a for every a. No model runs here.

Letters: n normal parts of one modality, K p-values.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Self

from pydantic import ValidationError, model_validator

from looktwice import __version__
from looktwice.errors import UsageError
from looktwice.records import ModalityName, Record, Verdict
from looktwice.report.atomic import write_atomically

ALPHA_MAX = 0.5
# Up to 2 alpha the verdict is unsure: as many normal parts again as are called anomalous are shown to a person, so
# the work it costs is known beforehand. The band always holds a p-value: 2 / (n + 1) where only 1 / (n + 1) is
# anomalous. A factor of two also keeps p <= UNSURE * alpha free of rounding.
UNSURE = 2
UNSURE_MAX = 0.5  # no more than half of the normal parts are ever shown to a person
PLURAL = {"image": "images", "point_cloud": "point clouds", "video": "videos"}


def needed(alpha: float) -> int:
    """Return the smallest number of normal parts n with 1 / (n + 1) <= alpha; raises UsageError outside (0, 0.5].

    >>> needed(0.01), needed(0.1)
    (99, 9)
    """
    _check_alpha(alpha)
    enough = math.ceil(1 / Fraction(alpha)) - 1
    # one less where the quotient rounds to alpha, as 1 / 3 does: p-values are compared as floats too
    return enough - 1 if enough > 1 and 1 / enough <= alpha else enough


def check_count(parts: int, alpha: float, prefix: str = "") -> None:
    """Raise UsageError when so many normal parts are too few for alpha; says how many are needed and what would do."""
    if parts >= needed(alpha):
        return
    smallest = _rounded_up(1 / (parts + 1))
    could = f"with {parts} the smallest alpha is {smallest}" if smallest <= ALPHA_MAX else "at least one is needed"
    raise UsageError(
        f"{prefix}alpha {_number(alpha)} needs at least {needed(alpha)} normal parts that are not references, "
        f"got {parts}: {could}"
    )


def calibrate(
    scores: Mapping[str, Sequence[float]],
    alpha: float,
    *,
    model: str,
    settings_hash: str,
    sha256s: Mapping[str, str] | Sequence[str],
    reference_sha256s: Sequence[str],
) -> Calibration:
    """Make a Calibration from the scores of normal parts, modality -> scores in [0, 1].

    `sha256s` are the hashes of these parts, one for each score; given as name -> hash, errors name the parts.
    Raises UsageError when alpha lies outside (0, 0.5], when there are too few parts for alpha, when a part is a
    reference or stands twice, when a score is not in [0, 1], and when alpha would let no part be anomalous.
    """
    _check_alpha(alpha)
    named = dict(sha256s) if isinstance(sha256s, Mapping) else {digest: digest for digest in sha256s}
    hashes = tuple(named.values()) if isinstance(sha256s, Mapping) else tuple(sha256s)
    _refuse_references(named, set(reference_sha256s))
    _refuse_twins(named, hashes)
    try:
        return Calibration(
            model=model,
            settings_hash=settings_hash,
            alpha=alpha,
            scores={name: tuple(sorted(map(float, scores[name]))) for name in sorted(scores)},
            sha256s=hashes,
            version=__version__,
        )
    except ValidationError as error:
        raise UsageError(_why(error)) from error


class Calibration(Record):
    """The scores of normal parts, by modality, and what made them. Checked as `calibrate` checks."""

    model: str
    settings_hash: str  # of the model, its options, the sheet and the settings
    alpha: float  # highest share of normal parts that may be called anomalous
    scores: dict[ModalityName, tuple[float, ...]]  # ascending, in [0, 1]
    sha256s: tuple[str, ...]  # of the normal parts
    version: str  # of this package

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_alpha(self.alpha)
        if not self.scores:
            raise UsageError("no normal part was scored: name files or folders with normal parts")
        total = sum(map(len, self.scores.values()))
        if total != len(self.sha256s) or len(set(self.sha256s)) != len(self.sha256s):
            raise UsageError(f"{total} scores need as many different hashes of parts, got {len(set(self.sha256s))}")
        for modality, scores in self.scores.items():
            _check_scores(modality, scores)
            check_count(len(scores), self.alpha, "" if len(self.scores) == 1 else f"{modality}: ")
            if self.threshold(modality) >= 1:
                raise UsageError(
                    f"{modality}: so many normal parts have the score 1 that with alpha {_number(self.alpha)} no part "
                    "could be called anomalous: raise alpha, or give the model references that are more like the parts"
                )
        return self

    @property
    def unsure_level(self) -> float:
        """The highest p-value of the verdict unsure: 2 alpha, and at most 0.5."""
        return max(self.alpha, min(UNSURE * self.alpha, UNSURE_MAX))

    def p_value(self, score: float, modality: str) -> float:
        """Return (1 + number of normal parts with a score of at least this) / (n + 1), in (0, 1].

        Raises UsageError for a modality without normal parts and for a score that is not in [0, 1].
        """
        scores = self._scores_of(modality)
        _check_scores(modality, (score,))
        return (1 + len(scores) - bisect_left(scores, score)) / (len(scores) + 1)

    def judge(self, score: float, modality: str) -> tuple[Verdict, float]:
        """Return the verdict and its p-value: anomalous up to alpha, unsure up to `unsure_level`, else normal.

        Raises UsageError as `p_value` does.
        """
        p = self.p_value(score, modality)
        if p <= self.alpha:
            return "anomalous", p
        return ("unsure" if p <= self.unsure_level else "normal"), p

    def threshold(self, modality: str) -> float:
        """Return the score above which the verdict is anomalous; at this score itself it is not.

        Raises UsageError for a modality without normal parts.
        """
        scores = self._scores_of(modality)
        return scores[-_ranks(len(scores), self.alpha)]

    def words(self, modality: str) -> str:
        """Return the guarantee in words: "at most 1 % of normal parts are called anomalous (split-conformal, ...)".

        Raises UsageError for a modality without normal parts.
        """
        n, share = len(self._scores_of(modality)), _number(100 * self.alpha)
        parts = "1 normal part" if n == 1 else f"{n} normal parts"
        return f"at most {share} % of normal parts are called anomalous (split-conformal, {parts})"

    def save(self, path: Path | str) -> Path:
        """Write it as JSON; a reader sees the old file or the new one. Raises OSError."""
        return write_atomically(path, self.to_json() + "\n")

    @classmethod
    def read(cls, path: Path | str) -> Calibration:
        """Read what `save` wrote; raises UsageError for anything else, and for a file of another version."""
        data = _read_json(Path(path))
        if not isinstance(data, dict) or not {"alpha", "scores", "version"} <= data.keys():
            raise UsageError(f"{path}: not a calibration. Make one: looktwice calibrate ... -o {path}")
        if data["version"] != __version__:
            raise UsageError(
                f"{path}: made by looktwice {data['version']}, this is {__version__}, whose scores may differ. "
                "Calibrate again"
            )
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise UsageError(f"{path}: {_why(error)}. Calibrate again") from error

    def _scores_of(self, modality: str) -> tuple[float, ...]:
        for name, scores in self.scores.items():
            if name == modality:
                return scores
        made_for = " and ".join(PLURAL[name] for name in self.scores)
        asked = PLURAL.get(modality, modality)
        raise UsageError(f"this calibration was made for {made_for}, not for {asked}: calibrate with normal {asked}")


def fuse(p_values: Sequence[float]) -> float:
    """Combine K p-values about one part into one, valid however they depend on each other: min(1, K * lowest).

    One witness who is sure is enough. This is the Bonferroni member of the family of Vovk & Wang (Combining p-values
    via averaging, Biometrika 107(4), 2020). Twice the mean, of the same family, cannot fall below 2 / K while one
    witness sees nothing; for K = 2 it is never smaller than this. Raises UsageError for none, or values outside
    [0, 1].
    """
    if not p_values:
        raise UsageError("no p-values to combine")
    wrong = [p for p in p_values if not 0 <= p <= 1]
    if wrong:
        raise UsageError(f"p-values lie in [0, 1], got {wrong[0]}")
    return min(1.0, len(p_values) * float(min(p_values)))


# ---------------------------------------------------------------- checks


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha <= ALPHA_MAX:
        raise UsageError(f"alpha must be above 0 and at most {ALPHA_MAX}, got {alpha}: 0.01 means 1 in 100")


def _refuse_references(named: Mapping[str, str], references: set[str]) -> None:
    shared = [name for name, digest in named.items() if digest in references]
    if shared:
        raise UsageError(
            f"{_some(shared)} also among the references: the model knows them by heart and scores them too low. "
            "Calibrate with other normal parts"
        )


def _refuse_twins(named: Mapping[str, str], hashes: Sequence[str]) -> None:
    """A part that counts twice makes the guarantee false."""
    times = Counter(hashes)
    twins = [name for name, digest in named.items() if times[digest] > 1]
    if twins:
        raise UsageError(f"{_some(twins)} more than once among the normal parts: give each part once")


def _some(names: Sequence[str], most: int = 3) -> str:
    shown = ", ".join(names[:most])
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{shown}{more} {'stands' if len(names) == 1 else 'stand'}"


def _check_scores(modality: str, scores: Sequence[float]) -> None:
    for score in scores:
        if not 0 <= score <= 1:
            raise UsageError(f"{modality}: a score must lie in [0, 1], got {score}")
    if any(a > b for a, b in pairwise(scores)):
        raise UsageError(f"{modality}: scores must ascend")


def _ranks(n: int, alpha: float) -> int:
    """The largest k with k / (n + 1) <= alpha: so many of n + 1 normal parts may be called anomalous."""
    k = int(alpha * (n + 1))
    while k / (n + 1) > alpha:
        k -= 1
    return k + 1 if (k + 1) / (n + 1) <= alpha else k


def _rounded_up(value: float) -> float:
    """Two digits, never below the value: what is promised must be enough."""
    return float(Context(prec=2, rounding=ROUND_CEILING).create_decimal(Decimal(value)))


def _number(value: float) -> str:
    return f"{value:.6g}"


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file. Make one: looktwice calibrate ... -o {path}") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not a calibration, it is no JSON ({error})") from error


def _why(error: ValidationError) -> str:
    """The first thing found wrong, in one line."""
    first = error.errors(include_url=False)[0]
    own = first.get("ctx", {}).get("error")
    place = ".".join(str(part) for part in first["loc"])
    return str(own) if isinstance(own, UsageError) else f"{place}: {first['msg']}"
