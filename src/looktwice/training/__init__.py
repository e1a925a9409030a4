"""Training: one loop for every system that can be trained; `TRAINABLES` lists them.

`config.py` what a run is set by, `instruct.py` records to learn from, `sampling.py` which of them and when, `loop.py`
the loop, `optimiser.py` its updates, `checkpoint.py` and `journal.py` what it writes, `protocol.py` what a system must
have, `vmad.py` the first one, `judging.py` how good it has become, `runs.py` stages and grids of runs.
"""

from looktwice.training.config import TrainConfig, packaged, read_config
from looktwice.training.loop import Outcome, Progress, Stopped, run
from looktwice.training.protocol import Losses, Trainable
from looktwice.training.runs import TRAINABLES, Row, evaluations, grid, table, train

__all__ = [
    "TRAINABLES",
    "Losses",
    "Outcome",
    "Progress",
    "Row",
    "Stopped",
    "TrainConfig",
    "Trainable",
    "evaluations",
    "grid",
    "packaged",
    "read_config",
    "run",
    "table",
    "train",
]
