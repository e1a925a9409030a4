"""CVC-ColonDB: colonoscopy pictures, each with a polyp; none are normal, so picture metrics are undefined."""

from looktwice.data.dataset import Count, DataSet, Part

DATASET = DataSet(
    name="cvc_colondb",
    title="CVC-ColonDB",
    modality="image",
    owner="figshare",
    page='bundle "Polyp DataSet", folder CVC-ColonDB',
    licence="not stated",
    truth="pixel masks",
    categories=("colon",),
    display={"colon": "colonoscopy picture"},
    parts=(Part("test", "images/{stem}.png", mask="masks/{stem}.png", label=1, defect="polyp"),),
    inside=("", "CVC-ColonDB"),
    counts={"": (Count(category="colon", split="test", normal=0, anomalous=380),)},
)
