"""Detectors: one file per system, one row in DETECTORS and one card in CARDS.

A row costs nothing until it is used. A card says what a detector is, needs and is good for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from looktwice.errors import UsageError
from looktwice.registry import Registry

if TYPE_CHECKING:
    from looktwice.detectors.protocol import Detector

DETECTORS = Registry(
    "model",
    {
        "memory": "looktwice.detectors.memory:Memory",
        "selfsim": "looktwice.detectors.selfsim:SelfSim",
        "customizable-vlm": "looktwice.detectors.customizable_vlm:CustomizableVlm",
        "vmad": "looktwice.detectors.vmad.detector:Vmad",
        "lisa": "looktwice.detectors.vmad.detector:Lisa",
    },
    listing="looktwice models",
)


@dataclass(frozen=True)
class Card:
    """What a person must know to choose a detector."""

    summary: str
    paper: str
    modalities: tuple[str, ...]
    zero_shot: bool  # judges without references
    few_shot: bool  # uses references
    localises: bool
    explains: bool
    good_for: str
    bad_for: str
    talks: bool = False  # needs a chat model: --option talker=KIND:MODEL
    weights: tuple[str, ...] = ()  # paths inside the package, or names on a hub; none: needs no weights

    @property
    def ready(self) -> bool:
        """Whether all weights are on this machine."""
        return all(_on_this_machine(name) for name in self.weights)


def _on_this_machine(name: str) -> bool:
    """Whether weights lie in the package or in the cache of the hub's client, which is not loaded for this."""
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    hub = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    return (Path(__file__).parent.parent / "weights" / name).exists() or any(
        hub.glob(f"models--{name.replace('/', '--')}/snapshots/*/*")
    )


ALL = ("image", "point_cloud", "video")

CARDS: Mapping[str, Card] = {
    "memory": Card(
        summary="distance of each patch to the nearest normal patch, place by place where parts can be registered",
        paper="after PatchCore (Roth et al., CVPR 2022) and PaDiM (Defard et al., ICPR 2020), on filter-bank features",
        modalities=ALL,
        zero_shot=False,
        few_shot=True,
        localises=True,
        explains=False,
        good_for="parts photographed alike with 1 to 20 good examples: boards, machined parts, prints, scans",
        bad_for="parts that vary freely in shape or pose, and defects of meaning (the wrong but flawless part)",
    ),
    "selfsim": Card(
        summary="how few look-alikes each patch has in the same picture or video",
        paper="after Davy et al. (ICIP 2018) and MuSc (Li et al., ICLR 2024), on filter-bank features",
        modalities=ALL,
        zero_shot=True,
        few_shot=False,
        localises=True,
        explains=False,
        good_for="textures, repeated structure, and videos of like parts, when no good example is at hand",
        bad_for="a lone normal feature (a logo, one hole) is reported and drowns fainter defects; confidence is low",
    ),
    "customizable-vlm": Card(
        summary="asks a chat model that is told the sheet and shown the references",
        paper="Xu et al. (arXiv 2403.11083, 2024)",
        modalities=ALL,
        zero_shot=True,
        few_shot=True,
        localises=True,
        explains=True,
        talks=True,
        good_for="rules in words, parts that vary freely, defects of meaning, and reasons a person can read",
        bad_for="small defects in large pictures, exact places, and runs that must cost nothing",
    ),
    "vmad": Card(
        summary="a language model that says what is wrong and draws where; with references it also compares patches",
        paper="after VMAD (Deng et al., arXiv 2409.20146), our definition where it is silent",
        modalities=ALL,
        zero_shot=True,
        few_shot=True,
        localises=True,
        explains=True,
        good_for="parts like those it was trained on, rules and reasons in words, dialogue",
        bad_for="anything before it is trained: no weights were published",
        weights=("a folder saved by looktwice train vmad",),
    ),
    "lisa": Card(
        summary="reasoning segmentation asked for anomalies",
        paper="LISA (Lai et al., CVPR 2024)",
        modalities=ALL,
        zero_shot=True,
        few_shot=False,
        localises=True,
        explains=True,
        good_for="a baseline for vmad",
        bad_for="an image score: it was not made for one",
        weights=("xinlai/LISA-7B-v1", "openai/clip-vit-large-patch14"),
    ),
}


def load(name: str, **options: Any) -> Detector:
    """Return the detector called `name`, not yet fitted.

    A talker's name, KIND:MODEL, is short for customizable-vlm with that talker. Options are the fields of its config
    (`looktwice models NAME` lists them). Raises UnknownName for another
    name and UsageError for an option it does not have or a value out of range.
    """
    if is_talker(name):
        name, options = "customizable-vlm", {"talker": name, **options}
    kind = DETECTORS.load(name)
    detector: Detector = kind(_config(name, kind.Config, options))
    return detector


def explaining(detector: Detector, name: str, talker: str, **options: Any) -> Detector:
    """Return a detector whose findings a talker ("openai:gpt-4o") puts into words; options are those of the talker.

    Raises UsageError for an option it does not have or a value out of range.
    """
    from looktwice.detectors.explained import Explained

    config = _config(f"explaining {name}", Explained.Config, {"talker": talker, **options})
    return Explained(detector, config, expert_name=name)


def is_talker(name: str) -> bool:
    """Whether a model's name is that of a talker, KIND:MODEL: it then inspects as customizable-vlm."""
    return ":" in name


def _config(name: str, kind: type[Any], options: Mapping[str, Any]) -> Any:
    from pydantic import ValidationError

    try:
        return kind(**options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        allowed = ", ".join(kind.model_fields)
        raise UsageError(f"{name} option '{where}': {first['msg']}. Its options: {allowed}") from error
