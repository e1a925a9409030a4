"""AdamW with its learning rate as a pure function of the update, so that nothing of it needs to be saved.

The curve is that of LISA's script (DeepSpeed's WarmupDecayLR, linear): from 0 to the highest rate, then to 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from looktwice.errors import UsageError
from looktwice.training.config import TrainConfig

HIGHEST = "highest_lr"  # of a group of parameters, kept beside its lr


def learning_rate(update: int, highest: float, warmup: int, total: int) -> float:
    """Rate of an update, counted from 0.

    >>> [learning_rate(u, 3e-4, 100, 5000) for u in (0, 50, 100, 5000)]
    [0.0, 0.00015, 0.0003, 0.0]
    """
    if update < warmup:
        return highest * update / warmup
    return highest * max(0.0, (total - update) / max(1, total - warmup))


def adamw(named: Iterable[tuple[str, nn.Parameter]], config: TrainConfig) -> torch.optim.AdamW:
    """Make the optimiser of the parameters that require grad; raises UsageError where there are none.

    Decay is for matrices only: not for biases, norms and other vectors.
    """
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    used = set()
    for name, parameter in named:
        if not parameter.requires_grad:
            continue
        key = next((key for key in config.rates if key in name), "")
        used.add(key)
        rate = config.lr * config.rates.get(key, 1.0)
        decay = config.weight_decay if parameter.ndim > 1 else 0.0
        group = groups.setdefault((rate, decay), {"params": [], "weight_decay": decay, "lr": rate, HIGHEST: rate})
        group["params"].append(parameter)
    if not groups:
        raise UsageError("nothing is trained: no parameter of the system requires a gradient")
    if idle := sorted(set(config.rates) - used):
        raise UsageError(f"rates: no trained parameter has '{idle[0]}' in its name")
    return torch.optim.AdamW(list(groups.values()), lr=config.lr, betas=config.betas)


def set_rate(optimiser: torch.optim.Optimizer, update: int, config: TrainConfig, total: int) -> float:
    """Set the rate of an update in all groups; return that of the first."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(update, group[HIGHEST], config.warmup, total)
    return float(optimiser.param_groups[0]["lr"])


def state_of(optimiser: torch.optim.Optimizer, names: Mapping[nn.Parameter, str]) -> dict[str, torch.Tensor]:
    """The optimiser's tensors by "parameter|what"."""
    states: Mapping[Any, Mapping[str, Any]] = optimiser.state
    return {
        f"{names[parameter]}|{what}": value.detach().cpu().contiguous()
        for parameter, state in states.items()
        for what, value in state.items()
        if isinstance(value, torch.Tensor)
    }


def restore(
    optimiser: torch.optim.Optimizer, names: Mapping[nn.Parameter, str], tensors: Mapping[str, torch.Tensor]
) -> None:
    """Put back what `state_of` gave; parameters that were never updated have none."""
    by_name: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        name, _, what = key.rpartition("|")
        by_name.setdefault(name, {})[what] = value
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            state = by_name.get(names[parameter])
            if state is not None:
                # Adam counts its steps on the processor, its moments live beside the weights
                optimiser.state[parameter] = {
                    what: value.clone() if what == "step" else value.to(parameter.device, copy=True)
                    for what, value in state.items()
                }
