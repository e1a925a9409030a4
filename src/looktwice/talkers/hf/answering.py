"""The speaking half of a chat model: several prompts at once, each going on from what is encoded of it already.

Letters: B rows, Q columns that are run now, C columns so far, A axes of a position, D width of the model, V words of
the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import RepetitionPenaltyLogitsProcessor

from looktwice.talkers.hf.columns import ATTENTION, Columns
from looktwice.talkers.hf.loading import Parts
from looktwice.talkers.hf.pictures import Eyes, Features
from looktwice.talkers.hf.prefixes import Layers, Path
from looktwice.talkers.hf.prompts import Prompt
from looktwice.talkers.protocol import Asking


@dataclass(frozen=True)
class Row:
    """A prompt and what is encoded of it."""

    prompt: Prompt
    start: Path


@dataclass(frozen=True)
class Answer:
    """Tokens of an answer, with the stop token if it came, and the logits its first token was chosen from."""

    tokens: list[int]
    stopped: bool
    first: Tensor  # (V,) float32


class Speaker:
    """Runs the language part."""

    def __init__(self, parts: Parts, eyes: Eyes) -> None:
        self.model, self.eyes = parts.model, eyes
        settings = self.model.generation_config
        stops = settings.eos_token_id if settings.eos_token_id is not None else parts.tokenizer.eos_token_id
        self.stops = frozenset(stops if isinstance(stops, list) else [stops])
        penalty = settings.repetition_penalty
        self.penalty = RepetitionPenaltyLogitsProcessor(penalty) if penalty and penalty != 1 else None
        config = self.model.config.get_text_config()
        config._attn_implementation = ATTENTION
        slides = "sliding_attention" in (getattr(config, "layer_types", None) or ())
        self.windows = {"full_attention": None, "sliding_attention": config.sliding_window} if slides else {}
        self.limit: int = config.max_position_embeddings
        self.encoded = 0  # tokens of prompts that were run
        self.device = next(self.model.parameters()).device

    def encode(self, row: Row, stop: int) -> Layers:
        """Keys and values of tokens [len(row.start), stop) of one prompt."""
        columns = Columns([row.start], row.prompt.two_way, self.device)
        self._read([row], [stop], columns)
        return columns.stretch(0, len(row.start), stop)

    def answer(self, rows: Sequence[Row], how: Asking) -> tuple[list[Answer], list[Layers]]:
        """Read the prompts to their end and answer them; also keys and values of all that was run of each row.

        Of an answer the last token is not run: nothing was asked of it.
        """
        lengths = [len(row.prompt) - len(row.start) for row in rows]
        columns = Columns([row.start for row in rows], rows[0].prompt.two_way, self.device)
        logits = self._read(rows, [len(row.prompt) for row in rows], columns)
        end = columns.filled
        tokens = self._speak(rows, how, columns, logits)
        answers = [Answer(one, one[-1] in self.stops, first) for one, first in zip(tokens, logits, strict=True)]
        kept = [
            columns.stretch(row, end - length, end + len(one) - 1)
            for row, (length, one) in enumerate(zip(lengths, tokens, strict=True))
        ]
        return answers, kept

    def _speak(self, rows: Sequence[Row], how: Asking, columns: Columns, logits: Tensor) -> list[list[int]]:
        rooms = [min(how.max_tokens, self.limit - len(row.prompt)) for row in rows]
        dice = [torch.Generator().manual_seed(how.seed) for _ in rows]  # the same for a row alone and in a batch
        tokens: list[list[int]] = [[] for _ in rows]
        places = torch.tensor([len(row.prompt) for row in rows])[:, None]
        positions = torch.tensor([row.prompt.next for row in rows])[:, None]
        axes = rows[0].prompt.positions.shape[0]
        while True:
            chosen = self._choose(rows, tokens, logits, how.temperature, dice)
            going = False
            for token, said, room in zip(chosen, tokens, rooms, strict=True):
                if len(said) < room and not (said and said[-1] in self.stops):
                    said.append(token)
                    going |= len(said) < room and token not in self.stops
            if not going:
                return tokens
            embeds = self.model.get_input_embeddings()(torch.tensor(chosen, device=self.device)[:, None])
            hidden = self._run(columns, embeds, positions.expand(axes, -1, -1), places, torch.full_like(places, -1))
            logits = self._logits(hidden)
            places, positions = places + 1, positions + 1

    def _choose(
        self,
        rows: Sequence[Row],
        tokens: Sequence[list[int]],
        logits: Tensor,
        temperature: float,
        dice: Sequence[torch.Generator],
    ) -> list[int]:
        if self.penalty is not None:
            seen = [[*row.prompt.ids.tolist(), *said] for row, said in zip(rows, tokens, strict=True)]
            told = [torch.tensor([ids], device=self.device) for ids in seen]
            logits = torch.cat([self.penalty(ids, one[None]) for ids, one in zip(told, logits, strict=True)])
        if temperature == 0:
            chosen: list[int] = logits.argmax(-1).tolist()
            return chosen
        sums = (logits.double() / temperature).softmax(-1).cumsum(-1).cpu()  # (B, V)
        thrown = torch.stack([torch.rand((), generator=die, dtype=torch.float64) for die in dice])
        drawn = torch.searchsorted(sums, (thrown * sums[:, -1])[:, None], right=True)[:, 0]
        return [int(token) for token in drawn.clamp(max=sums.shape[1] - 1)]

    def _read(self, rows: Sequence[Row], stops: Sequence[int], columns: Columns) -> Tensor:
        """Run tokens [len(row.start), stop) of each row; return the logits (B, V) after the last ones."""
        starts = [len(row.start) for row in rows]
        wide = max(stop - start for start, stop in zip(starts, stops, strict=True))  # Q
        axes = rows[0].prompt.positions.shape[0]
        ids = torch.zeros(len(rows), wide, dtype=torch.long)
        places, blocks = torch.full_like(ids, -1), torch.full_like(ids, -1)
        positions = ids.new_zeros(axes, len(rows), wide)
        for at, (row, start, stop) in enumerate(zip(rows, starts, stops, strict=True)):
            mine = slice(wide - (stop - start), wide)
            ids[at, mine] = row.prompt.ids[start:stop]
            places[at, mine] = torch.arange(start, stop)
            blocks[at, mine] = row.prompt.blocks[start:stop]
            positions[:, at, mine] = row.prompt.positions[:, start:stop]
            self.encoded += stop - start
        pictured = (blocks >= 0).to(self.device)
        embeds = self.model.get_input_embeddings()(ids.to(self.device).masked_fill(pictured, 0))
        features = [
            one for row, start, stop in zip(rows, starts, stops, strict=True) for one in self._seen(row, start, stop)
        ]
        deep = {}
        if features:
            first, *layers = (torch.cat(layer).to(embeds) for layer in zip(*features, strict=True))
            embeds[pictured] = first
            if layers:
                deep = {"visual_pos_masks": pictured, "deepstack_visual_embeds": layers}
        return self._logits(self._run(columns, embeds, positions, places, blocks, **deep))

    def _seen(self, row: Row, start: int, stop: int) -> Iterator[Features]:
        """Features of the picture tokens in [start, stop), in order."""
        for at, shot in row.prompt.shots:
            last = at + self.eyes.known[shot.digest].tokens
            if at < stop and last > start:
                low, high = max(start, at) - at, min(stop, last) - at
                yield tuple(layer[low:high] for layer in self.eyes.features(shot))

    def _run(
        self, columns: Columns, embeds: Tensor, positions: Tensor, places: Tensor, blocks: Tensor, **deep: Any
    ) -> Tensor:
        """One pass over new columns: embeds (B, Q, D), positions (A, B, Q), places and blocks (B, Q)."""
        new = embeds.shape[1]
        columns.open(places.to(self.device), blocks.to(self.device))
        masks = {kind: columns.mask(new, window) for kind, window in self.windows.items()}
        positions = positions.to(self.device)
        out = self.model.model.language_model(
            inputs_embeds=embeds,
            attention_mask=masks or columns.mask(new, None),
            position_ids=positions if len(positions) > 1 else positions[0],
            past_key_values=columns,
            use_cache=True,
            columns=columns,  # reaches `attend`
            **deep,
        )
        hidden: Tensor = out.last_hidden_state
        return hidden

    def _logits(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.model.lm_head(hidden[:, -1]).float()
        return logits
