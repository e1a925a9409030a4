"""Tables of lazily imported classes: searchable, and nothing is imported until it is used."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from looktwice.errors import missing_extra, unknown_name


class Registry(Mapping[str, str]):
    """A table from a name to "package.module:attribute".

    >>> table = Registry("counter", {"counter": "collections:Counter"})
    >>> table.load("counter").__name__
    'Counter'
    """

    def __init__(self, what: str, rows: Mapping[str, str], listing: str | None = None) -> None:
        self.what = what
        self.listing = listing
        self._rows = dict(rows)

    def load(self, name: str) -> Any:
        """Import and return what `name` stands for; raises UnknownName with the nearest known name, MissingExtra."""
        module, attribute = self.target(name).split(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise missing_extra(f"The {self.what} '{name}'", error) from error

    def target(self, name: str) -> str:
        """Return "module:attribute" of `name`; raises UnknownName."""
        if name not in self._rows:
            raise unknown_name(self.what, name, self._rows, self.listing)
        return self._rows[name]

    def __getitem__(self, name: str) -> str:
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)
