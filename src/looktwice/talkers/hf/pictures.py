"""The seeing half of a chat model: each picture is encoded once and its features are kept.

Letters: n tokens of a picture, D width of the language part.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from looktwice.errors import UsageError
from looktwice.talkers.hf.families import Family
from looktwice.talkers.protocol import Picture

MAX_PIXELS = 1280 * 28 * 28  # 1280 tokens of Qwen2-VL, as in the Qwen runs of MMAD (arXiv 2410.09453)
MAX_TILES = 4  # and a thumbnail: 1280 tokens of InternVL
REMEMBERED = 1 << 16  # pictures whose number of tokens is known

Inputs = dict[str, Tensor]  # of the vision tower, for one picture
Features = tuple[Tensor, ...]  # (n, D), and another (n, D) for each of the first layers where the family has them


@dataclass(frozen=True)
class Shot:
    """A picture as one dialogue shows it."""

    picture: Picture
    alone: bool  # the only one of its dialogue, for families that then show it in more detail
    digest: bytes  # 32 bytes: equal for equal features


@dataclass(frozen=True)
class Known:
    """What the text part must know of a picture."""

    tokens: int  # n
    grid: tuple[int, int, int] | None  # frames, rows and columns of patches, where positions depend on them


class Eyes:
    """Encodes pictures, and keeps the features of the latest up to `keep` bytes."""

    def __init__(
        self,
        family: Family,
        model: Any,
        processor: Any,
        max_side: int | None,
        max_pixels: int | None,
        max_tiles: int | None,
        keep: int,
        batch: int,
    ) -> None:
        if max_pixels is not None and not family.sizes:
            raise UsageError("max_pixels is for the Qwen-VL families only: the others show a picture at a fixed size")
        if max_tiles is not None and not family.tiles:
            raise UsageError("max_tiles is for the InternVL family only: the others do not cut pictures into tiles")
        self.family, self.model, self.processor = family, model, processor
        self.max_side, self.max_pixels, self.max_tiles = max_side, max_pixels, max_tiles
        self.keep, self.batch = keep, batch
        self.known: OrderedDict[bytes, Known] = OrderedDict()
        self.kept: OrderedDict[bytes, tuple[Tensor, ...]] = OrderedDict()
        self.bytes = 0
        self.encoded = 0  # pictures that went through the vision tower

    def shot(self, picture: Picture, alone: bool, digests: dict[int, bytes]) -> Shot:
        """Name a picture by its content; raises UsageError for one that is not (H, W, 3) uint8.

        `digests` holds those of arrays that were met before, by their id.
        """
        pixels = picture.pixels
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            got = f"{pixels.dtype} of shape {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
            raise UsageError(f"picture '{picture.label}' must be uint8 of shape (H, W, 3), got {got}")
        if pixels.size == 0:
            raise UsageError(f"picture '{picture.label}' holds no pixel: its shape is {pixels.shape}")
        if id(pixels) not in digests:
            content = hashlib.sha256(repr(pixels.shape).encode())
            content.update(np.ascontiguousarray(pixels).data)
            digests[id(pixels)] = content.digest()
        alone = alone and self.family.crops_alone
        digest = digests[id(pixels)]
        return Shot(picture, alone, hashlib.sha256(digest).digest() if alone else digest)

    def look(self, shots: Iterable[Shot]) -> dict[bytes, UsageError]:
        """Encode the pictures that were never seen, some at a time; return what is wrong with those that cannot be."""
        new = {shot.digest: shot for shot in shots if shot.digest not in self.known}
        wrong: dict[bytes, UsageError] = {}
        group: list[tuple[Shot, Inputs]] = []
        for shot in sorted(new.values(), key=lambda shot: shot.alone):
            try:
                inputs = self._inputs(shot)
            except UsageError as error:
                wrong[shot.digest] = error
                continue
            if group and (len(group) == self.batch or group[0][0].alone is not shot.alone):
                self._encode(group)
                group = []
            group.append((shot, inputs))
        if group:
            self._encode(group)
        return wrong

    def features(self, shot: Shot) -> Features:
        """What the language part is given for a picture."""
        if shot.digest not in self.kept:
            return self._encode([(shot, self._inputs(shot))])[0]
        self.kept.move_to_end(shot.digest)
        return self.kept[shot.digest]

    def clear(self) -> None:
        """Forget all pictures."""
        self.known.clear()
        self.kept.clear()
        self.bytes = 0

    def _encode(self, group: Sequence[tuple[Shot, Inputs]]) -> list[Features]:
        inputs = [one for _, one in group]
        weight = next(self.model.parameters())
        together: dict[str, Any] = {
            key: torch.cat([one[key] for one in inputs]).to(weight.device) for key in inputs[0] if key != "num_patches"
        }
        together["pixel_values"] = together["pixel_values"].to(weight.dtype)
        if self.family.crops_alone:  # any number but one means: no crops
            together["batch_num_images"] = [1] * len(group) if group[0][0].alone else [max(2, len(group))]
        seen = self.model.model.get_image_features(**together, return_dict=True)
        layers = [seen.pooler_output, *(getattr(seen, "deepstack_features", None) or [])]
        parts = zip(*(per_picture(layer, inputs) for layer in layers), strict=True)
        found = [tuple(part.clone() for part in picture) for picture in parts]
        for (shot, one), features in zip(group, found, strict=True):
            self._keep(shot.digest, features, one.get("image_grid_thw"))
        self.encoded += len(group)
        return found

    def _inputs(self, shot: Shot) -> Inputs:
        """Tensors for the vision tower, patches or tiles first."""
        image = self._fitted(shot.picture)
        options: dict[str, Any] = {"return_tensors": "pt", "input_data_format": "channels_last"}
        if self.family.sizes:
            size = dict(self.processor.size)
            budget = self.max_pixels or min(MAX_PIXELS, size["longest_edge"])
            size |= {"longest_edge": budget, "shortest_edge": min(budget, size["shortest_edge"])}
            options["size"] = size
        if self.family.tiles:
            options |= {"crop_to_patches": True, "max_patches": self.max_tiles or MAX_TILES}
        if self.family.two_way:
            options["do_pan_and_scan"] = False
        shown: Any = [image]
        if self.family.crops_alone:
            shown = [[image]] if shot.alone else [[image, image]]
        try:
            made = self.processor(shown, **options)
        except (ValueError, ZeroDivisionError) as error:
            height, width = shot.picture.pixels.shape[:2]
            raise UsageError(f"picture '{shot.picture.label}' of {width} x {height} pixels: {error}") from error
        wanted = ("pixel_values", "image_grid_thw", "image_sizes", "num_patches")
        inputs = {key: made[key] for key in wanted if key in made}
        if self.family.crops_alone:
            inputs = {"pixel_values": made["pixel_values"][0], "image_sizes": made["image_sizes"][:1]}
        return inputs

    def _fitted(self, picture: Picture) -> Image.Image:
        """The picture within `max_side`, on a square where the family wants one."""
        image = Image.fromarray(picture.pixels)
        if self.max_side is not None:
            image.thumbnail((self.max_side, self.max_side), Image.Resampling.LANCZOS)
        if not self.family.squares:
            return image
        # as LLaVA-1.5 was trained; the port's centre crop would cut off what lies at the sides
        side = max(image.size)
        square = Image.new("RGB", (side, side), tuple(int(255 * mean) for mean in self.processor.image_mean))
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        return square

    def _keep(self, digest: bytes, features: Features, grid: Tensor | None) -> None:
        first, second, third = grid[0].tolist() if grid is not None else (0, 0, 0)
        self.known[digest] = Known(len(features[0]), (first, second, third) if grid is not None else None)
        self.known.move_to_end(digest)
        if len(self.known) > REMEMBERED:
            self.known.popitem(last=False)
        self.bytes -= size_of(self.kept.pop(digest, ()))
        self.kept[digest] = features
        self.bytes += size_of(features)
        while self.bytes > self.keep and self.kept:
            self.bytes -= size_of(self.kept.popitem(last=False)[1])


def per_picture(layer: Any, inputs: Sequence[Inputs]) -> Iterator[Tensor]:
    """Features (n, D) of each picture, from a list of them or from (tiles of all pictures, n of a tile, D)."""
    if not isinstance(layer, Tensor):
        yield from layer
        return
    at = 0
    for one in inputs:
        tiles = len(one["pixel_values"])
        yield layer[at : at + tiles].flatten(0, 1)
        at += tiles


def size_of(tensors: Iterable[Tensor]) -> int:
    """Bytes."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
