"""What scoring answers in words may use besides ROUGE-L: a sentence encoder and a judge, by name.

An encoder is `hf:REPO` or `hf:FOLDER` (a sentence-transformers model, run with transformers alone) or
`python:MODULE:FUNCTION`, a function of yours from N texts to (N, D). A judge is any talker, `openai:gpt-4o`.
Letters: N texts, T tokens, D width.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from looktwice.benchmark.score import Chat, Encoder
from looktwice.errors import UsageError, need
from looktwice.talkers.opening import open_talker
from looktwice.talkers.protocol import Asking, TalkerError, Turn

TEXTS = 32  # encoded at once
LONGEST = 512  # tokens, where a model does not say
POOLING = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}


def open_encoder(name: str) -> Encoder:
    """Return the encoder called hf:REPO, hf:FOLDER or python:MODULE:FUNCTION; raises UsageError, MissingExtra."""
    kind, _, rest = name.partition(":")
    if kind == "hf" and rest:
        return SentenceEncoder(rest)
    if kind == "python" and rest:
        return _function(name, rest)
    raise UsageError(f"an encoder is hf:REPO, hf:FOLDER or python:MODULE:FUNCTION, got '{name}'")


def open_judge(name: str, options: Mapping[str, Any] | None = None) -> Judge:
    """Return the talker called KIND:MODEL as a judge of answers; raises UsageError, UnknownName, MissingExtra."""
    return Judge(name, dict(options or {}))


class Judge:
    """A talker that is asked one prompt at a time."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        self.name = name
        self.talker = open_talker(name, **options)

    @property
    def threads(self) -> int:
        """How many prompts it takes at once."""
        return int(getattr(getattr(self.talker.talker, "config", None), "concurrency", 1))

    def __call__(self, prompt: str) -> str:
        """The reply; raises TalkerError. What was answered before comes from the talker's cache."""
        (reply,) = self.talker.chat([(Turn("user", (prompt,)),)], Asking())
        if isinstance(reply, TalkerError):
            raise reply
        return reply.text


def _function(name: str, rest: str) -> Encoder:
    module, _, function = rest.partition(":")
    sys.path.insert(0, "")  # a file in this folder, as with python -m
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"no function for the encoder '{name}': {error}") from error
    finally:
        sys.path.remove("")

    def encode(texts: list[str]) -> np.ndarray:
        return np.asarray(found(texts))

    encode.name = name  # type: ignore[attr-defined]
    return encode


class SentenceEncoder:
    """A sentence-transformers model: a transformer whose tokens are averaged, or whose first token counts.

    Nothing is downloaded: the folder, or the hub's cache, must hold it. Raises UsageError for a model of another build.
    """

    def __init__(self, name: str) -> None:
        self.name = f"hf:{name}"
        self.torch = need("torch", "torch", "A sentence encoder")
        transformers = need("transformers", "torch", "A sentence encoder")
        folder = _folder(name)
        self.pooling = _pooling(folder, name)
        try:
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            model = transformers.AutoModel.from_pretrained(folder, trust_remote_code=False, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{name} is no sentence encoder that can be loaded: {str(error).splitlines()[0]}"
            ) from error
        self.model = model.float().eval()
        said = _read(folder / "sentence_bert_config.json").get("max_seq_length")
        self.longest = int(said or min(LONGEST, self.tokenizer.model_max_length))

    def __call__(self, texts: list[str]) -> np.ndarray:
        """(N, D) float32 of N texts."""
        parts = [self._batch(texts[i : i + TEXTS]) for i in range(0, len(texts), TEXTS)]
        return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)

    def _batch(self, texts: list[str]) -> np.ndarray:
        tokens = self.tokenizer(texts, padding=True, truncation=True, max_length=self.longest, return_tensors="pt")
        with self.torch.inference_mode():
            states = self.model(**tokens).last_hidden_state  # (N, T, D)
        if self.pooling == "cls":
            return np.asarray(states[:, 0].numpy())
        real = tokens["attention_mask"][..., None].to(states.dtype)  # (N, T, 1)
        return np.asarray(((states * real).sum(1) / real.sum(1).clamp(min=1e-9)).numpy())


def _folder(name: str) -> Path:
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    hub = need("huggingface_hub", "torch", "A sentence encoder")
    try:
        return Path(hub.snapshot_download(name, local_files_only=True))
    except (hub.errors.LocalEntryNotFoundError, hub.errors.HFValidationError) as error:
        raise UsageError(
            f"{name} is not on this machine. Run `hf download {name}`, or name the folder of a model: hf:FOLDER"
        ) from error


def _pooling(folder: Path, name: str) -> str:
    """How tokens become one vector: as the model says, else the mean."""
    modules = _read(folder / "modules.json") or []
    kinds = [str(one.get("type", "")).rpartition(".")[2] for one in modules]
    odd = [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]
    if odd:
        raise UsageError(f"{name} has the part {odd[0]}, which is not run here: give the encoder as python:...")
    said = _read(folder / "1_Pooling" / "config.json")
    chosen = [POOLING.get(key, key) for key, value in said.items() if key.startswith("pooling_mode_") and value is True]
    if not chosen:
        return "mean"
    if len(chosen) > 1 or chosen[0] not in POOLING.values():
        raise UsageError(f"{name} pools by {', '.join(chosen)}, which is not run here: give the encoder as python:...")
    return str(chosen[0])


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise UsageError(f"{path}: not JSON: {error}") from error


def opened(
    encoder: str | None, judge: str | None, judge_options: Mapping[str, Any] | None = None
) -> tuple[Encoder | None, Chat | None, int]:
    """The encoder and the judge of these names, and how many prompts the judge takes at once."""
    chat = open_judge(judge, judge_options) if judge else None
    return open_encoder(encoder) if encoder else None, chat, chat.threads if chat else 1
