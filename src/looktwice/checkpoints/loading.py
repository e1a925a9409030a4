"""The strict loader: all of a module is filled, or nothing is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from transformers import PreTrainedModel

from looktwice.checkpoints.files import read_tensors
from looktwice.checkpoints.tables import Move, Table, translate
from looktwice.checkpoints.tensors import BadCheckpoint, Tensors, more, some


@dataclass(frozen=True)
class Loaded:
    """What a load did: names of the model that were filled, names allowed to be missing, their names left out."""

    filled: tuple[str, ...]
    missing: tuple[str, ...]
    dropped: tuple[str, ...]


def load_strict(
    module: torch.nn.Module,
    files: str | Path | Sequence[str | Path] | Tensors,
    table: Table | Sequence[Table],
    *,
    allow_missing: Sequence[str] = (),
    dtype: torch.dtype | None = None,
) -> Loaded:
    """Fill a module with published weights, all of them or none.

    Of several tables the one that fits most names of the file is taken. `allow_missing` holds patterns
    ("vision_tower.*") of names that may stay as they are. A parameter on the meta device gets memory now; others are
    filled in place, in their own precision unless `dtype` is given. Tied parameters stay tied.
    Raises BadCheckpoint, and leaves the module as it was, where a name of the model or of the file is left over, a
    shape differs, or a file cannot be read.
    """
    tensors = files if isinstance(files, Tensors) else read_tensors(files)
    slots = _slots(module)
    plan, report = _checked(slots, tensors, table, allow_missing)
    groups = _groups(slots)
    with torch.no_grad():
        for theirs, move in plan.moves.items():
            for name, part in zip(move.names, move.cut(tensors[theirs]), strict=True):
                _put(module, slots[name], groups[id(slots[name])], part, dtype)
    return report


def check_fit(
    module: torch.nn.Module,
    files: str | Path | Sequence[str | Path] | Tensors,
    table: Table | Sequence[Table],
    *,
    allow_missing: Sequence[str] = (),
) -> Loaded:
    """Say what `load_strict` would do, by names and shapes alone, and do nothing; raises like it."""
    tensors = files if isinstance(files, Tensors) else read_tensors(files)
    return _checked(_slots(module), tensors, table, allow_missing)[1]


def empty_weights() -> AbstractContextManager[None]:
    """Build modules inside this without memory for their weights; `load_strict` brings the memory.

    Buffers are made as usual, because some are never in a file.
    """
    from accelerate import init_empty_weights

    made: AbstractContextManager[None] = init_empty_weights(include_buffers=False)
    return made


@dataclass
class _Plan:
    moves: dict[str, Move]
    dropped: list[str]
    unknown: list[str]


def _checked(
    slots: Mapping[str, torch.Tensor], tensors: Tensors, table: Table | Sequence[Table], allow_missing: Sequence[str]
) -> tuple[_Plan, Loaded]:
    plan = _best(tensors, table)
    filled = {name for move in plan.moves.values() for name in move.names}
    missing = _untouched(slots, filled)
    allowed = [name for name in missing if any(fnmatchcase(name, pattern) for pattern in allow_missing)]
    _refuse(tensors, slots, plan, sorted(set(missing) - set(allowed)))
    return plan, Loaded(tuple(sorted(filled)), tuple(sorted(allowed)), tuple(sorted(plan.dropped)))


def _best(tensors: Tensors, tables: Table | Sequence[Table]) -> _Plan:
    plans = [_plan(tensors, table) for table in ([tables] if isinstance(tables, Mapping) else tables)]
    return min(plans, key=lambda plan: len(plan.unknown))


def _plan(tensors: Tensors, table: Table) -> _Plan:
    plan = _Plan({}, [], [])
    for name in tensors:
        try:
            move = translate(name, table)
        except LookupError:
            plan.unknown.append(name)
            continue
        if move is None:
            plan.dropped.append(name)
        else:
            plan.moves[name] = move
    return plan


def _slots(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """All that a checkpoint fills, by name; a tied parameter has several names."""
    for part in module.modules():
        if isinstance(part, PreTrainedModel) and any(one.is_meta for one in part.parameters()):
            part.tie_weights()  # what is made without memory is not tied yet
    found: dict[str, torch.Tensor] = module.state_dict(keep_vars=True)
    lost = [name for name, buffer in module.named_buffers() if buffer.is_meta and name not in found]
    if lost:
        raise BadCheckpoint(f"{lost[0]} is in no file and has no value: build the model inside empty_weights()")
    return found


def _untouched(slots: Mapping[str, torch.Tensor], filled: set[str]) -> list[str]:
    """Names that are not filled, neither themselves nor by a parameter tied to them."""
    known = {id(slots[name]) for name in filled if name in slots}
    return [name for name, slot in slots.items() if id(slot) not in known]


def _groups(slots: Mapping[str, torch.Tensor]) -> dict[int, list[str]]:
    """All names of each parameter."""
    groups: dict[int, list[str]] = {}
    for name, slot in slots.items():
        groups.setdefault(id(slot), []).append(name)
    return groups


def _refuse(tensors: Tensors, slots: Mapping[str, torch.Tensor], plan: _Plan, missing: list[str]) -> None:
    strange = list(plan.unknown)
    shapes = []
    for theirs, move in plan.moves.items():
        for name, shape in zip(move.names, move.shapes(tensors.shape(theirs)), strict=True):
            if name not in slots:
                strange.append(theirs)
            elif tuple(slots[name].shape) != shape:
                shapes.append(f"{theirs} is {shape} in the file but {name} is {tuple(slots[name].shape)} in the model")
    doubled = _contradictions(tensors, slots, plan) if not (missing or strange or shapes) else []
    if not (missing or strange or shapes or doubled):
        return
    complaints = []
    if missing:
        complaints.append(f"lacks {some(missing)} of the model's {len(slots)} tensors")
    if strange:
        complaints.append(f"holds {some(list(dict.fromkeys(strange)))} that this model does not have")
    if shapes:
        complaints.append("does not fit: " + "; ".join(shapes[:3]) + more(shapes[3:]))
    if doubled:
        complaints.append(f"gives two values of {some(doubled)}, which is one tensor in the model")
    raise BadCheckpoint(f"{tensors.source}: it {', it '.join(complaints)}.{_looks_like(tensors)}")


def _contradictions(tensors: Tensors, slots: Mapping[str, torch.Tensor], plan: _Plan) -> list[str]:
    """Names of tied parameters for which the file holds tensors that differ."""
    first: dict[int, str] = {}
    odd = []
    for theirs, move in plan.moves.items():
        before = first.setdefault(id(slots[move.names[0]]), theirs)
        if before != theirs and not torch.equal(tensors[before], tensors[theirs]):
            odd.append(move.names[0])
    return odd


LOOKS: Mapping[str, str] = {
    "*lora_A*": "a LoRA adapter: merge it into its base with merge_lora",
    "model.visual_model.*": "a LISA checkpoint",
    "image_encoder.pos_embed": "SAM's published file",
    "vision_encoder.pos_embed": "SAM as transformers saves it",
    "visual.conv1.weight": "OpenAI's CLIP file",
    "*mm_projector.q_proj_1.weight": "a TokenPacker checkpoint",
    "*mm_projector.*": "a LLaVA checkpoint, or its projector alone",
    "*multi_modal_projector.*": "LLaVA as transformers saves it",
    "vision_model.*": "a CLIP file as transformers saves it",
    "model.embed_tokens.weight": "a language model without eyes",
}


def _looks_like(tensors: Tensors) -> str:
    for pattern, what in LOOKS.items():
        if any(fnmatchcase(name, pattern) for name in tensors):
            return f" This looks like {what}."
    return ""


def _put(
    module: torch.nn.Module, slot: torch.Tensor, names: list[str], value: torch.Tensor, dtype: torch.dtype | None
) -> None:
    kind = dtype if dtype is not None and slot.is_floating_point() else slot.dtype
    if not slot.is_meta and slot.dtype == kind:
        slot.copy_(value)
        return
    fresh = torch.empty(slot.shape, dtype=kind, device="cpu" if slot.is_meta else slot.device).copy_(value)
    if isinstance(slot, torch.nn.Parameter):
        fresh = torch.nn.Parameter(fresh, requires_grad=slot.requires_grad)
    for name in names:
        owner, _, leaf = name.rpartition(".")
        setattr(module.get_submodule(owner), leaf, fresh)
