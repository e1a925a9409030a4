"""Chat models that run on this machine, through transformers: `Local`."""

from looktwice.errors import need

for _module in ("torch", "transformers"):
    need(_module, "torch", "A chat model on this machine")

from looktwice.talkers.hf.local import Local  # noqa: E402  # the extra must be named first

__all__ = ["Local"]
