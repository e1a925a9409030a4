"""Paths in results are untrusted text: what they may read, how they become links, and how they are shown short."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path, PurePosixPath
from urllib.parse import quote


def inside(folder: Path, relative: str | None) -> Path | None:
    """Return folder/relative when that is a place inside `folder` (links followed), else None."""
    if not relative or "\0" in relative:
        return None
    try:
        whole = (folder / relative).resolve()
        return whole if whole.is_relative_to(folder.resolve()) else None
    except (OSError, RuntimeError, ValueError):  # too long a name, a loop of links
        return None


def link(relative: str) -> str:
    """Quote a relative path for an href: nothing in it can become a scheme, a host or a query.

    >>> link("maps/100 % ok?.png")
    './maps/100%20%25%20ok%3F.png'
    >>> link("javascript:alert(1)")
    './javascript%3Aalert%281%29'
    """
    parts = [part for part in PurePosixPath(relative).parts if part.strip("/") and part != ".."]
    return "./" + "/".join(quote(part, safe="", errors="replace") for part in parts)


def shared_folder(paths: Iterable[str]) -> str:
    """Return the folder all these files lie in, as text; empty where there is none.

    >>> shared_folder(["parts/left/1.png", "parts/2.png"])
    'parts'
    """
    parents = [PurePosixPath(path).parent.parts for path in paths]
    shared = [same[0] for same in takewhile(lambda column: len(set(column)) == 1, zip(*parents, strict=False))]
    return str(PurePosixPath(*shared)) if shared else ""


def below(path: str, folder: str) -> str:
    """Return a path relative to a folder it lies in; the path itself where it does not.

    >>> below("parts/left/1.png", "parts")
    'left/1.png'
    """
    one = PurePosixPath(path)
    return str(one.relative_to(folder)) if folder and one.is_relative_to(folder) else path
