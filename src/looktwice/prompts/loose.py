"""Reading JSON objects out of what a model wrote: fenced, amid prose, in single quotes, cut off, nearly JSON.

Strict JSON is tried first, at every "{" in turn. What fails is read again leniently: single or typographic quotes,
Python's True, False and None, trailing or missing commas, keys without quotes, line breaks in texts, an end that is
missing. Nothing is made up: a key that stands twice with different values is left out, a number or word that the end
cuts is left out, and a text that the end cuts is marked as such (`CutText`).
"""

from __future__ import annotations

import json
import re
from typing import Any

LONGEST = 100_000  # characters that are read; an answer is a few thousand
DEEPEST = 32  # brackets in brackets
TRIES = 64  # lenient readings of one text: what is hopeless must not take long

Object = dict[str, Any]
_DIFFERENT = object()  # the value of a key that stands twice with different values


class CutText(str):
    """A text whose end is missing: good to show, but no word to decide by."""

    __slots__ = ()


class _Bad(ValueError):
    """This is no object, not even leniently."""


def objects(text: str) -> list[Object]:
    """Return the objects in a text that are not inside each other, in order; empty ones left out.

    >>> objects("Sure! {'verdict': 'normal', 'rules': [],}")
    [{'verdict': 'normal', 'rules': []}]
    """
    text = text[:LONGEST]
    found: list[Object] = []
    tries = 0
    at = text.find("{")
    while at >= 0 and tries < TRIES:
        try:
            made, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            made, end = _lenient(text, at)
            tries += 1
        if made:
            found.append(made)
        at = text.find("{", end)
    return found


def spoken(text: str) -> str:
    """What a model says after its thoughts, which some write down first, up to </think>."""
    thoughts, end, said = text.partition("</think>")
    if text.lstrip().startswith("<think>"):
        return said
    return said if end and "{" not in thoughts else text  # without "<think>" it may stand inside of an answer


def _lenient(text: str, at: int) -> tuple[Object, int]:
    """The object that begins at `at` and where it ends; an empty one where there is none."""
    reader = _Reader(text, at)
    try:
        return reader.object(0), reader.at
    except _Bad:
        return {}, at + 1


def _merged(pairs: list[tuple[str, Any]]) -> Object:
    """An object without the keys that stand twice with different values."""
    made: Object = {}
    for key, value in pairs:
        made[key] = value if key not in made or _equal(made[key], value) else _DIFFERENT
    return {key: value for key, value in made.items() if value is not _DIFFERENT}


def _equal(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


_DECODER = json.JSONDecoder(object_pairs_hook=_merged, strict=False)

SPACE = re.compile(r"\s*")
BARE_KEY = re.compile(r"[A-Za-z_]\w*")
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
WORD = re.compile(r"[A-Za-z]+")
WORDS = {"true": True, "false": False, "null": None, "none": None}
QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’"}
QUOTE_OR_ESCAPE = {quote: re.compile(rf"\\.|{quote}", re.DOTALL) for quote in QUOTES.values()}
# What may follow a quote that ends a text: otherwise it is a quote inside the text that should have been escaped.
AFTER_TEXT = re.compile(r"\s*(?:[,:}\]]|$|\n\s*[\"'“‘])")
ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.)|$)", re.DOTALL)
CUT_ESCAPE = re.compile(r"((?:^|[^\\])(?:\\\\)*)\\(?:x[0-9a-fA-F]?|u[0-9a-fA-F]{0,3}|U[0-9a-fA-F]{0,7})?\Z", re.DOTALL)
ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


class _Reader:
    """Reads one value after the other, leniently; `at` is where it stands."""

    def __init__(self, text: str, at: int) -> None:
        self.text, self.at = text, at

    def object(self, depth: int) -> Object:
        self.at += 1
        pairs: list[tuple[str, Any]] = []
        while not self._closed("}"):
            key = self._key()
            if self._ended():
                break
            self._expect(":")
            if self._ended():
                break
            value = self._value(depth)
            if value is not _DIFFERENT:
                pairs.append((key, value))
            self._comma()
        return _merged(pairs)

    def _array(self, depth: int) -> list[Any]:
        self.at += 1
        made: list[Any] = []
        while not self._closed("]"):
            value = self._value(depth)
            if value is not _DIFFERENT:
                made.append(value)
            self._comma()
        return made

    def _value(self, depth: int) -> Any:
        """The next value; `_DIFFERENT` for a number or a word that the end of the text cuts."""
        if depth >= DEEPEST:
            raise _Bad("too deep")
        char = self.text[self.at]
        if char == "{":
            return self.object(depth + 1)
        if char == "[":
            return self._array(depth + 1)
        if char in QUOTES:
            return self._quoted()
        found = NUMBER.match(self.text, self.at) or WORD.match(self.text, self.at)
        if found is None or (found[0][0].isalpha() and found[0].lower() not in WORDS):
            raise _Bad(f"no value at {self.at}")
        self.at = found.end()
        if self.at == len(self.text):
            return _DIFFERENT
        return WORDS[found[0].lower()] if found[0][0].isalpha() else _number(found[0])

    def _key(self) -> str:
        if self.text[self.at] in QUOTES:
            return self._quoted()
        found = BARE_KEY.match(self.text, self.at)
        if found is None:
            raise _Bad(f"no key at {self.at}")
        self.at = found.end()
        return found[0]

    def _quoted(self) -> str:
        quote = QUOTES[self.text[self.at]]
        at = start = self.at + 1
        while found := QUOTE_OR_ESCAPE[quote].search(self.text, at):
            at = found.end()
            if found[0] == quote and AFTER_TEXT.match(self.text, at):
                self.at = at
                return _unescaped(self.text[start : at - 1])
        self.at = len(self.text)
        return CutText(_unescaped(CUT_ESCAPE.sub(r"\1", self.text[start:])))

    def _closed(self, bracket: str) -> bool:
        """Whether the object or array ends here, also because the text does; steps over the bracket."""
        if self._ended():
            return True
        if self.text[self.at] == bracket:
            self.at += 1
            return True
        return False

    def _ended(self) -> bool:
        found = SPACE.match(self.text, self.at)
        assert found is not None
        self.at = found.end()
        return self.at == len(self.text)

    def _expect(self, char: str) -> None:
        if self.text[self.at] != char:
            raise _Bad(f"no {char} at {self.at}")
        self.at += 1

    def _comma(self) -> None:
        """Step over a comma, if there is one: it may be missing at the end of a line."""
        if not self._ended() and self.text[self.at] == ",":
            self.at += 1
            self._ended()


def _number(text: str) -> float | int:
    return int(text) if re.fullmatch(r"[-+]?\d{1,15}", text) else float(text)


def _unescaped(text: str) -> str:
    def one(found: re.Match[str]) -> str:
        code = found[1] or found[2] or found[3]
        if code:
            number = int(code, 16)
            return chr(number) if number <= 0x10FFFF else "\ufffd"
        char = found[4] or ""
        return ESCAPED.get(char, char if char in "\"'\\/\n“”‘’" else f"\\{char}")

    if "\\" not in text:
        return text
    return ESCAPE.sub(one, text).encode("utf-16", "surrogatepass").decode("utf-16", "ignore")
