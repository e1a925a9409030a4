"""VMAD, and LISA inside it: a language model that sees, and asks a mask decoder to draw what it means.

VMAD (Deng et al., arXiv 2409.20146) on LISA's frame (Lai et al., CVPR 2024). A picture goes two ways: the CLIP tower
and a projector make tokens for the language model; the visual backbone makes features f for the mask decoder. The state
that emits `<seg>` (that of the token before it) becomes, through an MLP, the only prompt of the mask decoder.

Differs from LISA's code: image slots are expanded before the model, so the emitting state is found for any number of
image tokens; answers are decoded with a cache and give the states their words came from. An empty target counts for
the cross-entropy only (Dice of nothing teaches little). LTC and DSSL are our definition (`projector.py`, `dssl.py`).

Letters: B pictures, T tokens with image slots expanded, P image tokens, D width of the language model, V words, n masks
of a picture, C channels and h w size of f, S side of the visual square, H W pixels of the original.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, CLIPVisionModel, DynamicCache, PreTrainedModel, SamModel
from transformers.modeling_outputs import BaseModelOutput

from looktwice.backbones import llava, sam
from looktwice.backbones.losses import mask_losses
from looktwice.detectors.vmad import projector
from looktwice.detectors.vmad.config import VmadConfig, trainable_names
from looktwice.detectors.vmad.dssl import Dssl
from looktwice.errors import MissingExtra, UsageError

GROUPS = 8  # of the conv encoder's norms


@dataclass
class VmadOutput:
    """What a pass over a batch gives."""

    logits: Tensor  # (B, T, V)
    loss: Tensor | None = None  # weighted sum of the losses; None without labels
    losses: dict[str, Tensor] = field(default_factory=dict)  # txt, bce, dice, pbsd: unweighted
    masks: list[Tensor] = field(default_factory=list)  # B times (n, H, W) logits


@dataclass(frozen=True)
class Prompted:
    """Where an answer starts: what was read so far is in the cache."""

    cache: DynamicCache
    mask: Tensor  # (B, T) 1 where a token is no padding
    state: Tensor  # (B, D) last state of each text
    logits: Tensor  # (B, V) of the next token


@dataclass(frozen=True)
class Answers:
    """Greedy answers of B texts."""

    ids: list[list[int]]  # tokens, the end token included where it came
    states: list[Tensor]  # B times (n, D): what emitted each `<seg>`
    first: Tensor  # (B, V) logits of the first token
    last: Prompted  # where the next turn starts: all was read but the last token of each answer


class VmadModel(PreTrainedModel):  # type: ignore[misc]
    """The model; parts by `VmadConfig`. Load and save with `from_pretrained` and `save_pretrained` (safetensors)."""

    config: VmadConfig
    config_class = VmadConfig
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True

    def __init__(self, config: VmadConfig) -> None:
        super().__init__(config)
        width, channels = config.text_config.hidden_size, config.visual_channels
        self.vision_tower = CLIPVisionModel(config.vision_config)
        self.projector = projector.build(config)
        self.language_model = AutoModelForCausalLM.from_config(config.text_config)
        self.visual_model = visual(config)
        self.text_hidden_fcs = mask_prompt(width, channels)
        self.dssl = Dssl(config) if config.dssl else None
        self.post_init()
        if config.lora is not None:
            self._inject_lora(config.lora)
        self.freeze()

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Load as every model of transformers; what the configuration does not train is frozen."""
        opened = super().from_pretrained(*args, **kwargs)
        (opened[0] if isinstance(opened, tuple) else opened).freeze()  # with output_loading_info there are two
        return opened

    def _init_weights(self, module: nn.Module) -> None:
        """Start what no published model brings; the parts of transformers start themselves."""
        if isinstance(module, nn.MultiheadAttention):  # LTC's
            nn.init.xavier_uniform_(module.in_proj_weight)
            nn.init.zeros_(module.in_proj_bias)
            return
        start = getattr(module, "reset_parameters", None)
        if start is not None:
            start()

    # ------------------------------------------------------------ what is trained

    def freeze(self) -> list[str]:
        """Let only the parameters of `trainable_names` learn; return their names."""
        names = trainable_names(self.config)
        words = (self.language_model.get_input_embeddings(), self.language_model.get_output_embeddings())
        vocabulary = {id(one) for module in words for one in module.parameters()} if "lm_head" in names else set()
        kept = []
        for name, parameter in self.named_parameters():
            named = any(part in name for part in names) or id(parameter) in vocabulary
            learns = named and parameter.is_floating_point()
            parameter.requires_grad_(learns)
            kept += [name] if learns else []
        return kept

    def add_lora(self, **changes: Any) -> None:
        """Put adapters into the language model: r, alpha, dropout, targets; LISA's values where not given.

        They become part of the model's configuration and of its saved weights. Raises UsageError where there are some.
        """
        if self.config.lora is not None:
            raise UsageError("the model has LoRA adapters already: merge_lora() puts them into its weights")
        self.config.lora = VmadConfig.full_lora(changes)
        self._inject_lora(self.config.lora)
        self.freeze()

    def _inject_lora(self, lora: Mapping[str, Any]) -> None:
        from peft import LoraConfig, inject_adapter_in_model

        targets = "|".join(lora["targets"])
        inject_adapter_in_model(
            LoraConfig(
                r=lora["r"],
                lora_alpha=lora["alpha"],
                lora_dropout=lora["dropout"],
                target_modules=rf".*\.({targets})",
            ),
            self.language_model,
        )

    def merge_lora(self) -> None:
        """Add the adapters to the weights they adapt, and forget them."""
        from peft.tuners.lora import LoraLayer

        for name, module in list(self.language_model.named_modules()):
            if isinstance(module, LoraLayer):
                module.merge()
                parent, _, last = name.rpartition(".")
                setattr(self.language_model.get_submodule(parent), last, module.get_base_layer())
        self.config.lora = None

    def fit_vocabulary(self, size: int) -> None:
        """Make room for `size` words in the embeddings and the head; transformers starts new rows near the mean."""
        if size != self.language_model.get_input_embeddings().weight.shape[0]:
            self.language_model.resize_token_embeddings(size)
            self.config.text_config.vocab_size = size

    # ------------------------------------------------------------ pictures

    def encode_image(self, pixel_values_clip: Tensor) -> Tensor:
        """(B, 3, s, s) of the tower -> image tokens (B, P, D)."""
        tower = self.vision_tower
        states = tower(pixel_values_clip.to(tower.dtype), output_hidden_states=True).hidden_states
        coarse = states[self.config.vision_layer][:, 1:]  # the class token says nothing of places
        if self.config.projector != "ltc":
            tokens: Tensor = self.projector(coarse)
            return tokens
        compressed: Tensor = self.projector(coarse, [states[layer][:, 1:] for layer in self.config.ltc_layers])
        return compressed

    def encode_visual(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, S, S) -> f (B, C, h, w); one picture at a time where the encoder is frozen: it is the largest part."""
        encoder = self.visual_model.vision_encoder
        weight = next(encoder.parameters())
        pixels = pixel_values.to(weight.dtype)
        if torch.is_grad_enabled() and any(one.requires_grad for one in encoder.parameters()):
            features: Tensor = encoder(pixels).last_hidden_state
            return features
        with torch.no_grad():
            return torch.cat([encoder(one[None]).last_hidden_state for one in pixels])

    def draw(self, states: Tensor, features: Tensor) -> Tensor:
        """States (n, D) that emit `<seg>` and f (C, h, w) of their picture -> mask logits (n, 1, 4h, 4w)."""
        prompts = self.text_hidden_fcs(states).to(features.device)
        return sam.decode(self.visual_model, features, prompts[:, None])

    # ------------------------------------------------------------ training

    def forward(self, batch: Mapping[str, Any] | None = None, **fields: Any) -> VmadOutput:
        """Read a batch of `processing.collate` and return the losses that its `labels` and `masks` allow.

        batch, or the same as keywords: input_ids, attention_mask (B, T), pixel_values, pixel_values_clip, shown (B, 2),
        cells (B, P, 4), and for training labels (B, T), masks (B times (n, H, W) in [0, 1]), drawn (B,) bool (whether
        the mask is known), normal (B,) bool. Raises UsageError where a text has another number of `<seg>` than masks.
        """
        given = fields if batch is None else batch
        ids, labels = given["input_ids"], given.get("labels")
        tokens = self.encode_image(given["pixel_values_clip"])
        out = self._read(self._embed(ids, tokens.flatten(0, 1)), given["attention_mask"])
        states, logits = out.hidden_states[-1], out.logits
        if labels is None:
            return VmadOutput(logits)
        features = self.encode_visual(given["pixel_values"])
        emits = llava.seg_states(ids, self._seg_id())
        masks = [
            self._on_original(self.draw(states[b][emits[b]], features[b]), given["shown"][b], given["masks"][b])
            for b in range(len(ids))
        ]
        losses = {"txt": _token_loss(logits, labels)}
        losses["bce"], losses["dice"] = self._mask_losses(masks, given["masks"], given["drawn"])
        if self.dssl is not None:
            cells = given["cells"] * (features.shape[-1] / self.config.visual_size)
            meant, has_words = semantic_state(states, labels, self._seg_id())
            places = states[ids == llava.IMAGE].view(len(ids), -1, states.shape[-1])
            losses["pbsd"] = self.dssl(features, cells, places, meant, given["normal"] & has_words)
        return VmadOutput(logits, self.weigh(losses), losses, masks)

    def weigh(self, losses: Mapping[str, Tensor]) -> Tensor:
        """L = text + segmentation (BCE, Dice) + pbsd, by the weights of the configuration."""
        config = self.config
        total = config.text_weight * losses["txt"]
        total = total + config.seg_weight * (config.bce_weight * losses["bce"] + config.dice_weight * losses["dice"])
        if "pbsd" in losses:
            total = total + config.pbsd_weight * losses["pbsd"]
        return total

    def _mask_losses(self, masks: list[Tensor], targets: Sequence[Tensor], drawn: Tensor) -> tuple[Tensor, Tensor]:
        known = [b for b in range(len(masks)) if bool(drawn[b])]
        if not known:  # every parameter takes part, as distributed training wants
            nothing = torch.stack([one.sum() * 0.0 for one in masks]).sum()
            return nothing, nothing
        return mask_losses([masks[b] for b in known], [targets[b] for b in known], dice_of_empty=False)

    def _on_original(self, logits: Tensor, shown: Tensor, target: Tensor) -> Tensor:
        if len(logits) != len(target):
            raise UsageError(f"a text asks for {len(logits)} masks by {self.config.seg_token} but has {len(target)}")
        size = (int(target.shape[-2]), int(target.shape[-1]))
        resized = (int(shown[0]), int(shown[1]))
        return sam.postprocess_masks(logits, resized, size, self.config.visual_size)[:, 0]

    # ------------------------------------------------------------ answers

    def prompt(
        self, ids: Tensor, tokens: Tensor | None = None, mask: Tensor | None = None, after: Prompted | None = None
    ) -> Prompted:
        """Read texts (B, T), pictures (B, P, D) in their slots, from the start or after what was read before.

        mask: (B, T) 0 where padded, which must be on the left. `after` is continued in place: its cache is the same.
        """
        mask = torch.ones_like(ids) if mask is None else mask
        cache = DynamicCache() if after is None else after.cache
        whole = mask if after is None else torch.cat([after.mask, mask], 1)
        features = ids.new_zeros((0, 1), dtype=self.dtype) if tokens is None else tokens.flatten(0, 1)
        out = self._read(self._embed(ids, features), whole, cache)
        return Prompted(cache, whole, out.hidden_states[-1][:, -1], out.logits[:, -1])

    def answer(self, prompted: Prompted, most: int, stop: Iterable[int]) -> Answers:
        """Decode greedily, at most `most` tokens each, until a token of `stop`; the cache then holds the answers too.

        Of equally likely tokens the first wins, so the same prompt has the same answer.
        """
        ends, seg_id = set(stop), self._seg_id()
        now, first = prompted, prompted.logits
        ids: list[list[int]] = [[] for _ in range(len(first))]
        states: list[list[Tensor]] = [[] for _ in ids]
        for step in range(most):
            chosen = now.logits.argmax(-1)
            for b, token in enumerate(chosen.tolist()):
                if ids[b] and ids[b][-1] in ends:
                    continue
                ids[b].append(token)
                if token == seg_id:
                    states[b].append(now.state[b])
            if step + 1 == most or all(one[-1] in ends for one in ids):
                break
            now = self.prompt(chosen[:, None], after=now)
        width = prompted.state.shape[-1]
        emitted = [torch.stack(one) if one else now.state.new_zeros((0, width)) for one in states]
        return Answers(ids, emitted, first, now)

    # ------------------------------------------------------------ the language model

    def _embed(self, ids: Tensor, tokens: Tensor) -> Tensor:
        return llava.splice(self.language_model.get_input_embeddings(), ids, tokens.to(ids.device))

    def _read(self, embedded: Tensor, mask: Tensor, cache: DynamicCache | None = None) -> Any:
        places = (mask.cumsum(-1) - 1).clamp(min=0)[:, -embedded.shape[1] :]
        return self.language_model(
            inputs_embeds=embedded,
            attention_mask=mask,
            position_ids=places,
            past_key_values=cache,
            use_cache=cache is not None,
            output_hidden_states=True,
        )

    def _seg_id(self) -> int:
        if self.config.seg_token_id is None:
            raise UsageError("the configuration has no seg_token_id: join the tokenizer with processing.join")
        return int(self.config.seg_token_id)


def semantic_state(states: Tensor, labels: Tensor, seg_id: int) -> tuple[Tensor, Tensor]:
    """Mean last state (B, D) over the answer's tokens before its first `<seg>`, and (B,) bool: whether it has any."""
    asked = ((labels == seg_id).cumsum(-1) > 0) | (labels == llava.IGNORE)
    words = (~asked).to(states.dtype)[..., None]
    many = words.sum(1)
    return (states * words).sum(1) / many.clamp(min=1), many[:, 0] > 0


