"""Names and shapes of published files at any scale, and weights for them drawn from a seed.

The names are facts of the published code: its own modules took these weights strictly when the golden files were made.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import torch

Shapes = dict[str, tuple[int, ...]]


def drawn(shapes: Mapping[str, tuple[int, ...]], seed: int, scale: float = 0.2) -> dict[str, torch.Tensor]:
    """Each tensor from the seed and its own name, so that no order matters; the gains of norms lie around 1."""

    def one(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        values = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(shape) * scale
        gain = len(shape) == 1 and name.endswith(".weight")
        return torch.from_numpy(np.asarray(values + gain, np.float32))

    return {name: one(name, shape) for name, shape in shapes.items()}


def numbers(shape: tuple[int, ...], seed: int, scale: float = 1.0) -> np.ndarray:
    """Float32 inputs from a seed."""
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def pair(name: str, weight: tuple[int, ...], bias: int | None = None) -> Shapes:
    return {f"{name}.weight": weight, f"{name}.bias": (weight[0] if bias is None else bias,)}


def sam(
    width: int,
    depth: int,
    heads: int,
    global_blocks: tuple[int, ...],
    *,
    grid: int = 64,
    window: int = 14,
    patch: int = 16,
    channels: int = 256,
    mlp: int = 2048,
) -> Shapes:
    """facebookresearch/segment-anything's .pth."""
    found: Shapes = {"image_encoder.pos_embed": (1, grid, grid, width)}
    found |= pair("image_encoder.patch_embed.proj", (width, 3, patch, patch))
    for i in range(depth):
        block = f"image_encoder.blocks.{i}"
        side = grid if i in global_blocks else window
        found |= pair(f"{block}.norm1", (width,)) | pair(f"{block}.norm2", (width,))
        found |= pair(f"{block}.attn.qkv", (3 * width, width)) | pair(f"{block}.attn.proj", (width, width))
        found |= {f"{block}.attn.rel_pos_{axis}": (2 * side - 1, width // heads) for axis in "hw"}
        found |= pair(f"{block}.mlp.lin1", (4 * width, width)) | pair(f"{block}.mlp.lin2", (width, 4 * width))
    found |= {"image_encoder.neck.0.weight": (channels, width, 1, 1)}
    found |= {"image_encoder.neck.2.weight": (channels, channels, 3, 3)}
    found |= pair("image_encoder.neck.1", (channels,)) | pair("image_encoder.neck.3", (channels,))
    return found | _sam_prompts(channels) | _sam_decoder(channels, mlp)


def _sam_prompts(channels: int) -> Shapes:
    head = "prompt_encoder"
    found: Shapes = {f"{head}.pe_layer.positional_encoding_gaussian_matrix": (2, channels // 2)}
    found |= {f"{head}.point_embeddings.{i}.weight": (1, channels) for i in range(4)}
    found |= {f"{head}.not_a_point_embed.weight": (1, channels), f"{head}.no_mask_embed.weight": (1, channels)}
    found |= pair(f"{head}.mask_downscaling.0", (4, 1, 2, 2)) | pair(f"{head}.mask_downscaling.1", (4,))
    found |= pair(f"{head}.mask_downscaling.3", (16, 4, 2, 2)) | pair(f"{head}.mask_downscaling.4", (16,))
    return found | pair(f"{head}.mask_downscaling.6", (channels, 16, 1, 1))


def _sam_decoder(channels: int, mlp: int) -> Shapes:
    head, half = "mask_decoder", channels // 2

    def attention(name: str, inner: int) -> Shapes:
        found: Shapes = {}
        for one in "qkv":
            found |= pair(f"{name}.{one}_proj", (inner, channels))
        return found | pair(f"{name}.out_proj", (channels, inner))

    found: Shapes = {f"{head}.iou_token.weight": (1, channels), f"{head}.mask_tokens.weight": (4, channels)}
    for i in range(2):
        layer = f"{head}.transformer.layers.{i}"
        found |= attention(f"{layer}.self_attn", channels)
        found |= attention(f"{layer}.cross_attn_token_to_image", half)
        found |= attention(f"{layer}.cross_attn_image_to_token", half)
        for j in range(1, 5):
            found |= pair(f"{layer}.norm{j}", (channels,))
        found |= pair(f"{layer}.mlp.lin1", (mlp, channels)) | pair(f"{layer}.mlp.lin2", (channels, mlp))
    found |= attention(f"{head}.transformer.final_attn_token_to_image", half)
    found |= pair(f"{head}.transformer.norm_final_attn", (channels,))
    found |= pair(f"{head}.output_upscaling.0", (channels, channels // 4, 2, 2), channels // 4)
    found |= pair(f"{head}.output_upscaling.1", (channels // 4,))
    found |= pair(f"{head}.output_upscaling.3", (channels // 4, channels // 8, 2, 2), channels // 8)
    for i in range(4):
        found |= _three(f"{head}.output_hypernetworks_mlps.{i}", channels, channels // 8)
    return found | _three(f"{head}.iou_prediction_head", channels, 4)


def _three(name: str, width: int, out: int) -> Shapes:
    found = pair(f"{name}.layers.0", (width, width)) | pair(f"{name}.layers.1", (width, width))
    return found | pair(f"{name}.layers.2", (out, width))


def clip(side: int, patch: int, width: int, depth: int, joint: int, text: int, text_depth: int, words: int) -> Shapes:
    """openai/CLIP's state dict, without the three settings of its archive."""
    found: Shapes = {"visual.class_embedding": (width,), "visual.proj": (width, joint)}
    found |= {"visual.conv1.weight": (width, 3, patch, patch)}
    found |= {"visual.positional_embedding": ((side // patch) ** 2 + 1, width)}
    found |= pair("visual.ln_pre", (width,)) | pair("visual.ln_post", (width,))
    found |= _clip_blocks("visual.", width, depth) | _clip_blocks("", text, text_depth)
    found |= {"token_embedding.weight": (words, text), "positional_embedding": (77, text)}
    return found | pair("ln_final", (text,)) | {"text_projection": (text, joint), "logit_scale": ()}


def _clip_blocks(head: str, width: int, depth: int) -> Shapes:
    found: Shapes = {}
    for i in range(depth):
        block = f"{head}transformer.resblocks.{i}"
        found |= pair(f"{block}.ln_1", (width,)) | pair(f"{block}.ln_2", (width,))
        found |= {f"{block}.attn.in_proj_weight": (3 * width, width), f"{block}.attn.in_proj_bias": (3 * width,)}
        found |= pair(f"{block}.attn.out_proj", (width, width))
        found |= pair(f"{block}.mlp.c_fc", (4 * width, width)) | pair(f"{block}.mlp.c_proj", (width, 4 * width))
    return found


def llama(width: int, mlp: int, depth: int, words: int) -> Shapes:
    """LLaMA, Vicuna and the language part of LLaVA."""
    found: Shapes = {"model.embed_tokens.weight": (words, width), "lm_head.weight": (words, width)}
    for i in range(depth):
        layer = f"model.layers.{i}"
        found |= {f"{layer}.self_attn.{one}_proj.weight": (width, width) for one in "qkvo"}
        found |= {f"{layer}.mlp.{one}_proj.weight": (mlp, width) for one in ("gate", "up")}
        found |= {f"{layer}.mlp.down_proj.weight": (width, mlp)}
        found |= {f"{layer}.{one}_layernorm.weight": (width,) for one in ("input", "post_attention")}
    return found | {"model.norm.weight": (width,)}


def projector(tower: int, width: int, kind: str = "linear") -> Shapes:
    """LLaVA 1.1's projector ("linear") or 1.5's ("mlp2x")."""
    if kind == "linear":
        return pair("model.mm_projector", (width, tower))
    return pair("model.mm_projector.0", (width, tower)) | pair("model.mm_projector.2", (width, width))


def tokenpacker(width: int, out: int, layers: int = 4) -> Shapes:
    """CircleRadon/TokenPacker's projector."""
    head = "model.mm_projector"
    found: Shapes = {f"{head}.q_proj_1.weight": (width, width)}
    for one in "kv":
        found |= pair(f"{head}.{one}_proj_1.0", (width, layers * width)) | pair(
            f"{head}.{one}_proj_1.2", (width, width)
        )
    for one in "qkv":
        found |= pair(f"{head}.ln_{one}_1", (width,))
    found |= {f"{head}.clip_attn.in_proj_weight": (3 * width, width), f"{head}.clip_attn.in_proj_bias": (3 * width,)}
    found |= pair(f"{head}.clip_attn.out_proj", (width, width))
    return found | pair(f"{head}.mlp.0", (out, width)) | pair(f"{head}.mlp.2", (out, out))


def lisa(width: int, out: int) -> Shapes:
    """What LISA adds to LLaVA besides SAM."""
    head = "model.text_hidden_fcs.0"
    return pair(f"{head}.0", (width, width)) | pair(f"{head}.2", (out, width))


def within(shapes: Mapping[str, tuple[int, ...]], head: str) -> Shapes:
    return {head + name: shape for name, shape in shapes.items()}
