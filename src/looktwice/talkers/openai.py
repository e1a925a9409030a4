"""Chat models behind the OpenAI chat protocol: OpenAI, and vLLM, llama.cpp, Ollama, SGLang or Gemini by base_url.

Requests go through the official client; waiting and asking again are done here, so that one refusal slows all threads.
The key comes from the environment and stays in the client: it is never part of a name, a log, an error or a file.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
import weakref
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from looktwice.errors import UsageError, need
from looktwice.talkers.parallel import Pace, in_parallel
from looktwice.talkers.prices import Price, listed
from looktwice.talkers.protocol import Asking, Picture, Reply, TalkerError, Turn
from looktwice.talkers.wire import OPTIONAL, asked_wait, data_url, read_reply, refused_by, request, without

SERVER = "https://api.openai.com/v1"
NO_KEY = "none"  # what a server that wants no key is sent, since the client insists on one
MOST_BODY = 16_000_000  # bytes of one answer, all of it
LONGEST_BACKOFF = 60.0  # seconds
FILTERED = ("content_filter", "content_policy_violation")  # codes of errors that are refusals
LOOKS_LIKE_A_KEY = re.compile(r"(?i)\bbearer\s+\S{8,}|\bsk-[\w*.-]{4,}")
log = logging.getLogger("looktwice.talkers")


class Config(BaseModel):
    """How a server is reached and asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str | None = Field(None, description="address of a compatible server, as http://localhost:8000/v1")
    key_env: str = Field("OPENAI_API_KEY", description="environment variable that holds the key; '' sends none")
    detail: Literal["auto", "low", "high"] = Field("auto", description="how closely OpenAI's models look at a picture")
    max_side: int = Field(2048, ge=32, description="longest side of a picture that is sent, pixels")
    concurrency: int = Field(4, ge=1, description="requests at once, at most")
    timeout: float = Field(60.0, gt=0, description="seconds to wait for one answer")
    retries: int = Field(5, ge=0, description="how often a request that failed is sent again")
    backoff: float = Field(1.0, gt=0, description="seconds before the first retry, doubled for each next one, up to 60")
    longest_wait: float = Field(120.0, ge=0, description="seconds that a server may ask to wait; more is a failure")
    extra: dict[str, Any] = Field({}, description="fields added to each request, as {reasoning_effort: low}")


@dataclass(frozen=True)
class Trouble:
    """Why one request gave no answer."""

    kind: str  # of TalkerError
    why: str
    again: bool = False  # whether it may go well later
    wait: float | None = None  # seconds that the server asks to wait
    refused: tuple[str, ...] = ()  # of OPTIONAL: what the server may not take, most likely first


