"""The loop: micro-batches into updates, on accelerate, with a log, checkpoints and an exact way to go on.

Everything a step depends on follows from its number and the seed: the records, the learning rate, dropout. So a run
that was killed goes on from its newest checkpoint with the losses it would have had. FSDP, DeepSpeed, several GPUs and
mixed precision come from accelerate's own configuration (`accelerate launch -m looktwice.cli.main train ...`).

Letters: none.
"""

from __future__ import annotations

import json
import math
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, DistributedType
from accelerate.state import AcceleratorState
from accelerate.utils import gather_object, send_to_device
from torch.utils.data import DataLoader, Dataset

from looktwice import __version__
from looktwice.errors import LookTwiceError, StopRun, UsageError
from looktwice.report.atomic import write_atomically
from looktwice.training import checkpoint
from looktwice.training.config import FREE, TrainConfig
from looktwice.training.instruct import ENDLESS, Source
from looktwice.training.journal import Journal
from looktwice.training.optimiser import adamw, restore, set_rate, state_of
from looktwice.training.protocol import Collate, Trainable
from looktwice.training.sampling import Draw, Sampler

RUN, DONE, MODEL = "run.json", "done.json", "model"
SHARDED = (DistributedType.FSDP, DistributedType.DEEPSPEED)

Evaluate = Callable[[Path, int], Mapping[str, float]]  # saved system, update -> figures by name
Skipped = list[tuple[str, str]]  # (record, why)


class Stopped(StopRun):
    """A signal asked the run to stop; a checkpoint was written."""


@dataclass(frozen=True)
class Progress:
    """Where a run is."""

    step: int  # updates done
    steps: int
    losses: Mapping[str, float]  # means since the line before
    lr: float
    left: float  # seconds
    stage: str = ""  # "2 of 3" of a run in stages


@dataclass(frozen=True)
class Outcome:
    """What a finished run left."""

    model: Path  # what the system is opened from
    steps: int
    losses: Mapping[str, float]  # of the last line of the log
    figures: Mapping[str, float]  # of the last look at the test data
    skipped: Mapping[str, str]  # record -> why it could not be learnt from
    seconds: float  # of this call


