"""A chat server on loopback that speaks the OpenAI protocol, and misbehaves on demand.

A behaviour takes what was received and returns the answer. `server.then(...)` queues behaviours for the next requests;
after them, and before, `server.always` answers.
"""

from __future__ import annotations

import asyncio
import json
import math
import socket
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse


@dataclass
class Received:
    """One request."""

    body: dict[str, Any]
    headers: Mapping[str, str]
    at: float = field(default_factory=time.monotonic)

    @property
    def text(self) -> str:
        """All text of the last message."""
        content = self.body["messages"][-1]["content"]
        parts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
        return "\n".join(parts)

    @property
    def pictures(self) -> list[str]:
        """The data URLs of all messages."""
        contents = [m["content"] for m in self.body["messages"] if not isinstance(m["content"], str)]
        return [part["image_url"]["url"] for parts in contents for part in parts if part["type"] == "image_url"]


Behaviour = Callable[[Received], Awaitable[Response]]


def says(
    text: str | None = "Yes",
    finish: str = "stop",
    tokens: tuple[int, int] | None = (100, 10),
    top: Sequence[Mapping[str, float]] | None = None,
    refusal: str | None = None,
) -> Behaviour:
    """Answer well. top: for each token of the answer its alternatives and their probabilities."""
    message = {"role": "assistant", "content": text} | ({"refusal": refusal} if refusal else {})
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": finish}
    if top is not None:
        choice["logprobs"] = {"content": [_token(alternatives) for alternatives in top]}
    body: dict[str, Any] = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    if tokens is not None:
        body["usage"] = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    return sends(body)


def _token(alternatives: Mapping[str, float]) -> dict[str, Any]:
    top = [{"token": token, "logprob": math.log(p), "bytes": None} for token, p in alternatives.items()]
    return {**max(top, key=lambda one: one["logprob"]), "top_logprobs": top}


def sends(body: object) -> Behaviour:
    """Answer 200 with this JSON, or these bytes."""

    async def behave(received: Received) -> Response:
        if isinstance(body, bytes):
            return Response(body, media_type="application/json")
        return JSONResponse(body)

    return behave


def fails(
    status: int, message: str = "out of order", headers: Mapping[str, str] | None = None, **more: Any
) -> Behaviour:
    """Answer with an error; more: its code and param."""

    async def behave(received: Received) -> Response:
        error = {"message": message, "type": "error", "code": None, "param": None, **more}
        return JSONResponse({"error": error}, status, dict(headers or {}))

    return behave


def echoes_key(status: int) -> Behaviour:
    """Answer with an error that tells the key it was sent."""

    async def behave(received: Received) -> Response:
        said = received.headers["authorization"]
        message = f"Incorrect key {said.removeprefix('Bearer ')} in header '{said}' (or sk-proj-abc***wxyz)"
        return JSONResponse({"error": {"message": message, "code": "invalid_api_key"}}, status)

    return behave


def refuses(*names: str, message: str = "Unknown parameter: '{name}'.", then: Behaviour | None = None) -> Behaviour:
    """Answer 400 while the request has one of these fields."""

    async def behave(received: Received) -> Response:
        name = next((name for name in names if name in received.body), None)
        if name is not None:
            return JSONResponse({"error": {"message": message.format(name=name)}}, 400)
        return await (then or says())(received)

    return behave


def waits(seconds: float, then: Behaviour | None = None) -> Behaviour:
    """Answer late."""

    async def behave(received: Received) -> Response:
        await asyncio.sleep(seconds)
        return await (then or says())(received)

    return behave


def cut_off(text: str = "Yes") -> Behaviour:
    """Begin to answer and hang up."""

    async def behave(received: Received) -> Response:
        async def half() -> AsyncIterator[bytes]:
            yield json.dumps({"choices": [{"message": {"content": text}}]}).encode()[:-12]
            raise ConnectionAbortedError

        return StreamingResponse(half(), media_type="application/json")

    return behave


def drips(seconds: float, pause: float = 0.05) -> Behaviour:
    """Send a space now and then and never come to the point."""

    async def behave(received: Received) -> Response:
        async def spaces() -> AsyncIterator[bytes]:
            for _ in range(round(seconds / pause)):
                yield b" "
                await asyncio.sleep(pause)

        return StreamingResponse(spaces(), media_type="application/json")

    return behave


def floods(size: int) -> Behaviour:
    """Send that many bytes."""

    async def behave(received: Received) -> Response:
        async def bytes_() -> AsyncIterator[bytes]:
            for _ in range(size // 100_000):
                yield b" " * 100_000

        return StreamingResponse(bytes_(), media_type="application/json")

    return behave


class TalkServer:
    """What the tests see of the server."""

    def __init__(self) -> None:
        self.url = ""
        self.reset()

    def reset(self) -> None:
        """Forget everything and answer "Yes"."""
        self.received: list[Received] = []
        self.most_at_once = 0
        self._under_way: list[Received] = []  # a new list: late answers to an earlier test are none of the next
        self.always: Behaviour = says()
        self._next: deque[Behaviour] = deque()

    @property
    def at_once(self) -> int:
        """How many requests wait for their answer."""
        return len(self._under_way)

    def then(self, *behaviours: Behaviour) -> None:
        """Behave so for the next requests, one each."""
        self._next.extend(behaviours)

    async def answer(self, request: Request) -> Response:
        received = Received(await request.json(), dict(request.headers))
        self.received.append(received)
        behave = self._next.popleft() if self._next else self.always
        under_way = self._under_way
        under_way.append(received)
        self.most_at_once = max(self.most_at_once, len(under_way))
        try:
            return await behave(received)
        finally:
            under_way.pop()


@contextmanager
def running() -> Iterator[TalkServer]:
    """Serve on a free port of loopback."""
    talk = TalkServer()
    app = FastAPI()
    app.post("/v1/chat/completions")(talk.answer)
    place = socket.socket()
    place.bind(("127.0.0.1", 0))
    talk.url = f"http://127.0.0.1:{place.getsockname()[1]}/v1"
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield talk
    finally:
        server.should_exit = server.force_exit = True
        thread.join(5)
        place.close()
