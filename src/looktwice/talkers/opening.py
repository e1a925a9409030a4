"""A talker ready for use: loaded by name, its answers kept, its cost counted."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

from looktwice import talkers
from looktwice.errors import UsageError
from looktwice.talkers.cache import Answers, default_folder
from looktwice.talkers.meter import Metered
from looktwice.talkers.prices import Price


def open_talker(
    name: str,
    *,
    cache: Path | str | None = "default",
    budget: float | None = None,
    price_in: float | None = None,
    price_out: float | None = None,
    **options: Any,
) -> Metered:
    """Return the talker called KIND:REST with its cache and its meter; options are its own.

    cache: folder of answers, "default" for that of the user (a scripted talker then has none: its answers are at hand
    already), None for no cache. budget: dollars. price_in, price_out: dollars per million tokens, instead of the list
    price. Raises UsageError, UnknownName, MissingExtra.
    """
    kind, _, rest = name.partition(":")
    _check_options(kind, rest, options)
    talker = talkers.load(name, **options)
    folder = None if cache == "default" and kind == "fake" else default_folder() if cache == "default" else cache
    answers = None if folder is None else Answers(folder)
    return Metered(talker, answers, budget, _price(price_in, price_out))


def _check_options(kind: str, rest: str, options: dict[str, Any]) -> None:
    if kind not in talkers.TALKERS or not rest:
        return  # loading says it better
    made = talkers.TALKERS.load(kind)
    try:
        inspect.signature(made).bind(rest, **options)
    except TypeError as error:
        known = ", ".join(list(inspect.signature(made).parameters)[1:]) or "none"
        raise UsageError(f"talker '{kind}': {error}. Its options: {known}") from error


def _price(price_in: float | None, price_out: float | None) -> Price | None:
    if price_in is None and price_out is None:
        return None
    if price_in is None or price_out is None:
        raise UsageError("give both price_in and price_out, in dollars per million tokens")
    if not all(math.isfinite(price) and price >= 0 for price in (price_in, price_out)):
        raise UsageError(f"prices are dollars per million tokens from 0 up, got {price_in} and {price_out}")
    return Price(price_in, price_out)