def run(
    system: Trainable,
    sources: tuple[Source, ...],
    config: TrainConfig,
    out: Path,
    *,
    name: str = "",
    resume: bool = False,
    evaluate: Evaluate | None = None,
    on_step: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Train a system into a folder; `config.stages` is not looked at here.

    With `resume` a run that is there goes on; without, a folder that holds one is refused. Raises UsageError for that,
    for a run of other settings and for data that cannot be; Stopped after SIGINT or SIGTERM, with a checkpoint
    written; StopRun where a loss is not a number or no record of a kind can be read.
    """
    start = time.perf_counter()
    AcceleratorState._reset_state()  # it is shared by all runs of a process and would refuse another precision
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        loop = _Loop(system, sources, config, out, name, resume)
        with closing(loop), _signals(loop):
            losses = loop.go(evaluate, on_step)
            return Outcome(
                out / MODEL,
                loop.steps,
                losses,
                loop.figures,
                dict(loop.journal.skipped) if loop.journal else {},
                time.perf_counter() - start,
            )


class _Loop:
    def __init__(
        self, system: Trainable, sources: tuple[Source, ...], config: TrainConfig, out: Path, name: str, resume: bool
    ) -> None:
        self.system, self.config, self.out = system, config, out
        self.accelerator = Accelerator(
            mixed_precision=config.precision,
            gradient_accumulation_steps=config.accumulate,
            step_scheduler_with_optimizer=False,
            # SAM's decoder has heads that a single mask does not use
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        if self.accelerator.gradient_accumulation_steps != config.accumulate:
            raise UsageError(
                f"accelerate's configuration accumulates {self.accelerator.gradient_accumulation_steps} micro-batches, "
                f"this run {config.accumulate}: set accumulate, or gradient_accumulation_steps there, to be alike"
            )
        self.world = int(self.accelerator.num_processes)
        self.sampler = Sampler(sources, config.seed, config.sampling)
        self.steps = config.updates(len(self.sampler), self.world, len(self.sampler) == ENDLESS)
        self.asked_to_stop = False
        self.figures: Mapping[str, float] = {}
        found = self._claim(name, resume)
        self.step = found.step if found else 0
        self.journal = Journal(out, self.step) if self.main else None
        self._prepare(found)

    @property
    def main(self) -> bool:
        """Whether this process writes."""
        return bool(self.accelerator.is_main_process)

    @property
    def sharded(self) -> bool:
        """Whether no process holds all weights."""
        return self.accelerator.distributed_type in SHARDED

    def close(self) -> None:
        """Let go of files; what is logged stays."""
        if self.journal:
            self.journal.close()

    # ------------------------------------------------------------ start

    def _claim(self, name: str, resume: bool) -> checkpoint.Checkpoint | None:
        """See what the folder holds, and write what this run is."""
        config = self.config.model_dump(mode="json")
        what = {"system": name, "world": self.world, "config": {k: v for k, v in config.items() if k not in FREE}}
        path = self.out / RUN
        if path.is_file():
            if not resume:
                raise UsageError(f"{self.out} holds a run already: add --resume to go on with it, or choose another")
            before = json.loads(path.read_text("utf-8"))
            if odd := _differences(before, what):
                raise UsageError(f"{self.out} holds a run with other settings ({', '.join(odd)}): choose another")
        elif self.out.is_dir() and any(self.out.iterdir()):
            raise UsageError(f"{self.out} is not empty and holds no run: choose another folder")
        self.accelerator.wait_for_everyone()  # nobody writes before all have looked
        if self.main and not path.is_file():
            write_atomically(path, json.dumps({**what, "version": __version__}, ensure_ascii=False, indent=1))
        return checkpoint.latest(self.out)

    def _prepare(self, found: checkpoint.Checkpoint | None) -> None:
        """Put network and optimiser onto their devices, with what the checkpoint holds."""
        network = self.system.network
        self.digest = checkpoint.frozen_digest(network)
        if found and found.state()["digest"] != self.digest:
            raise UsageError(
                f"{found.folder}: the weights that are not trained are others than when the run was started"
            )
        if found and not self.sharded:
            checkpoint.put_back(network, found.tensors(checkpoint.WEIGHTS), found.folder)
        self.optimiser: Any = adamw(network.named_parameters(), self.config)
        self.plain = network
        if self.accelerator.distributed_type == DistributedType.DEEPSPEED:
            settings = self.accelerator.state.deepspeed_plugin.deepspeed_config
            settings["train_micro_batch_size_per_gpu"] = self.config.batch  # there is no loader it could ask
        self.system.network, self.optimiser = self.accelerator.prepare(network, self.optimiser)
        self.names = {parameter: name for name, parameter in network.named_parameters()}
        if found and self.sharded:
            self.accelerator.load_state(str(found.folder / checkpoint.SHARDS))
        elif found:
            restore(self._adam, self.names, found.tensors(checkpoint.OPTIMISER))
        self.system.network.train()

    @property
    def _adam(self) -> torch.optim.Optimizer:
        inner: torch.optim.Optimizer = getattr(self.optimiser, "optimizer", self.optimiser)
        return inner

    # ------------------------------------------------------------ steps

    def go(self, evaluate: Evaluate | None, on_step: Callable[[Progress], None] | None) -> Mapping[str, float]:
        """Take all steps that are left; return the last line of the log."""
        config, first = self.config, self.step
        window = _Means()
        last: Mapping[str, float] = {}
        if evaluate and config.eval_every and self.step == 0:
            self._evaluate(evaluate)
        start = time.perf_counter()
        for batches in self._batches():
            lr = set_rate(self._adam, self.step, config, self.steps)
            self._update(batches, window)
            self.step += 1
            stop = self._all_stop()
            saving = self.step % config.save_every == 0 or self.step == self.steps or stop
            if self.step % config.log_every == 0 or saving:
                last = self._log(window, lr)
                window = _Means()
                pace = (time.perf_counter() - start) / (self.step - first)
                if on_step and self.main:
                    on_step(Progress(self.step, self.steps, last, lr, pace * (self.steps - self.step)))
            if saving:
                self._save()
            if stop and self.step < self.steps:
                raise Stopped(f"stopped after update {self.step} of {self.steps}, which is kept: --resume goes on")
            if evaluate and config.eval_every and self.step % config.eval_every == 0 and self.step < self.steps:
                self._evaluate(evaluate)
        self._finish(evaluate, last)
        return last

    def _batches(self) -> Iterator[list[tuple[Any, Skipped]]]:
        """For each update that is left, its micro-batches."""
        many, workers = self.config.accumulate, self.config.workers
        numbers = range(self.step * many, self.steps * many)
        batches = _Batches(
            self.sampler, self.system.collate, self.config.batch, int(self.accelerator.process_index), self.world
        )
        loader = DataLoader(
            batches,
            batch_size=None,
            sampler=numbers,
            num_workers=workers,
            collate_fn=_as_it_is,
            multiprocessing_context="spawn" if workers else None,  # forked, they would inherit threads of torch
            pin_memory=self.accelerator.device.type == "cuda",
        )
        gathered: list[tuple[Any, Skipped]] = []
        for micro in loader:
            gathered.append(micro)
            if len(gathered) == many:
                yield gathered
                gathered = []

    def _update(self, batches: list[tuple[Any, Skipped]], window: _Means) -> None:
        accelerator, rank = self.accelerator, int(self.accelerator.process_index)
        for k, (batch, skipped) in enumerate(batches):
            window.skipped += skipped
            torch.manual_seed(_seed(self.config.seed, rank, self.step * len(batches) + k))  # for dropout
            with accelerator.accumulate(self.system.network):
                losses = self.system.loss(send_to_device(batch, accelerator.device))
                accelerator.backward(losses.total)
                if accelerator.sync_gradients:
                    if accelerator.distributed_type == DistributedType.FSDP:
                        self._fill_gradients()
                    accelerator.clip_grad_norm_(self.system.network.parameters(), self.config.clip)
                self.optimiser.step()
                self.optimiser.zero_grad()
            window.add({"loss": losses.total, **losses.parts})
        if not window.finite():
            raise StopRun(
                f"the loss of update {self.step + 1} is not a number: begin again with a lower lr, or look at the data"
            )

    def _fill_gradients(self) -> None:
        """Zeros where a parameter took no part: its shards are written only if the optimiser has a state for it."""
        for parameter in self.system.network.parameters():
            if parameter.requires_grad and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)

    def _log(self, window: _Means, lr: float) -> Mapping[str, float]:
        """Means over all processes since the line before, onto disk; the main process notes what was skipped."""
        means = window.means(self.accelerator)
        everyone: Skipped = gather_object(window.skipped)
        if self.journal:
            for record, why in everyone:
                self.journal.skip(record, why)
            self.journal.losses(self.step, {**means, "lr": lr})
        return means

    def _all_stop(self) -> bool:
        if self.asked_to_stop:
            self.accelerator.set_trigger()
        return bool(self.accelerator.check_trigger())

    # ------------------------------------------------------------ what is written

    def _save(self) -> None:
        """Write a checkpoint; all processes take part."""
        half = checkpoint.half_of(self.out, self.step)
        if self.main:
            checkpoint.begin(half)
        self.accelerator.wait_for_everyone()
        if self.sharded:
            self.accelerator.save_state(str(half / checkpoint.SHARDS))
        if self.main:
            state = {"step": self.step, "digest": self.digest, "version": __version__}
            tensors = ({}, {}) if self.sharded else (checkpoint.trained(self.plain), state_of(self._adam, self.names))
            checkpoint.write(half, *tensors, state)
        self.accelerator.wait_for_everyone()
        if self.main:
            checkpoint.finish(half, self.config.keep)

    def _save_model(self) -> None:
        """Write what the system is opened from, as it is now."""
        weights = self.accelerator.get_state_dict(self.system.network)
        if self.main:
            half = self.out / f"{checkpoint.HALF}{MODEL}"
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir()
            self.system.save(half, self.accelerator.unwrap_model(self.system.network), weights)
            checkpoint.replace_folder(half, self.out / MODEL)

    def _evaluate(self, evaluate: Evaluate) -> None:
        """Judge what was saved: with shards no process could run the system, and this is what users will open."""
        self._save_model()
        if self.journal:
            self.figures = dict(evaluate(self.out / MODEL, self.step))
            self.journal.evaluation(self.step, self.figures)
        self.accelerator.wait_for_everyone()

    def _finish(self, evaluate: Evaluate | None, last: Mapping[str, float]) -> None:
        if evaluate:
            self._evaluate(evaluate)
        else:
            self._save_model()
        if self.main:
            done = {"steps": self.steps, "losses": last, "figures": self.figures}
            write_atomically(self.out / DONE, json.dumps(done, indent=1))
        self.accelerator.wait_for_everyone()


class _Batches(Dataset[tuple[Any, Skipped]]):
    """Micro-batches by number, with what was skipped to fill them."""

    def __init__(self, sampler: Sampler, collate: Collate, batch: int, rank: int, world: int) -> None:
        self.sampler, self.collate = sampler, collate
        self.batch, self.rank, self.world = batch, rank, world

    def __getitem__(self, micro: int) -> tuple[Any, Skipped]:
        draws = self.sampler.draws(micro, self.batch, self.rank, self.world)
        try:
            return self.collate([draw.record() for draw in draws]), []
        except (LookTwiceError, OSError):
            pass  # some record is broken: find out which
        skipped: Skipped = []
        records = [self._sound(draw, skipped) for draw in draws]
        return self.collate(records), skipped

    def _sound(self, draw: Draw, skipped: Skipped) -> Mapping[str, Any]:
        """The record, or the next one that can be learnt from."""
        why = "no other record is left"
        for one in (draw, *self.sampler.instead(draw)):
            name = ""
            try:
                record = one.record()
                name = str(record["id"])
                self.collate([record])
            except (LookTwiceError, OSError) as error:
                why = str(error)
                skipped.append((name or getattr(error, "path", why), why))
            else:
                return record
        raise StopRun(f"{len(skipped)} records in a row could not be learnt from; the last: {why}")


def _as_it_is(batch: Any) -> Any:
    return batch


@dataclass
class _Means:
    """Sums since the last line of the log."""

    sums: dict[str, torch.Tensor] = field(default_factory=dict)
    count: int = 0
    skipped: Skipped = field(default_factory=list)

    def add(self, values: Mapping[str, torch.Tensor]) -> None:
        """Take in the losses of a micro-batch."""
        for name, value in values.items():
            value = value.detach().float()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.count += 1

    def finite(self) -> bool:
        """Whether the loss is a number so far."""
        return math.isfinite(float(self.sums["loss"]))

    def means(self, accelerator: Accelerator) -> dict[str, float]:
        """Means over all processes."""
        stacked = torch.stack(list(self.sums.values())) / self.count
        return dict(zip(self.sums, accelerator.reduce(stacked, "mean").tolist(), strict=True))


def _seed(seed: int, rank: int, micro: int) -> int:
    """A seed for each micro-batch of each process; different ones far apart."""
    return (seed * 1_000_003 + rank * 7_919 + micro * 104_729 + 1) % (1 << 63)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of what is not the same in two runs."""
    odd = [key for key in ("system", "world") if before.get(key) != now[key]]
    one, other = before.get("config", {}), now["config"]
    return odd + sorted(key for key in {*one, *other} if one.get(key) != other.get(key))


@contextmanager
def _signals(loop: _Loop) -> Iterator[None]:
    """SIGINT and SIGTERM let the update end, and a checkpoint be written; a second one stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: object) -> None:
        loop.asked_to_stop = True
        for one, handler in before.items():
            signal.signal(one, handler)

    try:
        for number in before:
            signal.signal(number, stop)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
