"""Tiny random chat models of every family, saved as a checkpoint folder, and the plain way to ask them.

`plain` goes through transformers' own processor and `generate`, one dialogue at a time: what ours must equal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers.utils import logging

from looktwice.talkers.protocol import Picture, Turn

WORDS = (
    "Does the part have a scratch? Answer Yes or No. The first picture is normal. Look at the second picture. "
    "yes no Yes No YES NO. USER: ASSISTANT: system user assistant model. Rule 1: the bolt is tight. Rule 2: no dents. "
    "Reference 1: Reference 2: Part: Here is the part to inspect. Where is the defect? Describe what you see.\n\n"
)
CHAT = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
SPECIALS = {
    "llava": ("<s>", "</s>", "<pad>", "<image>"),
    "llava_onevision": (*CHAT, "<image>", "<video>"),
    "qwen2_vl": (*CHAT, "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
    "internvl": (*CHAT, "<img>", "</img>", "<IMG_CONTEXT>", "<video>"),
    "gemma3": (
        *("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"),
        *("<start_of_image>", "<end_of_image>", "<image_soft_token>"),
    ),
}
SPECIALS["qwen2_5_vl"] = SPECIALS["qwen3_vl"] = SPECIALS["qwen2_vl"]
FAMILIES = ("llava", "llava_onevision", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl", "gemma3")


def build(
    family: str,
    folder: Path,
    *,
    layers: int = 3,
    text: Mapping[str, Any] | None = None,
    vision: Mapping[str, Any] | None = None,
    template: str | None = None,
) -> Path:
    """Save a random model of the family with its tokenizer and picture processor: always the same one.

    `text` and `vision` override what the parts of its config.json say.
    """
    tokenizer = tokenizer_of(family)
    tokenizer.chat_template = template
    settings = CONFIGS[family](tokenizer, layers)
    settings["text_config"] |= text or {}
    settings["vision_config"] |= vision or {}
    config = getattr(transformers, f"{NAMES[family]}Config")(**settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, f"{NAMES[family]}ForConditionalGeneration")(config)
        for name, parameter in model.named_parameters():  # strong enough that answers depend on each picture
            if parameter.ndim > 1:
                strength = 2.0 if re.search(r"\b(q|k)_proj|qkv", name) else 0.7
                parameter.data.normal_(0, strength * parameter[0].numel() ** -0.5)
            elif family == "gemma3":  # whose norms multiply by 1 and their weight
                parameter.data.add_(2.0 if re.search(r"(q|k)_norm|post_\w+_layernorm", name) else 0.0)
            else:
                parameter.data.add_(torch.randn_like(parameter) * 0.1)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    quietly(model.save_pretrained, folder)
    tokenizer.save_pretrained(folder)
    image_processor_of(family, settings["vision_config"].get("image_size", 28)).save_pretrained(folder)
    return folder


NAMES = {
    "llava": "Llava",
    "llava_onevision": "LlavaOnevision",
    "qwen2_vl": "Qwen2VL",
    "qwen2_5_vl": "Qwen2_5_VL",
    "qwen3_vl": "Qwen3VL",
    "internvl": "InternVL",
    "gemma3": "Gemma3",
}


def tokenizer_of(family: str) -> transformers.PreTrainedTokenizerFast:
    """Byte-level BPE over a few sentences, with the special tokens of the family."""
    specials = SPECIALS[family]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=list(specials), initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([WORDS] * 4, trainer)
    first = {"llava": "<s>", "gemma3": "<bos>"}.get(family)
    if first:
        made.post_processor = processors.TemplateProcessing(
            single=f"{first} $A", special_tokens=[(first, made.token_to_id(first))]
        )
    named: dict[str, Any] = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    if family == "llava":
        named = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    if family == "gemma3":
        named = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}
        named["extra_special_tokens"] = {
            "image_token": "<image_soft_token>",
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
        }
    if family == "internvl":
        named["extra_special_tokens"] = {
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        }
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, **named)


def text_config(kind: str, tokenizer: Any, layers: int, **more: Any) -> dict[str, Any]:
    base = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2}
    limits = {"num_hidden_layers": layers, "vocab_size": len(tokenizer), "max_position_embeddings": 2048}
    ids = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": None}
    return {"model_type": kind, **base, **limits, **ids, **more}


def vision_config(kind: str, **more: Any) -> dict[str, Any]:
    base = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_hidden_layers": 2}
    return {"model_type": kind, **base, **more}


def llava(tokenizer: Any, layers: int) -> dict[str, Any]:
    return {
        "text_config": text_config("llama", tokenizer, layers),
        "vision_config": vision_config("clip_vision_model", image_size=28, patch_size=7, projection_dim=16),
        "image_token_index": tokenizer.convert_tokens_to_ids("<image>"),
        "image_seq_length": 16,
        "vision_feature_layer": -1,
    }


def llava_onevision(tokenizer: Any, layers: int) -> dict[str, Any]:
    return {
        "text_config": text_config("qwen2", tokenizer, layers),
        "vision_config": vision_config("siglip_vision_model", image_size=28, patch_size=7, vision_use_head=False),
        "image_token_index": tokenizer.convert_tokens_to_ids("<image>"),
        "video_token_index": tokenizer.convert_tokens_to_ids("<video>"),
        "image_grid_pinpoints": [[28 * i, 28 * j] for i in range(1, 4) for j in range(1, 4)],
        "vision_aspect_ratio": "anyres_max_2",
    }


def qwen(tokenizer: Any, layers: int, kind: str, vision: dict[str, Any], **more: Any) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
    text = text_config(f"{kind}_text", tokenizer, layers, rope_parameters=rope, **more)
    ids = {
        name: tokenizer.convert_tokens_to_ids(token)
        for name, token in {
            "image_token_id": "<|image_pad|>",
            "video_token_id": "<|video_pad|>",
            "vision_start_token_id": "<|vision_start|>",
            "vision_end_token_id": "<|vision_end|>",
        }.items()
    }
    return {"text_config": text, "vision_config": vision, **ids}


def qwen2_vl(tokenizer: Any, layers: int) -> dict[str, Any]:
    return qwen(
        tokenizer, layers, "qwen2_vl", {"depth": 2, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2}
    )


def qwen2_5_vl(tokenizer: Any, layers: int) -> dict[str, Any]:
    vision = {"depth": 2, "hidden_size": 16, "out_hidden_size": 32, "num_heads": 2, "intermediate_size": 24}
    return qwen(tokenizer, layers, "qwen2_5_vl", {**vision, "window_size": 56, "fullatt_block_indexes": [1]})


def qwen3_vl(tokenizer: Any, layers: int) -> dict[str, Any]:
    vision = {"depth": 3, "hidden_size": 16, "out_hidden_size": 32, "num_heads": 2, "intermediate_size": 24}
    deep = {"deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64}
    return qwen(tokenizer, layers, "qwen3_vl", {**vision, **deep}, head_dim=8)


def internvl(tokenizer: Any, layers: int) -> dict[str, Any]:
    return {
        "text_config": text_config("qwen2", tokenizer, layers),
        "vision_config": vision_config("internvl_vision", image_size=28, patch_size=7),
        "image_token_id": tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        "image_seq_length": 4,
        "tie_word_embeddings": False,
    }


def gemma3(tokenizer: Any, layers: int) -> dict[str, Any]:
    kinds = ["full_attention" if i % 3 == 1 else "sliding_attention" for i in range(layers)]
    return {
        "text_config": text_config(
            "gemma3_text", tokenizer, layers, head_dim=8, sliding_window=12, layer_types=kinds, query_pre_attn_scalar=8
        ),
        "vision_config": vision_config("siglip_vision_model", image_size=28, patch_size=7, vision_use_head=False),
        "mm_tokens_per_image": 4,
        "image_token_index": tokenizer.convert_tokens_to_ids("<image_soft_token>"),
        "boi_token_index": tokenizer.convert_tokens_to_ids("<start_of_image>"),
        "eoi_token_index": tokenizer.convert_tokens_to_ids("<end_of_image>"),
    }


CONFIGS = {
    "llava": llava,
    "llava_onevision": llava_onevision,
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "internvl": internvl,
    "gemma3": gemma3,
}


def image_processor_of(family: str, size: int = 28) -> Any:
    side = {"height": size, "width": size}
    if family == "llava":
        return transformers.CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size=side)
    if family == "llava_onevision":
        pinpoints = llava_onevision(tokenizer_of(family), 1)["image_grid_pinpoints"]
        return transformers.LlavaOnevisionImageProcessorPil(size=side, image_grid_pinpoints=pinpoints)
    if family == "internvl":
        return transformers.GotOcr2ImageProcessorPil(size=side, max_patches=4)
    if family == "gemma3":
        return transformers.Gemma3ImageProcessorPil(size=side)
    patch = 16 if family == "qwen3_vl" else 14
    unit = (2 * patch) ** 2
    return transformers.Qwen2VLImageProcessorPil(
        patch_size=patch, size={"shortest_edge": unit, "longest_edge": 24 * unit}
    )


def processor_of(family: str, folder: Path) -> Any:
    """transformers' own processor, from its parts."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    eye = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    if family == "llava":  # pads to a square, as the model was trained; the port's processor would cut off the sides
        eye = transformers.LlavaImageProcessorPil(do_pad=True, size=eye.size, crop_size=eye.crop_size)
    parts: dict[str, Any] = {"image_processor": eye, "tokenizer": tokenizer}
    if family == "llava":
        parts |= {"patch_size": 7, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    if family == "llava_onevision":
        parts |= {"num_image_tokens": 16, "vision_feature_select_strategy": "full"}
        parts |= {"vision_aspect_ratio": "anyres_max_2"}
    if family in ("internvl", "gemma3"):
        parts["image_seq_length"] = 4
    published = getattr(transformers, f"{NAMES[family]}Processor")
    # without torchvision there is no video part; its check is all that stands in the way
    lenient = type(published.__name__, (published,), {"check_argument_for_proper_class": lambda *_: None})
    return lenient(**parts)


def quietly(work: Any, *args: Any, **kwargs: Any) -> Any:
    """Call without progress bars."""
    logging.disable_progress_bar()
    try:
        return work(*args, **kwargs)
    finally:
        logging.enable_progress_bar()


def plain(family: str, folder: Path, dialogues: Sequence[Sequence[Turn]], max_tokens: int) -> list[list[int]]:
    """Tokens of each answer by transformers' own processor and `generate`, one dialogue after the other."""
    processor = processor_of(family, folder)
    model = quietly(getattr(transformers, f"{NAMES[family]}ForConditionalGeneration").from_pretrained, folder)
    answers = []
    for dialogue in dialogues:
        pictures = [part for turn in dialogue for part in turn.parts if isinstance(part, Picture)]
        images = [Image.fromarray(picture.pixels) for picture in pictures]
        inputs = processor(
            text=written(family, dialogue),
            images=([images] if family in ("llava_onevision", "gemma3") else images) if images else None,
            return_tensors="pt",
            input_data_format="channels_last",
        )
        made = model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False)
        answers.append(made[0, inputs["input_ids"].shape[1] :].tolist())
    return answers


