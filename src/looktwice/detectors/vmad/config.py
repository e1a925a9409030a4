"""What a VMAD model consists of: three networks of the ecosystem by their own configurations, and what joins them.

VMAD (Deng et al., arXiv 2409.20146) published no code; where the paper is silent the values here are our definition.
LISA (Lai et al., CVPR 2024) is the same model with a linear projector and without DSSL.
"""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, CLIPVisionConfig, PretrainedConfig, SamConfig

from looktwice.backbones.clip import vision_config as clip_config
from looktwice.backbones.sam import SamSize, sam_config
from looktwice.errors import UsageError

PROJECTORS = ("ltc", "linear", "mlp2x")
TRAINED = ("adapters", "projector", "all")
LORA = {"r": 8, "alpha": 16, "dropout": 0.05, "targets": ["q_proj", "v_proj"]}  # LISA's


class VmadConfig(PretrainedConfig):  # type: ignore[misc]
    """All that decides the shape and the training of a model; JSON in and out by `save_pretrained`, `from_pretrained`.

    Args:
        vision_config: the CLIP tower that makes image tokens for the language model.
        text_config: any causal language model of transformers; its vocabulary holds `seg_token`.
        visual_config: SAM's parts that draw masks. With `visual_backbone="conv"` its vision part only says the side of
            the picture, the stride (patch_size) and the channels.
        visual_backbone: "sam" or "conv", a small convolutional encoder for training from nothing.
        conv_widths: channels after each halving of the conv encoder; 2 ** len(conv_widths) is its stride.
        projector: "ltc", "linear" (LLaVA 1.1, LISA) or "mlp2x" (LLaVA 1.5).
        vision_layer: hidden state of the tower read by "linear" and "mlp2x", and by LTC's queries.
        ltc_layers: hidden states of the tower that give LTC's keys and values, in this order.
        ltc_factor: LTC makes one token of factor x factor.
        ltc_heads: heads of LTC's attention; must divide the tower's width.
        ltc_init: "fresh" (TokenPacker's form) or "warm" (starts as LLaVA's own projector on pooled features).
        ltc_base: LLaVA's projector inside the warm form, "linear" or "mlp2x".
        dssl: whether the DSSL loss and its queues exist.
        dssl_slots, dssl_ready: length of the queues, and how many slots must be filled before the loss counts.
        dssl_temperature: of both similarity distributions.
        pbsd, pbsd_top: "kl" or "infonce", and how many nearest slots are positives of the latter.
        seg_token, seg_token_id: the word that asks for a mask; the id is set when the tokenizer is joined.
        image_start_end: whether `<im_start>` and `<im_end>` stand around the image (LLaVA 1.1, LISA).
        template: name of the conversation form in `backbones.llava`.
        clip_geometry: "aligned" (tower and mask decoder see the same square) or "lisa" (the tower sees a centre crop).
        text_weight, seg_weight, bce_weight, dice_weight, pbsd_weight: of the losses.
        train: what is trained: "adapters", "projector" or "all" (see `trainable_names`).
        lora: {"r", "alpha", "dropout", "targets"} of the language model's adapters, or None. Saved weights without
            adapters get them by `VmadModel.add_lora`, which starts them at nothing.

    Raises UsageError for a value that is not allowed or parts that do not fit together.
    """

    model_type = "vmad"
    sub_configs = {"vision_config": CLIPVisionConfig, "text_config": AutoConfig, "visual_config": SamConfig}  # noqa: RUF012

    def __init__(
        self,
        vision_config: PretrainedConfig | dict[str, Any] | None = None,
        text_config: PretrainedConfig | dict[str, Any] | None = None,
        visual_config: PretrainedConfig | dict[str, Any] | None = None,
        *,
        visual_backbone: str = "sam",
        conv_widths: tuple[int, ...] | list[int] = (32, 64, 96),
        projector: str = "ltc",
        vision_layer: int = -2,
        ltc_layers: tuple[int, ...] | list[int] = (-4, -3, -2, -1),
        ltc_factor: int = 2,
        ltc_heads: int = 8,
        ltc_init: str = "fresh",
        ltc_base: str = "linear",
        dssl: bool = True,
        dssl_slots: int = 1024,
        dssl_ready: int = 64,
        dssl_temperature: float = 0.07,
        pbsd: str = "kl",
        pbsd_top: int = 5,
        seg_token: str = "<seg>",
        seg_token_id: int | None = None,
        image_start_end: bool = False,
        template: str = "llava_v1",
        clip_geometry: str = "aligned",
        text_weight: float = 1.0,
        seg_weight: float = 1.0,
        bce_weight: float = 2.0,
        dice_weight: float = 0.5,
        pbsd_weight: float = 0.1,
        train: str = "adapters",
        lora: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.vision_config = _made(vision_config, "clip_vision_model")
        self.text_config = _made(text_config, "llama")
        self.visual_config = _made(visual_config, "sam")
        self.visual_backbone, self.conv_widths = visual_backbone, list(conv_widths)
        self.projector, self.vision_layer = projector, vision_layer
        self.ltc_layers, self.ltc_factor, self.ltc_heads = list(ltc_layers), ltc_factor, ltc_heads
        self.ltc_init, self.ltc_base = ltc_init, ltc_base
        self.dssl, self.dssl_slots, self.dssl_ready = dssl, dssl_slots, dssl_ready
        self.dssl_temperature, self.pbsd, self.pbsd_top = dssl_temperature, pbsd, pbsd_top
        self.seg_token, self.seg_token_id = seg_token, seg_token_id
        self.image_start_end, self.template, self.clip_geometry = image_start_end, template, clip_geometry
        self.text_weight, self.seg_weight = text_weight, seg_weight
        self.bce_weight, self.dice_weight, self.pbsd_weight = bce_weight, dice_weight, pbsd_weight
        self.train, self.lora = train, None if lora is None else self.full_lora(lora)
        kwargs.setdefault("tie_word_embeddings", bool(getattr(self.text_config, "tie_word_embeddings", False)))
        super().__init__(**kwargs)
        _check(self)

    @staticmethod
    def full_lora(given: dict[str, Any]) -> dict[str, Any]:
        """Complete LoRA's fields by LISA's values; raises UsageError for a field it does not have."""
        if odd := set(given) - set(LORA):
            raise UsageError(f"lora has {', '.join(LORA)}, got {', '.join(sorted(odd))}")
        return {**LORA, **given}

    @property
    def grid(self) -> int:
        """Side of the tower's patch grid."""
        return int(self.vision_config.image_size) // int(self.vision_config.patch_size)

    @property
    def token_grid(self) -> int:
        """Side of the grid of image tokens, which is also the grid of DSSL's cells."""
        return -(-self.grid // self.ltc_factor) if self.projector == "ltc" else self.grid

    @property
    def image_tokens(self) -> int:
        """Tokens one picture takes in the language model."""
        return self.token_grid**2

    @property
    def visual_size(self) -> int:
        """Side of the square the visual backbone sees, pixels."""
        return int(self.visual_config.vision_config.image_size)

    @property
    def visual_channels(self) -> int:
        """Channels of the visual backbone's features."""
        return int(self.visual_config.vision_config.output_channels)

    @classmethod
    def vmad_7b(cls, size: int = 224, **changes: Any) -> VmadConfig:
        """The paper's parts: CLIP ViT-L/14, LTC started warm, LLaVA-7B's Llama with LoRA, SAM ViT-H.

        size: 224 for LLaVA 1.1, the paper's, or 336 for LLaVA 1.5; raises UsageError for another.
        """
        if size not in (224, 336):
            raise UsageError(f"CLIP ViT-L/14 sees 224 or 336 pixels, got {size}")
        first = size == 224
        base: dict[str, Any] = {
            "vision_config": clip_config("ViT-L/14" if first else "ViT-L/14@336px"),
            "text_config": llama_7b(),
            "visual_config": sam_config("vit_h"),
            "ltc_init": "warm",
            "ltc_base": "linear" if first else "mlp2x",
            "image_start_end": first,
            "template": "llava_v1" if first else "vicuna_v1",
            "lora": LORA,
        }
        return cls(**{**base, **changes})

    @classmethod
    def lisa_7b(cls, **changes: Any) -> VmadConfig:
        """LISA-7B: linear projector, no DSSL, `[SEG]`, the tower sees a centre crop."""
        base: dict[str, Any] = {
            "vision_config": clip_config("ViT-L/14"),
            "text_config": llama_7b(),
            "visual_config": sam_config("vit_h"),
            "projector": "linear",
            "dssl": False,
            "seg_token": "[SEG]",
            "image_start_end": True,
            "clip_geometry": "lisa",
        }
        return cls(**{**base, **changes})

    @classmethod
    def laptop(cls, **changes: Any) -> VmadConfig:
        """Some 3 million parameters for pictures of 128 pixels: trains from nothing on a CPU."""
        base: dict[str, Any] = {
            "vision_config": {
                "image_size": 128,
                "patch_size": 8,
                "hidden_size": 128,
                "intermediate_size": 256,
                "num_hidden_layers": 4,
                "num_attention_heads": 4,
            },
            "text_config": {
                "model_type": "llama",
                "vocab_size": 1024,
                "hidden_size": 160,
                "intermediate_size": 416,
                "num_hidden_layers": 4,
                "num_attention_heads": 4,
                "num_key_value_heads": 4,
                "max_position_embeddings": 1024,
            },
            "visual_config": sam_config(
                SamSize(64, 2, 4, (1,)), 128, patch=8, window=4, channels=64, decoder_heads=4, decoder_mlp=256
            ),
            "visual_backbone": "conv",
            "conv_widths": (32, 48, 96),
            "ltc_heads": 4,
            "train": "all",
        }
        return cls(**{**base, **changes})


AutoConfig.register("vmad", VmadConfig, exist_ok=True)  # so that AutoTokenizer knows what it finds beside a tokenizer


def llama_7b() -> PretrainedConfig:
    """The language model of LLaVA-7B; 32,000 words, `<im_start>`, `<im_end>` and the mask token."""
    return AutoConfig.for_model(
        "llama",
        vocab_size=32_003,
        hidden_size=4096,
        intermediate_size=11_008,
        num_hidden_layers=32,
        num_attention_heads=32,
        max_position_embeddings=4096,
        rms_norm_eps=1e-6,
    )


def trainable_names(config: VmadConfig) -> tuple[str, ...]:
    """Parts of parameter names that are trained; every other parameter is frozen.

    "adapters": LoRA, embeddings and head, the projection of mask tokens, the mask decoder, and what is new in VMAD
    (LTC, DSSL's projections); a linear or mlp2x projector stays frozen, as in LISA. "projector": the alignment stage.
    "all": everything, for training from nothing.
    """
    if config.train == "all":
        return ("",)
    if config.train == "projector":
        return ("projector.",)
    names = ("lora_", "lm_head", "embed_tokens", "text_hidden_fcs.", "visual_model.mask_decoder.")
    return (*names, *(("projector.",) if config.projector == "ltc" else ()), *(("dssl.",) if config.dssl else ()))


def _made(config: PretrainedConfig | dict[str, Any] | None, kind: str) -> Any:
    if isinstance(config, PretrainedConfig):
        return config
    fields = dict(config or {})
    return AutoConfig.for_model(fields.pop("model_type", kind), **fields)


def _check(config: VmadConfig) -> None:
    _one_of(config, "projector", PROJECTORS)
    _one_of(config, "visual_backbone", ("sam", "conv"))
    _one_of(config, "ltc_init", ("fresh", "warm"))
    _one_of(config, "ltc_base", ("linear", "mlp2x"))
    _one_of(config, "pbsd", ("kl", "infonce"))
    _one_of(config, "clip_geometry", ("aligned", "lisa"))
    _one_of(config, "train", TRAINED)
    depth = int(config.vision_config.num_hidden_layers)
    for layer in (config.vision_layer, *config.ltc_layers):
        if not -depth - 1 <= layer <= depth:
            raise UsageError(
                f"hidden state {layer} of a vision tower with {depth} layers: take {-depth - 1} to {depth}"
            )
    if not config.ltc_layers or config.ltc_factor < 1:
        raise UsageError("LTC needs at least one entry in ltc_layers and ltc_factor of at least 1")
    if config.vision_config.hidden_size % config.ltc_heads:
        raise UsageError(
            f"ltc_heads {config.ltc_heads} must divide the tower's width {config.vision_config.hidden_size}"
        )
    if not 0 < config.dssl_ready <= config.dssl_slots or config.pbsd_top < 1:
        raise UsageError("DSSL needs 0 < dssl_ready <= dssl_slots and pbsd_top of at least 1")
    _check_visual(config)


def _check_visual(config: VmadConfig) -> None:
    visual, prompt = config.visual_config.vision_config, config.visual_config.prompt_encoder_config
    decoder = config.visual_config.mask_decoder_config
    if len({visual.output_channels, prompt.hidden_size, decoder.hidden_size, 2 * visual.num_pos_feats}) > 1:
        raise UsageError(
            f"visual_config: output_channels {visual.output_channels}, prompt encoder {prompt.hidden_size}, "
            f"mask decoder {decoder.hidden_size} and 2 x num_pos_feats {2 * visual.num_pos_feats} must be equal"
        )
    if visual.image_size != prompt.image_size or visual.patch_size != prompt.patch_size:
        raise UsageError("visual_config: vision and prompt encoder must name the same image_size and patch_size")
    if config.visual_backbone == "conv" and 2 ** len(config.conv_widths) != visual.patch_size:
        raise UsageError(
            f"conv_widths {config.conv_widths} halve the picture {len(config.conv_widths)} times: patch_size must be "
            f"{2 ** len(config.conv_widths)}, got {visual.patch_size}"
        )


def _one_of(config: VmadConfig, field: str, allowed: tuple[str, ...]) -> None:
    value = getattr(config, field)
    if value not in allowed:
        raise UsageError(f"{field} must be one of {', '.join(allowed)}, got {value!r}")
