"""TokenPacker: CircleRadon/TokenPacker's projectors, which VMAD's compression has the names of, to `projector`.

Written for what comes with a whole checkpoint and for the projector alone; both begin with "model.mm_projector.".
"""

from __future__ import annotations

from looktwice.checkpoints import llava
from looktwice.checkpoints.tables import Table

PROJECTOR: Table = {
    "model.mm_projector.q_proj_1.weight": "projector.q_proj_1.weight",
    "model.mm_projector.k_proj_1.{i}.{rest}": "projector.k_proj_1.{i}.{rest}",
    "model.mm_projector.v_proj_1.{i}.{rest}": "projector.v_proj_1.{i}.{rest}",
    "model.mm_projector.ln_q_1.{rest}": "projector.ln_q_1.{rest}",
    "model.mm_projector.ln_k_1.{rest}": "projector.ln_k_1.{rest}",
    "model.mm_projector.ln_v_1.{rest}": "projector.ln_v_1.{rest}",
    "model.mm_projector.clip_attn.{rest}": "projector.clip_attn.{rest}",
    "model.mm_projector.mlp.{i}.{rest}": "projector.mlp.{i}.{rest}",
}

PUBLISHED: Table = {**PROJECTOR, **llava.LANGUAGE}
