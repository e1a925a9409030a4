"""The loop on a system of a few weights: what is logged, kept, skipped, and how a run goes on."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.tensorboard.writer import SummaryWriter  # noqa: F401  # its first import is slow: not in a test

from looktwice.errors import BadFile, StopRun, UsageError
from looktwice.training import checkpoint
from looktwice.training.config import TrainConfig
from looktwice.training.instruct import Source
from looktwice.training.loop import Stopped, run
from training.toys import BASE, Collate, Numbers, Toy, losses_of, source


def trained(out, config=None, resume=False, on_step=None, sources=None, system=None, **toy):
    chosen = TrainConfig(**{**BASE, **(config or {})})
    return run(system or Toy(**toy), sources or (source(),), chosen, out, resume=resume, on_step=on_step)


def fail_after(step):
    def stop(progress):
        if progress.step == step:
            raise RuntimeError("the machine is gone")

    return stop


# ---------------------------------------------------------------- going on


@pytest.mark.parametrize("step", [3, 4, 5])
def test_a_run_that_broke_off_goes_on_with_the_losses_it_would_have_had(tmp_path, step):
    whole = trained(tmp_path / "whole", dropout=0.3)
    with pytest.raises(RuntimeError):
        trained(tmp_path / "broken", dropout=0.3, on_step=fail_after(step))
    again = trained(tmp_path / "broken", dropout=0.3, resume=True)
    assert losses_of(tmp_path / "broken") == losses_of(tmp_path / "whole")
    assert again.losses == whole.losses
    one, other = (load_file(tmp_path / name / "model" / "toy.safetensors") for name in ("whole", "broken"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert int(one["seen"]) == 6 * 2 * 2


def test_without_its_optimiser_state_a_run_goes_on_differently(tmp_path):
    # what the test above would not notice if the moments of Adam did not matter
    trained(tmp_path / "whole")
    with pytest.raises(RuntimeError):
        trained(tmp_path / "broken", on_step=fail_after(5))
    state = tmp_path / "broken" / "checkpoints" / "step-00000003" / checkpoint.OPTIMISER
    tensors = load_file(state)
    checkpoint.save_file({name: torch.zeros_like(value) for name, value in tensors.items()}, state)
    trained(tmp_path / "broken", resume=True)
    assert losses_of(tmp_path / "broken")[:3] == losses_of(tmp_path / "whole")[:3]
    assert losses_of(tmp_path / "broken")[-1] != losses_of(tmp_path / "whole")[-1]


def test_a_killed_run_goes_on(tmp_path):
    config = {**BASE, "steps": 400, "save_every": 10}
    command = [sys.executable, "-m", "training.toys", str(tmp_path / "run"), json.dumps(config), '{"slow": 0.01}']
    tests = os.path.dirname(os.path.dirname(__file__))
    with subprocess.Popen(command, cwd=tests) as process:
        wanted = tmp_path / "run" / "checkpoints" / "step-00000010"
        while not wanted.exists() and process.poll() is None:
            time.sleep(0.02)
        time.sleep(0.1)  # so that it dies in the middle of a later update, or of a checkpoint
        os.kill(process.pid, signal.SIGKILL)
    assert wanted.exists() or list(wanted.parent.glob("step-*"))
    trained(tmp_path / "run", config, resume=True)
    trained(tmp_path / "whole", config)
    assert losses_of(tmp_path / "run") == losses_of(tmp_path / "whole")
    assert not list((tmp_path / "run" / "checkpoints").glob(".*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_update_end_and_is_kept(tmp_path, number):
    def interrupt(progress):
        if progress.step == 2:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(Stopped, match="stopped after update 3 of 6, which is kept: --resume goes on"):
        trained(tmp_path / "run", {"save_every": 100}, on_step=interrupt)
    assert signal.getsignal(number) is before
    trained(tmp_path / "run", {"save_every": 100}, resume=True)
    trained(tmp_path / "whole", {"save_every": 100})
    assert losses_of(tmp_path / "run") == losses_of(tmp_path / "whole")


def test_a_run_that_was_not_begun_can_be_resumed(tmp_path):
    trained(tmp_path / "run", resume=True)
    assert len(losses_of(tmp_path / "run")) == 6


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    trained(tmp_path)
    with pytest.raises(UsageError, match="holds a run already: add --resume to go on with it, or choose another"):
        trained(tmp_path)


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(UsageError, match="is not empty and holds no run"):
        trained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_other_settings_do_not_go_on(tmp_path):
    trained(tmp_path)
    with pytest.raises(UsageError, match=r"holds a run with other settings \(lr, seed\)"):
        trained(tmp_path, {"lr": 0.1, "seed": 3}, resume=True)


def test_settings_that_change_no_result_may_change(tmp_path):
    with pytest.raises(RuntimeError):
        trained(tmp_path / "run", on_step=fail_after(4))
    trained(tmp_path / "run", {"save_every": 1, "keep": 5}, resume=True)
    trained(tmp_path / "whole")
    assert losses_of(tmp_path / "run") == losses_of(tmp_path / "whole")


def test_other_frozen_weights_do_not_go_on(tmp_path):
    with pytest.raises(RuntimeError):
        trained(tmp_path, on_step=fail_after(4))
    with pytest.raises(UsageError, match="the weights that are not trained are others than when the run was started"):
        trained(tmp_path, resume=True, seed=1)


def test_a_damaged_checkpoint_says_so(tmp_path):
    with pytest.raises(RuntimeError):
        trained(tmp_path, on_step=fail_after(4))
    (tmp_path / "checkpoints" / "step-00000003" / checkpoint.WEIGHTS).write_bytes(b"nonsense")
    with pytest.raises(BadFile, match="this checkpoint is damaged"):
        trained(tmp_path, resume=True)


# ---------------------------------------------------------------- what is written


def test_the_newest_checkpoints_are_kept(tmp_path):
    trained(tmp_path, {"steps": 7, "save_every": 2, "keep": 2})
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == ["step-00000006", "step-00000007"]


def test_a_checkpoint_holds_what_learns_and_nothing_else(tmp_path):
    trained(tmp_path)
    folder = tmp_path / "checkpoints" / "step-00000006"
    weights = load_file(folder / checkpoint.WEIGHTS)
    layers = {f"{layer}.{what}" for layer in ("learns", "out", "idle") for what in ("weight", "bias")}
    assert set(weights) == {*layers, "seen"}
    assert {path.name for path in folder.iterdir()} == {checkpoint.WEIGHTS, checkpoint.OPTIMISER, checkpoint.STATE}
    assert set(load_file(tmp_path / "model" / "toy.safetensors")) > set(weights)


def test_what_a_killed_run_left_half_done_goes(tmp_path):
    with pytest.raises(RuntimeError):
        trained(tmp_path, on_step=fail_after(4))
    half = tmp_path / "checkpoints" / f"{checkpoint.HALF}step-00000006"
    half.mkdir()
    (half / checkpoint.WEIGHTS).write_bytes(b"half")
    with (tmp_path / "losses.jsonl").open("a") as stream:
        stream.write('{"step": 5, "lo')
    trained(tmp_path, resume=True)
    assert not half.exists()
    assert [step for step, _ in losses_of(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_the_log_is_also_one_of_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with pytest.raises(RuntimeError):
        trained(tmp_path, on_step=fail_after(5))
    trained(tmp_path, resume=True)
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    shown = [(event.step, pytest.approx(event.value)) for event in board.Scalars("train/loss")]
    assert [(step, loss) for step, loss in losses_of(tmp_path)] == shown
    assert "train/lr" in board.Tags()["scalars"]


def test_progress_says_how_long_it_takes(tmp_path):
    told = []
    trained(tmp_path, {"log_every": 2}, on_step=told.append, slow=0.01)
    assert [(one.step, one.steps) for one in told] == [(2, 6), (3, 6), (4, 6), (6, 6)]
    assert told[0].left >= 4 * 2 * 0.01
    assert told[-1].left == 0


def test_test_data_are_looked_at_while_it_learns(tmp_path):
    looked = []

    def evaluate(folder, step):
        looked.append((step, (folder / "toy.safetensors").is_file()))
        return {"figure": step / 10}

    outcome = run(Toy(), (source(),), TrainConfig(**BASE, eval_every=2), tmp_path, evaluate=evaluate)
    assert looked == [(0, True), (2, True), (4, True), (6, True)]
    assert outcome.figures == {"figure": 0.6}
    lines = [json.loads(line) for line in (tmp_path / "evaluations.jsonl").read_text().splitlines()]
    assert lines[1] == {"step": 2, "figure": 0.2}


# ---------------------------------------------------------------- steps


def test_it_learns(tmp_path):
    outcome = trained(tmp_path, {"steps": 60, "log_every": 20, "save_every": 200})
    ((_, first), *_) = losses_of(tmp_path)
    assert outcome.losses["loss"] < 0.5 * first


def test_accumulated_micro_batches_make_the_update_of_one_large_batch(tmp_path):
    trained(tmp_path / "small", {"batch": 2, "accumulate": 4})
    trained(tmp_path / "large", {"batch": 8, "accumulate": 1})
    for (_, one), (_, other) in zip(losses_of(tmp_path / "small"), losses_of(tmp_path / "large"), strict=True):
        assert one == pytest.approx(other, abs=1e-5)


@pytest.mark.parametrize("shard", [False, True])
def test_two_processes_learn_what_one_with_the_larger_batch_learns_and_go_on_together(tmp_path, shard):
    tests = os.path.dirname(os.path.dirname(__file__))
    options = json.dumps({"stop": 2, "shard": shard})
    command = [sys.executable, "-m", "training.toys", str(tmp_path / "two"), json.dumps(BASE), options]
    place = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": "2"}
    place |= {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen(command, cwd=tests, env={**place, "RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.DEVNULL)
        for rank in ("0", "1")
    ]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    assert (tmp_path / "two" / "checkpoints" / "step-00000003" / checkpoint.SHARDS).exists() == shard
    trained(tmp_path / "one", {"batch": 4})
    for (_, one), (_, other) in zip(losses_of(tmp_path / "one"), losses_of(tmp_path / "two"), strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    one, other = (load_file(tmp_path / name / "model" / "toy.safetensors") for name in ("one", "two"))
    assert all(torch.allclose(one[name], other[name], atol=1e-4) for name in one if name != "seen")
    with pytest.raises(UsageError, match=r"other settings \(world\)"):
        trained(tmp_path / "two", resume=True)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def test_half_precision_learns_too(tmp_path):
    trained(tmp_path / "bf16", {"precision": "bf16"})
    trained(tmp_path / "full", {"precision": "no"})
    (_, one), (_, other) = losses_of(tmp_path / "bf16")[-1], losses_of(tmp_path / "full")[-1]
    assert one == pytest.approx(other, abs=0.05)
    assert one != other


def test_reading_in_other_processes_changes_nothing(tmp_path):
    trained(tmp_path / "here", sources=(source(broken=(3,)),))
    trained(tmp_path / "there", {"workers": 1}, sources=(source(broken=(3,)),))
    assert losses_of(tmp_path / "there") == losses_of(tmp_path / "here")


def test_the_callers_random_numbers_stay_as_they_were(tmp_path):
    torch.manual_seed(5)
    wanted = torch.rand(3)
    system = Toy(dropout=0.5)
    torch.manual_seed(5)
    trained(tmp_path, system=system)
    assert torch.equal(torch.rand(3), wanted)


# ---------------------------------------------------------------- bad records


def test_broken_records_are_skipped_counted_and_told(tmp_path):
    outcome = trained(tmp_path, {"steps": 9}, sources=(source(broken=(2, 5)),))
    assert outcome.skipped == {f"False/{i}.png": f"False/{i}.png: broken on purpose" for i in (2, 5)}
    lines = [json.loads(line) for line in (tmp_path / "skipped.jsonl").read_text().splitlines()]
    assert sorted(line["id"] for line in lines) == ["False/2.png", "False/5.png"]


def test_in_place_of_a_broken_record_comes_one_of_its_kind(tmp_path):
    class Counting(Collate):
        def __call__(self, records):
            kinds.append([one["anomalous"] for one in records])
            return super().__call__(records)

    kinds = []
    trained(tmp_path, sources=(source(broken=tuple(range(11))),), collate=Counting())
    whole = [kind for kind in kinds if len(kind) == 2]
    assert whole == [[False, True]] * 12


def test_a_record_that_fits_no_batch_is_skipped_too(tmp_path):
    class Fussy(Collate):
        def __call__(self, records):
            for one in records:
                if one["id"] == "True/4":
                    raise UsageError("record True/4: too long")
            return super().__call__(records)

    outcome = trained(tmp_path, {"steps": 9}, collate=Fussy())
    assert outcome.skipped == {"True/4": "record True/4: too long"}


def test_a_run_that_went_on_still_knows_what_was_skipped(tmp_path):
    broken = (source(broken=(0, 1, 2, 3, 4, 5)),)
    whole = trained(tmp_path / "whole", sources=broken)
    with pytest.raises(RuntimeError):
        trained(tmp_path / "run", sources=broken, on_step=fail_after(5))
    assert trained(tmp_path / "run", sources=broken, resume=True).skipped == whole.skipped
    assert losses_of(tmp_path / "run") == losses_of(tmp_path / "whole")


def test_a_run_whose_records_are_all_broken_stops(tmp_path):
    with pytest.raises(StopRun, match="12 records in a row could not be learnt from; the last: False/"):
        trained(tmp_path, sources=(source(broken=tuple(range(12))),))


def test_a_loss_that_is_no_number_stops_the_run(tmp_path):
    @dataclass(frozen=True)
    class Wild(Numbers):
        def __getitem__(self, index):
            found = super().__getitem__(index)
            return {**found, "values": found["values"] * float("inf")}

    with pytest.raises(StopRun, match="the loss of update 1 is not a number: begin again with a lower lr"):
        trained(tmp_path, sources=(Source("wild", Wild(False), Wild(True)),))


def test_a_system_with_nothing_to_learn_says_so(tmp_path):
    system = Toy()
    system.network.requires_grad_(False)
    with pytest.raises(UsageError, match="nothing is trained"):
        trained(tmp_path, system=system)
