"""SAM: image preparation, sizes, and the mask decoder prompted by an embedding (Kirillov et al., ICCV 2023).

The network is transformers' SamModel. Three of its settings differ from facebookresearch/segment-anything, and
`sam_config` sets them right: the norms of the two-way blocks (eps 1e-5), the start of the position code (N(0, 1))
and of the image encoder (which transformers starts at almost zero, as it is never trained there).
Differs from the published code: a side that would shrink to no pixel keeps one, so that an image of extreme aspect
is judged and not refused. In float16 the image encoder overflows before its neck: use float32 or bfloat16.

Letters: H W pixels of the original, h w of the resized image, S side of the square input, g = S / 16 its patch grid,
n prompts, C channels (256).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import SamConfig, SamMaskDecoderConfig, SamModel, SamPromptEncoderConfig, SamVisionConfig

from looktwice.errors import UsageError, unknown_name

SIDE = 1024
MEAN = (123.675, 116.28, 103.53)  # of RGB values 0 to 255
STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class SamSize:
    """Shape of an image encoder."""

    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]  # blocks whose patches attend to all others, not only to their window


SIZES = {
    "vit_h": SamSize(1280, 32, 16, (7, 15, 23, 31)),
    "vit_l": SamSize(1024, 24, 16, (5, 11, 17, 23)),
    "vit_b": SamSize(768, 12, 12, (2, 5, 8, 11)),
}


def resized_size(size: tuple[int, int], side: int = SIDE) -> tuple[int, int]:
    """Return (h, w) of an image of `size` (H, W) once its longer side is `side`; each at least 1."""
    scale = side / max(size)
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


def resize_longest_side(image: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Scale (H, W, 3) uint8 to (h, w, 3) uint8, bilinear with antialiasing, by Pillow as the published code does."""
    height, width = resized_size((image.shape[0], image.shape[1]), side)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def normalise_and_pad(image: np.ndarray, side: int = SIDE) -> torch.Tensor:
    """Turn a resized (h, w, 3) uint8 into the input (3, S, S) float32; zeros fill the right and the bottom.

    Raises UsageError for an image that does not fit.
    """
    height, width = image.shape[:2]
    if max(height, width) > side:
        raise UsageError(f"expected an image of at most {side} x {side}, got {width} x {height}: resize it first")
    pixels = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)
    pixels = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    return F.pad(pixels, (0, side - width, 0, side - height))


def prepare(image: np.ndarray, side: int = SIDE) -> tuple[torch.Tensor, tuple[int, int]]:
    """Turn (H, W, 3) uint8 into the input (3, S, S) and the (h, w) of it that shows the image."""
    resized = resize_longest_side(image, side)
    return normalise_and_pad(resized, side), (resized.shape[0], resized.shape[1])


def postprocess_masks(
    logits: torch.Tensor, resized: tuple[int, int], original: tuple[int, int], side: int = SIDE
) -> torch.Tensor:
    """Carry mask logits (n, m, 4g, 4g) back to the original: (n, m, H, W) float32, bilinear twice, padding cut off."""
    if 0 in logits.shape[:2]:
        return logits.new_zeros((*logits.shape[:2], *original), dtype=torch.float32)
    whole = F.interpolate(logits.float(), (side, side), mode="bilinear", align_corners=False)
    shown = whole[..., : resized[0], : resized[1]]
    return F.interpolate(shown, original, mode="bilinear", align_corners=False)


def sam_config(
    size: str | SamSize,
    side: int = SIDE,
    *,
    patch: int = 16,
    window: int = 14,
    channels: int = 256,
    decoder_heads: int = 8,
    decoder_mlp: int = 2048,
) -> SamConfig:
    """Return the configuration of a published size ("vit_h", "vit_l", "vit_b") or of one's own.

    Raises UnknownName for another name, UsageError for a side that is not a whole number of patches.
    """
    if isinstance(size, str):
        if size not in SIZES:
            raise unknown_name("SAM size", size, SIZES)
        size = SIZES[size]
    if side % patch:
        raise UsageError(f"the side of the input must be a multiple of the patch ({patch}), got {side}")
    vision = SamVisionConfig(
        hidden_size=size.width,
        num_hidden_layers=size.depth,
        num_attention_heads=size.heads,
        global_attn_indexes=list(size.global_blocks),
        image_size=side,
        patch_size=patch,
        window_size=window,
        output_channels=channels,
        num_pos_feats=channels // 2,
        initializer_range=0.02,
    )
    vision.scale = 1
    return SamConfig(
        vision_config=vision,
        prompt_encoder_config=SamPromptEncoderConfig(hidden_size=channels, image_size=side, patch_size=patch),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=channels,
            num_attention_heads=decoder_heads,
            mlp_dim=decoder_mlp,
            iou_head_hidden_dim=channels,
            layer_norm_eps=1e-5,
        ),
    )


def build_sam(size: str | SamSize | SamConfig, side: int = SIDE) -> SamModel:
    """Return a SAM with random weights, ready for a checkpoint; raises like `sam_config`."""
    return SamModel(size if isinstance(size, SamConfig) else sam_config(size, side))


def decode(sam: SamModel, embedding: torch.Tensor, sparse: torch.Tensor) -> torch.Tensor:
    """Draw one mask per prompt: embedding (C, g, g) of one image, sparse (n, P, C) -> logits (n, 1, 4g, 4g).

    Any module with a `prompt_encoder` and a `mask_decoder` of transformers will do as `sam`. n may be 0.
    The n masks are drawn at once and do not see each other.
    """
    prompts, decoder = sam.prompt_encoder, sam.mask_decoder
    grid = embedding.shape[-1]
    if len(sparse) == 0:
        return sparse.new_zeros((0, 1, 4 * grid, 4 * grid))
    dense = prompts.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(1, -1, grid, grid)
    masks, _ = decoder(
        image_embeddings=embedding[None],
        image_positional_embeddings=position_grid(prompts.shared_embedding, grid),
        sparse_prompt_embeddings=sparse.to(decoder.iou_token.weight.dtype)[None],
        dense_prompt_embeddings=dense,
        multimask_output=False,
    )
    drawn: torch.Tensor = masks[0]
    return drawn


def position_grid(code: torch.nn.Module, grid: int) -> torch.Tensor:
    """Return the position code of each cell of a grid: (1, C, g, g), from the centre of the cell, x before y."""
    weight = code.get_parameter("positional_embedding")
    steps = (torch.arange(grid, device=weight.device, dtype=weight.dtype) + 0.5) / grid
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    coded: torch.Tensor = code(torch.stack([x, y], dim=-1))
    return coded.permute(2, 0, 1)[None]
