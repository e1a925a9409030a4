"""A tiny copy of every data set on disk, with what must be read back from it.

Folder layouts are built from the declaration alone; the others have a small builder each in SPECIAL.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

from looktwice.data import mmad, real_iad, ucf_crime
from looktwice.data.dataset import DataSet, Part
from looktwice.data.items import Item, read_truth

SIZE = (16, 24)  # rows, columns: not square, so that a turned mask cannot hide


@dataclass
class Thing:
    """What one item must be."""

    category: str
    split: str
    label: int | None
    defect: str = ""
    mask: np.ndarray | None = None
    frames: int | None = None  # where counting them needs a decoder


Things = dict[str, Thing]


def compare(items: list[Item], things: Things) -> None:
    """Every thing is read once, as it was made."""
    ids = [item.id for item in items]
    assert sorted(ids) == sorted(things)
    for item in items:
        thing = things[item.id]
        assert (item.category, item.split, item.label, item.defect_type) == (
            thing.category,
            thing.split,
            thing.label,
            thing.defect,
        ), item.id
        assert all(path.exists() for path in item.paths), item.id
        truth = read_truth(item, None if thing.frames is None else (thing.frames,))
        if thing.mask is None:
            assert truth is None, item.id
        else:
            assert truth is not None, item.id
            assert truth.dtype == np.bool_
            np.testing.assert_array_equal(truth, thing.mask, err_msg=item.id)


# ---------------------------------------------------------------- files


def picture(path: Path, seed: int = 0, size: tuple[int, int] = SIZE, mode: str = "RGB") -> Path:
    """A noisy picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (*size, 4), np.uint8)
    image = Image.fromarray(noise[..., :3]).convert(mode)
    image.save(path)
    return path


