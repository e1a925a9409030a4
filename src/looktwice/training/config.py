"""How a run is set: one record, from a YAML file, a name of `configs/`, or keyword arguments, with changes on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from looktwice.errors import UsageError, did_you_mean

FREE = {"workers", "log_every", "save_every", "keep", "eval_every", "eval_count", "test"}  # results do not depend on
CONFIGS = "configs"  # folder beside this file


class TrainConfig(BaseModel):
    """All that decides a run; `model` is the system's own section. Defaults are LISA's where its script has one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: tuple[str, ...] = Field((), description="sources to train on, such as 3*mvtec_ad:FOLDER?split=test")
    test: tuple[str, ...] = Field((), description="sources to judge, never trained on")
    sampling: Literal["balanced", "shuffled"] = Field(
        "balanced", description="balanced: normal and other records take turns; shuffled: all alike"
    )
    steps: int | None = Field(None, ge=1, description="updates of the weights; default 5000 where epochs is not given")
    epochs: float | None = Field(None, gt=0, description="or how often each record is seen")
    batch: int = Field(2, ge=1, description="records of a micro-batch, for each process")
    accumulate: int = Field(10, ge=1, description="micro-batches of an update")
    lr: float = Field(3e-4, gt=0, description="highest learning rate, of AdamW")
    rates: dict[str, float] = Field(
        {}, description="factors on lr for parameters whose name contains the key, such as {projector.: 0.1}"
    )
    betas: tuple[float, float] = Field((0.9, 0.95), description="of AdamW")
    weight_decay: float = Field(0.0, ge=0, description="of AdamW, on matrices only")
    warmup: int = Field(100, ge=0, description="updates of linear rise from 0; then lr falls linearly to 0")
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    precision: Literal["no", "bf16", "fp16"] | None = Field(
        None, description="mixed precision; none: as accelerate's configuration says"
    )
    seed: int = Field(0, ge=0, description="of weights that start at random, of the order of records, of dropout")
    workers: int = Field(0, ge=0, description="processes that read records; results do not depend on it")
    log_every: int = Field(10, ge=1, description="updates between lines of the log")
    save_every: int = Field(500, ge=1, description="updates between checkpoints")
    keep: int = Field(2, ge=1, description="newest checkpoints that are kept")
    eval_every: int = Field(0, ge=0, description="updates between looks at the test data; 0: at the end only")
    eval_count: int = Field(200, ge=2, description="test records judged, half of them normal")
    model: dict[str, Any] = Field({}, description="the system's own section")
    stages: tuple[dict[str, Any], ...] = Field(
        (), description="changes to the above, a run for each; a later one starts from what the one before saved"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("give steps or epochs, not both")
        if any("stages" in stage for stage in self.stages):
            raise ValueError("a stage has no stages of its own")
        return self

    def changed(self, changes: Mapping[str, Any]) -> TrainConfig:
        """The same with values put in, keys with dots reach into sections; raises UsageError."""
        values = self.model_dump()
        for key, value in changes.items():
            _put(values, key, value)
        return checked(values)

    def staged(self) -> tuple[TrainConfig, ...]:
        """The runs this one consists of, one after another; raises UsageError for a stage that cannot be."""
        if not self.stages:
            return (self,)
        runs = []
        for number, stage in enumerate(self.stages):
            values = {**self.model_dump(exclude={"stages"}), **stage}
            if {"steps", "epochs"} & set(stage):  # a stage's own length replaces the common one
                values |= {key: stage.get(key) for key in ("steps", "epochs")}
            # a later stage has its model from the one before: only what it says itself is meant for it
            values["model"] = _merged({} if number else self.model, stage.get("model", {}))
            runs.append(checked(values))
        return tuple(runs)

    def updates(self, records: int, world: int, endless: bool) -> int:
        """Updates of a run; raises UsageError where epochs of endless data are asked for."""
        if self.epochs is None:
            return 5000 if self.steps is None else self.steps
        if endless:
            raise UsageError("made pictures have no end, so they have no epochs: give steps, or count=N to procedural")
        return max(1, round(self.epochs * records / (self.batch * self.accumulate * world)))


def read_config(source: TrainConfig | Mapping[str, Any] | Path | str) -> TrainConfig:
    """Make a configuration of values, of a YAML file, or of a name in the package; raises UsageError."""
    if isinstance(source, TrainConfig):
        return source
    if isinstance(source, Mapping):
        return checked(source)
    path = Path(source)
    if path.is_file():
        return checked(_read_yaml(path.read_text("utf-8"), str(path)))
    names = packaged()
    if str(source) not in names:
        near = did_you_mean(str(source), names)
        raise UsageError(f"no configuration '{source}': it is neither a file nor one of {', '.join(names)}.{near}")
    text = files("looktwice.training").joinpath(CONFIGS, f"{source}.yaml").read_text("utf-8")
    return checked(_read_yaml(text, str(source)))


def packaged() -> list[str]:
    """Names of the configurations that come with the package."""
    folder = files("looktwice.training").joinpath(CONFIGS)
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def checked(values: Mapping[str, Any]) -> TrainConfig:
    """Check values; raises UsageError naming the first that cannot be."""
    for key in values:
        if key not in TrainConfig.model_fields:
            near = did_you_mean(str(key), TrainConfig.model_fields)
            raise UsageError(f"a training configuration has no '{key}'.{near} It has {', '.join(fields())}")
    try:
        return TrainConfig.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"training configuration {where}: {first['msg']}".replace(" :", ":")) from error


def fields() -> Sequence[str]:
    """Names of all values."""
    return tuple(TrainConfig.model_fields)


def table(kind: type[BaseModel]) -> str:
    """The values of a configuration as rows of a Markdown table: name, default, meaning."""
    rows = [
        f"| `{name}` | `{_shown(field.get_default(call_default_factory=True))}` | {field.description} |"
        for name, field in kind.model_fields.items()
    ]
    return "\n".join(["| value | default | meaning |", "| --- | --- | --- |", *rows])


def _shown(value: Any) -> str:
    return "none" if value is None else str(list(value)) if isinstance(value, tuple) else str(value)


def _read_yaml(text: str, name: str) -> Mapping[str, Any]:
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{name} is not YAML: {error}") from error
    if not isinstance(values, Mapping):
        raise UsageError(f"{name} must hold KEY: VALUE lines")
    return values


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes put into a section, and into the sections inside it."""
    made = dict(base)
    for key, value in changes.items():
        inner = made.get(key)
        both = isinstance(value, Mapping) and isinstance(inner, Mapping)
        made[key] = _merged(inner, value) if both else value  # type: ignore[arg-type]
    return made


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    head, _, rest = key.partition(".")
    if rest:
        inner = values.get(head)
        if not isinstance(inner, dict):
            if head in values and head in TrainConfig.model_fields:
                raise UsageError(f"'{head}' has no parts: set it whole")
            inner = {}
        inner = dict(inner)
        _put(inner, rest, value)
        value = inner
    values[head] = value
