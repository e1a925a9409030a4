"""CVC-ClinicDB: colonoscopy pictures, each with a polyp; none are normal, so picture metrics are undefined.

Two layouts are about: the polyp bundle (images, masks) and the original (Original, Ground Truth, .tif).
"""

from looktwice.data.dataset import Count, DataSet, Part

DATASET = DataSet(
    name="cvc_clinicdb",
    title="CVC-ClinicDB",
    modality="image",
    owner="figshare",
    page='bundle "Polyp DataSet", folder CVC-ClinicDB; or the original archive',
    licence="not stated",
    truth="pixel masks",
    categories=("colon",),
    display={"colon": "colonoscopy picture"},
    parts=(
        Part("test", "images/{stem}.png", mask="masks/{stem}.png", label=1, defect="polyp"),
        Part("test", "Original/{stem}.tif|tiff", mask="Ground Truth/{stem}.tif|tiff", label=1, defect="polyp"),
    ),
    inside=("", "CVC-ClinicDB"),
    counts={"": (Count(category="colon", split="test", normal=0, anomalous=612),)},
)
