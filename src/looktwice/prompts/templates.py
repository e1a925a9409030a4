"""Templates: the words of all prompts, in text files that a user can replace section by section.

A file holds sections: a line [[name]], then its text. A place to fill is {{name}}; a line that holds nothing but a
place stays away where there is nothing to fill in. Filling goes over the template once, so that what is filled in (a
sheet, an answer of a model) is never read as a template itself. Text before the first section is a comment.

`ad_prompt.txt` is written as its authors publish theirs: one text, its places are !<INPUT i>!, and what stands before
the line <commentblockmarker>###</commentblockmarker> is a comment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path

from looktwice.errors import UsageError, did_you_mean

PLACE = re.compile(r"\{\{\s*(\w+)\s*\}\}|!<INPUT (\d+)>!")
SECTION = re.compile(r"^\[\[(\w+)\]\][ \t]*$", re.MULTILINE)
COMMENT = "<commentblockmarker>###</commentblockmarker>"


class Templates:
    """All templates: those of this package, with a user's own in their place where there are some."""

    def __init__(self, folder: Path | str | None = None) -> None:
        """Read `folder`; raises UsageError that names the file, the section, and what is allowed there."""
        self._texts = dict(_packaged())
        self.own: frozenset[str] = frozenset()  # names of the templates that are the user's
        if folder is not None:
            own = _read_folder(Path(folder))
            self._texts |= own
            self.own = frozenset(own)

    def __getitem__(self, name: str) -> str:
        """The text of a template as it is written, such as "inspector.rules"."""
        return self._texts[name]

    def fill(self, name: str, values: Mapping[str, str] | None = None, /, **more: str) -> str:
        """Return a template with its places filled in, once; raises KeyError for a place without a value."""
        given = {**(values or {}), **more}

        def value(place: re.Match[str]) -> str:
            return given[place[1] or place[2]]

        lines = []
        for line in self._texts[name].split("\n"):
            alone = PLACE.fullmatch(line.strip())
            if alone is None or value(alone):
                lines.append(PLACE.sub(value, line))
        return "\n".join(lines)


@cache
def _packaged() -> Mapping[str, str]:
    texts: dict[str, str] = {}
    folder = resources.files("looktwice.prompts") / "templates"
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        if file.name.endswith(".txt"):
            texts |= _sections(file.name, file.read_text("utf-8"))
    return texts


def _sections(file: str, text: str) -> dict[str, str]:
    """Sections by name, [[rules]] in inspector.txt as "inspector.rules"; a file without sections is one text."""
    stem = file.removesuffix(".txt")
    marks = list(SECTION.finditer(text))
    if not marks:
        return {stem: text.split(COMMENT)[1 if COMMENT in text else 0].strip()}
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return {f"{stem}.{mark[1]}": text[mark.end() : end].strip("\n") for mark, end in zip(marks, ends, strict=True)}


def _read_folder(folder: Path) -> dict[str, str]:
    try:
        files = sorted(one for one in folder.iterdir() if one.suffix == ".txt")
    except OSError as error:
        raise UsageError(f"templates: {folder} cannot be listed: {error.strerror or error}") from error
    names = sorted({f"{name.split('.')[0]}.txt" for name in _packaged()})
    if not files:
        raise UsageError(f"templates: {folder} holds no template. Known: {', '.join(names)}")
    own: dict[str, str] = {}
    for file in files:
        if file.name not in names:
            raise UsageError(
                f"templates: {file} is no template.{did_you_mean(file.name, names)} Known: {', '.join(names)}"
            )
        try:
            text = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"templates: {file} cannot be read as UTF-8 text: {error}") from error
        own |= _checked(file, _sections(file.name, text))
    return own


def _checked(file: Path, sections: dict[str, str]) -> dict[str, str]:
    known = {name: text for name, text in _packaged().items() if name.split(".")[0] == file.stem}
    for name, text in sections.items():
        if name not in known:
            allowed = [one.partition(".")[2] for one in known if "." in one]
            what = f"section [[{name.partition('.')[2]}]]" if "." in name else "a text without sections"
            near = did_you_mean(name.partition(".")[2], allowed)
            raise UsageError(f"templates: {file} has {what}, which is not known.{near} Known: {', '.join(allowed)}")
        wanted, given = _places(known[name]), _places(text)
        where = f"templates: {file}" + (f", section [[{name.partition('.')[2]}]]" if "." in name else "")
        if unknown := sorted(given - wanted):
            near = did_you_mean(unknown[0], wanted)
            raise UsageError(
                f"{where}: unknown place {unknown[0]}.{near} Allowed: {', '.join(sorted(wanted)) or 'none'}"
            )
        if missing := sorted(wanted - given):
            raise UsageError(f"{where}: the place {missing[0]} is missing. Needed: {', '.join(sorted(wanted))}")
    return sections


def _places(text: str) -> set[str]:
    return {f"{{{{{one[1]}}}}}" if one[1] else one[0] for one in PLACE.finditer(text)}