def _token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the next token, mean over the tokens that are learnt; 0 where there are none."""
    wanted = labels[:, 1:].flatten()
    summed = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), wanted, ignore_index=llava.IGNORE, reduction="sum")
    return summed / (wanted != llava.IGNORE).sum().clamp(min=1)


def mask_prompt(width: int, channels: int) -> nn.Sequential:
    """What turns the state that emits `<seg>` into the mask decoder's prompt, LISA's `text_hidden_fcs`."""
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, channels), nn.Dropout(0.0))


def visual(config: VmadConfig) -> SamModel:
    """Build SAM's parts of a configuration, around its own encoder or the convolutional one."""
    return SamModel(config.visual_config) if config.visual_backbone == "sam" else ConvSam(config)


class ConvSam(SamModel):  # type: ignore[misc]
    """SAM's prompt encoder and mask decoder on the features of a small convolutional encoder."""

    def __init__(self, config: VmadConfig) -> None:
        super().__init__(config.visual_config)
        encoder: Any = ConvEncoder(config.conv_widths, config.visual_channels)
        self.vision_encoder = encoder

    def get_input_embeddings(self) -> nn.Module:
        """Return what sees the pixels first, as transformers asks."""
        first: nn.Module = self.vision_encoder.stages[0].halve
        return first

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Conv2d, nn.GroupNorm)):
            module.reset_parameters()
        else:
            super()._init_weights(module)


