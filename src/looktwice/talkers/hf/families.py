"""The families of local chat models: one row each, with all in which they differ.

Templates are used when a checkpoint brings none. Texts and tokens are those of the published ports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from looktwice.errors import UsageError

_CHATML = (
    "{% for turn in messages %}<|im_start|>{{ turn['role'] }}\n"
    "{% for part in turn['content'] %}{% if part['type'] == 'image' %}PICTURE{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_QWEN3 = _CHATML.replace("PICTURE", "<|vision_start|><|image_pad|><|vision_end|>")
_QWEN2 = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    + _QWEN3
)
_VICUNA = (
    "{% for turn in messages %}{% if turn['role'] != 'system' %}{{ turn['role'] | upper }}: {% endif %}"
    "{% for part in turn['content'] %}{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %} {% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
_GEMMA = (  # knows no system turn: its text opens the first user turn
    "{{ bos_token }}{% set state = namespace(opening='') %}{% for turn in messages %}{% if turn['role'] == 'system' %}"
    "{% set state.opening = turn['content'][0]['text'] + '\n\n' %}{% else %}"
    "<start_of_turn>{{ 'model' if turn['role'] == 'assistant' else 'user' }}\n{{ state.opening }}"
    "{% set state.opening = '' %}{% for part in turn['content'] %}"
    "{% if part['type'] == 'image' %}<start_of_image>{% else %}{{ part['text'] | trim }}{% endif %}{% endfor %}"
    "<end_of_turn>\n{% endif %}{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """What sets one family apart. Everything else is the same for all."""

    model: str  # class of transformers
    port: str  # a checkpoint of the family
    template: str  # chat template of a checkpoint that brings none
    gathers: bool = False  # its published templates move the pictures of a turn to its front
    squares: bool = False  # a picture is padded to a square
    tiles: bool = False  # a picture is cut into tiles
    sizes: bool = False  # a picture keeps its own size, up to a number of pixels
    crops_alone: bool = False  # the only picture of a dialogue is shown in more detail
    places: bool = False  # the position of a picture's token is its row and column
    two_way: bool = False  # the tokens of a picture see each other, not only those before


FAMILIES = {
    "llava": Family(
        model="LlavaForConditionalGeneration",
        port="llava-hf/llava-1.5-7b-hf",
        template=_VICUNA,
        gathers=True,
        squares=True,
    ),
    "llava_onevision": Family(
        model="LlavaOnevisionForConditionalGeneration",
        port="llava-hf/llava-onevision-qwen2-7b-ov-hf",
        template=_CHATML.replace("PICTURE", "<image>\n"),
        gathers=True,
        crops_alone=True,
    ),
    "qwen2_vl": Family(
        model="Qwen2VLForConditionalGeneration",
        port="Qwen/Qwen2-VL-7B-Instruct",
        template=_QWEN2,
        sizes=True,
        places=True,
    ),
    "qwen2_5_vl": Family(
        model="Qwen2_5_VLForConditionalGeneration",
        port="Qwen/Qwen2.5-VL-7B-Instruct",
        template=_QWEN2,
        sizes=True,
        places=True,
    ),
    "qwen3_vl": Family(
        model="Qwen3VLForConditionalGeneration",
        port="Qwen/Qwen3-VL-8B-Instruct",
        template=_QWEN3,
        sizes=True,
        places=True,
    ),
    "internvl": Family(
        model="InternVLForConditionalGeneration",
        port="OpenGVLab/InternVL3-8B-hf",
        template=_CHATML.replace("PICTURE", "<IMG_CONTEXT>\n"),
        tiles=True,
    ),
    "gemma3": Family(
        model="Gemma3ForConditionalGeneration", port="google/gemma-3-4b-it", template=_GEMMA, two_way=True
    ),
}
# Language parts whose attention is causal, over all tokens or a window, and so can go on from stored keys and values.
LANGUAGE_PARTS = (
    *("llama", "qwen2", "qwen3"),
    *("qwen2_vl_text", "qwen2_5_vl_text", "qwen3_vl_text", "gemma3_text"),
)


def family_of(name: str, config: Mapping[str, Any]) -> Family:
    """Return the family of a config.json; raises UsageError naming the supported ones."""
    kind = config.get("model_type")
    if kind not in FAMILIES:
        known = ", ".join(f"{key} ({family.port})" for key, family in FAMILIES.items())
        raise UsageError(f"{name} is of type '{kind}', which cannot be run here. Supported: {known}")
    family = FAMILIES[kind]
    if "vision_config" not in config:
        raise UsageError(f"{name} has the layout of its authors' own code: use the port, such as {family.port}")
    return family
