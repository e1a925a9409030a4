"""LLaVA's text and image layout: templates, token ids, label masks, image slots, crops of any resolution.

Liu et al., NeurIPS 2023 (arXiv 2304.08485) and arXiv 2310.03744; LLaVA-OneVision, arXiv 2408.03326. Strings and
arithmetic follow haotian-liu/LLaVA, LLaVA-VL/LLaVA-NeXT (crops, Qwen) and dvlab-research/LISA (states of `[SEG]`).
Differs from the published code: a training record with an empty answer raises instead of passing with all labels
ignored; the length check of a record counts every token (theirs does not count unknown ones, as they equal padding),
and also applies beyond the tokenizer's maximal length; a state of `[SEG]` is found for any number of image tokens
and slots (LISA's is right for one image of 256 tokens ahead of the text).

Letters: L tokens of a text, T of the same with its image slots expanded, D width, B samples. Sizes here are (W, H),
as published configurations write them. g patches of a crop's side, n crops besides the whole image.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import PreTrainedTokenizerBase

from looktwice.errors import UsageError

IGNORE = -100  # label of a token that is not learnt
IMAGE = -200  # id that stands for a whole image
IMAGE_TOKEN = "<image>"
IMAGE_START = "<im_start>"
IMAGE_END = "<im_end>"

# ---------------------------------------------------------------- templates


@dataclass(frozen=True)
class Template:
    """How a dialogue is written. `style` says how turns are joined: "two", "llama_2", "chatml" or "plain"."""

    style: str
    system: str = ""
    user: str = ""
    assistant: str = ""
    sep: str = ""
    sep2: str = ""

    def render(self, messages: Sequence[str | None]) -> str:
        """Write the messages, user first and in turn; an empty last one leaves the turn open for the model."""
        return STYLES[self.style](self, messages)


def _two(form: Template, messages: Sequence[str | None]) -> str:
    text = form.system + form.sep
    for i, message in enumerate(messages):
        role, sep = (form.assistant, form.sep2) if i % 2 else (form.user, form.sep)
        text += f"{role}: {message}{sep}" if message else f"{role}:"
    return text


def _llama_2(form: Template, messages: Sequence[str | None]) -> str:
    text = ""
    for i, message in enumerate(messages):
        if not message:
            continue
        if i == 0:
            message = f"<<SYS>>\n{form.system}\n<</SYS>>\n\n{message}"
        text += f" {message} {form.sep2}" if i % 2 else f"{form.sep}[INST] {message} [/INST]"
    return text.removeprefix(form.sep)


def _chatml(form: Template, messages: Sequence[str | None]) -> str:
    return "".join(_chatml_turns(form, messages))


def _chatml_turns(form: Template, messages: Sequence[str | None]) -> list[str]:
    """System, user, assistant, user ... each with its frame; the last may be open."""
    named = [("system", form.system)]
    named += [(form.assistant if i % 2 else form.user, message or "") for i, message in enumerate(messages)]
    return [f"<|im_start|>{role}\n" + (f"{text}<|im_end|>\n" if text else "") for role, text in named]


def _plain(form: Template, messages: Sequence[str | None]) -> str:
    caption = messages[1] if len(messages) > 1 else None
    return IMAGE_TOKEN + (caption + form.sep if caption else "")


STYLES: Mapping[str, Callable[[Template, Sequence[str | None]], str]] = {
    "two": _two,
    "llama_2": _llama_2,
    "chatml": _chatml,
    "plain": _plain,
}

TEMPLATES: Mapping[str, Template] = {
    "vicuna_v1": Template(
        style="two",
        system="A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions.",
        user="USER",
        assistant="ASSISTANT",
        sep=" ",
        sep2="</s>",
    ),
    "llava_v1": Template(
        style="two",
        system="A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the human's questions.",
        user="USER",
        assistant="ASSISTANT",
        sep=" ",
        sep2="</s>",
    ),
    "llava_llama_2": Template(
        style="llama_2",
        system="You are a helpful language and vision assistant. You are able to understand the visual content that "
        "the user provides, and assist the user with a variety of tasks using natural language.",
        sep="<s>",
        sep2="</s>",
    ),
    "qwen_1_5": Template(
        style="chatml", system="You are a helpful assistant.", user="user", assistant="assistant", sep="<|im_end|>"
    ),
    "qwen_2_5": Template(
        style="chatml",
        system="You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
        user="user",
        assistant="assistant",
        sep="<|im_end|>",
    ),
    "plain": Template(style="plain", sep="\n"),
}


def messages_of(conversations: Sequence[Mapping[str, str]]) -> list[str]:
    """Read a record's turns {"from": "human" | "gpt", "value": text}; a leading turn of the assistant is dropped.

    Raises UsageError for another speaker, for turns that do not alternate, for an empty one and for no answer at all.
    """
    speakers = [turn.get("from") for turn in conversations]
    if not all(speaker in ("human", "gpt") for speaker in speakers):
        raise UsageError(f"expected turns from 'human' and 'gpt', got {speakers}")
    turns = conversations[1:] if speakers[:1] == ["gpt"] else conversations
    wanted = ["human", "gpt"] * (len(turns) // 2)
    if not turns or [turn["from"] for turn in turns] != wanted:
        raise UsageError(f"expected questions and answers in turn, got turns from {speakers}")
    return [turn.get("value", "") for turn in turns]


def image_first(text: str, keep_interleaved: bool = False) -> str:
    """Move `<image>` to the front, on a line of its own. Several become one, as LLaVA does.

    With `keep_interleaved`, as LLaVA-NeXT does, text with several or with a leading one is left as it is.
    """
    count = text.count(IMAGE_TOKEN)
    if count == 0 or (keep_interleaved and (count > 1 or text.startswith(IMAGE_TOKEN))):
        return text
    return f"{IMAGE_TOKEN}\n{text.replace(IMAGE_TOKEN, '').strip()}".strip()


def frame_images(text: str) -> str:
    """Put `<im_start>` and `<im_end>` around each `<image>`, as LLaVA 1.1 and LISA want."""
    return text.replace(IMAGE_TOKEN, IMAGE_START + IMAGE_TOKEN + IMAGE_END)


# ---------------------------------------------------------------- token ids and labels


def token_ids(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids of a text, with IMAGE (-200) for each `<image>`, and one BOS where the tokenizer adds one."""
    pieces = [list(tokenizer(piece).input_ids) for piece in text.split(IMAGE_TOKEN)]
    bos = 1 if pieces[0] and pieces[0][0] == tokenizer.bos_token_id else 0
    ids = pieces[0]
    for piece in pieces[1:]:
        ids = [*ids, IMAGE, *piece[bos:]]
    return ids


