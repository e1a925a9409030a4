"""Pictures and words on their way into the model: two squares per picture, token ids, and batches of instruct records.

Geometry "aligned" (our definition): both networks see the picture scaled to the longer side and padded right and below,
the tower's padding in CLIP's mean colour, so that an image token and a cell of the visual features show the same place.
Geometry "lisa" (LISA's code): the tower sees the centre square only.

Letters: B records, T tokens, P image tokens, r side of their grid, s side of the tower's square, S of the visual one,
H W pixels of the original, h w of the resized picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from looktwice import modalities
from looktwice.backbones import clip, llava, sam
from looktwice.detectors.vmad.config import VmadConfig
from looktwice.errors import BadFile, UsageError
from looktwice.records import ImageData

SPECIAL = ("<unk>", "<s>", "</s>")  # of the small tokenizer, Llama's names


@dataclass(frozen=True)
class Framed:
    """One picture as both networks see it."""

    clip: Tensor  # (3, s, s)
    visual: Tensor  # (3, S, S)
    shown: tuple[int, int]  # (h, w) of the visual square that shows the picture
    square: tuple[float, float, float, float]  # x0, y0, x1, y1 of the tower's square, in pixels of the visual square
    size: tuple[int, int]  # (H, W)


class VmadProcessor:
    """What a model of this configuration and tokenizer is fed with. The configuration must know its mask token."""

    def __init__(self, config: VmadConfig, tokenizer: PreTrainedTokenizerBase) -> None:
        if config.template not in llava.TEMPLATES:
            raise UsageError(f"template must be one of {', '.join(llava.TEMPLATES)}, got '{config.template}'")
        known = tokenizer.convert_tokens_to_ids(config.seg_token)
        if config.seg_token_id is None or known != config.seg_token_id:
            raise UsageError(
                f"the tokenizer writes {config.seg_token} as {known}, the configuration as {config.seg_token_id}: "
                "is it the tokenizer of this model?"
            )
        self.config, self.tokenizer = config, tokenizer
        self.form = llava.TEMPLATES[config.template]

    @classmethod
    def from_pretrained(cls, folder: str | Path, config: VmadConfig | None = None) -> VmadProcessor:
        """Load the tokenizer saved beside a model; raises UsageError where there is none."""
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(f"{folder} holds no tokenizer: VmadProcessor.save_pretrained puts one there") from error
        return cls(config or VmadConfig.from_pretrained(str(folder), local_files_only=True), tokenizer)

    def save_pretrained(self, folder: str | Path) -> None:
        """Save the tokenizer and the configuration beside the model."""
        self.tokenizer.save_pretrained(str(folder))
        self.config.save_pretrained(str(folder))

    # ------------------------------------------------------------ pictures

    def frame(self, image: np.ndarray) -> Framed:
        """Prepare (H, W, 3) uint8 for both networks."""
        height, width = image.shape[:2]
        visual, shown = sam.prepare(image, self.config.visual_size)
        side = int(self.config.vision_config.image_size)
        if self.config.clip_geometry == "aligned":
            square = clip.normalise(_scaled(image, sam.resized_size((height, width), side)))
            square = F.pad(square, (0, side - square.shape[2], 0, side - square.shape[1]))
            box = (0.0, 0.0, float(self.config.visual_size), float(self.config.visual_size))
        else:
            square = clip.normalise(clip.resize_and_crop(image, side))
            box = _centre(shown)
        return Framed(square, visual, shown, box, (height, width))

    def cells(self, framed: Framed) -> Tensor:
        """(P, 4) x0, y0, x1, y1 in pixels of the visual square: what of the picture each image token shows.

        Cells that show only padding have no area.
        """
        r, step = self.config.token_grid, self.config.ltc_factor if self.config.projector == "ltc" else 1
        edges = (torch.arange(r + 1) * (step / self.config.grid)).clamp(max=1.0)
        return grid_cells(edges, framed.square, framed.shown)

    # ------------------------------------------------------------ words

    def question_ids(self, question: str) -> Tensor:
        """(T,) ids of an open prompt about one picture: its slot expanded, the question, the model's turn."""
        text = self._framed(self.form.render([f"{llava.IMAGE_TOKEN}\n{_no_slot(question)}", None]))
        ids = torch.tensor(llava.token_ids(text, self.tokenizer))
        return llava.expand_slots(ids, [self.config.image_tokens])[0]

    def next_ids(self, question: str) -> tuple[Tensor, Tensor]:
        """Ids that close an answer, and ids of the next open question: what follows in a dialogue that went on."""
        said = "x"
        head = self.form.render([said, said])
        following = self.form.render([said, said, _no_slot(question), None]).removeprefix(head)
        close = head.rpartition(said)[2]
        return tuple(  # type: ignore[return-value]
            torch.tensor(self.tokenizer(text, add_special_tokens=False).input_ids, dtype=torch.long)
            for text in (close.strip(" "), following)
        )

    def dialogue_ids(self, conversations: Sequence[Mapping[str, str]]) -> tuple[Tensor, Tensor]:
        """(T,) ids and labels of a record's turns, slots expanded; raises UsageError where nothing is left to learn."""
        messages = llava.messages_of(conversations)
        if sum(message.count(llava.IMAGE_TOKEN) for message in messages) != 1:
            raise UsageError(f"a dialogue must hold {llava.IMAGE_TOKEN} once, got {messages[0][:80]!r}")
        messages[0] = llava.image_first(messages[0])
        ids, labels = llava.encode(self.form, [self._framed(one) for one in messages], self.tokenizer)
        if all(label == llava.IGNORE for label in labels):
            raise UsageError(
                f"the tokenizer and template '{self.config.template}' disagree where the answers are: nothing to learn"
            )
        wide, wide_labels = llava.expand_slots(torch.tensor(ids), [self.config.image_tokens], torch.tensor(labels))
        assert wide_labels is not None
        return wide, wide_labels

    def yes_no(self) -> tuple[int, int]:
        """Ids of the first token of answers that begin with Yes and with No; raises UsageError where they are one."""
        before = llava.token_ids(self.form.render(["?", None]), self.tokenizer)
        yes, no = (llava.token_ids(self.form.render(["?", word]), self.tokenizer) for word in ("Yes", "No"))
        pairs = zip(before, yes, strict=False)
        first = next((i for i, (a, b) in enumerate(pairs) if a != b), len(before))
        if yes[first] == no[first]:
            raise UsageError("the tokenizer begins Yes and No with the same token: it cannot tell them apart")
        return yes[first], no[first]

    def stop_ids(self) -> set[int]:
        """Tokens that end an answer."""
        close, _ = self.next_ids("?")
        return {int(token) for token in (self.tokenizer.eos_token_id, *close[:1].tolist()) if token is not None}

    def text(self, ids: Sequence[int]) -> str:
        """Words of an answer, without special tokens and mask tokens; untrusted."""
        kept = [one for one in ids if one != self.config.seg_token_id]
        decoded = str(self.tokenizer.decode(kept, skip_special_tokens=True))
        return " ".join("".join(c if c.isprintable() else " " for c in decoded).split())

    def _framed(self, text: str) -> str:
        return llava.frame_images(text) if self.config.image_start_end else text


