"""The yes/no question whose answer gives the score: rendered in both orders of its two words, read by its first word.

Models prefer the word that is named first; asked in both orders, the preference cancels.
"""

from __future__ import annotations

import re

from looktwice.prompts.answer import clean
from looktwice.prompts.loose import spoken
from looktwice.prompts.templates import Templates

WORDS = ("Yes", "No")
ORDERS = (WORDS, WORDS[::-1])
FIRST = re.compile(r"\W*(yes|no)\b(?!\W+or\b)", re.IGNORECASE)  # "Yes or no" repeats the question


def render(templates: Templates, order: int, thing: str = "") -> str:
    """The question with its words in order 0 or 1; `thing` is what the part is called.

    >>> render(Templates(), 1)
    'Does the part show an anomaly or a defect? Answer with one word: No or Yes.'
    """
    first, second = ORDERS[order]
    part = f"the part ({clean(thing)})" if thing else "the part"
    return templates.fill("question.ask", part=part, first=first, second=second)


def parse(text: str) -> bool | None:
    """Whether the answer begins with yes or no; None where it begins with neither.

    >>> parse("**Yes.** There is a crack."), parse("no"), parse("Nothing wrong"), parse("Yes or no?")
    (True, False, None, None)
    """
    found = FIRST.match(spoken(text))
    return None if found is None else found[1].lower() == "yes"
