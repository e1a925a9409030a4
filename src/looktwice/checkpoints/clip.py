"""CLIP: OpenAI's files and transformers' own layout, to transformers' CLIPModel or its vision tower alone."""

from __future__ import annotations

from looktwice.checkpoints.tables import Move, Split, Table, Transposed, renamed, under


def _tower(theirs: str, ours: str) -> dict[str, str | Move | None]:
    """The blocks that the towers of images and of texts share."""
    block, layer = f"{theirs}transformer.resblocks.{{i}}", f"{ours}encoder.layers.{{i}}"
    return {
        f"{block}.ln_1.{{rest}}": f"{layer}.layer_norm1.{{rest}}",
        f"{block}.ln_2.{{rest}}": f"{layer}.layer_norm2.{{rest}}",
        f"{block}.attn.in_proj_weight": Split(tuple(f"{layer}.self_attn.{one}_proj.weight" for one in "qkv")),
        f"{block}.attn.in_proj_bias": Split(tuple(f"{layer}.self_attn.{one}_proj.bias" for one in "qkv")),
        f"{block}.attn.out_proj.{{rest}}": f"{layer}.self_attn.out_proj.{{rest}}",
        f"{block}.mlp.c_fc.{{rest}}": f"{layer}.mlp.fc1.{{rest}}",
        f"{block}.mlp.c_proj.{{rest}}": f"{layer}.mlp.fc2.{{rest}}",
    }


OPENAI: Table = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.{rest}": "vision_model.pre_layrnorm.{rest}",
    **_tower("visual.", "vision_model."),
    "visual.ln_post.{rest}": "vision_model.post_layernorm.{rest}",
    "visual.proj": Transposed(("visual_projection.weight",)),
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    **_tower("", "text_model."),
    "ln_final.{rest}": "text_model.final_layer_norm.{rest}",
    "text_projection": Transposed(("text_projection.weight",)),
    "logit_scale": "logit_scale",
    "input_resolution": None,  # said by the configuration
    "context_length": None,
    "vocab_size": None,
}

TRANSFORMERS: Table = {
    "vision_model.embeddings.position_ids": None,  # 0, 1, 2 ..., in files of older versions
    "text_model.embeddings.position_ids": None,
    "vision_model.{rest}": "vision_model.{rest}",
    "text_model.{rest}": "text_model.{rest}",
    "visual_projection.weight": "visual_projection.weight",
    "text_projection.weight": "text_projection.weight",
    "logit_scale": "logit_scale",
}


def vision_only(table: Table) -> dict[str, Move | None]:
    """Return the table for a CLIPVisionModel: texts and the projection into the shared space are dropped."""
    whole = under(table)
    eyes = {row for row, move in whole.items() if move and move.names[0].startswith("vision_model.")}
    return {row: renamed(move, _inside) if row in eyes else None for row, move in whole.items()}


def _inside(name: str) -> str:
    return name.removeprefix("vision_model.")


LAYOUTS = (OPENAI, TRANSFORMERS)
VISION_LAYOUTS = (vision_only(OPENAI), vision_only(TRANSFORMERS))