def join(config: VmadConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    """Add the mask token (and `<im_start>`, `<im_end>` where the configuration wants them) to a tokenizer.

    The configuration learns the mask token's id and the size of the vocabulary; a model made before needs
    `fit_vocabulary(len(tokenizer))`.
    """
    tokenizer.add_tokens([config.seg_token])
    if config.image_start_end:
        tokenizer.add_tokens([llava.IMAGE_START, llava.IMAGE_END], special_tokens=True)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    config.seg_token_id = int(tokenizer.get_vocab()[config.seg_token])
    config.text_config.vocab_size = max(config.text_config.vocab_size, len(tokenizer))


def small_tokenizer(texts: Sequence[str], words: int = 1000) -> PreTrainedTokenizerBase:
    """Learn a byte-level BPE of at most `words` tokens from texts: for small models trained from nothing.

    No text is outside of it; " Yes" and " No" are tokens. The same texts in the same order give the same tokenizer.
    """
    known = [" Yes", " No"] * (1 + sum(len(text) for text in texts))  # more often than any pair of letters in texts
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=words,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    made.train_from_iterator([*known, *texts], trainer)
    made.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)])
    unk, bos, eos = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token=bos,
        eos_token=eos,
        unk_token=unk,
        pad_token=unk,
        clean_up_tokenization_spaces=False,
    )


# ---------------------------------------------------------------- batches of instruct records


def collate(records: Sequence[Mapping[str, Any]], processor: VmadProcessor) -> dict[str, Any]:
    """Make a training batch of instruct records, as `VmadModel.forward` reads it; padded on the right.

    A record: {"id", "image", "mask", "anomalous", "conversations"}, more is ignored. image: a path or (H, W, 3) uint8.
    mask: None, a path or (H, W) bool, or a list of them, one for each `<seg>` of the answers. Without a mask a normal
    record has an empty one, and an anomalous one teaches its words only. Raises BadFile for a file that cannot be read
    and UsageError, naming the record, for what does not fit together.
    """
    if not records:
        raise UsageError("a batch needs at least one record")
    rows = [_Row(record, processor) for record in records]
    pad = int(processor.tokenizer.pad_token_id or 0)
    ids = torch.nn.utils.rnn.pad_sequence([row.ids for row in rows], batch_first=True, padding_value=pad)
    lengths = torch.tensor([len(row.ids) for row in rows])
    return {
        "input_ids": ids,
        "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long(),
        "labels": torch.nn.utils.rnn.pad_sequence(
            [row.labels for row in rows], batch_first=True, padding_value=llava.IGNORE
        ),
        "pixel_values": torch.stack([row.framed.visual for row in rows]),
        "pixel_values_clip": torch.stack([row.framed.clip for row in rows]),
        "shown": torch.tensor([row.framed.shown for row in rows]),
        "cells": torch.stack([processor.cells(row.framed) for row in rows]),
        "masks": [row.masks for row in rows],
        "drawn": torch.tensor([row.drawn for row in rows]),
        "normal": torch.tensor([row.normal for row in rows]),
    }


