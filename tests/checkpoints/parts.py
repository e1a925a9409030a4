"""The parts of LLaVA and LISA under the names that the key tables aim at, joined in the plainest way."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, SamModel

from looktwice.backbones import clip, llava, sam


class Parts(nn.Module):
    """vision_tower, projector, language_model; with LISA's, visual_model and text_hidden_fcs."""

    def __init__(self, words: int, side: int = 224, kind: str = "linear", lisa: bool = False) -> None:
        super().__init__()
        self.vision_tower = clip.build_vision(clip.ClipSize(side, 14, 32, 3, 2, 16))
        mlp = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 64))
        self.projector = nn.Linear(32, 64) if kind == "linear" else mlp
        self.language_model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=words,
                hidden_size=64,
                intermediate_size=96,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=4,
                max_position_embeddings=1024,
                rms_norm_eps=1e-6,
            )
        )
        if lisa:
            size = sam.SamSize(32, 2, 2, (1,))
            self.visual_model = SamModel(
                sam.sam_config(size, 64, window=3, channels=32, decoder_heads=2, decoder_mlp=64)
            )
            self.text_hidden_fcs = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))

    def read(self, ids: torch.Tensor, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(L,) ids with IMAGE slots and one image for all of them -> states (T, D), logits (T, words)."""
        tokens = self.projector(clip.patch_features(self.vision_tower, image[None])[0])
        slots = int((ids == llava.IMAGE).sum())
        wide, _ = llava.expand_slots(ids, [len(tokens)] * slots)
        embedded = llava.splice(self.language_model.get_input_embeddings(), wide, tokens.repeat(slots, 1))
        seen = self.language_model(inputs_embeds=embedded[None], output_hidden_states=True)
        return seen.hidden_states[-1][0], seen.logits[0]

    def masks(self, texts: Sequence[torch.Tensor], seg: int, image: torch.Tensor, view: torch.Tensor) -> torch.Tensor:
        """Mask logits (n, 1, 4g, 4g) of all `<seg>` in the texts about one image."""
        states = []
        for ids in texts:
            marked = llava.seg_states(ids[None], seg, 256)[0]
            states.append(self.read(ids, image)[0][marked])
        embedding = self.visual_model.vision_encoder(view[None]).last_hidden_state[0]
        return sam.decode(self.visual_model, embedding, self.text_hidden_fcs(torch.cat(states))[:, None])
