"""Paths in results are untrusted text: what they may read, and how they become links."""

from __future__ import annotations

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
