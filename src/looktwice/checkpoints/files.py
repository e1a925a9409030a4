"""Files of weights: found, opened, and never trusted.

safetensors, or torch.save archives read with weights_only=True: nothing else is ever unpickled. Names and shapes are
read first, each tensor when it is asked for.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from looktwice.checkpoints.tensors import BadCheckpoint, Entry, Tensors, some

Source = str | Path
WHOLE = ("model.safetensors.index.json", "model.safetensors", "pytorch_model.bin.index.json", "pytorch_model.bin")
ADAPTER = ("adapter_model.safetensors", "adapter_model.bin")
WRAPPERS = ("state_dict", "model", "module")  # what training scripts put the weights under

# Where a missing file comes from, for the error that says so.
ORIGINS: Mapping[str, str] = {
    "sam_vit_h_4b8939.pth": "2.4 GiB, https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth",
    "sam_vit_l_0b3195.pth": "1.2 GiB, https://dl.fbaipublicfiles.com/segment_anything/sam_vit_l_0b3195.pth",
    "sam_vit_b_01ec64.pth": "358 MiB, https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth",
}


# SHA-256 of OpenAI's CLIP files, as openai/CLIP names them.
OPENAI_CLIP: Mapping[str, str] = {
    "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af": "ViT-B/32",
    "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f": "ViT-B/16",
    "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836": "ViT-L/14",
    "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02": "ViT-L/14@336px",
}


def locate(name: Source) -> Path:
    """Return the file or folder of that name: a path, or ORG/NAME in the local cache of the Hugging Face hub.

    Nothing is downloaded. Raises BadCheckpoint with the command that brings what is missing.
    """
    path = Path(name).expanduser()
    if path.exists():
        return path
    if path.name in ORIGINS:
        raise BadCheckpoint(f"{name} is not there: download it ({ORIGINS[path.name]})")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)):
        raise BadCheckpoint(f"{name} is not there: give a file, a folder, or ORG/NAME of a model that was downloaded")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(name), local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError) as error:
        raise BadCheckpoint(f"{name} is neither a path nor in the local cache: hf download {name}") from error


def read_tensors(files: Source | Sequence[Source]) -> Tensors:
    """Open weights: a .safetensors, .pth, .pt or .bin file, an index of shards, a folder with one of these, or several.

    Only names and shapes are read now. In a folder, whole weights in safetensors come first.
    Raises BadCheckpoint for a file that is missing, broken, of another kind, or that holds more than tensors; and where
    two files hold a tensor of the same name.
    """
    if isinstance(files, (str, Path)):
        return _read_one(locate(files))
    parts = [_read_one(locate(one)) for one in files]
    entries: dict[str, Entry] = {}
    for part in parts:
        twice = sorted(entries.keys() & part.entries.keys())
        if twice:
            raise BadCheckpoint(f"{part.source}: another file gives {some(twice)} as well")
        entries |= part.entries
    return Tensors(entries, ", ".join(part.source for part in parts))


def _read_one(path: Path) -> Tensors:
    if path.is_dir():
        return _read_one(_main_file(path))
    with path.open("rb") as stream:
        start = stream.read(200)
    if start.startswith(b"version https://git-lfs"):
        raise BadCheckpoint(f"{path} is a Git LFS pointer, not the weights: download the file itself")
    if path.name.endswith(".index.json"):
        return _read_shards(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return _read_archive(path)


def _main_file(folder: Path) -> Path:
    for name in (*WHOLE, *ADAPTER):
        if (folder / name).is_file():
            return folder / name
    found = sorted(one for one in folder.iterdir() if one.suffix in (".safetensors", ".bin", ".pth", ".pt"))
    if len(found) == 1:
        return found[0]
    names = ", ".join(one.name for one in found) or "no weights"
    raise BadCheckpoint(f"{folder} has none of {', '.join(WHOLE)}, but {names}: name the file")


def _read_shards(index: Path) -> Tensors:
    try:
        where: dict[str, str] = json.loads(index.read_text("utf-8"))["weight_map"]
        shards = sorted({Path(name) for name in where.values()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadCheckpoint(f"{index} is no index of shards: {type(error).__name__} {error}") from error
    if any(path.name != str(path) for path in shards):
        raise BadCheckpoint(f"{index} names shards outside of its folder")
    absent = [path.name for path in shards if not (index.parent / path).is_file()]
    if absent:
        raise BadCheckpoint(f"{index.parent} lacks {some(absent)} of {len(shards)} shards: download them again")
    whole = read_tensors([index.parent / path for path in shards])
    lacking = sorted(where.keys() - whole.entries.keys())
    if lacking:
        raise BadCheckpoint(f"{index.parent}: the shards lack {some(lacking)} of the index: download them again")
    return Tensors(whole.entries, str(index.parent))


def _read_safetensors(path: Path) -> Tensors:
    try:
        stored: Any = safe_open(path, framework="pt")  # it has no types
    except (SafetensorError, OSError) as error:
        raise BadCheckpoint(f"{path} cannot be read ({error}): download it again") from error
    names: list[str] = stored.keys()
    return Tensors(
        {name: Entry(tuple(stored.get_slice(name).get_shape()), partial(stored.get_tensor, name)) for name in names},
        str(path),
    )


def _read_archive(path: Path) -> Tensors:
    zipped = zipfile.is_zipfile(path)
    if zipped and _is_program(path):
        return Tensors.of(_read_program(path), str(path))
    try:
        stored = torch.load(path, map_location="cpu", mmap=zipped, weights_only=True)
    except Exception as error:  # a broken pickle can fail in any way
        first = str(error).split("\n")[0].split(". ")[0]
        raise BadCheckpoint(
            f"{path} cannot be read ({type(error).__name__}: {first}): it is broken, or holds more than tensors, "
            "which is never unpickled"
        ) from error
    tensors = _unwrapped(stored)
    if not tensors:
        raise BadCheckpoint(f"{path} holds no tensors by name")
    return Tensors.of(tensors, str(path))


def _is_program(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _unwrapped(stored: object) -> dict[str, torch.Tensor]:
    """The tensors of a state dict, also inside what a training script wrapped around it."""
    for wrapper in WRAPPERS:
        if isinstance(stored, dict) and isinstance(stored.get(wrapper), dict):
            stored = stored[wrapper]
    if not isinstance(stored, dict):
        return {}
    tensors = {str(name): one for name, one in stored.items() if isinstance(one, torch.Tensor)}
    if all(name.startswith("module.") for name in tensors):
        return {name.removeprefix("module."): one for name, one in tensors.items()}
    return tensors


def _read_program(path: Path) -> dict[str, torch.Tensor]:
    """The weights of OpenAI's CLIP files, which are programs: run only what is known byte for byte."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest not in OPENAI_CLIP:
        raise BadCheckpoint(
            f"{path} is a TorchScript program and none of OpenAI's CLIP files (SHA-256 {digest[:16]}...): "
            "unknown programs are never loaded, save its state_dict() as safetensors"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, and the only reader of this format
        tensors: dict[str, torch.Tensor] = torch.jit.load(path, map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
    return tensors