class _Row:
    """One record, read and checked."""

    def __init__(self, record: Mapping[str, Any], processor: VmadProcessor) -> None:
        name = record.get("id", "?")
        missing = [key for key in ("image", "anomalous", "conversations") if key not in record]
        if missing:
            raise UsageError(f"record {name} lacks {', '.join(missing)}")
        try:
            self.ids, self.labels = processor.dialogue_ids(record["conversations"])
        except UsageError as error:
            raise UsageError(f"record {name}: {error}") from error
        room = getattr(processor.config.text_config, "max_position_embeddings", None)
        if room is not None and len(self.ids) > room:
            raise UsageError(f"record {name} takes {len(self.ids)} tokens, the language model has room for {room}")
        image = read_image(record["image"])
        self.framed = processor.frame(image)
        self.normal = not record["anomalous"]
        asked = self.labels.tolist().count(processor.config.seg_token_id)
        if asked != self.ids.tolist().count(processor.config.seg_token_id):
            raise UsageError(f"record {name}: only answers may hold {processor.config.seg_token}")
        masks = record.get("mask")
        self.drawn = masks is not None or self.normal
        self.masks = _masks(masks, asked, self.framed.size, name)


def _masks(given: Any, asked: int, size: tuple[int, int], name: object) -> Tensor:
    """(n, H, W) float of what is given: none, one, or one per mask token."""
    if given is None:
        return torch.zeros(asked, *size)
    several = list(given) if isinstance(given, (list, tuple)) else [given]
    if asked and len(several) != asked:
        raise UsageError(f"record {name} asks for {asked} masks and has {len(several)}: one for each mask token")
    drawn = [read_mask(one) for one in several[:asked]]
    for mask in drawn:
        if mask.shape != size:
            raise UsageError(
                f"record {name}: the mask is {mask.shape[1]} x {mask.shape[0]}, its image {size[1]} x {size[0]}"
            )
    return torch.from_numpy(np.stack(drawn)).float() if drawn else torch.zeros(0, *size)


def read_image(image: str | Path | np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 of a path, loaded as everywhere in this package, or of an array; raises BadFile, UsageError."""
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise UsageError(f"an image must be uint8 of shape (H, W, 3), got {image.dtype} of shape {image.shape}")
        return image
    data = modalities.load(image).data
    if not isinstance(data, ImageData):
        raise BadFile("unsupported", image, "an instruct record must name a picture")
    return data.pixels


def read_mask(mask: str | Path | np.ndarray) -> np.ndarray:
    """(H, W) bool: what is not 0 in a picture or array; raises BadFile."""
    if isinstance(mask, np.ndarray):
        return np.asarray(mask != 0)
    if not Path(mask).is_file():
        raise BadFile("missing_file", mask, "the mask a record names is not there")
    try:
        with Image.open(mask) as picture:
            return np.asarray(picture.convert("L")) > 0
    except (OSError, SyntaxError, ValueError) as error:
        raise BadFile("unreadable", mask, f"cannot be read as a mask ({error})") from error


# ---------------------------------------------------------------- geometry


def grid_cells(edges: Tensor, square: tuple[float, float, float, float], shown: tuple[int, int]) -> Tensor:
    """(r * r, 4) boxes, row by row: a grid with these edges (r + 1, in [0, 1]) of a square, cut off at (h, w).

    What lies outside has no area.
    """
    x0, y0, x1, y1 = square
    across = (x0 + edges * (x1 - x0)).clamp(max=shown[1])
    down = (y0 + edges * (y1 - y0)).clamp(max=shown[0])
    top, left = torch.meshgrid(down[:-1], across[:-1], indexing="ij")
    bottom, right = torch.meshgrid(down[1:], across[1:], indexing="ij")
    return torch.stack([left, top, right, bottom], -1).flatten(0, 1)


def _centre(shown: tuple[int, int]) -> tuple[float, float, float, float]:
    side = min(shown)
    top, left = (shown[0] - side) / 2, (shown[1] - side) / 2
    return left, top, left + side, top + side


def _scaled(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def _no_slot(text: str) -> str:
    """Words of a person or a sheet cannot bring a second picture."""
    return text.replace(llava.IMAGE_TOKEN, "")
