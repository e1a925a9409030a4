"""LISA: the merged folders (xinlai/LISA-7B-v1 and its kin) to LLaVA's three parts with SAM beside them.

Ours: those of `llava`, `visual_model` (SamModel) and `text_hidden_fcs` (an MLP). The folders hold no vision
tower: load CLIP ViT-L/14's file into `vision_tower` beside them.
"""

from __future__ import annotations

from looktwice.checkpoints import llava, sam
from looktwice.checkpoints.tables import Table, under

PUBLISHED: Table = {
    "model.text_hidden_fcs.0.{rest}": "text_hidden_fcs.{rest}",
    **under(sam.PUBLISHED, "model.visual_model.", "visual_model."),
    **llava.PUBLISHED,
}

# As a start for a model whose projector is another one.
WITHOUT_PROJECTOR: Table = {
    **PUBLISHED,
    "model.mm_projector.{rest}": None,  # the new projector is trained instead
}
