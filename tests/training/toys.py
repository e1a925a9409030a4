"""A system of a few weights that finds bright records, and sources of it: what the loop is tested on."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import DistributedType, PartialState
from safetensors.torch import save_file
from torch import nn

from looktwice.errors import BadFile
from looktwice.training import loop
from looktwice.training.config import TrainConfig
from looktwice.training.instruct import Source
from looktwice.training.loop import Stopped, run
from looktwice.training.protocol import Losses

torch.set_num_threads(1)
BASE = {"steps": 6, "batch": 2, "accumulate": 2, "lr": 0.05, "warmup": 2, "log_every": 1, "save_every": 3}


@dataclass(frozen=True)
class Numbers:
    """Records of eight numbers each; those of `broken` cannot be read."""

    anomalous: bool
    count: int = 12
    broken: tuple[int, ...] = ()

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index in self.broken:
            raise BadFile("unreadable", f"{self.anomalous}/{index}.png", "broken on purpose")
        values = np.random.default_rng([self.anomalous, index]).normal(1.5 * self.anomalous, 1, 8)
        return {"id": f"{self.anomalous}/{index}", "values": values.astype(np.float32), "anomalous": self.anomalous}


def source(broken=(), count=12):
    return Source("numbers", Numbers(False, count, tuple(broken)), Numbers(True, count))


class Collate:
    def __call__(self, records):
        return {
            "values": torch.tensor(np.stack([one["values"] for one in records])),
            "wanted": torch.tensor([float(one["anomalous"]) for one in records]),
        }


class Net(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.frozen = nn.Linear(8, 8)
        self.frozen.requires_grad_(False)
        self.learns, self.dropout, self.out = nn.Linear(8, 8), nn.Dropout(dropout), nn.Linear(8, 1)
        self.idle = nn.Linear(2, 2)  # takes no part, as some heads of SAM's decoder
        self.register_buffer("seen", torch.zeros(1, dtype=torch.long))

    def forward(self, values):
        self.seen += len(values)
        return self.out(self.dropout(self.learns(self.frozen(values)).relu()))[:, 0]


class Toy:
    def __init__(self, seed=0, dropout=0.0, slow=0.0, collate=None):
        torch.manual_seed(seed)
        self.network, self.collate, self.slow = Net(dropout), collate or Collate(), slow

    def loss(self, batch):
        time.sleep(self.slow)
        cost = nn.functional.binary_cross_entropy_with_logits(self.network(batch["values"]), batch["wanted"])
        return Losses(cost, {"cost": cost})

    def save(self, folder: Path, network, weights):
        save_file({name: value.contiguous() for name, value in weights.items()}, folder / "toy.safetensors")


def losses_of(out):
    """(update, loss) of each line of the log."""
    lines = (Path(out) / "losses.jsonl").read_text("utf-8").splitlines()
    return [(line["step"], line["loss"]) for line in map(json.loads, lines)]


def main():
    """Train from another process: OUT, JSON of the configuration, JSON of {"slow", "stop", "shard"}.

    stop: after this update the first process is asked to stop, and all go on from the checkpoint. shard: as with
    FSDP on GPUs, for which accelerate must take the processors for GPUs of some kind.
    """
    out, config, options = Path(sys.argv[1]), TrainConfig(**json.loads(sys.argv[2])), json.loads(sys.argv[3])
    if options.get("shard"):
        pretend_sharding()

    def interrupt(progress):
        if progress.step == options.get("stop"):
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        run(Toy(slow=options.get("slow", 0.0)), (source(),), config, out, on_step=interrupt)
    except Stopped:
        run(Toy(), (source(),), config, out, resume=True)


def pretend_sharding():
    plain = loop.AcceleratorState._reset_state

    def patched():
        plain()
        PartialState(cpu=True)
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_XPU

    loop.AcceleratorState._reset_state = staticmethod(patched)
    os.environ |= {
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "FSDP_AUTO_WRAP_POLICY": "NO_WRAP",
        "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
        "FSDP_RESHARD_AFTER_FORWARD": "true",
    }


if __name__ == "__main__":
    main()
