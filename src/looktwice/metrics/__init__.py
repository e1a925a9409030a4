"""Metrics: pure functions on arrays, and running sums beside them where memory must be bounded."""

from looktwice.metrics.choices import MmadTable, YesNo, mmad_accuracy, parse_choice, parse_yes_no, yes_no
from looktwice.metrics.classes import ClassMeans, class_means
from looktwice.metrics.clouds import o_pro, point_auroc, point_average_precision, point_regions
from looktwice.metrics.intervals import Comparison, Interval, bootstrap, paired_bootstrap
from looktwice.metrics.pixels import PixelMetrics, PixelScores, dice, iou, pixel_metrics
from looktwice.metrics.ranking import auroc, average_precision, f1_max
from looktwice.metrics.regions import aupimo, pro
from looktwice.metrics.text import GptScore, gpt_score, mean_rouge_l, parse_gpt_score, rouge_l, sentence_similarity
from looktwice.metrics.videos import frame_auroc, frame_average_precision

__all__ = [
    "ClassMeans",
    "Comparison",
    "GptScore",
    "Interval",
    "MmadTable",
    "PixelMetrics",
    "PixelScores",
    "YesNo",
    "aupimo",
    "auroc",
    "average_precision",
    "bootstrap",
    "class_means",
    "dice",
    "f1_max",
    "frame_auroc",
    "frame_average_precision",
    "gpt_score",
    "iou",
    "mean_rouge_l",
    "mmad_accuracy",
    "o_pro",
    "paired_bootstrap",
    "parse_choice",
    "parse_gpt_score",
    "parse_yes_no",
    "pixel_metrics",
    "point_auroc",
    "point_average_precision",
    "point_regions",
    "pro",
    "rouge_l",
    "sentence_similarity",
    "yes_no",
]
