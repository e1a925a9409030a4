"""WFDD: woven fabrics with block-shaped, line-like and point-like defects.

Masks bear the stem of the picture, in some copies with _mask behind. The owner states no counts per class, so none
are held here. pink_flower is cut from the Tianchi cloth-flaw set, which has a licence of its own.
"""

from looktwice.data.dataset import Count, DataSet, Part

DATASET = DataSet(
    name="wfdd",
    title="WFDD",
    modality="image",
    owner="authors of GLASS",
    page="repository cqylunlun/GLASS",
    licence="MIT (pink_flower: Tianchi's own)",
    truth="pixel masks",
    categories=("grey_cloth", "grid_cloth", "yellow_cloth", "pink_flower"),
    display={"pink_flower": "cloth with pink flowers"},
    parts=(
        Part("train", "{category}/train/{defect}/{stem}.png|jpg|jpeg|bmp"),
        Part(
            "test",
            "{category}/test/{defect}/{stem}.png|jpg|jpeg|bmp",
            mask=(
                "{category}/ground_truth/{defect}/{stem}.png|jpg|jpeg|bmp",
                "{category}/ground_truth/{defect}/{stem}_mask.png|jpg|jpeg|bmp",
            ),
        ),
    ),
    counts={"": (Count(total=4101, verified=False),)},
    extras=("LICENSE*", "README*"),
)
