"""BrainMRI: 253 slices with and without a tumour; a label a picture.

Odd: names hold blanks, endings are mixed, and the archive repeats both folders inside brain_tumor_dataset:
only the outer ones are read, so nothing counts twice.
"""

from looktwice.data.dataset import Count, DataSet, Part

DATASET = DataSet(
    name="brain_mri",
    title="BrainMRI",
    modality="image",
    owner="Navoneel Chakrabarty, Kaggle",
    page='"Brain MRI Images for Brain Tumor Detection"',
    licence="not clearly stated",
    truth="image labels",
    categories=("brain",),
    display={"brain": "brain MRI slice"},
    normal=("no",),
    parts=(
        Part("test", "no/{stem}.jpg|jpeg|png", label=0),
        Part("test", "yes/{stem}.jpg|jpeg|png", label=1, defect="tumour"),
    ),
    inside=("", "brain_tumor_dataset"),
    counts={"": (Count(category="brain", split="test", normal=98, anomalous=155),)},
    notes=("201 of its 228 distinct pictures are in Br35H too: do not train on one and test on the other",),
)
