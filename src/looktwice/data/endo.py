"""Endo (EndoTect 2020): endoscopy pictures, each with a polyp, masks in JPEG; picture metrics are undefined."""

from looktwice.data.dataset import Count, DataSet, Part

DATASET = DataSet(
    name="endo",
    title="Endo (EndoTect 2020)",
    modality="image",
    owner="EndoTect challenge",
    page="EndoTect 2020",
    licence="not stated",
    truth="pixel masks",
    categories=("colon",),
    display={"colon": "endoscopy picture"},
    parts=(Part("test", "images/{stem}.jpg|jpeg|png", mask="masks/{stem}.jpg|jpeg|png", label=1, defect="polyp"),),
    counts={"": (Count(category="colon", split="test", normal=0, anomalous=200),)},
)
