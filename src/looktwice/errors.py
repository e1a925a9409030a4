"""What can go wrong, in words: every error names the bad input, what is allowed, and the fix."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType


class LookTwiceError(Exception):
    """Base of every error this package raises on purpose; `kind` is a stable word for programs."""

    kind = "error"


class UsageError(LookTwiceError, ValueError):
    """An argument, flag, sheet or option that cannot be used."""

    kind = "usage"


class UnknownName(UsageError):
    """A name that is in no table."""

    kind = "unknown_name"


class MissingExtra(LookTwiceError, ImportError):
    """A part of the package whose optional dependency is not installed."""

    kind = "missing_extra"


class BadFile(LookTwiceError):
    """One input file that cannot be inspected. The run goes on without it.

    `kind` is one of missing_file, unreadable, empty, too_large, unsupported.
    """

    def __init__(self, kind: str, path: Path | str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.kind = kind
        self.path = str(path)
        self.why = why

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.kind, self.path, self.why))


class NoReferences(UsageError):
    """A few-shot detector that was given no normal example of the modality it must judge."""

    kind = "no_references"


class StopRun(LookTwiceError):
    """A run cannot go on: the disk takes no more, a budget is spent. What is finished is kept."""

    kind = "stopped"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest known name, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""


def unknown_name(what: str, name: str, known: Iterable[str], listing: str | None = None) -> UnknownName:
    """Build the error for a name outside a table: near match first, then how to list all names."""
    names = list(known)
    every = f"All names: {listing}" if listing else f"Known: {', '.join(names)}."
    return UnknownName(f"Unknown {what} '{name}'.{did_you_mean(name, names)} {every}")


# Modules that some files import as a matter of course, because they are loaded through a registry only.
EXTRA_OF = {
    "torch": "torch",
    "transformers": "torch",
    "peft": "torch",
    "accelerate": "torch",
    "safetensors": "torch",
    "tokenizers": "torch",
    "huggingface_hub": "torch",
}


def missing_extra(what: str, error: ModuleNotFoundError) -> ImportError:
    """Say which extra brings the module that is missing; an error of our own making stays what it is."""
    first = (error.name or "").split(".")[0]
    if first not in EXTRA_OF:
        return error
    return MissingExtra(f"{what} needs the module '{first}': pip install 'looktwice[{EXTRA_OF[first]}]'")


def need(module: str, extra: str, what: str) -> ModuleType:
    """Import an optional module, or say which extra brings it.

    Raises MissingExtra, for example "Reading MP4 needs the module 'av': pip install 'looktwice[video]'".
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(f"{what} needs the module '{module}': pip install 'looktwice[{extra}]'") from error