class ConvEncoder(nn.Module):
    """(B, 3, S, S) -> (B, C, S / 2^k, S / 2^k): per width a halving convolution and a residual block."""

    def __init__(self, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        before = [3, *widths[:-1]]
        self.stages = nn.ModuleList(ConvStage(a, b) for a, b in zip(before, widths, strict=True))
        self.neck = nn.Conv2d(widths[-1], channels, 1)
        self.norm = nn.GroupNorm(1, channels)

    def forward(self, pixels: Tensor) -> BaseModelOutput:
        """Return an output with `last_hidden_state`, as SAM's encoder does."""
        for stage in self.stages:
            pixels = stage(pixels)
        return BaseModelOutput(last_hidden_state=self.norm(self.neck(pixels)))


class ConvStage(nn.Module):
    """Halve, then add a residual of two convolutions; group norms, so that pictures of a batch do not mix."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.halve = nn.Conv2d(before, width, 3, stride=2, padding=1)
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.norms = nn.ModuleList(nn.GroupNorm(math.gcd(GROUPS, width), width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, width, h / 2, w / 2)."""
        x = F.gelu(self.norms[0](self.halve(x)))
        y = F.gelu(self.norms[1](self.first(x)))
        return F.gelu(x + self.norms[2](self.second(y)))


def quantisation(bits: int) -> Any:
    """Weights of the language model in 4 or 8 bits: pass as `quantization_config` to `VmadModel.from_pretrained`.

    All else keeps its precision: masks drawn by a quantised decoder come out blank. Raises UsageError for other bits,
    MissingExtra without bitsandbytes.
    """
    import importlib.util

    from transformers import BitsAndBytesConfig

    if bits not in (4, 8):
        raise UsageError(f"weights can be kept in 4 or 8 bits, got {bits}")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtra(f"weights in {bits} bits need the module 'bitsandbytes': pip install bitsandbytes")
    kept = ["vision_tower", "projector", "visual_model", "text_hidden_fcs", "dssl", "lm_head", ".*lora_A", ".*lora_B"]
    return BitsAndBytesConfig(
        load_in_4bit=bits == 4,
        load_in_8bit=bits == 8,
        llm_int8_skip_modules=kept,
        bnb_4bit_compute_dtype=torch.bfloat16,
        bnb_4bit_quant_type="nf4",
    )