def encode(
    form: Template, messages: Sequence[str], tokenizer: PreTrainedTokenizerBase, legacy: bool | None = None
) -> tuple[list[int], list[int]]:
    """Return the ids of a finished dialogue and its labels: the answers' ids, IGNORE elsewhere.

    Where the lengths of the rounds do not add up to that of the whole (a tokenizer that treats spaces in another way),
    every label is IGNORE, as in the published code: check that some are not. `legacy` tells how the tokenizer treats
    the space after a special token; by default it is asked, and LISA's rule is True.
    Raises UsageError for a dialogue that is empty or lacks an answer.
    """
    if not messages or len(messages) % 2 or not all(messages):
        raise UsageError(f"training needs a question and an answer in each round, got {list(messages)}")
    if form.style == "plain":
        return _encode_plain(form, messages, tokenizer)
    if form.style == "chatml":
        return _encode_chatml(form, messages, tokenizer)
    if legacy is None:
        legacy = getattr(tokenizer, "legacy", True)
    # Llama 2's later rounds are never corrected in the published code.
    return _encode_rounds(form, messages, tokenizer, shift=0 if legacy or form.style == "llama_2" else 1)


def _encode_plain(
    form: Template, messages: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> tuple[list[int], list[int]]:
    ids = token_ids(form.render(messages), tokenizer)
    masked = len(token_ids(IMAGE_TOKEN, tokenizer))
    return ids, [IGNORE] * masked + ids[masked:]


def _encode_chatml(
    form: Template, messages: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> tuple[list[int], list[int]]:
    """An answer is learnt with its frame; the marks of all frames and every line feed are learnt everywhere."""
    always = {_id_of(mark, tokenizer) for mark in ("<|im_start|>", "<|im_end|>")}
    always |= set(tokenizer("\n", add_special_tokens=False).input_ids)
    ids: list[int] = []
    labels: list[int] = []
    for i, turn in enumerate(_chatml_turns(form, messages)):
        piece = token_ids(turn, tokenizer)
        answer = i > 0 and i % 2 == 0
        ids += piece
        labels += [one if answer or one in always else IGNORE for one in piece]
    return ids, labels


def _id_of(token: str, tokenizer: PreTrainedTokenizerBase) -> int:
    found = tokenizer.get_added_vocab().get(token)
    if found is None:
        raise UsageError(f"the tokenizer has no token '{token}': this template is for Qwen's")
    return int(found)


def _encode_rounds(
    form: Template, messages: Sequence[str], tokenizer: PreTrainedTokenizerBase, shift: int
) -> tuple[list[int], list[int]]:
    text = form.render(messages)
    ids = token_ids(text, tokenizer)
    labels = [IGNORE, *ids[1:]]
    before = "[/INST] " if form.style == "llama_2" else f"{form.sep}{form.assistant}: "
    at = 1  # BOS; from then on the BOS that each round gets when measured alone stands for the sep2 that it lacks
    for i, spoken in enumerate(text.split(form.sep2)):
        parts = spoken.split(before)
        if len(parts) != 2:
            break
        later = shift if i else 0
        # 2: the BOS of measuring alone, and the space at the end, which is one token alone but none before a word
        masked = len(token_ids(parts[0] + before, tokenizer)) - 2 - later
        labels[at : at + masked] = [IGNORE] * len(labels[at : at + masked])
        at += len(token_ids(spoken, tokenizer)) - later
    if at != len(ids):
        return ids, [IGNORE] * len(ids)
    return ids, labels


# ---------------------------------------------------------------- image slots


def expand_slots(
    ids: torch.Tensor, counts: Sequence[int], labels: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Repeat each IMAGE of ids (L,) as often as its image has tokens: (T,), and labels alike, IGNORE at images.

    Raises UsageError unless there is one count per slot.
    """
    repeats = _repeats(ids, counts)
    wide = torch.repeat_interleave(ids, repeats)
    if labels is None:
        return wide, None
    return wide, torch.repeat_interleave(labels, repeats).masked_fill(wide == IMAGE, IGNORE)


def _repeats(ids: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    slots = ids == IMAGE
    if int(slots.sum()) != len(counts):
        raise UsageError(f"the text has {int(slots.sum())} {IMAGE_TOKEN} slots but {len(counts)} images were given")
    repeats = torch.ones_like(ids)
    repeats[slots] = torch.tensor(counts, dtype=repeats.dtype, device=repeats.device)
    return repeats


def splice(table: torch.nn.Module, ids: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """Embed expanded ids (..., T) by `table` and put features (all image tokens in order, D) at IMAGE: (..., T, D).

    Raises UsageError unless there are as many features as image tokens.
    """
    slots = ids == IMAGE
    if int(slots.sum()) != len(features):
        raise UsageError(f"the texts have room for {int(slots.sum())} image tokens but {len(features)} were given")
    embedded: torch.Tensor = table(ids.masked_fill(slots, 0))
    return embedded.masked_scatter(slots[..., None], features.to(embedded.dtype))


def seg_states(ids: torch.Tensor, seg_id: int, image_tokens: int = 1) -> torch.Tensor:
    """Mark the states that emit `<seg>`: ids (B, L) with one IMAGE per image -> bool (B, T), the longest row's T.

    LISA's rule: the state of the token before `<seg>`, whose next token is `<seg>`. A slot takes `image_tokens`
    tokens; leave it at 1 for ids whose slots are expanded already. A `<seg>` that comes first has no such state.
    """
    rows = []
    for row in ids:
        emits = F.pad(row[1:] == seg_id, (0, 1))
        repeats = torch.where(row == IMAGE, image_tokens, 1)
        last = repeats.cumsum(0) - 1  # of an image that `<seg>` follows, the last token emits it
        marked = torch.zeros(int(repeats.sum()), dtype=torch.bool, device=ids.device)
        marked[last[emits]] = True
        rows.append(marked)
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


# ---------------------------------------------------------------- one square, or crops of any resolution


def expand_to_square(image: np.ndarray, fill: tuple[int, int, int]) -> np.ndarray:
    """Pad the short side of (H, W, 3) uint8 on both ends with `fill`; an odd pixel goes right or below."""
    height, width = image.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), fill, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = image
    return square


def fill_colour(mean: Sequence[float]) -> tuple[int, int, int]:
    """Return the padding colour for an image mean in [0, 1]: (122, 116, 104) for CLIP's."""
    red, green, blue = (int(value * 255) for value in mean)
    return red, green, blue


def grid_resolutions(pinpoints: str | Sequence[Sequence[int]], side: int) -> list[tuple[int, int]]:
    """Read `image_grid_pinpoints`: a list of (W, H), or "(1x1),...,(6x6)" crops of `side` pixels.

    Raises UsageError for text that names no range.
    """
    if not isinstance(pinpoints, str):
        return [(width, height) for width, height in pinpoints]
    found = [(int(a), int(b)) for a, b in re.findall(r"\((\d+)x(\d+)\)", pinpoints)]
    if not found:
        raise UsageError(f"image_grid_pinpoints must be a list or like '(1x1),...,(6x6)', got '{pinpoints}'")
    (a, b), (c, d) = found[0], found[-1]
    return [(i * side, j * side) for i in range(a, c + 1) for j in range(b, d + 1)]


def select_best_resolution(size: tuple[int, int], resolutions: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the (W, H) that keeps most pixels of an image of `size`, then the one that wastes least; first wins."""

    def worth(resolution: tuple[int, int]) -> tuple[int, int]:
        scale = min(resolution[0] / size[0], resolution[1] / size[1])
        kept = min(int(size[0] * scale) * int(size[1] * scale), size[0] * size[1])
        return kept, kept - resolution[0] * resolution[1]

    return max(resolutions, key=worth)


def grid_shape(size: tuple[int, int], resolutions: Sequence[tuple[int, int]], side: int) -> tuple[int, int]:
    """Return how many crops an image of `size` gets, (across, down)."""
    width, height = select_best_resolution(size, resolutions)
    return width // side, height // side


def resize_and_pad(image: np.ndarray, resolution: tuple[int, int]) -> np.ndarray:
    """Scale (H, W, 3) uint8 to fill one side of `resolution` (bicubic), and centre it on black."""
    height, width = image.shape[:2]
    scale_w, scale_h = resolution[0] / width, resolution[1] / height
    if scale_w < scale_h:
        inner = (resolution[0], min(math.ceil(height * scale_w), resolution[1]))
    else:
        inner = (min(math.ceil(width * scale_h), resolution[0]), resolution[1])
    page = np.zeros((resolution[1], resolution[0], 3), np.uint8)
    left, top = (resolution[0] - inner[0]) // 2, (resolution[1] - inner[1]) // 2
    page[top : top + inner[1], left : left + inner[0]] = _resize(image, inner)
    return page


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize(size))  # Pillow's own choice: bicubic


def divide(image: np.ndarray, side: int) -> np.ndarray:
    """Cut (H, W, 3) into squares, row by row: (n, side, side, 3). Both sides must be whole multiples."""
    down, across = image.shape[0] // side, image.shape[1] // side
    return image.reshape(down, side, across, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)


def anyres_crops(image: np.ndarray, resolutions: Sequence[tuple[int, int]], side: int) -> np.ndarray:
    """Return (1 + n, side, side, 3) uint8: the whole image squeezed to a square, then its crops row by row."""
    best = select_best_resolution((image.shape[1], image.shape[0]), resolutions)
    crops = divide(resize_and_pad(image, best), side)
    return np.concatenate([_resize(image, (side, side))[None], crops])


def unpad(features: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Cut the padding of an image of `size` (W, H) off features (D, h, w)."""
    height, width = features.shape[1:]
    if size[0] / size[1] > width / height:
        pad = (height - int(size[1] * (width / size[0]))) // 2
        return features[:, pad : height - pad]
    pad = (width - int(size[0] * (height / size[1]))) // 2
    return features[:, :, pad : width - pad]


def merge_crops(
    features: torch.Tensor,
    newline: torch.Tensor,
    size: tuple[int, int],
    resolutions: Sequence[tuple[int, int]],
    side: int,
    max_crops: int | None = 9,
) -> torch.Tensor:
    """Lay projected crops out as one image ("spatial_unpad", "anyres_max_9"): (1 + n, g * g, D) -> (T, D).

    The whole image first, then the crops' rows from top to bottom without padding, each ended by `newline` (D,).
    An image worth more than about `max_crops` crops is shrunk bilinearly; None never shrinks.
    One crop alone is the whole image and one newline.
    """
    whole, crops = features[0], features[1:]
    if len(crops) == 0:
        return torch.cat([whole, newline[None]])
    g = math.isqrt(features.shape[1])
    across, down = grid_shape(size, resolutions, side)
    page = crops.view(down, across, g, g, -1).permute(4, 0, 2, 1, 3).reshape(-1, down * g, across * g)
    page = unpad(page, size)
    height, width = page.shape[1:]
    times = math.sqrt(height * width / (max_crops * g**2)) if max_crops else 0
    if times > 1.1:
        page = F.interpolate(page[None], [int(height // times), int(width // times)], mode="bilinear")[0]
    page = torch.cat([page, newline[:, None, None].expand(-1, page.shape[1], 1)], dim=-1)
    return torch.cat([whole, page.flatten(1).T])
