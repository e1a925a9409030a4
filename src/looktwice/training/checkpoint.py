"""Checkpoints that are whole or not there: a folder is written beside its place, synced, then moved into it.

`checkpoints/step-00000500/`: trained weights and buffers, the optimiser's state (both safetensors) and state.json.
What is frozen is not written; a digest tells whether the same frozen weights are there when a run goes on. Nothing else
is needed: the order of records, the learning rate and the seeds of dropout follow from the number of the update.

With FSDP or DeepSpeed, where no process holds all weights, accelerate writes the shards into the same folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from looktwice.errors import BadFile, UsageError
from looktwice.report.atomic import sync_folder

FOLDER, WEIGHTS, OPTIMISER, STATE, SHARDS = (
    "checkpoints",
    "weights.safetensors",
    "optimiser.safetensors",
    "state.json",
    "shards",
)
NAME = re.compile(r"step-(\d{8})")
HALF = ".half-"  # in front of a folder that is being written
SAMPLE = 64  # numbers of each frozen tensor that go into the digest


@dataclass(frozen=True)
class Checkpoint:
    """One that is whole."""

    folder: Path
    step: int

    def state(self) -> dict[str, Any]:
        """What is known besides tensors; raises BadFile."""
        path = self.folder / STATE
        try:
            found = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise BadFile("unreadable", path, f"this checkpoint is damaged: {error}") from error
        return dict(found)

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        """Tensors of one of its files; raises BadFile."""
        try:
            return dict(load_file(self.folder / name))
        except (OSError, SafetensorError) as error:
            raise BadFile("unreadable", self.folder / name, f"this checkpoint is damaged: {error}") from error


def latest(out: Path) -> Checkpoint | None:
    """The newest checkpoint of a run."""
    found = _all(out)
    return found[-1] if found else None


def half_of(out: Path, step: int) -> Path:
    """The folder a checkpoint is written in before it is whole."""
    return out / FOLDER / f"{HALF}step-{step:08d}"


def begin(half: Path) -> None:
    """Make it, empty; what a killed run left half done goes."""
    half.parent.mkdir(parents=True, exist_ok=True)
    for left in half.parent.glob(f"{HALF}*"):
        shutil.rmtree(left)
    half.mkdir()


def write(
    half: Path, weights: Mapping[str, torch.Tensor], optimiser: Mapping[str, torch.Tensor], state: Mapping[str, Any]
) -> None:
    """Write the parts of a checkpoint."""
    for name, tensors in ((WEIGHTS, weights), (OPTIMISER, optimiser)):
        if tensors:
            save_file(dict(tensors), half / name)
    (half / STATE).write_text(json.dumps(state, ensure_ascii=False, indent=1), "utf-8")


def finish(half: Path, keep: int) -> None:
    """Sync a checkpoint, move it into its place, and remove all but the newest `keep`."""
    replace_folder(half, half.parent / half.name.removeprefix(HALF))
    for old in _all(half.parent.parent)[:-keep]:
        shutil.rmtree(old.folder)


def replace_folder(made: Path, place: Path) -> None:
    """Move a folder into a place that may be taken; a reader sees the old one, the new one, or for a moment none."""
    for path in (made, *made.rglob("*")):
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("rb+") as stream:
                os.fsync(stream.fileno())
    aside = place.parent / f"{HALF}old-{place.name}"
    shutil.rmtree(aside, ignore_errors=True)
    if place.exists():
        os.replace(place, aside)
    os.replace(made, place)
    sync_folder(place.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _all(out: Path) -> list[Checkpoint]:
    home = out / FOLDER
    names = sorted(path.name for path in home.iterdir()) if home.is_dir() else []
    return [Checkpoint(home / name, int(found[1])) for name in names if (found := NAME.fullmatch(name))]


# ---------------------------------------------------------------- weights


def trained(network: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters that learn and buffers that are kept, by name; each once."""
    kept = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    return {name: value.detach().cpu().contiguous() for name, value in (*kept.items(), *_buffers(network))}


def put_back(network: nn.Module, weights: Mapping[str, torch.Tensor], where: Path) -> None:
    """Copy what `trained` gave into a network of the same parts; raises UsageError where it has others."""
    places: dict[str, torch.Tensor] = {
        name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad
    }
    places |= dict(_buffers(network))
    odd = sorted(set(places) ^ set(weights))
    odd += sorted(name for name in set(places) & set(weights) if places[name].shape != weights[name].shape)
    if odd:
        raise UsageError(f"{where} does not belong to this system: {odd[0]} differs, and {len(odd) - 1} more")
    with torch.no_grad():
        for name, place in places.items():
            place.copy_(weights[name])


def frozen_digest(network: nn.Module) -> str:
    """A digest of the weights that are not trained: names, shapes and some numbers of each."""
    digest = hashlib.sha256()
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            flat = parameter.detach().flatten()
            some = flat[:: max(1, len(flat) // SAMPLE)][:SAMPLE].float().cpu().numpy()
            digest.update(f"{name} {tuple(parameter.shape)}".encode() + some.tobytes())
    return digest.hexdigest()


def _buffers(network: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Buffers that belong to the state, as `state_dict` has them."""
    kept = set(network.state_dict(keep_vars=True))
    yield from ((name, buffer) for name, buffer in network.named_buffers() if name in kept)
