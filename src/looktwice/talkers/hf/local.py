"""A chat model on this machine that reads what dialogues share once.

What a dialogue starts with alike to an earlier one, or to another of the same call (same tokens, same pictures), is
taken from what was encoded then. The answers are those of encoding each dialogue in full, up to rounding.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from looktwice.errors import UsageError
from looktwice.talkers.hf.answering import Row, Speaker
from looktwice.talkers.hf.loading import DTYPES, load_parts
from looktwice.talkers.hf.pictures import Eyes, Shot
from looktwice.talkers.hf.prefixes import Node, Path, Prefixes, alike
from looktwice.talkers.hf.prompts import Prompt, Prompter
from looktwice.talkers.protocol import Asking, Reply, TalkerError, Turn, Usage

PIECE = 2048  # tokens encoded at a time, so that memory stays bounded
WORTH = 16  # tokens that are worth encoding apart for several dialogues
WINDOW = 4  # batches whose dialogues are laid side by side to see what they share
MIB = 1 << 20

log = logging.getLogger(__name__)
Replies = dict[int, Reply | TalkerError]  # by the place of the dialogue


@dataclass(frozen=True)
class Work:
    """What was asked of a model, and what of it had to be done, since it was loaded."""

    pictures_in: int = 0  # pictures in dialogues
    pictures_encoded: int = 0  # pictures that went through the vision tower
    tokens_in: int = 0  # tokens of dialogues
    tokens_encoded: int = 0  # tokens of dialogues that went through the language part
    tokens_out: int = 0  # tokens of answers


class Local:
    """A chat model of a folder or of the hub's cache: a `ChatModel`.

    `batch` dialogues are answered at once. `keep_mib` bounds what is kept of dialogues, `keep_pictures_mib` what is
    kept of pictures. `max_side` shrinks pictures first; `max_pixels` (Qwen-VL) and `max_tiles` (InternVL) bound their
    detail.
    Raises TalkerError where the model is not on this machine and UsageError where it or an option cannot be used.
    """

    def __init__(
        self,
        repo_or_folder: str,
        device: str = "auto",
        dtype: str = "auto",
        batch: int = 8,
        max_side: int | None = None,
        max_pixels: int | None = None,
        max_tiles: int | None = None,
        keep_mib: int = 4096,
        keep_pictures_mib: int = 1024,
    ) -> None:
        if dtype not in DTYPES:
            raise UsageError(f"dtype must be one of {', '.join(DTYPES)}, got '{dtype}'")
        sizes = {"batch": batch, "max_side": max_side, "max_pixels": max_pixels, "max_tiles": max_tiles}
        for option, value in sizes.items():
            if value is not None and value < 1:
                raise UsageError(f"{option} must be at least 1, got {value}")
        if min(keep_mib, keep_pictures_mib) < 0:
            raise UsageError(f"keep_mib and keep_pictures_mib must be at least 0, got {keep_mib}, {keep_pictures_mib}")
        parts = load_parts(repo_or_folder, device, dtype)
        self.name = f"hf:{repo_or_folder}"
        self.identity: Mapping[str, Any] = {  # all that an answer depends on beside the question
            "kind": "hf",
            "model": repo_or_folder,
            "files": parts.print,
            "dtype": str(parts.model.dtype),
            "max_side": max_side,
            "max_pixels": max_pixels,
            "max_tiles": max_tiles,
        }
        self.batch = batch
        self.tokenizer: Any = parts.tokenizer
        eyes = Eyes(
            parts.family,
            parts.model,
            parts.image_processor,
            max_side=max_side,
            max_pixels=max_pixels,
            max_tiles=max_tiles,
            keep=keep_pictures_mib * MIB,
            batch=batch,
        )
        self._mind: Mind | None = Mind(eyes, Prompter(repo_or_folder, parts, eyes), Speaker(parts, eyes))
        self._prefixes = Prefixes(keep_mib * MIB)
        self._asked = {"pictures_in": 0, "tokens_in": 0, "tokens_out": 0}
        self._spelled: dict[str, frozenset[int]] = {}
        self._complained = False
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"Local({self.name.removeprefix('hf:')!r})"

    @property
    def work(self) -> Work:
        """What was done so far."""
        mind = self._awake()
        return Work(pictures_encoded=mind.eyes.encoded, tokens_encoded=mind.speaker.encoded, **self._asked)

    def chat(self, dialogues: Sequence[Sequence[Turn]], how: Asking) -> list[Reply | TalkerError]:
        """Answer each dialogue, in order; see `ChatModel.chat`. `how.schema` is not enforced.

        `Reply.choices` is None where a choice is no single token of the model. Raises UsageError for an `Asking` that
        cannot be.
        """
        if how.max_tokens < 1 or how.temperature < 0:
            raise UsageError(
                f"max_tokens must be at least 1 and temperature at least 0, got {how.max_tokens} and {how.temperature}"
            )
        self._check_choices(how.choices)
        needed: set[Node] = set()
        replies: list[Reply | TalkerError] = []
        with self._lock, torch.inference_mode():
            size = WINDOW * self.batch
            for at in range(0, len(dialogues), size):
                window = dialogues[at : at + size]
                answered = self._window(self._awake(), window, how, needed)
                replies += [answered[i] for i in range(len(window))]
            self._complain(sum(node.bytes for node in needed))
            self._prefixes.trim()
        return replies

    def close(self) -> None:
        """Give back the memory of the model and of all that is kept."""
        with self._lock:
            self._mind = None
            self._prefixes.clear()

    def _complain(self, needed: int) -> None:
        if needed > self._prefixes.limit and not self._complained:
            self._complained = True
            log.warning(
                "%s: what the dialogues of a call share takes %d MiB, more than keep_mib=%d: each call encodes it anew",
                *(self.name, -(-needed // MIB), self._prefixes.limit // MIB),
            )

    def _awake(self) -> Mind:
        if self._mind is None:
            raise UsageError(f"{self.name} was closed")
        return self._mind

    def _window(self, mind: Mind, dialogues: Sequence[Sequence[Turn]], how: Asking, needed: set[Node]) -> Replies:
        try:
            prompts, replies = self._prompts(mind, dialogues)
            if prompts:
                self._share(mind, list(prompts.values()), needed)
        except torch.cuda.OutOfMemoryError:
            return dict.fromkeys(range(len(dialogues)), self._too_large())
        rest = {i: len(prompt) - len(self._start(prompt)) for i, prompt in prompts.items()}
        order = sorted(prompts, key=lambda i: (rest[i], i))  # alike in length: little padding
        for at in range(0, len(order), self.batch):
            batch = order[at : at + self.batch]
            replies |= self._answered(mind, {i: prompts[i] for i in batch}, how)
            self._prefixes.trim(needed)
        return replies

    def _prompts(self, mind: Mind, dialogues: Sequence[Sequence[Turn]]) -> tuple[dict[int, Prompt], Replies]:
        """Prompts and refusals by the place of their dialogue; pictures are encoded on the way."""
        shots: dict[int, list[Shot]] = {}
        prompts: dict[int, Prompt] = {}
        refused: Replies = {}
        digests: dict[int, bytes] = {}
        for i, dialogue in enumerate(dialogues):
            try:
                shots[i] = mind.prompter.shots(dialogue, digests)
            except UsageError as error:
                refused[i] = TalkerError("talker_bad_request", str(error))
        wrong = mind.eyes.look(shot for some in shots.values() for shot in some)
        for i, some in shots.items():
            try:
                for shot in some:
                    if shot.digest in wrong:
                        raise wrong[shot.digest]
                prompts[i] = mind.prompter.prompt(dialogues[i], some)
                self._check_length(mind, prompts[i])
            except UsageError as error:
                prompts.pop(i, None)
                refused[i] = TalkerError("talker_bad_request", str(error))
        self._asked["pictures_in"] += sum(len(prompt.shots) for prompt in prompts.values())
        self._asked["tokens_in"] += sum(len(prompt) for prompt in prompts.values())
        return prompts, refused

    def _check_length(self, mind: Mind, prompt: Prompt) -> None:
        if len(prompt) >= mind.speaker.limit:
            raise UsageError(
                f"the dialogue has {len(prompt)} tokens, {self.name} takes {mind.speaker.limit} with the answer: "
                "show fewer or smaller pictures (max_side, max_pixels, max_tiles), or write less"
            )

    def _share(self, mind: Mind, prompts: Sequence[Prompt], needed: set[Node]) -> None:
        """Encode once what prompts start with alike, all of them and then groups of them; long ones piece by piece."""
        one, several = prompts[0], len(prompts) > 1
        common = min(min(len(prompt) - 1, alike(one.keys, prompt.keys)) for prompt in prompts)
        want = one.cut(common if several else max(0, common - PIECE))
        held = self._start(one, want)
        while want - len(held) >= (WORTH if several else 1):
            stop = one.cut(min(want, len(held) + PIECE))
            stop = stop if stop > len(held) else want
            layers = mind.speaker.encode(Row(one, held), stop)
            node = self._prefixes.add(held, one.keys[len(held) : stop], layers)
            held = Path((*held.steps, (node, stop - len(held))))
        needed.update(node for node, _ in held.steps)
        groups: dict[tuple[int, ...], list[Prompt]] = {}
        for prompt in prompts:
            groups.setdefault(tuple(prompt.keys[common].tolist()), []).append(prompt)
        if len(groups) > 1:
            for group in groups.values():
                self._share(mind, group, needed)

    def _start(self, prompt: Prompt, upto: int | None = None) -> Path:
        """What is encoded of a prompt, but never its last token: from what follows it the answer is chosen."""
        path = self._prefixes.longest(prompt.keys[: len(prompt) - 1 if upto is None else upto])
        return path.upto(prompt.cut(len(path)))

    def _answered(self, mind: Mind, prompts: dict[int, Prompt], how: Asking) -> Replies:
        """Answer one batch; where memory does not suffice, its halves."""
        try:
            return self._answer(mind, prompts, how)
        except torch.cuda.OutOfMemoryError:
            if len(prompts) == 1:
                return dict.fromkeys(prompts, self._too_large())
        places = list(prompts)
        half = len(places) // 2
        halves = [{i: prompts[i] for i in some} for some in (places[:half], places[half:])]
        return self._answered(mind, halves[0], how) | self._answered(mind, halves[1], how)

    def _answer(self, mind: Mind, prompts: dict[int, Prompt], how: Asking) -> Replies:
        rows = [Row(prompt, self._start(prompt)) for prompt in prompts.values()]
        answers, kept = mind.speaker.answer(rows, how)
        replies: Replies = {}
        for i, row, answer, layers in zip(prompts, rows, answers, kept, strict=True):
            said = answer.tokens[:-1] if answer.stopped else answer.tokens
            replies[i] = Reply(
                text=self.tokenizer.decode(said, skip_special_tokens=True),
                finish="stop" if answer.stopped else "length",
                usage=Usage(len(row.prompt), len(answer.tokens), 0.0),
                choices=self._chances(answer.first, how.choices),
            )
            self._asked["tokens_out"] += len(answer.tokens)
            spoken = np.array([(token, 0) for token in answer.tokens[:-1]], np.int64).reshape(-1, 2)
            keys = np.concatenate([row.prompt.keys, spoken])
            known = self._prefixes.longest(keys)  # a twin in this batch may have been kept already
            if len(known) < len(keys):
                new = len(known) - len(row.start)
                rest = [(k[:, new:].contiguous(), v[:, new:].contiguous()) for k, v in layers]
                self._prefixes.add(known, keys[len(known) :], rest)
        return replies

    def _too_large(self) -> TalkerError:
        return TalkerError(
            "talker_failed",
            f"{self.name} ran out of memory: show fewer or smaller pictures, or lower keep_mib",
        )

    def _check_choices(self, choices: Sequence[str]) -> None:
        for at, choice in enumerate(choices):
            for other in choices[:at]:
                if self._spellings(choice) & self._spellings(other):
                    raise UsageError(f"choices must be different words, got '{other}' and '{choice}'")

    def _chances(self, logits: Tensor, choices: Sequence[str]) -> dict[str, float] | None:
        """How likely each choice is the first word, among them; summed over its spellings."""
        spellings = [sorted(self._spellings(choice)) for choice in choices]
        if not choices or not all(spellings):
            return None
        logits = logits.double()
        masses = torch.stack([logits[tokens].logsumexp(0) for tokens in spellings])
        return dict(zip(choices, masses.softmax(0).tolist(), strict=True))

    def _spellings(self, word: str) -> frozenset[int]:
        """The single tokens that spell a word: in any case, with and without a space before it."""
        if word in self._spelled:
            return self._spelled[word]
        found = set()
        for form in (word, word.lower(), word.upper(), word.capitalize()):
            for text in (form, f" {form}"):
                tokens = self.tokenizer.encode(text, add_special_tokens=False)
                found |= set(tokens if len(tokens) == 1 else ())
            found |= {self._vocabulary[piece] for piece in (form, f"▁{form}") if piece in self._vocabulary}
        self._spelled[word] = frozenset(found - {self.tokenizer.unk_token_id})
        return self._spelled[word]

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        return dict(self.tokenizer.get_vocab())


@dataclass(frozen=True)
class Mind:
    """The parts of a loaded model."""

    eyes: Eyes
    prompter: Prompter
    speaker: Speaker