def block(k: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A marked 8 x 8 block, aligned so that even a JPEG keeps it."""
    mask = np.zeros(size, np.bool_)
    mask[8 * (k % 2) : 8 * (k % 2) + 8, 8 * (k % 3) : 8 * (k % 3) + 8] = True
    return mask


def save_mask(path: Path, mask: np.ndarray, value: int = 255) -> Path:
    """A mask picture with `value` where marked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_jpeg = path.suffix.lower() in (".jpg", ".jpeg")
    Image.fromarray(mask.astype(np.uint8) * (255 if is_jpeg else value)).save(path)
    return path


def write(path: Path, text: str, newline: str = "\n") -> Path:
    """A text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline=newline)
    return path


def pcd(path: Path, points: np.ndarray) -> Path:
    """An ASCII point cloud."""
    head = ["VERSION .7", "FIELDS x y z", "SIZE 4 4 4", "TYPE F F F", "COUNT 1 1 1", f"WIDTH {len(points)}"]
    head += ["HEIGHT 1", "VIEWPOINT 0 0 0 1 0 0 0", f"POINTS {len(points)}", "DATA ascii"]
    rows = [" ".join(f"{v:.6f}" for v in point) for point in points]
    return write(path, "\n".join([*head, *rows]) + "\n")


def xyz_tiff(path: Path, seed: int = 0) -> Path:
    """An organised cloud of SIZE."""
    import tifffile

    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.random.default_rng(seed).random((*SIZE, 3), np.float32), photometric="rgb")
    return path


def clip(path: Path, frames: int = 6) -> Path:
    """A short video."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for k in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * k, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


# ---------------------------------------------------------------- from the declaration


def build(dataset: DataSet, root: Path) -> Things:
    """A tiny copy of any data set."""
    if dataset.name in SPECIAL:
        return SPECIAL[dataset.name](root)
    assert dataset.parts, f"{dataset.name} has no parts: it needs a builder in SPECIAL"
    assert dataset.read is None, f"{dataset.name} is read by code: it needs a builder in SPECIAL"
    return build_parts(dataset, root)


def build_parts(dataset: DataSet, root: Path) -> Things:
    """Two items a folder, every type of defect, every class, for sets that are all folders."""
    things: Things = {}
    for category in dataset.categories or ("alpha", "beta 2"):
        for part in dataset.parts:
            for defect in _defects(dataset, part, category):
                for k in range(2):
                    things |= _one(dataset, part, root, {"category": category, "defect": defect, "stem": f"{k:03d}"}, k)
    return things


def _defects(dataset: DataSet, part: Part, category: str) -> tuple[str, ...]:
    if "{defect}" not in part.files:
        return (part.defect,)
    if part.split != "test":
        return dataset.normal[:1]
    return (dataset.normal[0], *dataset.defects.get(category, dataset.defects.get("", ("crack", "good looking"))))


def _one(dataset: DataSet, part: Part, root: Path, bound: dict[str, str], k: int) -> Things:
    name = _fill(part.files, bound, k)
    if dataset.modality == "point_cloud":
        xyz_tiff(root / name, k)
    else:
        picture(root / name, k)
    if part.also:
        picture(root / _fill(part.also, bound, 0), k)
    label = part.label if part.label is not None else dataset.label_of(bound["defect"])
    mask = block(k) if label else np.zeros(SIZE, np.bool_)
    patterns = (part.mask,) if isinstance(part.mask, str) else part.mask
    # the second item of a folder uses the last pattern
    pattern = patterns[-1] if k else patterns[0]
    if pattern and (label or dataset.name == "mvtec_3d"):
        if "*" in pattern:
            save_mask(root / _fill(pattern, bound, 0, "000"), mask & block(k, SIZE) & _half(), 1)
            save_mask(root / _fill(pattern, bound, 0, "001"), mask & ~_half(), 254)
        else:
            save_mask(root / _fill(pattern, bound, 0), mask, 1 + 252 * k)
    known = mask.reshape(-1) if dataset.modality == "point_cloud" else mask
    truth = known if dataset.has_masks and (label == 0 or pattern) else None
    return {name: Thing(bound.get("category", ""), part.split, label, bound["defect"] if label else "", truth)}


def _half() -> np.ndarray:
    half = np.zeros(SIZE, np.bool_)
    half[:, ::2] = True
    return half


def _fill(pattern: str, bound: dict[str, str], k: int, star: str = "") -> str:
    """A file name of a pattern: the k-th of its endings, the odd ones in capitals."""
    stem, endings = pattern.replace("*", star).rsplit(".", 1)
    ending = endings.split("|")[k % len(endings.split("|"))]
    return stem.format_map(bound) + "." + (ending.upper() if k % 2 else ending)


def build_whole(dataset: DataSet, root: Path) -> None:
    """A copy with exactly the published numbers; files are links to one another."""
    shape = picture(root.parent / "one.png")
    mask = save_mask(root.parent / "mask.png", block())
    made: set[tuple[str, str, str]] = set()
    for count in sorted(dataset.expected(), key=lambda c: not c.defect):
        part = next(p for p in dataset.parts if p.split == count.split)
        types = list(dataset.defects.get(count.category, dataset.defects.get("", ("crack",))))
        open_types = [t for t in types if (count.category, count.split, t) not in made]
        for label, number in ((0, count.normal or 0), (1, count.anomalous or 0)):
            if count.defect:
                made.add((count.category, count.split, count.defect))
            elif label and not open_types:
                continue
            for k in range(number):
                defect = count.defect or (open_types[k % len(open_types)] if label else dataset.normal[0])
                _link(
                    dataset,
                    part,
                    root,
                    {"category": count.category, "defect": defect, "stem": f"{k:03d}"},
                    label,
                    shape,
                    mask,
                )


def _link(dataset: DataSet, part: Part, root: Path, bound: dict[str, str], label: int, shape: Path, mask: Path) -> None:
    if "{defect}" not in part.files:
        part = next(p for p in dataset.parts if p.label == label and p.split == part.split)
    names = [(shape, _fill(part.files, bound, 0))]
    pattern = part.mask if isinstance(part.mask, str) else part.mask[0]
    if label and pattern:
        names.append((mask, _fill(pattern, bound, 0, "000")))
    for source, name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(source, root / name)


# ---------------------------------------------------------------- a builder each for what is odd


def _nothing() -> np.ndarray:
    return np.zeros(SIZE, np.bool_)


def _visa(root: Path) -> Things:
    rows, things = ["object,split,label,image,mask"], {}
    for category in ("candle", "cashew"):
        for split, label, name in (("train", "normal", "0001"), ("test", "normal", "000"), ("test", "anomaly", "000")):
            folder = "Normal" if label == "normal" else "Anomaly"
            image = f"{category}/Data/Images/{folder}/{name}.JPG"
            mask = f"{category}/Data/Masks/Anomaly/{name}.png" if label == "anomaly" else ""
            picture(root / image)
            if mask:
                save_mask(root / mask, block(), 3)
            rows.append(f"{category},{split},{label},{image},{mask}")
            marked = block() if mask else _nothing()
            things[image] = Thing(category, split, int(label == "anomaly"), "", marked)
    for variant in ("1cls", "2cls_highshot", "2cls_fewshot"):
        write(root / "split_csv" / f"{variant}.csv", "\n".join(rows) + "\n", newline="\r\n")
    return things


def _riad(root: Path) -> Things:
    from looktwice.data.riad import DATASET

    things = build_parts(DATASET, root)
    told = next(name for name, thing in things.items() if thing.label)
    turns = [{"from": "human", "value": "<image>\nIs it whole?"}, {"from": "gpt", "value": "No. It is cracked."}]
    write(root / "instruct.json", json.dumps([{"image": told, "conversations": turns}]))
    return things


def _aitex(root: Path) -> Things:
    things: Things = {}
    size = (16, 24)
    for name, mode in (("2311694-2040n7u/0001_000_00", "L"), ("2311517-195063u/0018_00_01", "LA")):
        things[f"NODefect_images/{name}.png"] = Thing("fabric", "test", 0, "", np.zeros(size, np.bool_))
        picture(root / "NODefect_images" / f"{name}.png", mode=mode)
    for name, defect in (("0044_019_04", "fuzzyball"), ("0100_025_08", "warp_ball"), ("0097_030_03", "nep")):
        picture(root / "Defect_images" / f"{name}.png", mode="LA")
        things[f"Defect_images/{name}.png"] = Thing("fabric", "test", 1, defect, None)
    masks = root / "Mask_images"
    save_mask(masks / "0044_019_04_mask1.png", block(0))
    save_mask(masks / "0044_019_04_mask2.png", block(1))
    save_mask(masks / "0097_030_03_mask.png", block(2), 7)
    things["Defect_images/0044_019_04.png"].mask = block(0) | block(1)
    things["Defect_images/0097_030_03.png"].mask = block(2)
    return things


def _elpv(root: Path) -> Things:
    things: Things = {}
    rows = []
    for number, p in ((1, "1.0"), (2, "0.0"), (3, "0.3333333333333333"), (4, "0.6666666666666666")):
        picture(root / "src/elpv_dataset/data/images" / f"cell{number:04d}.png", mode="L")
        rows.append(f"images/cell{number:04d}.png  {p}    {'mono' if number % 2 else 'poly'}")
        if p in ("1.0", "0.0"):
            things[f"src/elpv_dataset/data/images/cell{number:04d}.png"] = Thing("solar_cell", "test", int(p == "1.0"))
    write(root / "src/elpv_dataset/data/labels.csv", "\n".join(rows) + "\n")
    return things


def _real_iad(root: Path) -> Things:
    things: Things = {}
    for category in ("audiojack", "zipper"):
        lists: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
        for split, kind in (("train", "OK"), ("test", "OK"), ("test", "HS")):
            folder = "OK" if kind == "OK" else f"NG/{kind}"
            image = f"{folder}/S0001/{category}_0001_{kind}_C1_{split}.jpg"
            mask = image.replace(".jpg", ".png") if kind != "OK" else None
            picture(root / "realiad_1024" / category / image)
            if mask:
                save_mask(root / "realiad_1024" / category / mask, block(), 255)
            record = {"category": category, "anomaly_class": kind, "image_path": image, "mask_path": mask}
            lists[split].append(record)
            defect = "" if kind == "OK" else "scratch"
            marked = block() if mask else _nothing()
            things[f"{category}/{image}"] = Thing(category, split, int(kind != "OK"), defect, marked)
        meta = {"prefix": "", "normal_class": "OK", "pre_transform": None}
        for folder in real_iad.LISTS.values():
            write(root / "realiad_jsons" / folder / f"{category}.json", json.dumps({"meta": meta, **lists}))
    return things


def _head_ct(root: Path) -> Things:
    for number in (0, 1, 100):
        picture(root / "head_ct/head_ct" / f"{number:03d}.png", mode="RGBA" if number else "RGB")
    write(root / "labels.csv", "id, hemorrhage\n0, 1\n1, 1\n100, 0\n")
    bleeding = Thing("head", "test", 1, "haemorrhage")
    names = ("head_ct/head_ct/000.png", "head_ct/head_ct/001.png", "head_ct/head_ct/100.png")
    return dict(zip(names, (bleeding, bleeding, Thing("head", "test", 0)), strict=True))


def _br35h(root: Path) -> Things:
    things: Things = {}
    for k in range(2):
        picture(root / "yes" / f"y{k}.jpg")
        picture(root / "no" / f"no{k}.jpg")
        things[f"yes/y{k}.jpg"] = Thing("brain", "test", 1, "tumour")
        things[f"no/no{k}.jpg"] = Thing("brain", "test", 0)
    picture(root / "pred" / "pred0.jpg")
    shapes = [
        {"name": "polygon", "all_points_x": [2, 9, 9, 2], "all_points_y": [3, 3, 8, 8]},
        {"name": "circle", "cx": 12, "cy": 6, "r": 3},
        {"name": "ellipse", "cx": 12, "cy": 8, "rx": 8, "ry": 2, "theta": 0.0},
    ]
    for folder, name, shape in zip(("TRAIN", "VAL", "TEST"), ("y0", "y1", "y7"), shapes, strict=True):
        base = root / "Br35H-Mask-RCNN" / folder
        picture(base / f"{name}.jpg")
        region = {"shape_attributes": shape, "region_attributes": {}}
        record = {"filename": f"{name}.jpg", "size": 9, "regions": [region], "file_attributes": {}}
        write(base / "annotations.json", json.dumps({f"{name}.jpg9": record}))
    return things


def _labelled_cloud(root: Path, cloud: str, labels: str, mark: str) -> np.ndarray:
    """A cloud and a label file whose points stand in another order, as published."""
    points = np.random.default_rng(5).random((9, 3))
    marked = np.arange(9) % 3 == 0
    pcd(root / cloud, points)
    order = np.arange(9)[::-1]
    rows = [mark.join([*(f"{v:.6f}" for v in points[i]), str(int(marked[i]))]) for i in order]
    write(root / labels, "\n".join(rows) + "\n")
    return marked[order]


def _real3d_ad(root: Path) -> Things:
    things: Things = {}
    for category in ("airplane", "shell"):
        pcd(root / category / "train" / "1_template.pcd", np.random.default_rng(1).random((7, 3)))
        pcd(root / category / "test" / "3_template.pcd", np.random.default_rng(1).random((7, 3)))
        pcd(root / category / "test" / "2_good_cut.pcd", np.random.default_rng(2).random((5, 3)))
        name = f"{category}/test/7_bulge_cut.pcd"
        marked = _labelled_cloud(root, name, f"{category}/gt/7_bulge_cut.txt", " ")
        things[f"{category}/train/1_template.pcd"] = Thing(category, "train", 0, "", np.zeros(7, np.bool_))
        things[f"{category}/test/2_good_cut.pcd"] = Thing(category, "test", 0, "", np.zeros(5, np.bool_))
        things[name] = Thing(category, "test", 1, "bulge", marked)
    return things


def _anomaly_shapenet(root: Path) -> Things:
    things: Things = {}
    for category in ("ashtray0", "bottle3"):
        base = f"dataset/pcd/{category}"
        pcd(root / base / "train" / f"{category}_template0.pcd", np.random.default_rng(1).random((7, 3)))
        pcd(root / base / "test" / f"{category}_positive1.pcd", np.random.default_rng(2).random((5, 3)))
        name = f"{base}/test/{category}_concavity2.pcd"
        marked = _labelled_cloud(root, name, f"{base}/GT/{category}_concavity2.txt", ",")
        things[f"{base}/train/{category}_template0.pcd"] = Thing(category, "train", 0, "", np.zeros(7, np.bool_))
        things[f"{base}/test/{category}_positive1.pcd"] = Thing(category, "test", 0, "", np.zeros(5, np.bool_))
        things[name] = Thing(category, "test", 1, "concavity", marked)
    return things


def _frames(folder: Path, number: int, suffix: str = ".tif") -> None:
    for k in range(1, number + 1):
        picture(folder / f"{k:03d}{suffix}", k, mode="L" if suffix == ".tif" else "RGB")


def _ucsd_ped2(root: Path) -> Things:
    base = root / "UCSDped2"
    _frames(base / "Train" / "Train001", 4)
    for name in ("Test001", "Test002"):
        _frames(base / "Test" / name, 6)
        for k in range(1, 7):
            save_mask(base / "Test" / f"{name}_gt" / f"{k:03d}.bmp", block() if k in (2, 3, 6) else _nothing())
    write(base / "Test" / "._Test001", "mac")
    write(base / "Test" / ".DS_Store", "mac")
    write(base / "Test" / "Test001" / "._001.tif", "mac")
    script = (
        "TestVideoFile = {};\nTestVideoFile{end+1}.gt_frame = [2:3, 6:6];\nTestVideoFile{end+1}.gt_frame = [1:2];\n"
    )
    write(base / "Test" / "UCSDped2.m", script)
    first, second = np.array([0, 1, 1, 0, 0, 1], np.bool_), np.array([1, 1, 0, 0, 0, 0], np.bool_)
    return {
        "UCSDped2/Train/Train001": Thing("walkway", "train", 0, "", np.zeros(4, np.bool_)),
        "UCSDped2/Test/Test001": Thing("walkway", "test", 1, "", first),
        "UCSDped2/Test/Test002": Thing("walkway", "test", 1, "", second),
    }


def _avenue(root: Path) -> Things:
    clip(root / "training_videos" / "01.avi")
    clip(root / "testing_videos" / "03.avi")
    cells = np.empty((1, 6), object)
    for k in range(6):
        cells[0, k] = (block() if k in (1, 4) else _nothing()).astype(np.uint8)
    mat = root / "ground_truth_demo" / "testing_label_mask" / "3_label.mat"
    mat.parent.mkdir(parents=True)
    savemat(mat, {"volLabel": cells})
    marked = np.array([0, 1, 0, 0, 1, 0], np.bool_)
    return {
        "training_videos/01.avi": Thing("avenue", "train", 0, "", np.zeros(6, np.bool_)),
        "testing_videos/03.avi": Thing("avenue", "test", None, "", marked),
    }


def _shanghaitech(root: Path) -> Things:
    clip(root / "training" / "videos" / "01_001.avi")
    for name in ("01_0014", "05_0020"):
        _frames(root / "testing" / "frames" / name, 5, ".jpg")
    for folder in ("test_frame_mask", "test_pixel_mask"):
        (root / "testing" / folder).mkdir()
    marked = np.array([0, 1, 1, 0, 0], np.bool_)
    for name, labels in (("01_0014", marked), ("05_0020", np.zeros(5, np.bool_))):
        np.save(root / "testing/test_frame_mask" / f"{name}.npy", labels.astype(np.int64))
        np.save(root / "testing/test_pixel_mask" / f"{name}.npy", labels[:, None, None] * block().astype(np.uint8))
    return {
        "training/videos/01_001.avi": Thing("campus", "train", 0, "", np.zeros(6, np.bool_)),
        "testing/frames/01_0014": Thing("campus", "test", 1, "", marked),
        "testing/frames/05_0020": Thing("campus", "test", 0, "", np.zeros(5, np.bool_)),
    }


def _ucf_crime(root: Path) -> Things:
    normal = "Normal_Videos_003_x264.mp4"
    for name in (
        "Anomaly-Videos-Part-1/Abuse/Abuse028_x264.mp4",
        "Anomaly-Videos-Part-1/Arson/Arson001_x264.mp4",
        f"Testing_Normal_Videos_Anomaly/{normal}",
        f"Normal_Videos_for_Event_Recognition/{normal}",
        "Training-Normal-Videos-Part-1/Normal_Videos001_x264.mp4",
    ):
        write(root / name, "a video")
    write(
        root / "Anomaly_Train.txt",
        "Arson/Arson001_x264.mp4\nTraining_Normal_Videos_Anomaly/Normal_Videos001_x264.mp4\n",
    )
    write(root / "Anomaly_Test.txt", f"Abuse/Abuse028_x264.mp4\nTesting_Normal_Videos_Anomaly/{normal}\n")
    rows = ["Abuse028_x264.mp4  Abuse  3  5  9  10", f"{normal}  Normal  -1  -1  -1  -1"]
    write(root / ucf_crime.ANNOTATION, "  \n".join(rows) + "\n", newline="\r\n")
    marked = np.isin(np.arange(1, 13), (3, 4, 5, 9, 10))
    none = np.zeros(12, np.bool_)
    return {
        "Arson/Arson001_x264.mp4": Thing("surveillance", "train", 1, "Arson", None, 12),
        "Training_Normal_Videos_Anomaly/Normal_Videos001_x264.mp4": Thing("surveillance", "train", 0, "", none, 12),
        "Abuse/Abuse028_x264.mp4": Thing("surveillance", "test", 1, "Abuse", marked, 12),
        f"Testing_Normal_Videos_Anomaly/{normal}": Thing("surveillance", "test", 0, "", none, 12),
    }


def _anomaly_instruct(root: Path) -> Things:
    turns = [{"from": "human", "value": "<image>\nIs the pot whole?"}, {"from": "gpt", "value": "No, it leaks."}]
    for name in ("webad/teapot/cracked/17.jpg", "views/a.png", "views/b.png"):
        picture(root / name)
    one = {"id": "webad_000001", "image": "webad/teapot/cracked/17.jpg", "conversations": turns}
    write(root / "webad.json", json.dumps([one]))
    write(root / "real3d.jsonl", json.dumps({"image": ["views/a.png", "views/b.png"], "conversations": turns}) + "\n")
    return {"webad/1": Thing("webad", "train", None), "real3d/1": Thing("real3d", "train", None)}


def _visa_dr(root: Path) -> Things:
    good, bad = "VisA/candle/Data/Images/Normal/0001.JPG", "VisA/candle/Data/Images/Anomaly/007.JPG"
    left_out = "VisA/pcb2/Data/Images/Anomaly/007.JPG"
    for name in (good, bad, left_out):
        picture(root / name)
    save_mask(root / "VisA/candle/Data/Masks/Anomaly/007.png", block(), 2)
    detection = [{"image": good, "anomaly": False}, {"image": bad, "anomaly": 1}, {"image": left_out, "anomaly": 1}]
    questions = ["Do you see any defects?", "Describe them.", "What could follow?"]
    reasoning = [
        {"image": bad, "anomaly": True, "questions": questions, "answers": ["Yes.", "A dent.", "It may leak."]}
    ]
    write(root / "VisA/test_data.json", json.dumps(detection))
    write(root / "VisA/visa_dr.json", json.dumps(reasoning))
    return {
        f"detection/{good}": Thing("candle", "detection", 0, "", _nothing()),
        f"detection/{bad}": Thing("candle", "detection", 1, "", block()),
        f"reasoning/{bad}": Thing("candle", "reasoning", 1, "", block()),
    }


def _mmad(root: Path) -> Things:
    things: Things = {}
    content = {}
    rows = (
        ("VisA/candle", "test/good/0005.JPG", None),
        ("VisA/candle", "test/bad/007.JPG", "ground_truth/bad/007.png"),
        ("DS-MVTec/tile", "image/crack/000.png", "mask/crack/000_mask.png"),
        ("GoodsAD/food_box", "test/opened/01.jpg", None),
    )
    for category, name, mask in rows:
        key = f"{category}/{name}"
        picture(root / key)
        picture(root / category / "train/good/0012.JPG")
        if mask:
            save_mask(root / category / mask, block())
        options = {"A": "Yes.", "B": "No."}
        question = {"Question": "Is there any defect?", "Answer": "A", "Options": options, "type": "Anomaly Detection"}
        template = [f"{category}/train/good/0012.JPG"]
        content[key] = {
            "image_path": key,
            "mask_path": mask,
            "conversation": [question],
            "similar_templates": template,
            "random_templates": template,
        }
        normal = "good" in name.split("/")
        defect = "" if normal else name.split("/")[-2]
        marked = _nothing() if normal else block() if mask else None
        things[key] = Thing(category, "test", int(not normal), defect, marked)
    assert set(mmad.CLASSES) >= {key.split("/")[0] for key in content}
    write(root / "mmad.json", json.dumps(content))
    write(root / "domain_knowledge.json", json.dumps({"MVTec": {"tile": {"crack": "A tile cracks when it falls."}}}))
    return things


def _customizable_vlm(root: Path) -> Things:
    base = "datasets/MVTecAD/bottle"
    things: Things = {}
    records = []
    for kind, label in (("good", 1), ("broken_large", 0)):
        name = f"{base}/test/{kind}/000.png"
        picture(root / name)
        record = {"object_type": "bottle", "defect_img_path": name, "good_img_path": f"{base}/test/good/000.png"}
        records.append({**record, "label": label, "defect_type": kind})
        marked = _nothing() if label else block()
        things[name] = Thing("bottle", "test", 1 - label, "" if label else kind, marked)
    save_mask(root / base / "ground_truth/broken_large/000_mask.png", block())
    write(root / "datasets/MVTecAD/vlm_for_ad_dataset.json", json.dumps(records))
    return things


def _folder(root: Path) -> Things:
    name = root.name
    for path in ("good/a 1.png", "bad/b.PNG", "bad/scratch/c.jpg"):
        picture(root / path)
    save_mask(root / "masks/b.png", block(0), 1)
    save_mask(root / "masks/scratch/c_mask.png", block(1))
    write(root / "bad" / "Thumbs.db", "litter")
    return {
        "good/a 1.png": Thing(name, "test", 0, "", _nothing()),
        "bad/b.PNG": Thing(name, "test", 1, "", block(0)),
        "bad/scratch/c.jpg": Thing(name, "test", 1, "scratch", block(1)),
    }


SPECIAL: dict[str, Callable[[Path], Things]] = {
    "visa": _visa,
    "riad": _riad,
    "aitex": _aitex,
    "elpv": _elpv,
    "real_iad": _real_iad,
    "head_ct": _head_ct,
    "br35h": _br35h,
    "real3d_ad": _real3d_ad,
    "anomaly_shapenet": _anomaly_shapenet,
    "ucsd_ped2": _ucsd_ped2,
    "avenue": _avenue,
    "shanghaitech": _shanghaitech,
    "ucf_crime": _ucf_crime,
    "anomaly_instruct": _anomaly_instruct,
    "visa_dr": _visa_dr,
    "mmad": _mmad,
    "customizable_vlm": _customizable_vlm,
    "folder": _folder,
}
