import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from looktwice.records import Region, Result
from looktwice.report.coco import write_coco, write_run

from . import made

COCO = pytest.importorskip("pycocotools.coco").COCO
# pycocotools' own decoder speaks the array protocol of NumPy 1
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


def load(path: Path):  # type: ignore[no-untyped-def]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints while it loads
        return COCO(str(path))


def picture(folder: Path, boxes: list[tuple[int, int, int, int]], anomaly_map: np.ndarray | None, **more) -> Result:  # type: ignore[no-untyped-def]
    """A 40 x 50 picture with these boxes and, perhaps, a kept map."""
    files = {}
    if anomaly_map is not None:
        (folder / "maps").mkdir(exist_ok=True)
        np.save(folder / "maps/a.npy", anomaly_map)
        files = {"map": "maps/a.npy"}
    regions = tuple(Region(score=0.8, words="dark", where="centre", box=box) for box in boxes)
    line = {"id": "a", "path": "a.png", "modality": "image", "model": "memory", "score": 0.8, "verdict": "anomalous"}
    return Result(**{**line, "threshold": 0.5, "regions": regions, "files": files, "size": (40, 50), **more})


def test_pycocotools_reads_a_whole_run(tmp_path: Path) -> None:
    results = made.run(tmp_path)
    coco = load(write_run(tmp_path, results, made.SPEC, made.MADE))
    assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == [
        "parts/top/plate_021.png",
        "parts/top/plate_017.png",
    ]
    assert coco.loadCats(coco.getCatIds())[0]["name"] == "anomaly"
    assert coco.getAnnIds(imgIds=[1]) == []
    found = coco.loadAnns(coco.getAnnIds(imgIds=[2]))
    truth = results[1]
    anomaly_map = np.asarray(Image.open(tmp_path / truth.files["map"])) / 255
    whole = np.zeros(truth.size or (), bool)
    for annotation, region in zip(found, truth.regions, strict=True):
        x0, y0, x1, y1 = region.box or (0, 0, 0, 0)
        assert annotation["bbox"] == [x0, y0, x1 - x0, y1 - y0]
        mask = coco.annToMask(annotation).astype(bool)
        assert annotation["area"] == mask.sum() == region.area
        assert annotation["score"] == region.score
        whole |= mask
    np.testing.assert_array_equal(whole, anomaly_map >= 0.5)


def test_its_annotations_can_be_loaded_as_detections(tmp_path: Path) -> None:
    coco = load(write_coco(tmp_path / "coco.json", made.run(tmp_path)))
    with contextlib.redirect_stdout(io.StringIO()):
        detections = coco.loadRes([dict(a) for a in coco.dataset["annotations"]])
    assert len(detections.getAnnIds()) == 2
    assert {a["score"] for a in detections.dataset["annotations"]} == {a["score"] for a in coco.dataset["annotations"]}


def test_the_file_says_what_it_leaves_out(tmp_path: Path) -> None:
    file = write_run(tmp_path, made.run(tmp_path), None, made.MADE)
    info = json.loads(file.read_text())["info"]
    assert file == tmp_path / "coco.json"
    assert info["left_out"] == {"point_cloud": 1, "video": 1, "failed": 1}
    assert "COCO holds pictures only: 1 point clouds and 1 videos are left out, as are 1 files" in info["description"]
    assert info["made"] == made.MADE


def test_a_picture_without_a_map_has_boxes_only(tmp_path: Path) -> None:
    coco = load(write_coco(tmp_path / "coco.json", [picture(tmp_path, [(10, 5, 30, 20)], None)]))
    (annotation,) = coco.loadAnns(coco.getAnnIds())
    assert annotation["segmentation"] == [[10, 5, 30, 5, 30, 20, 10, 20]]
    assert annotation["area"] == 300 == coco.annToMask(annotation).sum()


