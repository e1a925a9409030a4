"""MVTec 3D-AD: organised clouds (a TIFF of x, y, z in metres) with a colour picture beside each.

Odd: pixels without a point are (0, 0, 0); mask values count down from 255, one a defect type; test/good has
black masks. `item.photograph()` gives the colour picture in place of the cloud.
"""

from looktwice.data.dataset import DataSet, Part, per_category

DATASET = DataSet(
    name="mvtec_3d",
    title="MVTec 3D-AD",
    modality="point_cloud",
    owner="MVTec Software GmbH",
    page='page "MVTec 3D-AD"',
    licence="CC BY-NC-SA 4.0",
    truth="pixel masks",
    categories=("bagel", "cable_gland", "carrot", "cookie", "dowel", "foam", "peach", "potato", "rope", "tire"),
    parts=(
        Part("train", "{category}/train/{defect}/xyz/{stem}.tiff|tif", also="{category}/train/{defect}/rgb/{stem}.png"),
        Part(
            "validation",
            "{category}/validation/{defect}/xyz/{stem}.tiff|tif",
            also="{category}/validation/{defect}/rgb/{stem}.png",
        ),
        Part(
            "test",
            "{category}/test/{defect}/xyz/{stem}.tiff|tif",
            mask="{category}/test/{defect}/gt/{stem}.png",
            also="{category}/test/{defect}/rgb/{stem}.png",
        ),
    ),
    counts={
        "": per_category(
            ("train", "validation", "test"),
            {"tire": (210, 29, (25, 87))},
        )
        + per_category(
            ("train", "validation", "test"),
            {
                "bagel": (244, 22, (22, 88)),
                "cable_gland": (223, 23, (21, 87)),
                "carrot": (286, 29, (27, 132)),
                "cookie": (210, 22, (28, 103)),
                "dowel": (288, 34, (26, 104)),
                "foam": (236, 27, (20, 80)),
                "peach": (361, 42, (26, 106)),
                "potato": (300, 33, (22, 92)),
                "rope": (298, 33, (32, 69)),
            },
            reported=("train", "validation", "test"),
        )
    },
    defects={"": ("combined", "contamination", "crack", "cut", "hole", "bent", "thread", "color", "open")},
    extras=(
        *("*/class_ids.json", "*/calibration/camera_parameters.json", "license*", "readme*"),
        *("*/license*", "*/readme*"),
    ),
)
