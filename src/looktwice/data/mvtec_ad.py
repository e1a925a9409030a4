"""MVTec AD: fifteen objects and textures, the set every table starts with.

Odd: grid, screw and zipper are grey; masks of `combined` hold several kinds; 73 % of the test part is anomalous.
"""

from looktwice.data.dataset import DataSet, Part, per_category

DATASET = DataSet(
    name="mvtec_ad",
    title="MVTec AD",
    modality="image",
    owner="MVTec Software GmbH",
    page='page "MVTec AD"',
    licence="CC BY-NC-SA 4.0",
    truth="pixel masks",
    categories=(
        *("bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather", "metal_nut", "pill", "screw"),
        *("tile", "toothbrush", "transistor", "wood", "zipper"),
    ),
    parts=(
        Part("train", "{category}/train/{defect}/{stem}.png"),
        Part(
            "test",
            "{category}/test/{defect}/{stem}.png",
            mask="{category}/ground_truth/{defect}/{stem}_mask.png",
        ),
    ),
    counts={
        "": per_category(
            ("train", "test"),
            {
                "bottle": (209, (20, 63)),
                "cable": (224, (58, 92)),
                "capsule": (219, (23, 109)),
                "carpet": (280, (28, 89)),
                "grid": (264, (21, 57)),
                "hazelnut": (391, (40, 70)),
                "leather": (245, (32, 92)),
                "metal_nut": (220, (22, 93)),
                "pill": (267, (26, 141)),
                "screw": (320, (41, 119)),
                "tile": (230, (33, 84)),
                "toothbrush": (60, (12, 30)),
                "transistor": (213, (60, 40)),
                "wood": (247, (19, 60)),
                "zipper": (240, (32, 119)),
            },
            reported=("train",),
        )
    },
    defects={
        "bottle": ("broken_large", "broken_small", "contamination"),
        "cable": (
            *("bent_wire", "cable_swap", "combined", "cut_inner_insulation", "cut_outer_insulation"),
            *("missing_cable", "missing_wire", "poke_insulation"),
        ),
        "capsule": ("crack", "faulty_imprint", "poke", "scratch", "squeeze"),
        "carpet": ("color", "cut", "hole", "metal_contamination", "thread"),
        "grid": ("bent", "broken", "glue", "metal_contamination", "thread"),
        "hazelnut": ("crack", "cut", "hole", "print"),
        "leather": ("color", "cut", "fold", "glue", "poke"),
        "metal_nut": ("bent", "color", "flip", "scratch"),
        "pill": ("color", "combined", "contamination", "crack", "faulty_imprint", "pill_type", "scratch"),
        "screw": ("manipulated_front", "scratch_head", "scratch_neck", "thread_side", "thread_top"),
        "tile": ("crack", "glue_strip", "gray_stroke", "oil", "rough"),
        "toothbrush": ("defective",),
        "transistor": ("bent_lead", "cut_lead", "damaged_case", "misplaced"),
        "wood": ("color", "combined", "hole", "liquid", "scratch"),
        "zipper": (
            *("broken_teeth", "combined", "fabric_border", "fabric_interior", "rough", "split_teeth"),
            "squeezed_teeth",
        ),
    },
    extras=("license.txt", "readme.txt", "*/license.txt", "*/readme.txt", "vlm_for_ad_dataset.json"),
)
