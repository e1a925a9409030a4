"""From a detector's answer to a Result: verdict, regions, measured words, and the files a person can look at.

One file per modality; the way back onto pixels, points and frames happens here. Nothing here runs a model.
A finder is a function `(desk, sample, answers, path) -> Result`, where answers are (Views, Prediction) pairs: one, or,
for a video, one after the other. A new modality is one file and one line in FINDERS.
"""

from looktwice.findings.answers import Answers, BadAnswer, check_answer
from looktwice.findings.desk import Desk, Judge
from looktwice.registry import Registry

__all__ = ["FINDERS", "Answers", "BadAnswer", "Desk", "Judge", "check_answer"]

FINDERS = Registry(
    "modality",
    {
        "image": "looktwice.findings.image:judge_image",
        "point_cloud": "looktwice.findings.point_cloud:judge_cloud",
        "video": "looktwice.findings.video:judge_video",
    },
)
