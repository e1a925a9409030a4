"""Weights published in pieces: a delta to a base model, and LoRA adapters. Joined tensor by tensor, on reading.

LoRA: Hu et al., ICLR 2022. The rules are those of LLaVA's and LISA's own scripts and of peft.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch

from looktwice.checkpoints.files import locate, read_tensors
from looktwice.checkpoints.tensors import BadCheckpoint, Entry, Tensors, some

COMPUTED = "rotary_emb.inv_freq"  # in files of old versions; never loaded
LORA = re.compile(r"(.+)\.lora_(A|B)(?:\.\w+)?\.weight")


def apply_delta(base: Tensors, delta: Tensors) -> Tensors:
    """Return base + delta, as LLaVA's weights were published on top of LLaMA's.

    The projector, which only the delta has, is taken as it is. Where the delta has more rows, those of added words, the
    base is added to the first ones. The sum has the delta's precision.
    Raises BadCheckpoint where one lacks another tensor that the other has, or shapes differ in another way.
    """
    here, there = set(delta.entries), {name for name in base.entries if not name.endswith(COMPUTED)}
    if there - here:
        raise BadCheckpoint(f"{delta.source}: the delta lacks {some(sorted(there - here))} of its base: another base?")
    alone = sorted(name for name in here - there if "mm_projector" not in name and not name.endswith(COMPUTED))
    if alone:
        raise BadCheckpoint(f"{base.source}: the base lacks {some(alone)} that the delta changes: is it whole?")
    entries = dict(delta.entries)
    for name in sorted(there):
        below, above = base.entries[name], delta.entries[name]
        if below.shape[1:] != above.shape[1:] or below.shape[:1] > above.shape[:1]:
            raise BadCheckpoint(f"{delta.source}: {name} is {above.shape}, its base {below.shape}: another base?")
        entries[name] = Entry(above.shape, partial(_sum, below, above))
    return Tensors(entries, delta.source)


def _sum(base: Entry, delta: Entry) -> torch.Tensor:
    total = delta.read().clone()
    first = total[: base.shape[0]] if base.shape else total
    first += base.read().to(total.dtype)
    return total


def merge_lora(base: Tensors, adapter: str | Path | Tensors, alpha: float | None = None) -> Tensors:
    """Return the base with W + scale * B A for every LoRA pair of the adapter; its other tensors replace the base's.

    adapter: a folder as peft and LLaVA save it (adapter_model, adapter_config.json, non_lora_trainables.bin), or
    tensors. Names may begin with "base_model.model.", as LISA's unmerged training files do: for those, `base` holds no
    tensors. scale is alpha / rank, or alpha / sqrt(rank) where the configuration says use_rslora. The sum is made in
    float32 and has the base's precision.
    Raises BadCheckpoint where a half of a pair, its base or alpha is missing, shapes do not fit, or the adapter
    changes a weight in a way that is not LoRA.
    """
    settings: Mapping[str, object] = {}
    if not isinstance(adapter, Tensors):
        folder = locate(adapter)
        settings, adapter = _settings(folder), _adapter(folder)
    told = settings.get("lora_alpha") if alpha is None else alpha
    if not isinstance(told, (int, float)):
        raise BadCheckpoint(f"{adapter.source}: alpha is not known: give alpha= as it was in training")
    entries, halves = _sorted_out(base, adapter)
    for name, pair in sorted(halves.items()):
        _check(name, pair, entries, adapter.source)
        rank = pair["A"].shape[0]
        scale = told / (rank**0.5 if settings.get("use_rslora") else rank)
        weight = entries[name]
        turned = bool(settings.get("fan_in_fan_out"))
        entries[name] = Entry(weight.shape, partial(_merged, weight, pair, scale, turned))
    return Tensors(entries, adapter.source)


def _settings(folder: Path) -> Mapping[str, object]:
    try:
        found = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadCheckpoint(f"{folder}: adapter_config.json cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise BadCheckpoint(f"{folder}: adapter_config.json holds no settings")
    odd = [name for name in ("use_dora", "rank_pattern", "alpha_pattern") if found.get(name)]
    if odd:
        raise BadCheckpoint(f"{folder}: adapters with {', '.join(odd)} are not plain LoRA: merge them with peft")
    return found


def _adapter(folder: Path) -> Tensors:
    parts = [one for one in ("adapter_model.safetensors", "adapter_model.bin") if (folder / one).is_file()][:1]
    if not parts:
        raise BadCheckpoint(f"{folder} has neither adapter_model.safetensors nor adapter_model.bin")
    parts += [one for one in ("non_lora_trainables.bin",) if (folder / one).is_file()]
    return read_tensors([folder / one for one in parts])


def _sorted_out(base: Tensors, adapter: Tensors) -> tuple[dict[str, Entry], dict[str, dict[str, Entry]]]:
    """Whole weights by plain name, and the halves of LoRA pairs by the name of the weight they change."""
    entries = dict(base.entries)
    halves: dict[str, dict[str, Entry]] = {}
    for name, entry in adapter.entries.items():
        plain = plain_name(name)
        half = LORA.fullmatch(plain)
        if half:
            halves.setdefault(f"{half[1]}.weight", {})[half[2]] = entry
        elif ".lora_" in plain:
            raise BadCheckpoint(f"{adapter.source}: {name} is not plain LoRA of a linear layer: merge it with peft")
        else:
            entries[plain] = entry
    return entries, halves


def plain_name(name: str) -> str:
    """Take off what peft puts around a name.

    >>> plain_name("base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight")
    'model.layers.0.self_attn.q_proj.weight'
    """
    wrapped = name.startswith(("base_model.", "model.model."))
    name = name.removeprefix("base_model.")
    if wrapped:
        name = name.removeprefix("model.")
    return re.sub(r"\.(?:base_layer|modules_to_save(?:\.\w+)?)(?=\.(?:weight|bias)$)", "", name)


def _check(name: str, pair: Mapping[str, Entry], entries: Mapping[str, Entry], source: str) -> None:
    if name not in entries:
        raise BadCheckpoint(f"{source}: the base has no {name} that the adapter changes: another base?")
    if set(pair) != {"A", "B"}:
        raise BadCheckpoint(f"{source}: {name} has lora_{'A' if 'A' in pair else 'B'} without its other half")
    a, b, weight = pair["A"].shape, pair["B"].shape, entries[name].shape
    if len(a) != 2 or len(b) != 2 or a[0] != b[1] or (b[0], a[1]) not in (weight, weight[::-1]):
        raise BadCheckpoint(f"{source}: {name} is {weight}, its adapter {b} x {a}: another base?")


def _merged(weight: Entry, pair: Mapping[str, Entry], scale: float, turned: bool) -> torch.Tensor:
    change = pair["B"].read().float() @ pair["A"].read().float() * scale
    stored = weight.read()
    return (stored.float() + (change.T if turned else change)).to(stored.dtype)
