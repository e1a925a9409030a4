"""How a run is set, the learning rate, and what the configurations of the package say."""

import doctest
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from accelerate.commands.config import load_config_from_file

from looktwice.errors import UsageError
from looktwice.training import config as config_module
from looktwice.training import optimiser
from looktwice.training.config import TrainConfig, packaged, read_config, table
from looktwice.training.optimiser import adamw, learning_rate, restore, set_rate, state_of
from looktwice.training.vmad import VmadSection, _config

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


@pytest.mark.parametrize(
    ("update", "rate"), [(0, 0.0), (50, 1.5e-4), (100, 3e-4), (2500, 3e-4 * 2500 / 4900), (5000, 0.0)]
)
def test_the_learning_rate_is_lisas(update, rate):
    assert learning_rate(update, 3e-4, 100, 5000) == pytest.approx(rate, abs=1e-12)


def test_the_examples_of_the_docstrings_hold():
    assert doctest.testmod(optimiser).attempted == 1
    assert doctest.testmod(optimiser).failed == 0


def test_the_defaults_are_those_of_the_sheet():
    config = TrainConfig()
    assert (config.batch, config.accumulate, config.lr, config.betas) == (2, 10, 3e-4, (0.9, 0.95))
    assert (config.weight_decay, config.warmup, config.clip, config.updates(1, 1, True)) == (0.0, 100, 1.0, 5000)


def test_epochs_count_records():
    assert TrainConfig(epochs=2, batch=4, accumulate=5).updates(1000, 2, False) == 50
    with pytest.raises(UsageError, match="made pictures have no end, so they have no epochs"):
        TrainConfig(epochs=2).updates(1 << 62, 1, True)


def test_rates_and_decay_go_by_name_and_shape():
    net = torch.nn.ModuleDict({"projector": torch.nn.Linear(2, 2), "head": torch.nn.Linear(2, 2)})
    net["head"].bias.requires_grad_(False)
    made = adamw(net.named_parameters(), TrainConfig(lr=0.1, weight_decay=0.3, rates={"projector.": 0.5}))
    set_rate(made, 100, TrainConfig(lr=0.1), 200)
    found = {(len(group["params"]), group["lr"], group["weight_decay"]) for group in made.param_groups}
    assert found == {(1, 0.05, 0.3), (1, 0.05, 0.0), (1, 0.1, 0.3)}
    with pytest.raises(UsageError, match="rates: no trained parameter has 'proj_x' in its name"):
        adamw(net.named_parameters(), TrainConfig(rates={"proj_x": 0.5}))


def test_the_state_of_the_optimiser_comes_back():
    nets = [torch.nn.Linear(3, 2) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    made = [adamw(net.named_parameters(), TrainConfig(lr=0.1)) for net in nets]
    nets[0](torch.ones(1, 3)).sum().backward()
    made[0].step()
    nets[1].load_state_dict(nets[0].state_dict())
    names = [{parameter: name for name, parameter in net.named_parameters()} for net in nets]
    restore(made[1], names[1], state_of(made[0], names[0]))
    for net, one in zip(nets, made, strict=True):
        one.zero_grad()
        net(torch.ones(1, 3)).pow(2).sum().backward()
        one.step()
    assert torch.equal(nets[0].weight, nets[1].weight)


# ---------------------------------------------------------------- reading


def test_changes_reach_into_sections():
    changed = TrainConfig(model={"config": {"dssl": True}}).changed({"model.config.dssl": False, "lr": "1e-3"})
    assert changed.model == {"config": {"dssl": False}}
    assert changed.lr == 1e-3
    assert TrainConfig().changed({"model.config.projector": "linear"}).model == {"config": {"projector": "linear"}}


def test_a_file_is_read(tmp_path):
    (tmp_path / "mine.yaml").write_text("steps: 7\nmodel: {preset: laptop}\n")
    assert read_config(tmp_path / "mine.yaml").steps == 7


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"step": 3}, r"has no 'step'. Did you mean 'steps'\?"),
        ({"lr": -1}, "training configuration lr: .*greater than 0"),
        ({"steps": 3, "epochs": 1}, "give steps or epochs, not both"),
        ({"stages": [{"stages": []}]}, "a stage has no stages of its own"),
        ({"sampling": "odd"}, "training configuration sampling: .*'balanced' or 'shuffled'"),
    ],
)
def test_what_cannot_be_set_is_said(values, words):
    with pytest.raises(UsageError, match=words):
        read_config(values)


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(UsageError, match=r"neither a file nor one of .*laptop.* Did you mean 'laptop'\?"):
        read_config("labtop")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(UsageError, match="must hold KEY: VALUE lines"):
        read_config(tmp_path / "list.yaml")
    with pytest.raises(UsageError, match="'lr' has no parts: set it whole"):
        TrainConfig().changed({"lr.high": 1})


def test_a_stage_changes_the_rest_and_a_later_one_has_its_own_model():
    base = {"steps": 9, "lr": 0.1, "model": {"preset": "laptop", "config": {"dssl": False}}}
    stages = [{"epochs": 1, "model": {"config": {"train": "projector"}}}, {"lr": 0.2, "model": {"words": 500}}]
    first, second = read_config({**base, "stages": stages}).staged()
    assert (first.steps, first.epochs, first.lr) == (None, 1, 0.1)
    assert first.model == {"preset": "laptop", "config": {"dssl": False, "train": "projector"}}
    assert (second.steps, second.lr, second.model) == (9, 0.2, {"words": 500})


# ---------------------------------------------------------------- what comes with the package


@pytest.mark.parametrize("name", packaged())
def test_each_configuration_of_the_package_can_be_read(name):
    config = read_config(name)
    for stage in config.staged()[:1]:
        section = VmadSection.model_validate(stage.model)
        made = _config(section)
        assert made.lora is not None or name == "laptop"
        assert made.projector == ("linear" if name == "lisa-7b" else "ltc")
    assert config.updates(1000, 1, False) > 0
    assert config.batch * config.accumulate == (8 if name == "laptop" else 20)


@pytest.mark.parametrize("name", ["fsdp", "deepspeed-zero2"])
def test_the_configurations_for_accelerate_are_accelerates(name):
    path = files(config_module.__package__).joinpath("configs", "accelerate", f"{name}.yaml")
    found = load_config_from_file(str(path))
    assert found.num_processes == 8
    assert found.mixed_precision == "bf16"


def test_the_page_shows_the_values_of_the_code():
    page = PAGE.read_text("utf-8")
    assert table(TrainConfig) in page
    assert table(VmadSection) in page


def test_the_page_and_the_command_name_every_configuration():
    from looktwice.cli import train

    source = Path(train.__file__).read_text("utf-8")
    page = PAGE.read_text("utf-8")
    assert [name for name in packaged() if f"`{name}`" not in page or name not in source] == []