class OpenAI:
    """A model behind the OpenAI chat protocol.

    Options are the fields of Config. Raises UsageError for an option out of range, a base_url that is no address or
    holds a password, and a missing key (a server given by base_url may want none); MissingExtra without the client.
    """

    Config = Config

    def __init__(self, model: str, **options: Any) -> None:
        self.name = f"openai:{model}"
        self.model = model
        self.config = _config(options)
        self.base_url = _address(self.config.base_url or os.environ.get("OPENAI_BASE_URL") or SERVER)
        self._openai = need("openai", "chat", f"Talking to {model}")
        self._key = _key(self.config.key_env, wanted=self.base_url == SERVER)
        self._client = self._openai.OpenAI(
            api_key=self._key or NO_KEY,
            base_url=self.base_url,
            timeout=self._openai.Timeout(self.config.timeout, connect=min(self.config.timeout, 10.0)),
            max_retries=0,
        )
        weakref.finalize(self, self._client.close).atexit = False  # connections end with the talker
        self._pace = Pace(self.config.concurrency)
        self._refused: frozenset[str] = frozenset()  # of OPTIONAL: what this server does not take
        self._lock = threading.Lock()
        # references are sent with every part, and encoded once
        self._urls: weakref.WeakKeyDictionary[Picture, str] = weakref.WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"OpenAI({self.model!r}, base_url={self.base_url!r})"

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that an answer depends on beside the question: what stored answers are found by."""
        changing = self.config.model_dump(include={"detail", "max_side", "extra"})
        return {"kind": "openai", "model": self.model, "base_url": self.base_url, **changing}

    @property
    def price(self) -> Price | None:
        """The list price, None where it is not known."""
        return listed(self.model, f"{self.base_url}/")

    def chat(self, dialogues: Sequence[Sequence[Turn]], how: Asking) -> list[Reply | TalkerError]:
        """Answer each dialogue, in order; several are asked at once."""
        answers = dict(self.stream(dialogues, how))
        return [answers[number] for number in range(len(dialogues))]

    def stream(self, dialogues: Iterable[Sequence[Turn]], how: Asking) -> Iterator[tuple[int, Reply | TalkerError]]:
        """Yield (number of the dialogue, answer) as answers come; a dialogue is taken when a request may go out."""

        def work(dialogue: Sequence[Turn], stop: threading.Event) -> Reply | TalkerError:
            return self._answer(request(self.model, dialogue, how, self._show), how, stop)

        return in_parallel(work, dialogues, self.config.concurrency)

    def _show(self, picture: Picture) -> dict[str, str]:
        if picture not in self._urls:
            self._urls[picture] = data_url(picture, self.config.max_side)
        detail = {} if self.config.detail == "auto" else {"detail": self.config.detail}
        return {"url": self._urls[picture], **detail}

    # ------------------------------------------------------------ one dialogue, until it is answered or given up

    def _answer(self, body: dict[str, Any], how: Asking, stop: threading.Event) -> Reply | TalkerError:
        refused: dict[str, str] = dict.fromkeys(self._refused, "")  # name -> what the server said
        tries = 0
        while True:
            with self._pace.turn(stop):
                if stop.is_set():
                    return TalkerError("talker_failed", "stopped before it was asked")
                outcome = self._ask(without(body, refused), how)
            if isinstance(outcome, Reply):
                self._pace.ease()
                self._remember(refused)
                return outcome
            untried = [name for name in outcome.refused if name not in refused and OPTIONAL[name][0] in body]
            if untried:
                refused[untried[0]] = outcome.why
                continue
            wait = self._backoff(tries, body) if outcome.wait is None else outcome.wait
            if not outcome.again or tries == self.config.retries or wait > self.config.longest_wait:
                return self._error(outcome, tries, wait)
            if outcome.kind == "talker_rate_limited":
                self._pace.hold(wait)  # all threads wait, this one too
            else:
                stop.wait(wait)
            tries += 1

    def _backoff(self, tries: int, body: Mapping[str, Any]) -> float:
        """Seconds until the next try: doubled each time, spread over requests, the same in every run."""
        spread = zlib.crc32(json.dumps([tries, body["messages"]]).encode()) / 2**32
        return min(LONGEST_BACKOFF, self.config.backoff * 2.0**tries) * (0.5 + spread / 2)

    def _remember(self, refused: Mapping[str, str]) -> None:
        """Leave out from now on what this answer was given without."""
        with self._lock:
            new = refused.keys() - self._refused
            self._refused |= new
        for name in sorted(new):
            instead = "max_completion_tokens is sent instead" if name == "max_tokens" else "it is left out from now on"
            log.warning("%s does not take %s, %s: %s", self._place, name, instead, refused[name])

    def _error(self, trouble: Trouble, tries: int, wait: float) -> TalkerError:
        why = f"{self._place}: {trouble.why}"
        if trouble.again and wait > self.config.longest_wait:
            why += f" (asks to wait {wait:.0f} s, longer than longest_wait = {self.config.longest_wait:g})"
        elif tries:
            why += f" (tried {tries + 1} times)"
        return TalkerError(trouble.kind, why)

    @property
    def _place(self) -> str:
        return f"{self.model} at {self.base_url}"

    # ------------------------------------------------------------ one request

    def _ask(self, body: dict[str, Any], how: Asking) -> Reply | Trouble:
        client = self._openai
        try:
            # the body is read here, not by the client: bounded, and what is no JSON is said so
            create = self._client.chat.completions.with_streaming_response.create
            with create(**body, extra_body=self.config.extra or None) as response:
                return self._read(response, how)
        except client.APIStatusError as error:
            return self._status(error)
        except client.APITimeoutError:
            return self._late()
        except client.APIConnectionError as error:
            cause = self._scrubbed(error.__cause__ or error)
            why = f"cannot be reached ({cause}). Is the server running, and is base_url right?"
            return Trouble("talker_unreachable", why, again=True)

    def _read(self, response: Any, how: Asking) -> Reply | Trouble:
        raw = bytearray()
        deadline = time.monotonic() + self.config.timeout
        try:
            for chunk in response.iter_bytes():
                raw += chunk
                if len(raw) > MOST_BODY:
                    return Trouble("talker_failed", f"the answer is longer than {MOST_BODY:,} bytes")
                if time.monotonic() > deadline:
                    return self._late()
        except Exception as error:  # of httpx or httpx2, whichever the client is built on
            if "Timeout" in type(error).__name__:
                return self._late()
            return Trouble("talker_failed", f"the answer was cut off ({self._scrubbed(error)})", again=True)
        try:
            return read_reply(json.loads(bytes(raw)), how)
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            text = self._scrubbed(bytes(raw[:5000]).decode("utf-8", "replace"), longest=100)
            return Trouble("talker_failed", f"the answer is not what the chat protocol says: '{text}'", again=True)

    def _late(self) -> Trouble:
        why = f"no answer within {self.config.timeout:g} s. Raise timeout for a slow model"
        return Trouble("talker_timeout", why, again=True)

    def _status(self, error: Any) -> Reply | Trouble:
        """What an answer other than 200 means."""
        status, text, wait = error.status_code, self._said(error), asked_wait(error.response.headers)
        if error.code in FILTERED:
            return Reply(text, finish="refusal")
        if status in (401, 403):
            if self._key:
                return Trouble("talker_refused_key", f"the key in {self.config.key_env} is refused ({status}: {text})")
            variable = self.config.key_env or "key_env"
            return Trouble("talker_refused_key", f"a key is wanted ({status}: {text}). Set {variable}")
        if status == 429:
            again = error.code != "insufficient_quota"  # no money left: waiting does not help
            return Trouble("talker_rate_limited", f"too many requests (429: {text})", again, wait)
        if status in (408, 409) or status >= 500:
            return Trouble("talker_failed", f"the server failed ({status}: {text})", True, wait)
        hint = ". Does base_url lack /v1?" if status == 404 and "/v1" not in self.base_url else ""
        refused = refused_by(f"{error.param} {text}") if status in (400, 422) else ()
        return Trouble("talker_bad_request", f"the request is refused ({status}: {text}){hint}", refused=refused)

    def _said(self, error: Any) -> str:
        """The words of an error, wherever the server put them."""
        body = error.body
        message = body.get("message") or body.get("detail") if isinstance(body, Mapping) else body
        return self._scrubbed(message or error.message)

    def _scrubbed(self, said: object, longest: int = 300) -> str:
        """What a server said, on one line, without any key, not too long."""
        text = str(said)
        if self._key:
            text = text.replace(self._key, "[key]")
        text = " ".join(LOOKS_LIKE_A_KEY.sub("[key]", text).encode("utf-8", "replace").decode().split())
        return text if len(text) <= longest else f"{text[:longest]} ..."


# ---------------------------------------------------------------- what is given


def _config(options: Mapping[str, Any]) -> Config:
    try:
        return Config(**options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        allowed = ", ".join(Config.model_fields)
        raise UsageError(f"openai option '{where}': {first['msg']}. Its options: {allowed}") from error


def _address(text: str) -> str:
    """Check where the server is; raises UsageError, never showing a password that the address holds."""
    try:
        parts = urlsplit(text.strip())
        secret = parts.username or parts.password or parts.query
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # of a port, or of brackets
        secret, usable = None, False
    if secret:
        raise UsageError("base_url holds a name, a password or a query: keys come from the environment only (key_env)")
    if not usable:
        raise UsageError(f"base_url must look like http://localhost:8000/v1, got '{text}'")
    return text.strip().rstrip("/")


def _key(variable: str, wanted: bool) -> str:
    key = os.environ.get(variable, "").strip() if variable else ""
    if not key and wanted:
        name = variable or "key_env"
        raise UsageError(f"{name} is not set: export the key, or give the base_url of a server that wants none")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(f"{variable} holds characters that no key has")  # and the key is not shown
    return key
