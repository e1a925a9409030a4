"""Files that are whole or not there: written beside their place, synced, then moved into it.

Without `sync` a killed process still leaves no half file, but a power cut may leave an empty one.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


def write_atomically(path: Path | str, content: bytes | str, sync: bool = True) -> Path:
    """Write bytes, or text as UTF-8, so that a reader sees the old file or the new one; raises OSError."""
    with atomic_stream(path, sync) as stream:
        stream.write(content.encode("utf-8") if isinstance(content, str) else content)
    return Path(path)


@contextmanager
def atomic_stream(path: Path | str, sync: bool = True) -> Iterator[BinaryIO]:
    """Yield a binary stream whose content becomes `path` when the block ends well, and vanishes when it fails."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.parent / f".looktwice-{secrets.token_hex(8)}.tmp"
    # not tempfile: its files are closed to other users, a report is meant to be read
    handle = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            if sync:
                os.fsync(stream.fileno())
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise
    if sync:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a new name in a folder survive a power cut; Windows does this by itself and offers no call."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
