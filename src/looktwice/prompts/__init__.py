"""Prompts: what a chat model is told and asked, and how its answer is read; one file per kind of prompt.

The words lie in `templates/*.txt` and can be replaced by a user's own; the code fills them in and reads the answers.
Nothing here knows of talkers or detectors: texts come out, texts go in. What a model says is untrusted.
"""

from looktwice.registry import Registry

__all__ = ["STYLES"]

STYLES = Registry(
    "prompt style",
    {
        "inspector": "looktwice.prompts.inspector:Inspector",
        "paper": "looktwice.prompts.paper:Paper",
    },
)
