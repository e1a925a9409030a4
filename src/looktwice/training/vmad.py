"""VMAD and LISA for the loop: where the model comes from, how records become dialogues, what is saved.

The dialogues are our definition (`detectors/vmad/prompts.py`): a question of one of four kinds, and an answer from the
record's sections that ends with the mask token. A record's own conversations are used where it has no sections, and
else as often as `dialogues` says.

Letters: none.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn
from transformers.utils import logging

from looktwice.backbones import llava
from looktwice.detectors.vmad import prompts
from looktwice.detectors.vmad.config import VmadConfig
from looktwice.detectors.vmad.model import VmadModel
from looktwice.detectors.vmad.processing import VmadProcessor, collate, join, small_tokenizer
from looktwice.detectors.vmad.weights import assemble, open_saved
from looktwice.errors import LookTwiceError, UsageError, did_you_mean
from looktwice.training.instruct import IMAGE, Record, Source
from looktwice.training.protocol import Losses
from looktwice.training.sampling import Sampler

KINDS: tuple[prompts.Kind, ...] = get_args(prompts.Kind)
ABLATION: Mapping[str, Mapping[str, Any]] = {  # the paper's grid; without LTC the projector is LISA's
    "none": {"projector": "linear", "dssl": False},
    "LTC": {"projector": "ltc", "dssl": False},
    "DSSL": {"projector": "linear", "dssl": True},
    "both": {"projector": "ltc", "dssl": True},
}
MUTABLE = ("train", "lora", "text_weight", "seg_weight", "bce_weight", "dice_weight", "pbsd_weight")
EXAMPLES = 64  # records whose words make a learnt tokenizer


class VmadSection(BaseModel):
    """The section `model` of a configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Literal["laptop", "vmad_7b", "vmad_7b_336", "lisa_7b"] = Field("laptop", description="shape of the model")
    config: dict[str, Any] = Field({}, description="fields of VmadConfig other than the preset's")
    start: str = Field("", description="saved folder to start from, instead of a preset; config may change what learns")
    tokenizer: str = Field("", description="folder of the language model's; none: learnt from the data")
    words: int = Field(800, ge=300, description="of a learnt tokenizer")
    clip: str | None = Field(None, description="file or folder of the CLIP tower's weights")
    llava: str | None = Field(None, description="file or folder of LLaVA's weights, in its own layout")
    sam: str | None = Field(None, description="file of SAM's weights")
    lisa: str | None = Field(None, description="LISA's folder, instead of llava and sam")
    tokenpacker: str | None = Field(None, description="file of a published TokenPacker projector, for a fresh LTC")
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="of weights that are not trained; trained ones are float32"
    )
    gradient_checkpointing: bool = Field(False, description="compute activations twice to save memory")
    kinds: dict[prompts.Kind, float] = Field(
        {"detect": 1, "mask": 1, "impact": 1, "suggest": 1}, description="how often each kind of question is asked"
    )
    dialogues: float = Field(
        0.0, ge=0, le=1, description="share of a record's own conversations, where it also has sections"
    )