def written(family: str, dialogue: Sequence[Turn]) -> str:
    """A dialogue as the family wants it, written out by hand; a mark for each picture, the first token left out."""
    mark = MARKS.get(family, "<|vision_start|><|image_pad|><|vision_end|>")

    def said(turn: Turn) -> str:
        parts = [mark if isinstance(part, Picture) else part for part in turn.parts]
        return "".join(part.strip() if family == "gemma3" else part for part in parts)

    if family == "llava":
        heads = {"system": "", "user": "USER: ", "assistant": "ASSISTANT: "}
        return "".join(f"{heads[turn.role]}{said(turn)} " for turn in dialogue) + "ASSISTANT:"
    if family == "gemma3":
        first = "".join(map(str, dialogue[0].parts)) + "\n\n" if dialogue[0].role == "system" else ""
        text = ""
        for turn in dialogue:
            if turn.role != "system":
                role = "model" if turn.role == "assistant" else "user"
                text += f"<start_of_turn>{role}\n{first}{said(turn)}<end_of_turn>\n"
                first = ""
        return f"{text}<start_of_turn>model\n"
    text = "".join(f"<|im_start|>{turn.role}\n{said(turn)}<|im_end|>\n" for turn in dialogue)
    if family in ("qwen2_vl", "qwen2_5_vl") and dialogue[0].role != "system":
        text = f"<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{text}"
    return f"{text}<|im_start|>assistant\n"


MARKS = {
    "llava": "<image>\n",
    "llava_onevision": "<image>\n",
    "internvl": "<IMG_CONTEXT>\n",
    "gemma3": "<start_of_image>",
}
