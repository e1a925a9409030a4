"""From a folder or the hub's cache to the parts of a chat model: no download, and no code of a checkpoint is run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from transformers.utils import logging

from looktwice.errors import UsageError
from looktwice.talkers.hf.families import LANGUAGE_PARTS, Family, family_of
from looktwice.talkers.protocol import TalkerError

DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Parts:
    """A chat model in its parts; a processor of transformers would need torchvision."""

    family: Family
    model: Any  # ...ForConditionalGeneration, in evaluation mode
    tokenizer: Any
    image_processor: Any
    template: str  # Jinja
    print: str  # of its files: their names, sizes and times, in hex


def load_parts(name: str, device: str, dtype: str) -> Parts:
    """Load `name`, a folder or a repository of the hub that is in its cache.

    Raises TalkerError (talker_unreachable) where files are missing and UsageError where they cannot be used.
    """
    folder = find(name)
    family = family_of(name, read_json(folder / "config.json"))
    place = device_of(device)
    language = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False).get_text_config().model_type
    if language not in LANGUAGE_PARTS:
        raise UsageError(f"{name} talks through '{language}'. Supported language parts: {', '.join(LANGUAGE_PARTS)}")
    picture_processor: Any = transformers.AutoImageProcessor
    with quiet():
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            eye = picture_processor.from_pretrained(folder, backend="pil", trust_remote_code=False)
            model = load_model(name, folder, family, place, dtype)
        except OSError as error:
            raise TalkerError("talker_unreachable", f"{name} is not complete: {first(error)} {remedy(name)}") from error
        except (KeyError, RuntimeError, SafetensorError) as error:
            raise UsageError(f"{name} cannot be loaded: {first(error)}") from error
    return Parts(family, model, tokenizer, eye, template_of(folder, tokenizer) or family.template, print_of(folder))


def first(error: Exception) -> str:
    """The first line of what an error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def find(name: str) -> Path:
    """The folder of a checkpoint: `name` itself, or where the hub's cache has it."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        try:
            folder = Path(snapshot_download(name, local_files_only=True))
        except HFValidationError as error:
            raise TalkerError(
                "talker_unreachable",
                f"'{name}' is neither a folder of this machine nor a repository, such as llava-hf/llava-1.5-7b-hf",
            ) from error
        except LocalEntryNotFoundError as error:
            raise TalkerError("talker_unreachable", f"{name} is not on this machine. {remedy(name)}") from error
    if not (folder / "config.json").is_file():
        raise TalkerError("talker_unreachable", f"{name} holds no config.json. {remedy(name)}")
    return folder


def remedy(name: str) -> str:
    """What to do about a checkpoint that is not there."""
    if Path(name).expanduser().is_dir():
        return "Name the folder that holds all files of a checkpoint."
    return f"Run `hf download {name}`, or name the folder that holds it: hf:FOLDER"


def read_json(path: Path) -> dict[str, Any]:
    """Read an object; raises UsageError."""
    try:
        read = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UsageError(f"{path}: not JSON ({error})") from error
    if not isinstance(read, dict):
        raise UsageError(f"{path}: expected a JSON object, got {type(read).__name__}")
    return read


def device_of(device: str) -> torch.device:
    """The device of that name; raises UsageError where there is none."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device must be one of this machine, or auto, got '{device}'") from error


def load_model(name: str, folder: Path, family: Family, place: torch.device, dtype: str) -> Any:
    """The model on its device, every weight of it read from safetensors."""
    if dtype == "auto" and place.type == "cpu":
        dtype = "float32"  # exact, and most processors are slower in half precision
    model, found = getattr(transformers, family.model).from_pretrained(
        folder,
        dtype=dtype if dtype == "auto" else getattr(torch, dtype),
        attn_implementation="sdpa",
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    lacking = sorted(found["missing_keys"]) + sorted(str(key) for key in found["mismatched_keys"])
    if lacking:
        some = ", ".join(lacking[:5])
        raise UsageError(f"{name} lacks {len(lacking)} of the weights its config.json asks for, such as {some}")
    return model.to(place).eval().requires_grad_(False)


def template_of(folder: Path, tokenizer: Any) -> str | None:
    """The chat template of a checkpoint: the processor's before the tokenizer's."""
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text("utf-8")
    for file in ("chat_template.json", "processor_config.json"):
        if (folder / file).is_file() and (found := read_json(folder / file).get("chat_template")):
            return str(found)
    named = tokenizer.chat_template
    return named.get("default") if isinstance(named, dict) else named


def print_of(folder: Path) -> str:
    """What tells these files from those of another training; to read all weights for it would take too long."""
    files = sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir())
    return hashlib.sha256(repr(files).encode()).hexdigest()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the loader's log lines and progress bars off the screen."""
    screen: Any = logging
    level, bars = screen.get_verbosity(), screen.is_progress_bar_enabled()
    screen.set_verbosity_error()
    screen.disable_progress_bar()
    try:
        yield
    finally:
        screen.set_verbosity(level)
        if bars:
            screen.enable_progress_bar()
