"""MVTec LOCO AD: structural defects, and logical ones (something missing, too many, in the wrong place).

Odd: the mask of a picture is a folder of pictures, one a defect, each with a grey value of its own.
"""

from looktwice.data.dataset import DataSet, Part, per_category

DATASET = DataSet(
    name="mvtec_loco",
    title="MVTec LOCO AD",
    modality="image",
    owner="MVTec Software GmbH",
    page='page "MVTec LOCO AD"',
    licence="CC BY-NC-SA 4.0",
    truth="pixel masks",
    categories=("breakfast_box", "juice_bottle", "pushpins", "screw_bag", "splicing_connectors"),
    display={"breakfast_box": "breakfast box", "screw_bag": "bag of screws", "pushpins": "box of pushpins"},
    parts=(
        Part("train", "{category}/train/{defect}/{stem}.png"),
        Part("validation", "{category}/validation/{defect}/{stem}.png"),
        Part("test", "{category}/test/{defect}/{stem}.png", mask="{category}/ground_truth/{defect}/{stem}/*.png"),
    ),
    counts={
        "": per_category(
            ("train", "validation", "test"),
            {
                "breakfast_box": (351, 62, (102, 90 + 83)),
                "juice_bottle": (335, 54, (94, 94 + 142)),
                "pushpins": (372, 69, (138, 81 + 91)),
                "screw_bag": (360, 60, (122, 82 + 137)),
                "splicing_connectors": (354, 59, (119, 85 + 108)),
            },
            reported=("train", "validation", "test"),
        )
    },
    defects={"": ("structural_anomalies", "logical_anomalies")},
    extras=("*/defects_config.json", "license.txt", "readme.txt", "*/license.txt", "*/readme.txt"),
    notes=("report structural and logical defects apart as well as the mean",),
)
