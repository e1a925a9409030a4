"""BTAD: three industrial products; folders are ok and ko.

Odd: pictures and masks of the classes have different endings, and class 03 masks exist as .bmp and as .png.
The published paper speaks of 2,830 pictures, the files are 2,540.
"""

from looktwice.data.dataset import DataSet, Part, per_category

DATASET = DataSet(
    name="btad",
    title="BTAD",
    modality="image",
    owner="University of Udine, AVIRES",
    page='page "btad"',
    licence="CC BY-NC-SA 4.0",
    truth="pixel masks",
    categories=("01", "02", "03"),
    display={"01": "product", "02": "product", "03": "product"},
    normal=("ok",),
    parts=(
        Part("train", "{category}/train/{defect}/{stem}.bmp|png"),
        Part("test", "{category}/test/{defect}/{stem}.bmp|png", mask="{category}/ground_truth/{defect}/{stem}.png|bmp"),
    ),
    inside=("", "BTech_Dataset_transformed"),
    counts={
        "": per_category(
            ("train", "test"),
            {"01": (400, (21, 49)), "02": (399, (30, 200)), "03": (1000, (400, 41))},
            reported=("train",),
        )
    },
    defects={"": ("ko",)},
    notes=("the paper states 2,830 pictures, the files are 2,540",),
)