class VmadTraining:
    """A `Trainable`: the model, and how it learns."""

    Config = VmadSection
    ABLATION = ABLATION

    def __init__(self, network: VmadModel, collate: VmadCollate) -> None:
        self.network: Any = network
        self.collate = collate

    @classmethod
    def make(cls, section: Mapping[str, Any], sources: Sequence[Source], seed: int) -> VmadTraining:
        """Build model and tokenizer; what has no weights starts from the seed.

        Raises UsageError for values that cannot be, BadCheckpoint for weights that do not fit.
        """
        chosen = _section(section)
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            torch.manual_seed(seed)
            model, processor = _opened(chosen, sources, seed)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()  # small steps are lost in half precision
        if chosen.gradient_checkpointing:
            name = "activation_checkpointing_enable"  # transformers renamed it within its version 5
            getattr(model, name if hasattr(model, name) else "gradient_checkpointing_enable")()
        return cls(model, VmadCollate(processor, seed, dict(chosen.kinds), chosen.dialogues))

    def loss(self, batch: Any) -> Losses:
        """The weighted loss; parts: txt, seg (2 BCE + 0.5 Dice by default), bce, dice, pbsd."""
        out = self.network(batch)
        config = self.collate.processor.config
        seg = config.bce_weight * out.losses["bce"] + config.dice_weight * out.losses["dice"]
        return Losses(out.loss, {**out.losses, "seg": seg})

    def save(self, folder: Path, network: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """Write model and tokenizer, to be opened with `--option weights=FOLDER`."""
        assert isinstance(network, VmadModel)
        shown = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()  # this is done at every look at the test data
        network.save_pretrained(str(folder), state_dict=dict(weights))
        if shown:
            logging.enable_progress_bar()
        self.collate.processor.save_pretrained(folder)


@dataclass(frozen=True)
class VmadCollate:
    """Records to batches: picks question and answer, then `processing.collate`."""

    processor: VmadProcessor
    seed: int
    kinds: Mapping[prompts.Kind, float]
    dialogues: float

    def __call__(self, records: Sequence[Record]) -> dict[str, Any]:
        """Raises BadFile, UsageError for a record that cannot be learnt from."""
        return collate([self.write(record) for record in records], self.processor)

    def write(self, record: Record) -> Record:
        """The record with the one dialogue that is learnt this time."""
        rng = np.random.default_rng([self.seed, int(record.get("draw", 0))])
        own, sections = list(record.get("conversations") or ()), record.get("sections") or {}
        known = record.get("anomalous") is not None
        if own and (not sections or not known or rng.uniform() < self.dialogues):
            turns = _with_image(own)
        elif sections and known:
            turns = self._asked(record, sections, rng)
        else:
            raise UsageError(f"record {record.get('id', '?')} has neither conversations nor a label and sections")
        # what is not known to be normal must not enter the queues of normal features
        return {**record, "conversations": turns, "anomalous": record.get("anomalous") is not False}

    def _asked(self, record: Record, sections: Mapping[str, str], rng: np.random.Generator) -> list[dict[str, str]]:
        shares = np.array([self.kinds.get(kind, 0.0) for kind in KINDS])
        kind = KINDS[int(rng.choice(len(KINDS), p=shares / shares.sum()))]
        asked = prompts.question(kind, str(record.get("object", "")), int(rng.integers(1 << 30)))
        told = prompts.answer(bool(record["anomalous"]), sections, kind, self.processor.config.seg_token)
        return [{"from": "human", "value": IMAGE + asked}, {"from": "gpt", "value": told}]


def _with_image(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    """One picture, in the first question: records of several views name it several times."""
    plain = [{**turn, "value": str(turn.get("value", "")).replace(llava.IMAGE_TOKEN, "").strip()} for turn in turns]
    first = next((i for i, turn in enumerate(plain) if turn.get("from") == "human"), 0)
    plain[first]["value"] = IMAGE + plain[first]["value"]
    return plain


# ---------------------------------------------------------------- where the model comes from


def _section(values: Mapping[str, Any]) -> VmadSection:
    try:
        section = VmadSection.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        near = did_you_mean(where, VmadSection.model_fields)
        raise UsageError(
            f"model.{where}: {first['msg']}.{near} It has {', '.join(VmadSection.model_fields)}"
        ) from error
    if not sum(section.kinds.values()) > 0 or min(section.kinds.values()) < 0:
        raise UsageError(f"model.kinds must hold shares of at least 0, not all 0, got {section.kinds}")
    return section


def _opened(section: VmadSection, sources: Sequence[Source], seed: int) -> tuple[VmadModel, VmadProcessor]:
    dtype: torch.dtype = getattr(torch, section.dtype)
    if section.start:
        return _started(section, dtype)
    if section.preset != "laptop" and not section.tokenizer:
        raise UsageError(
            f"{section.preset} starts from published weights: set model.tokenizer, model.llava and the like"
        )
    config = _config(section)
    parts = {name: getattr(section, name) for name in ("clip", "llava", "sam", "lisa", "tokenpacker")}
    if section.tokenizer:
        return assemble(config, section.tokenizer, dtype=dtype, **parts)
    if given := [name for name, path in parts.items() if path]:
        raise UsageError(f"model.{given[0]}: published weights need model.tokenizer, their language model's")
    tokenizer = small_tokenizer(_texts(sources, config, seed), section.words)
    config.text_config.vocab_size = len(tokenizer)
    join(config, tokenizer)
    return VmadModel(config).to(dtype), VmadProcessor(config, tokenizer)


def _config(section: VmadSection) -> VmadConfig:
    makers = {
        "laptop": VmadConfig.laptop,
        "vmad_7b": VmadConfig.vmad_7b,
        "vmad_7b_336": lambda **changes: VmadConfig.vmad_7b(336, **changes),
        "lisa_7b": VmadConfig.lisa_7b,
    }
    known = list(inspect.signature(VmadConfig.__init__).parameters)[1:-1]
    for name in section.config:
        if name not in known:
            raise UsageError(f"model.config has no '{name}'.{did_you_mean(name, known)} It has {', '.join(known)}")
    try:
        return makers[section.preset](**section.config)
    except (TypeError, ValueError) as error:
        raise error if isinstance(error, LookTwiceError) else UsageError(f"model.config: {error}") from error


def _started(section: VmadSection, dtype: torch.dtype) -> tuple[VmadModel, VmadProcessor]:
    """A saved model goes on learning; its shape stays, what learns may change."""
    odd = sorted(set(section.config) - set(MUTABLE))
    if odd:
        raise UsageError(f"model.config.{odd[0]} cannot change in a saved model: only {', '.join(MUTABLE)} can")
    model, processor = open_saved(Path(section.start), dtype=dtype)
    for name, value in section.config.items():
        if name == "lora":
            if value is not None and model.config.lora is None:
                model.add_lora(**value)
        else:
            setattr(model.config, name, value)
    VmadConfig.from_dict(model.config.to_dict())  # raises for a value that is not allowed
    model.freeze()
    processor.config = model.config
    return model, processor


def _texts(sources: Sequence[Source], config: VmadConfig, seed: int) -> list[str]:
    """Words for a tokenizer: what the model is asked and told about some records of each kind."""
    form = llava.TEMPLATES[config.template]
    texts = [form.render([question, None]) for pool in prompts.QUESTIONS.values() for question in pool]
    sampler = Sampler(tuple(sources), seed, "shuffled")
    for number in range(EXAMPLES):
        (draw,) = sampler.draws(number, 1)
        try:
            record = draw.record()
        except (LookTwiceError, OSError):
            continue  # met again, and counted, in training
        sections, thing = record.get("sections") or {}, str(record.get("object", ""))
        if sections and record.get("anomalous") is not None:
            texts.append(prompts.question("suggest", thing, number))
            texts.append(prompts.answer(bool(record["anomalous"]), sections, "suggest", ""))
        texts += [str(turn.get("value", "")) for turn in record.get("conversations") or ()]
    return texts
