"""MPDD: painted metal parts, laid out as MVTec AD.

Odd: one defect type of `tubes` is literally called anomalous.
"""

from looktwice.data.dataset import Count, DataSet, Part, per_category

TYPES = {
    "bracket_black": {"hole": 12, "scratches": 35},
    "bracket_brown": {"bend_and_parts_mismatch": 17, "parts_mismatch": 34},
    "bracket_white": {"defective_painting": 13, "scratches": 17},
    "connector": {"parts_mismatch": 14},
    "metal_plate": {"major_rust": 14, "scratches": 34, "total_rust": 23},
    "tubes": {"anomalous": 69},
}

DATASET = DataSet(
    name="mpdd",
    title="MPDD",
    modality="image",
    owner="stepanje",
    page="repository stepanje/MPDD",
    licence="CC BY-NC-SA 4.0",
    truth="pixel masks",
    categories=tuple(TYPES),
    display={
        "bracket_black": "black metal bracket",
        "bracket_brown": "brown metal bracket",
        "bracket_white": "white metal bracket",
    },
    parts=(
        Part("train", "{category}/train/{defect}/{stem}.png"),
        Part(
            "test",
            "{category}/test/{defect}/{stem}.png",
            mask="{category}/ground_truth/{defect}/{stem}_mask.png",
        ),
    ),
    counts={
        "": (
            *per_category(
                ("train", "test"),
                {
                    "bracket_black": (289, (32, 47)),
                    "bracket_brown": (185, (26, 51)),
                    "bracket_white": (110, (30, 30)),
                    "connector": (128, (30, 14)),
                    "metal_plate": (54, (26, 71)),
                    "tubes": (122, (32, 69)),
                },
                reported=("train",),
            ),
            *(
                Count(category=category, split="test", defect=defect, anomalous=number)
                for category, numbers in TYPES.items()
                for defect, number in numbers.items()
            ),
        )
    },
    defects={category: tuple(numbers) for category, numbers in TYPES.items()},
    extras=("LICENSE*", "license.txt", "README*", "readme.txt"),
)
