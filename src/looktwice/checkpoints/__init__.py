"""Published weights: one key table per file, one strict loader.

`load_strict(module, files, table)` fills a module with published weights or says what does not fit. The tables lie in
`sam`, `clip`, `llava`, `lisa` and `tokenpacker`. Files are opened by `read_tensors`; `apply_delta` and `merge_lora`
join what was published in pieces. Tensors are read one by one when they are asked for, so that a model of 7 B loads
where its weights fit once.
"""

from __future__ import annotations

from looktwice.checkpoints.files import locate, read_tensors
from looktwice.checkpoints.loading import Loaded, check_fit, empty_weights, load_strict
from looktwice.checkpoints.merging import apply_delta, merge_lora
from looktwice.checkpoints.tables import Move, Split, Table, Transposed, under
from looktwice.checkpoints.tensors import BadCheckpoint, Tensors

__all__ = [
    "BadCheckpoint",
    "Loaded",
    "Move",
    "Split",
    "Table",
    "Tensors",
    "Transposed",
    "apply_delta",
    "check_fit",
    "empty_weights",
    "load_strict",
    "locate",
    "merge_lora",
    "read_tensors",
    "under",
]
