"""LLaVA 1.1 and 1.5: the authors' layout and transformers' own, to a model of three parts.

Ours: `vision_tower` (CLIPVisionModel), `projector`, `language_model` (a causal language model of transformers).
The authors' files hold no vision tower unless it was trained: load CLIP's file into `vision_tower` beside them.
"""

from __future__ import annotations

from looktwice.checkpoints.tables import Move, Table, renamed, under

# The language model alone, as LLaMA and Vicuna are published.
LANGUAGE: Table = {
    "model.layers.{i}.self_attn.rotary_emb.inv_freq": None,  # computed
    "model.embed_tokens.weight": "language_model.model.embed_tokens.weight",
    "model.layers.{rest}": "language_model.model.layers.{rest}",
    "model.norm.weight": "language_model.model.norm.weight",
    "lm_head.weight": "language_model.lm_head.weight",
}

PUBLISHED: Table = {
    "model.vision_tower.vision_tower.vision_model.embeddings.position_ids": None,  # 0, 1, 2 ...
    "model.vision_tower.vision_tower.vision_model.{rest}": "vision_tower.{rest}",
    "model.mm_projector.{rest}": "projector.{rest}",  # weight, bias of 1.1; 0 and 2 of 1.5
    "model.image_newline": "image_newline",
    **LANGUAGE,
}

TRANSFORMERS: Table = {
    "vision_tower.vision_model.embeddings.position_ids": None,  # 0, 1, 2 ...
    "vision_tower.vision_model.{rest}": "vision_tower.{rest}",
    "vision_tower.{rest}": "vision_tower.{rest}",  # since version 5
    "multi_modal_projector.linear_1.{rest}": "projector.0.{rest}",
    "multi_modal_projector.linear_2.{rest}": "projector.2.{rest}",
    "image_newline": "image_newline",
    "language_model.model.layers.{i}.self_attn.rotary_emb.inv_freq": None,  # computed
    "language_model.{rest}": "language_model.{rest}",
}

# As some versions of transformers 4 saved the same tensors, and as the model names them in memory.
TRANSFORMERS_INNER: Table = {
    "model.vision_tower.vision_model.{rest}": "vision_tower.{rest}",
    "model.vision_tower.{rest}": "vision_tower.{rest}",
    "model.multi_modal_projector.linear_1.{rest}": "projector.0.{rest}",
    "model.multi_modal_projector.linear_2.{rest}": "projector.2.{rest}",
    "model.image_newline": "image_newline",
    "model.language_model.{rest}": "language_model.model.{rest}",
    "lm_head.weight": "language_model.lm_head.weight",
}

LAYOUTS = (PUBLISHED, TRANSFORMERS, TRANSFORMERS_INNER)


def layouts(projector: str | None) -> tuple[Table, ...]:
    """Return the layouts with LLaVA's projector under another name of ours, or dropped (None) for a new one."""
    return tuple({row: _aimed(move, projector) for row, move in under(table).items()} for table in LAYOUTS)


def _aimed(move: Move | None, projector: str | None) -> Move | None:
    if move is None or not move.names[0].startswith("projector."):
        return move
    if projector is None:
        return None
    return renamed(move, lambda name: projector + name.removeprefix("projector"))


# For the warm start of VMAD's compression, which holds LLaVA's projector as its base.
INTO_LTC = layouts("projector.base")[0]
