"""CLIP's vision tower: sizes, image preparation, patch features (Radford et al., ICML 2021, arXiv 2103.00020).

The network is transformers' CLIPVisionModel with QuickGELU, as OpenAI's weights need.
Letters: B images, H W pixels, S side of the input, N = (S / patch) ** 2 patches, C width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from transformers import CLIPVisionConfig, CLIPVisionModel

from looktwice.errors import unknown_name

MEAN = (0.48145466, 0.4578275, 0.40821073)  # of RGB values 0 to 1
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class ClipSize:
    """Shape of a vision tower and of its input."""

    side: int
    patch: int
    width: int
    depth: int
    heads: int
    joint: int  # width of the space shared with texts


SIZES = {
    "ViT-B/32": ClipSize(224, 32, 768, 12, 12, 512),
    "ViT-B/16": ClipSize(224, 16, 768, 12, 12, 512),
    "ViT-L/14": ClipSize(224, 14, 1024, 24, 16, 768),
    "ViT-L/14@336px": ClipSize(336, 14, 1024, 24, 16, 768),
}


def vision_config(size: str | ClipSize) -> CLIPVisionConfig:
    """Return the configuration of a published size (a name of SIZES) or of one's own; raises UnknownName."""
    if isinstance(size, str):
        if size not in SIZES:
            raise unknown_name("CLIP size", size, SIZES)
        size = SIZES[size]
    return CLIPVisionConfig(
        image_size=size.side,
        patch_size=size.patch,
        hidden_size=size.width,
        intermediate_size=4 * size.width,
        num_hidden_layers=size.depth,
        num_attention_heads=size.heads,
        projection_dim=size.joint,
        hidden_act="quick_gelu",
    )


def build_vision(size: str | ClipSize | CLIPVisionConfig) -> CLIPVisionModel:
    """Return a vision tower with random weights, ready for a checkpoint; raises like `vision_config`."""
    return CLIPVisionModel(size if isinstance(size, CLIPVisionConfig) else vision_config(size))


def resize_and_crop(image: np.ndarray, side: int) -> np.ndarray:
    """Scale the shorter side of (H, W, 3) uint8 to `side` (bicubic) and cut the centre: (side, side, 3) uint8.

    An odd rest is cut as transformers, LLaVA and LISA do it; openai/CLIP can be one pixel further in.
    """
    height, width = image.shape[:2]
    short = min(height, width)
    # the longer side is cut to a whole pixel, not rounded, as the published preparation does
    size = (side * width // short, side * height // short)
    scaled = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    top, left = (size[1] - side) // 2, (size[0] - side) // 2
    return scaled[top : top + side, left : left + side]


def normalise(image: np.ndarray) -> torch.Tensor:
    """Turn (..., H, W, 3) uint8 into (..., 3, H, W) float32 with CLIP's mean and deviation."""
    pixels = torch.from_numpy(image.astype(np.float32) / 255).movedim(-1, -3)
    return (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def patch_features(tower: CLIPVisionModel, pixels: torch.Tensor, layer: int = -2) -> torch.Tensor:
    """Return the patches' states after a block, without the class token: (B, 3, S, S) -> (B, N, C).

    `layer` counts like `hidden_states`: 0 is the input of the first block, -2 that of the last (LLaVA's choice).
    """
    states: torch.Tensor = tower(pixel_values=pixels, output_hidden_states=True).hidden_states[layer]
    return states[:, 1:]
