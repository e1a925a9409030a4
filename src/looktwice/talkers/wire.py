"""The OpenAI chat protocol as it travels: what a request says, what an answer means. Nothing here talks to a server."""

from __future__ import annotations

import base64
import email.utils
import io
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from PIL import Image

from looktwice.talkers.protocol import Asking, Part, Picture, Reply, Turn, Usage

MOST_PNG = 4_000_000  # bytes; a larger picture is sent as JPEG, so that a request with several stays below 50 MB
MOST_TEXT = 200_000  # characters of one answer's text
TOP = 20  # most alternatives for a token that the protocol gives
FINISH: Mapping[str, Literal["stop", "length", "refusal"]] = {"length": "length", "content_filter": "refusal"}
# What a server may refuse: name -> fields of the request.
OPTIONAL = {
    "response_format": ("response_format",),
    "logprobs": ("logprobs", "top_logprobs"),
    "temperature": ("temperature",),
    "seed": ("seed",),
    "max_tokens": ("max_tokens",),
}
NAMED = {"json_schema": "response_format", "structured output": "response_format"}  # other words for them

# ---------------------------------------------------------------- what is sent


def request(model: str, dialogue: Sequence[Turn], how: Asking, show: Callable[[Picture], Any]) -> dict[str, Any]:
    """Return a request; `show` gives what stands for a picture."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [_message(turn, show) for turn in dialogue],
        "max_tokens": how.max_tokens,
        "temperature": how.temperature,
        "seed": how.seed,
    }
    if how.schema is not None:
        plain = json.loads(json.dumps(how.schema, default=dict))  # a mapping that is no dict becomes one
        schema = {"name": "answer", "schema": plain, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if how.choices:
        body |= {"logprobs": True, "top_logprobs": TOP}
    return body


def _message(turn: Turn, show: Callable[[Picture], Any]) -> dict[str, Any]:
    texts = [clean(part) for part in turn.parts if isinstance(part, str)]
    if len(texts) == len(turn.parts):
        return {"role": turn.role, "content": "\n".join(texts)}  # older servers take no parts from the system
    return {"role": turn.role, "content": [_content(part, show) for part in turn.parts]}


def _content(part: Part, show: Callable[[Picture], Any]) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": clean(part)}
    return {"type": "image_url", "image_url": show(part)}


def clean(text: str) -> str:
    """Text that can be sent and stored as UTF-8: a file name may hold bytes that are none."""
    return text.encode("utf-8", "replace").decode()


def data_url(picture: Picture, max_side: int) -> str:
    """Return a picture as a data URL: PNG, or JPEG of quality 95 with full colour where the PNG is over 4 MB.

    A picture with a side longer than `max_side` pixels is reduced to it first (Lanczos).
    """
    image = Image.fromarray(picture.pixels)
    longest = max(image.size)
    if longest > max_side:
        width, height = (max(1, round(side * max_side / longest)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    kind, raw = "png", _saved(image, "PNG")
    if len(raw) > MOST_PNG:
        kind, raw = "jpeg", _saved(image, "JPEG", quality=95, subsampling=0)
    return f"data:image/{kind};base64,{base64.b64encode(raw).decode('ascii')}"


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def without(body: Mapping[str, Any], refused: Iterable[str]) -> dict[str, Any]:
    """Return a request without what the server refuses; the length of the answer has a second name."""
    gone = {field for name in refused for field in OPTIONAL[name]}
    kept = {field: value for field, value in body.items() if field not in gone}
    if "max_tokens" in gone:
        kept["max_completion_tokens"] = body["max_tokens"]
    return kept


# ---------------------------------------------------------------- what comes back


def refused_by(text: str) -> tuple[str, ...]:
    """What a server that says this may not take: what it names, else the schema, else the probabilities."""
    for word, name in NAMED.items():
        text = text.replace(word, name)
    return tuple(name for name in OPTIONAL if name in text) or ("response_format", "logprobs")


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait (a number or a date), None where it does not say."""
    text = headers.get("retry-after", "")
    milliseconds = headers.get("retry-after-ms")
    try:
        wait = float(text) if milliseconds is None else float(milliseconds) / 1000
    except ValueError:
        try:
            wait = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, wait) if math.isfinite(wait) else None


def read_reply(body: Any, how: Asking) -> Reply:
    """Read an answer; raises ValueError, LookupError, TypeError, AttributeError where it is none."""
    choice = body["choices"][0]
    message = choice["message"]
    refusal = message.get("refusal")
    text = clean(refusal or _text(message.get("content")))
    finish = FINISH.get(choice.get("finish_reason"), "stop")
    if refusal:
        finish = "refusal"
    elif len(text) > MOST_TEXT:
        text, finish = text[:MOST_TEXT], "length"
    tokens = (choice.get("logprobs") or {}).get("content") or ()
    return Reply(text, finish, _usage(body.get("usage") or {}), _choices(tokens, how.choices))


def _text(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part["type"] == "text")


def _usage(usage: Mapping[str, Any]) -> Usage:
    """Tokens as the server counts them; some leave what was thought but not said out of the answer's."""
    said = [usage.get(name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")]
    asked, answered, total = (count if isinstance(count, int) and count > 0 else 0 for count in said)
    return Usage(asked, max(answered, total - asked))


def _choices(tokens: Sequence[Mapping[str, Any]], words: Sequence[str]) -> Mapping[str, float] | None:
    """Probability of each word as the first of the answer, all its cases and spaces summed; None: not told.

    A token that is only the beginning of a word counts for it from three letters on.
    """
    found = dict.fromkeys(words, 0.0)
    first = next((token for token in tokens if _bare(token["token"])), None)
    for other in first["top_logprobs"] if first else ():
        word = _meant(_bare(other["token"]), words)
        if word is not None:
            found[word] += math.exp(min(0.0, float(other["logprob"])))
    total = sum(found.values())
    return {word: value / total for word, value in found.items()} if total > 0 else None


def _bare(token: str) -> str:
    return token.strip(" \t\r\n\"'`*.,:{[(").casefold()


def _meant(token: str, words: Sequence[str]) -> str | None:
    """The one word that a token is or begins."""
    same = [word for word in words if _bare(word) == token]
    begun = [word for word in words if len(token) >= 3 and _bare(word).startswith(token)]
    fits = same or begun
    return fits[0] if len(fits) == 1 else None
