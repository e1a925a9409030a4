"""looktwice: inspect images, point clouds and videos; a verdict, a map of where, and the reasons in words."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# Public name -> module. Imported on first use, so that listing and help stay fast.
_PUBLIC = {
    "Calibration": "looktwice.calibration",
    "Inspection": "looktwice.inspection",
    "Explanation": "looktwice.records",
    "Prediction": "looktwice.records",
    "Result": "looktwice.records",
    "Sample": "looktwice.records",
    "Settings": "looktwice.settings",
    "Spec": "looktwice.records",
    "Views": "looktwice.records",
    "calibrate_on": "looktwice.inspection",
    "cloud_from_array": "looktwice.modalities.point_cloud",
    "inspect": "looktwice.inspection",
    "load": "looktwice.detectors",
    "look": "looktwice.inspection",
    "read_sheet": "looktwice.sheets",
    "sample_from_array": "looktwice.modalities.image",
    "views": "looktwice.modalities",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'looktwice' has no attribute '{name}'")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
