"""The chat server for tests of this folder; others import `running` from talkers.server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from talkers.server import TalkServer, running


@pytest.fixture(scope="session")
def _server() -> Iterator[TalkServer]:
    with running() as server:
        yield server


@pytest.fixture
def server(_server: TalkServer, monkeypatch: pytest.MonkeyPatch, tmp_path) -> TalkServer:
    """A chat server that has heard nothing yet; no key, no proxy, no real home folder."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    _server.reset()
    return _server
