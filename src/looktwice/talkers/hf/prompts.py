"""From a dialogue to what the language part reads: tokens, where its pictures stand, and the position of each token."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jinja2.exceptions import TemplateError
from torch import Tensor

from looktwice.errors import UsageError
from looktwice.talkers.hf.loading import Parts
from looktwice.talkers.hf.pictures import Eyes, Shot
from looktwice.talkers.protocol import Part, Picture, Turn


@dataclass(frozen=True, eq=False)
class Prompt:
    """One dialogue in tokens. Letters: n tokens, A axes of a position (3 where pictures have rows, else 1)."""

    ids: Tensor  # (n,) int64
    keys: np.ndarray  # (n, 2) int64: equal for equal tokens, and for tokens of the same picture
    blocks: Tensor  # (n,) int64: which picture a token belongs to, -1 for text
    positions: Tensor  # (A, n) int64
    next: int  # position of the first token of the answer
    shots: tuple[tuple[int, Shot], ...]  # where each picture starts
    two_way: bool  # the tokens of a picture see each other

    def __len__(self) -> int:
        return len(self.ids)

    def cut(self, at: int) -> int:
        """The last place up to `at` where what comes before can be encoded without what comes after."""
        blocks = self.blocks
        while self.two_way and 0 < at < len(self) and blocks[at - 1] == blocks[at] >= 0:
            at -= 1
        return at


class Prompter:
    """Writes dialogues as the checkpoint's chat template wants them."""

    def __init__(self, name: str, parts: Parts, eyes: Eyes) -> None:
        self.name, self.family, self.tokenizer, self.template = name, parts.family, parts.tokenizer, parts.template
        self.eyes = eyes
        config = parts.model.config
        self.model = parts.model
        self.token: int = config.image_token_id
        self.merge: int = getattr(config.vision_config, "spatial_merge_size", 1)
        text = self.tokenizer.convert_ids_to_tokens(self.token)
        self.mark, self.shown = text, text  # what a template writes for a picture, and what becomes of it
        if self.family.tiles:
            first = getattr(self.tokenizer, "start_image_token", "<img>")
            self.shown = f"{first}{text}{getattr(self.tokenizer, 'end_image_token', '</img>')}"
        if self.family.two_way:
            self.mark, last = self.tokenizer.convert_ids_to_tokens([config.boi_token_index, config.eoi_token_index])
            self.shown = f"\n\n{self.mark}{text}{last}\n\n"

    def shots(self, dialogue: Sequence[Turn], digests: dict[int, bytes] | None = None) -> list[Shot]:
        """The pictures of a dialogue in order; raises UsageError for a dialogue that is none.

        `digests` remembers what arrays hold, by their id, for dialogues with the same ones.
        """
        if not dialogue or dialogue[-1].role != "user":
            raise UsageError("a dialogue must end in a user turn")
        parts = [(turn.role, part) for turn in dialogue for part in turn.parts]
        for role, part in parts:
            if not isinstance(part, (str, Picture)):
                raise UsageError(f"a turn holds texts and pictures, got {type(part).__name__}")
            if role != "user" and isinstance(part, Picture):
                raise UsageError(f"pictures belong into user turns, got one in a turn of the {role}")
        pictures = [part for _, part in parts if isinstance(part, Picture)]
        digests = {} if digests is None else digests
        return [self.eyes.shot(picture, len(pictures) == 1, digests) for picture in pictures]

    def prompt(self, dialogue: Sequence[Turn], shots: Sequence[Shot]) -> Prompt:
        """Tokens of a dialogue whose pictures were looked at; raises UsageError where the template refuses it."""
        ids = self._tokens(self.render(dialogue))
        if ids.count(self.token) != len(shots):
            raise UsageError(f"the chat template of {self.name} shows {ids.count(self.token)} of {len(shots)} pictures")
        long: list[int] = []
        keys: list[tuple[int, int]] = []
        blocks: list[int] = []
        starts: list[tuple[int, Shot]] = []
        for token in ids:
            tokens, key, block = 1, (token, 0), -1
            if token == self.token:
                shot = shots[len(starts)]
                tokens, key, block = self.eyes.known[shot.digest].tokens, key_of(shot.digest), len(starts)
                starts.append((len(long), shot))
            long += [token] * tokens
            keys += [key] * tokens
            blocks += [block] * tokens
        made = torch.tensor(long)
        belongs = torch.tensor(blocks)
        positions, after = self._positions(made, belongs, shots)
        return Prompt(
            ids=made,
            keys=np.array(keys, np.int64).reshape(-1, 2),
            blocks=belongs,
            positions=positions,
            next=after,
            shots=tuple(starts),
            two_way=self.family.two_way,
        )

    def render(self, dialogue: Sequence[Turn]) -> str:
        """The dialogue as one text in which `shown` stands for each picture."""
        messages = [{"role": turn.role, "content": self._content(turn)} for turn in dialogue]
        try:
            text = self.tokenizer.apply_chat_template(
                messages, chat_template=self.template, tokenize=False, add_generation_prompt=True
            )
        except (TemplateError, TypeError, KeyError) as error:
            raise UsageError(f"the chat template of {self.name} cannot show this dialogue: {error}") from error
        return str(text).replace(self.mark, self.shown)

    def _content(self, turn: Turn) -> list[dict[str, str]]:
        """A turn as templates take it. Texts that follow each other are parted by a line feed."""
        parts: list[Part] = []
        for part in turn.parts:
            if isinstance(part, str):
                part = self._harmless(part)
                if parts and isinstance(parts[-1], str):
                    part = f"{parts.pop()}\n{part}"
            parts.append(part)
        if turn.role == "system" and not parts:
            parts = [""]
        in_front = [isinstance(part, Picture) for part in parts]
        if self.family.gathers and in_front != sorted(in_front, reverse=True):
            # the template would part a picture from the words before it
            line = "".join(part if isinstance(part, str) else f"{self.mark}\n" for part in parts)
            return [{"type": "text", "text": line}]
        return [{"type": "text", "text": part} if isinstance(part, str) else {"type": "image"} for part in parts]

    def _harmless(self, text: str) -> str:
        """Text in which no token of the model's own is spelled: `<image>` becomes `< image>`, and stays text."""
        return self._special.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)

    @cached_property
    def _special(self) -> re.Pattern[str]:
        added = self.tokenizer.added_tokens_decoder.values()
        words = {token.content for token in added if token.special} | {self.mark, *self.tokenizer.all_special_tokens}
        return re.compile("|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word))))

    def _tokens(self, text: str) -> list[int]:
        first = self.tokenizer.bos_token
        twice = first is not None and text.startswith(first)  # the template wrote it already
        return list(self.tokenizer(text, add_special_tokens=not twice, verbose=False)["input_ids"])

    def _positions(self, ids: Tensor, blocks: Tensor, shots: Sequence[Shot]) -> tuple[Tensor, int]:
        if not (self.family.places and shots):
            return torch.arange(len(ids)).expand(3 if self.family.places else 1, -1), len(ids)
        grids = torch.tensor([self.eyes.known[shot.digest].grid for shot in shots])
        kinds = (blocks >= 0).int()
        found, _ = self.model.model.get_rope_index(ids[None], mm_token_type_ids=kinds[None], image_grid_thw=grids)
        return found[:, 0], int(found.max()) + 1


def key_of(digest: bytes) -> tuple[int, int]:
    """Two numbers that no text token has: 127 bits of the digest, the first one negative."""
    first, second = int.from_bytes(digest[:8]), int.from_bytes(digest[8:16], signed=True)
    return -1 - (first >> 1), second
