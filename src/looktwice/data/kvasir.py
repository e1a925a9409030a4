"""Kvasir-SEG: colonoscopy pictures, each with a polyp; none are normal, so picture metrics are undefined.

Odd: masks are JPEG, and in the polyp bundle PNG made from JPEG: their edges ring, so above 127 is anomalous in both.
"""

from looktwice.data.dataset import Count, DataSet, Part
from looktwice.data.items import JPEG_ABOVE

DATASET = DataSet(
    name="kvasir",
    title="Kvasir-SEG",
    modality="image",
    owner="figshare",
    page='bundle "Polyp DataSet", folder Kvasir; or the original archive of Kvasir-SEG',
    licence="not stated",
    truth="pixel masks",
    categories=("colon",),
    display={"colon": "colonoscopy picture"},
    parts=(
        Part(
            "test",
            "images/{stem}.jpg|jpeg|png",
            mask="masks/{stem}.jpg|jpeg|png",
            label=1,
            defect="polyp",
            above=JPEG_ABOVE,
        ),
    ),
    inside=("", "Kvasir", "Kvasir-SEG"),
    counts={"": (Count(category="colon", split="test", normal=0, anomalous=1000),)},
    extras=("*.json",),
)
