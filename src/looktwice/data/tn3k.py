"""TN3K: ultrasound pictures of thyroid nodules, masks in JPEG; all are anomalous, so picture metrics are undefined."""

from looktwice.data.dataset import Count, DataSet, Part

DATASET = DataSet(
    name="tn3k",
    title="TN3K",
    modality="image",
    owner="authors of TN3K",
    page="test part (test-image, test-mask)",
    licence="not stated",
    truth="pixel masks",
    categories=("thyroid",),
    display={"thyroid": "thyroid ultrasound picture"},
    parts=(Part("test", "test-image/{stem}.jpg|jpeg", mask="test-mask/{stem}.jpg|jpeg", label=1, defect="nodule"),),
    counts={"": (Count(category="thyroid", split="test", normal=0, anomalous=614, verified=False),)},
    extras=("trainval-image/*", "trainval-mask/*", "*.json"),
)
