"""ISIC 2016, task 1, test part: skin lesions with masks, none of them normal, so picture metrics are undefined."""

from looktwice.data.dataset import Count, DataSet, Part

DATASET = DataSet(
    name="isic",
    title="ISIC 2016 task 1",
    modality="image",
    owner="ISIC archive",
    page="ISBI 2016 challenge, part 1, test data and ground truth",
    licence="terms of the ISIC archive",
    truth="pixel masks",
    categories=("skin",),
    display={"skin": "skin lesion"},
    parts=(
        Part(
            "test",
            "ISBI2016_ISIC_Part1_Test_Data/{stem}.jpg|jpeg",
            mask="ISBI2016_ISIC_Part1_Test_GroundTruth/{stem}_Segmentation.png",
            label=1,
            defect="lesion",
        ),
    ),
    counts={"": (Count(category="skin", split="test", normal=0, anomalous=379),)},
)