@pytest.mark.parametrize("damage", ["gone", "torn", "other size", "pickle", "outside"])
def test_a_map_that_cannot_be_used_leaves_the_box(tmp_path: Path, damage: str) -> None:
    result = picture(tmp_path, [(10, 5, 30, 20)], np.ones((40, 50), np.float32))
    file = tmp_path / "maps/a.npy"
    if damage == "gone":
        file.unlink()
    elif damage == "torn":
        file.write_bytes(file.read_bytes()[:200])
    elif damage == "other size":
        np.save(file, np.ones((4, 5), np.float32))
    elif damage == "pickle":
        np.save(file, np.array([[{}]]), allow_pickle=True)
    else:
        result = result.model_copy(update={"files": {"map": f"../{tmp_path.name}/../{tmp_path.name}/../x.npy"}})
        np.save(tmp_path.parent / "x.npy", np.ones((40, 50), np.float32))
    coco = load(write_coco(tmp_path / "coco.json", [result]))
    assert isinstance(coco.loadAnns(coco.getAnnIds())[0]["segmentation"], list)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_maps_kept_as_whole_numbers_mean_the_same(tmp_path: Path, dtype: type) -> None:
    anomaly_map = np.zeros((40, 50), np.float32)
    anomaly_map[6:11, 12:20] = 0.8
    anomaly_map[11:13, 12:20] = 0.4
    (tmp_path / "maps").mkdir()
    Image.fromarray((anomaly_map * np.iinfo(dtype).max).round().astype(dtype)).save(tmp_path / "maps/a.png")
    result = picture(tmp_path, [(10, 5, 30, 20)], None, files={"map": "maps/a.png"})
    coco = load(write_coco(tmp_path / "coco.json", [result]))
    (annotation,) = coco.loadAnns(coco.getAnnIds())
    np.testing.assert_array_equal(coco.annToMask(annotation).astype(bool), anomaly_map >= 0.5)


def test_overlapping_boxes_share_no_pixel(tmp_path: Path) -> None:
    anomaly_map = np.zeros((40, 50), np.float32)
    anomaly_map[5:35, 5] = anomaly_map[34, 5:45] = 0.9  # an L around
    anomaly_map[10:20, 20:30] = 0.7  # a spot inside the box of the L
    boxes = [(5, 5, 45, 35), (20, 10, 30, 20)]
    coco = load(write_coco(tmp_path / "coco.json", [picture(tmp_path, boxes, anomaly_map)]))
    large, small = coco.loadAnns(coco.getAnnIds())
    assert large["area"] == 30 + 40 - 1
    assert small["area"] == 100
    assert not (coco.annToMask(large) & coco.annToMask(small)).any()


def test_a_mask_may_begin_with_the_first_pixel_and_fill_the_picture(tmp_path: Path) -> None:
    coco = load(
        write_coco(tmp_path / "coco.json", [picture(tmp_path, [(0, 0, 50, 40)], np.ones((40, 50), np.float32))])
    )
    (annotation,) = coco.loadAnns(coco.getAnnIds())
    assert annotation["segmentation"]["counts"] == [0, 2000]
    assert coco.annToMask(annotation).all()


def test_a_spot_larger_than_its_box_is_cut_to_it(tmp_path: Path) -> None:
    coco = load(
        write_coco(tmp_path / "coco.json", [picture(tmp_path, [(10, 5, 30, 20)], np.ones((40, 50), np.float32))])
    )
    (annotation,) = coco.loadAnns(coco.getAnnIds())
    assert annotation["area"] == 300


def test_boxes_are_cut_to_the_picture_and_empty_ones_left_out(tmp_path: Path) -> None:
    result = picture(tmp_path, [(-5, -5, 10, 10), (60, 60, 70, 70)], None)
    coco = load(write_coco(tmp_path / "coco.json", [result]))
    (annotation,) = coco.loadAnns(coco.getAnnIds())
    assert annotation["bbox"] == [0, 0, 10, 10]


def test_without_a_threshold_the_border_of_the_detector_counts(tmp_path: Path) -> None:
    anomaly_map = np.zeros((40, 50), np.float32)
    anomaly_map[6:10, 12:20] = 0.5
    anomaly_map[10:12, 12:20] = 0.49
    result = picture(tmp_path, [(10, 5, 30, 20)], anomaly_map, threshold=None, p_value=0.01)
    coco = load(write_coco(tmp_path / "coco.json", [result]))
    assert coco.loadAnns(coco.getAnnIds())[0]["area"] == 32


def test_a_run_without_pictures_is_still_a_data_set(tmp_path: Path) -> None:
    coco = load(write_coco(tmp_path / "coco.json", [made.failed_result()]))
    assert coco.getImgIds() == []
