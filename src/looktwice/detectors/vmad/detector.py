"""The detectors `vmad` and `lisa`: one model, asked about each view, that answers in words and draws a mask.

Score (our definition, the paper names none): half the probability of Yes against No as the first word of the answer,
half the mean of the highest hundredth of the mask. For `lisa`, whose answers begin in other ways, the mask's peak. With
references, `few_shot.py` joins in. Views are judged one by one unless `together` says otherwise, so that the answer is
the same alone or in a batch. What the model says is untrusted text.

Letters: V views, H W pixels of a view, B views judged at once, n masks.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from looktwice.backbones import llava, sam
from looktwice.checkpoints import BadCheckpoint, locate
from looktwice.detectors.vmad import prompts
from looktwice.detectors.vmad.config import VmadConfig
from looktwice.detectors.vmad.few_shot import NormalPatches
from looktwice.detectors.vmad.model import Prompted, VmadModel
from looktwice.detectors.vmad.processing import Framed, VmadProcessor
from looktwice.detectors.vmad.weights import Opened, kind_of, open_lisa, open_saved
from looktwice.errors import UsageError
from looktwice.records import Explanation, Prediction, Spec, Views
from looktwice.settings import Settings

TOP = 100  # the highest hundredth of a mask is its evidence
NO_MASK = "none drawn: the answer asks for no mask"


class VmadOptions(BaseModel):
    """What can be set with --option."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: str = Field(
        "", description="folder that training saved, or ORG/NAME in the local hub cache; {ltc} and {dssl} are filled in"
    )
    ltc: bool | None = Field(None, description="whether the weights must have LTC; none: either")
    dssl: bool | None = Field(None, description="whether the weights must have been trained with DSSL; none: either")
    clip: str = Field(
        "openai/clip-vit-large-patch14", description="CLIP tower of a LISA folder: file, folder, ORG/NAME"
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1 ...")
    dtype: Literal["auto", "float32", "bfloat16"] = Field("auto", description="auto: bfloat16 on a GPU, else float32")
    bits: Literal[4, 8] | None = Field(None, description="keep the language model in 4 or 8 bits (needs bitsandbytes)")
    explain: prompts.Kind = Field(
        "mask", description="what is asked: detect, mask, impact or suggest; each adds to the last"
    )
    question: str = Field("", description="a question of your own instead")
    ask_rules: bool = Field(False, description="ask about each rule of the sheet, of the most anomalous view")
    score: Literal["both", "yes", "mask", "peak"] = Field(
        "both", description="yes: probability of Yes; mask: mean of its highest hundredth; peak: its maximum"
    )
    few_shot_weight: float = Field(
        0.5, ge=0, le=1, description="share of the references in score and map, if there are any"
    )
    bank: int = Field(20_000, ge=100, description="patches of the references that are kept")
    max_new_tokens: int = Field(128, ge=1, le=2048, description="length of an answer, at most")
    together: int = Field(1, ge=1, description="views judged at once: faster on a GPU, last digits may differ from 1")


class LisaOptions(VmadOptions):
    """What can be set with --option."""

    weights: str = Field("xinlai/LISA-7B-v1", description="LISA's folder, or ORG/NAME in the local hub cache")
    question: str = Field(
        "Is there any anomaly in the image? Please output segmentation mask.", description="what is asked"
    )
    score: Literal["both", "yes", "mask", "peak"] = Field(
        "peak", description="yes: probability of Yes; mask: mean of its highest hundredth; peak: its maximum"
    )


class Vmad:
    """Zero-shot, and few-shot with references; localises and explains."""

    Config: type[VmadOptions] = VmadOptions
    name = "vmad"
    missing = (
        "VMAD's authors published no weights: train some with `looktwice train vmad`, then give --option weights=FOLDER"
    )

    def __init__(self, config: VmadOptions | None = None) -> None:
        self.config = config or self.Config()
        self._opened: Opened | None = None

    def fit(self, spec: Spec, settings: Settings | None = None) -> FittedVmad:
        """Load the model once, write the sheet's questions, look at its references.

        Raises UsageError where weights are missing or the sheet is too long, BadCheckpoint, MissingExtra, BadFile.
        """
        if self._opened is None:
            self._opened = self._open()
        return FittedVmad(self.config, *self._opened, spec, settings)

    def _open(self) -> Opened:
        config = self.config
        if not config.weights:
            raise UsageError(f"{self.name} has no weights: {self.missing}")
        device = _device(config.device)
        wanted = ("float32" if device == "cpu" else "bfloat16") if config.dtype == "auto" else config.dtype
        dtype: torch.dtype = getattr(torch, wanted)
        try:
            folder = locate(self._named())
        except BadCheckpoint as error:
            raise UsageError(f"{self.name} has no weights: {error}. {self.missing}") from error
        if kind_of(folder) == "vmad":
            opened = open_saved(folder, device=device, dtype=dtype, bits=config.bits)
            self._check_parts(opened[0].config)
            return opened
        if config.bits:
            raise UsageError("bits: load a LISA folder whole, save it with save_pretrained, and open that in few bits")
        return open_lisa(folder, config.clip, device=device, dtype=dtype)

    def _named(self) -> str:
        """The weights' name, for an ablation with its parts filled in: runs/ltc-{ltc} -> runs/ltc-true."""
        parts = {"ltc": self.config.ltc, "dssl": self.config.dssl}
        name = self.config.weights
        for part, wanted in parts.items():
            if f"{{{part}}}" in name and wanted is None:
                raise UsageError(f"weights name {{{part}}}: say --option {part}=true or {part}=false")
            name = name.replace(f"{{{part}}}", str(wanted).lower())
        return name

    def _check_parts(self, found: VmadConfig) -> None:
        has = {"ltc": found.projector == "ltc", "dssl": bool(found.dssl)}
        for part, wanted in (("ltc", self.config.ltc), ("dssl", self.config.dssl)):
            if wanted is not None and wanted != has[part]:
                raise UsageError(
                    f"{self._named()} was made {'with' if has[part] else 'without'} {part.upper()}, "
                    f"{part}={str(wanted).lower()} was asked for: give other weights"
                )


class Lisa(Vmad):
    """LISA as a zero-shot detector: the linear projector, no DSSL."""

    Config = LisaOptions
    name = "lisa"
    missing = (
        "LISA-7B is about 15 GB: `hf download xinlai/LISA-7B-v1`, its CLIP tower 1.7 GB more: "
        "`hf download openai/clip-vit-large-patch14`"
    )


@dataclass(frozen=True)
class _Look:
    """What became of one view."""

    yes: float  # probability of Yes
    mask: float  # mean of the highest hundredth
    peak: float
    drawn: int  # masks the answer asked for
    few: float | None  # how unlike the references
    anomaly_map: np.ndarray  # (H, W) float32 in [0, 1]
    text: str

    def score(self, how: str, weight: float) -> float:
        both = 0.5 * self.yes + 0.5 * self.mask
        alone = {"both": both, "yes": self.yes, "mask": self.mask, "peak": self.peak}[how]
        return alone if self.few is None else (1 - weight) * alone + weight * self.few


class FittedVmad:
    """A model that knows the sheet. `processor` and `model` are open to whoever wants more."""

    def __init__(
        self, config: VmadOptions, model: VmadModel, processor: VmadProcessor, spec: Spec, settings: Settings | None
    ) -> None:
        self.config, self.model, self.processor, self.spec = config, model, processor, spec
        self.words = prompts.sheet_words(spec)
        self.question = config.question or prompts.question(config.explain, spec.object)
        self.ids = processor.question_ids(f"{self.words} {self.question}".strip())
        self.stop = processor.stop_ids()
        self.yes_no = processor.yes_no()
        self.room = int(getattr(model.config.text_config, "max_position_embeddings", 1 << 30))
        self.check_room(len(self.ids))
        self.normal: NormalPatches | None = None
        if spec.references:
            with torch.inference_mode():
                self.normal = NormalPatches(model, processor, spec, settings, config.bank)

    def check_room(self, tokens: int) -> None:
        """Raise UsageError where a prompt and its answer do not fit into the language model."""
        if tokens + self.config.max_new_tokens > self.room:
            raise UsageError(
                f"the sheet and question take {tokens} tokens and the answer up to {self.config.max_new_tokens}, the "
                f"language model has room for {self.room}: shorten context or rules, or lower max_new_tokens"
            )

    @torch.inference_mode()
    def predict(self, batch: Sequence[Views]) -> list[Prediction]:
        """Judge each Views by all its views; one that shows nothing scores 0."""
        start = time.perf_counter()
        wanted = [(views, i) for views in batch for i in range(len(views.images)) if _any_shown(views, i)]
        looks: list[_Look] = []
        for first in range(0, len(wanted), self.config.together):
            looks += self._look(wanted[first : first + self.config.together])
        found = {(id(views), i): look for (views, i), look in zip(wanted, looks, strict=True)}
        made = [
            self._prediction(views, [found.get((id(views), i)) for i in range(len(views.images))]) for views in batch
        ]
        seconds = (time.perf_counter() - start) / max(1, len(batch))
        return [one.model_copy(update={"seconds": seconds}) for one in made]

    def look(self, views: Views) -> SeenViews:
        """Encode the views once; questions are then asked of the one that is most likely anomalous."""
        with torch.inference_mode():
            return SeenViews(self, views)

    @torch.inference_mode()
    def similarity(self, views: Views) -> np.ndarray:
        """(V, H, W) float32 in [0, 1]: how unlike normal patches each place is, the evidence `few_shot` as a map.

        Without references each token's cell is compared with the normal features that DSSL's queue kept from training:
        1 - the highest cosine, for diagnosis. Raises UsageError where there are neither.
        """
        if self.normal is None and self.model.dssl is None:
            raise UsageError("a similarity map compares with normal samples and there are none: add references")
        return np.stack([self._unlike(views, i) for i in range(len(views.images))])

    # ------------------------------------------------------------ one look

    def _look(self, wanted: Sequence[tuple[Views, int]]) -> list[_Look]:
        framed = [self.processor.frame(views.images[i]) for views, i in wanted]
        device = self.model.device
        tokens = self.model.encode_image(torch.stack([one.clip for one in framed]).to(device))
        prompted = self.model.prompt(self.ids.to(device).expand(len(framed), -1), tokens)
        answers = self.model.answer(prompted, self.config.max_new_tokens, self.stop)
        features = self.model.encode_visual(torch.stack([one.visual for one in framed]).to(device))
        looks = []
        for b, (views, i) in enumerate(wanted):
            logits = self.model.draw(answers.states[b], features[b])
            size = (framed[b].size[0], framed[b].size[1])
            masks = sam.postprocess_masks(logits, framed[b].shown, size, self.model.config.visual_size)[:, 0].sigmoid()
            drawn = masks.amax(0).cpu().numpy() if len(masks) else np.zeros(size, np.float32)
            shown = None if views.shown is None else np.asarray(views.shown[i])
            drawn = drawn if shown is None else np.where(shown, drawn, 0)
            few, combined = None, drawn
            if self.normal is not None:
                few, unlike = self.normal.judge(features[b], framed[b], shown)
                combined = (1 - self.config.few_shot_weight) * drawn + self.config.few_shot_weight * unlike
                combined = combined if shown is None else np.where(shown, combined, 0)
            values = drawn if shown is None else drawn[shown]
            looks.append(
                _Look(
                    yes=self.p_yes(answers.first[b]),
                    mask=top_mean(values),
                    peak=float(values.max()),
                    drawn=len(masks),
                    few=few,
                    anomaly_map=np.clip(combined, 0, 1).astype(np.float32),
                    text=self.processor.text(answers.ids[b]),
                )
            )
        return looks

    def p_yes(self, logits: Tensor) -> float:
        """Probability of Yes against No as the next token, of (V,) logits."""
        yes, no = self.yes_no
        return float((logits[yes].double() - logits[no].double()).sigmoid())

    def _unlike(self, views: Views, i: int) -> np.ndarray:
        framed = self.processor.frame(views.images[i])
        features = self.model.encode_visual(framed.visual[None].to(self.model.device))[0]
        shown = None if views.shown is None else np.asarray(views.shown[i])
        unlike = (
            self._queued(features, framed) if self.normal is None else self.normal.judge(features, framed, shown)[1]
        )
        return np.asarray(unlike if shown is None else np.where(shown, unlike, 0), np.float32)

    def _queued(self, features: Tensor, framed: Framed) -> np.ndarray:
        """(H, W) of DSSL's diagnosis, each cell in one value."""
        assert self.model.dssl is not None
        side, cells = self.model.config.visual_size, self.processor.cells(framed)
        scaled = (cells * (features.shape[-1] / side)).to(features.device)
        values = self.model.dssl.unlike(features[None], scaled[None])[0].clamp(0, 1).tolist()
        painted = torch.zeros(1, 1, side, side)
        for (x0, y0, x1, y1), value in zip(cells.round().int().tolist(), values, strict=True):
            painted[..., y0:y1, x0:x1] = value
        return sam.postprocess_masks(painted, framed.shown, framed.size, side)[0, 0].numpy()

    # ------------------------------------------------------------ what is said about it

    def _prediction(self, views: Views, looks: Sequence[_Look | None]) -> Prediction:
        weight = self.config.few_shot_weight
        scores = tuple(0.0 if one is None else one.score(self.config.score, weight) for one in looks)
        nothing = np.zeros(views.images.shape[1:3], np.float32)
        maps = np.stack([nothing if one is None else one.anomaly_map for one in looks])
        worst = int(np.argmax(scores))
        look = looks[worst]
        if look is None:
            return Prediction(score=0.0, anomaly_map=maps, view_scores=scores, evidence={"shown": "nothing"})
        evidence: dict[str, float | str] = {"yes": look.yes, "mask": look.mask, "peak": look.peak}
        evidence["masks"] = float(look.drawn) if look.drawn else NO_MASK
        if look.few is not None:
            evidence["few_shot"] = look.few
        return Prediction(
            score=scores[worst],
            anomaly_map=maps,
            view_scores=scores,
            explanation=self._explanation(views, worst, look),
            evidence=evidence,
        )

    def _explanation(self, views: Views, i: int, look: _Look) -> Explanation:
        kind: prompts.Kind = "mask" if self.config.question else self.config.explain
        said = prompts.parse(look.text, kind, self.spec.defects)
        changes: dict[str, Any] = {}
        if look.drawn and not said.location and prompts.verdict(look.text) is not False:
            changes["location"] = prompts.place_of(look.anomaly_map)
        if self.config.ask_rules and self.spec.rules:
            changes["rules"] = self._rules(views, i)
        return said.model_copy(update=changes)

    def _rules(self, views: Views, i: int) -> dict[str, Any]:
        seen = SeenViews(self, views, i)
        found = {}
        for rule in self.spec.rules:
            seen.forget()
            asked = prompts.RULE.replace("{object}", self.spec.object or prompts.ANYTHING).replace("{rule}", rule.text)
            found[rule.id] = prompts.judge_rule(rule.id, rule.text, seen.ask(asked))
        return found


class SeenViews:
    """One view, encoded once; a dialogue about it goes on from what was said, whose keys and values are kept."""

    def __init__(self, fitted: FittedVmad, views: Views, which: int | None = None) -> None:
        self.fitted = fitted
        self.begin = int((fitted.ids == llava.IMAGE).nonzero()[-1]) + 1  # the text before and the image
        each = range(len(views.images)) if which is None else [which]
        looked = [(i, self._encode(views.images[i])) for i in each]
        self.view, self.at = max(looked, key=lambda one: self._suspicion(one[1])) if len(looked) > 1 else looked[0]
        self.name = views.names[self.view] if len(views.images) > 1 else ""
        self.last: list[int] = []  # the answer's last token, which was not read yet
        self.forget()

    def _encode(self, image: np.ndarray) -> Prompted:
        fitted, device = self.fitted, self.fitted.model.device
        tokens = fitted.model.encode_image(fitted.processor.frame(image).clip[None].to(device))
        return fitted.model.prompt(fitted.ids[None, : self.begin].to(device), tokens)

    def _suspicion(self, at: Prompted) -> float:
        fitted = self.fitted
        asked = fitted.model.prompt(fitted.ids[None, self.begin :].to(fitted.model.device), after=at)
        return fitted.p_yes(asked.logits[0])

    @torch.inference_mode()
    def ask(self, question: str) -> str:
        """Answer one question, knowing those before; untrusted text.

        Of several views it is about the most anomalous, which the answer names. Where the dialogue outgrows the
        language model its earlier turns are forgotten. Raises UsageError for an empty question and one too long.
        """
        if not question.strip():
            raise UsageError("a question needs at least one word")
        ids = self._next(question)
        if self._length() + len(ids) + self.fitted.config.max_new_tokens > self.fitted.room:
            self.forget()
            ids = self._next(question)
            self.fitted.check_room(self.begin + len(ids))
        model = self.fitted.model
        prompted = model.prompt(ids[None].to(model.device), after=self.at)
        answers = model.answer(prompted, self.fitted.config.max_new_tokens, self.fitted.stop)
        self.at, self.last = answers.last, answers.ids[0][-1:]
        text = self.fitted.processor.text(answers.ids[0])
        return f"{self.name}: {text}" if self.name else text

    def forget(self) -> None:
        """Go back to the picture alone; what was said about it is forgotten."""
        if (more := self.at.cache.get_seq_length() - self.begin) > 0:
            self.at.cache.crop(-more)
        self.at = Prompted(self.at.cache, self.at.mask[:, : self.begin], self.at.state, self.at.logits)
        self.last = []

    def _length(self) -> int:
        return self.at.mask.shape[1]

    def _next(self, question: str) -> Tensor:
        processor = self.fitted.processor
        if self._length() == self.begin:
            return processor.question_ids(f"{self.fitted.words} {question}".strip())[self.begin :]
        close, following = processor.next_ids(question)
        if self.last and self.last[0] in self.fitted.stop:
            close = close[1:]
        return torch.cat([torch.tensor(self.last, dtype=torch.long), close, following])


def _device(name: str) -> str:
    """Device of a name; raises UsageError for one that this machine does not have."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise UsageError(f"device '{name}' cannot be used here ({str(error).splitlines()[0]})") from error
    return name


def top_mean(values: np.ndarray) -> float:
    """Mean of the highest hundredth of values in [0, 1], at least of one; 0 for none."""
    if values.size == 0:
        return 0.0
    many = max(1, values.size // TOP)
    flat = values.reshape(-1)
    return float(np.partition(flat, flat.size - many)[flat.size - many :].mean(dtype=np.float64))


def _any_shown(views: Views, i: int) -> bool:
    return views.shown is None or bool(views.shown[i].any())
