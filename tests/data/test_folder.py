"""Anybody's own data: folders with known names, or a CSV that says which is which."""

from pathlib import Path

import numpy as np
import pytest
from miniatures import SIZE, block, pcd, picture, save_mask, write, xyz_tiff

from looktwice.data import load_dataset
from looktwice.data.checking import check
from looktwice.data.folder import ANOMALOUS, NORMAL
from looktwice.data.items import Item, load_item, read_truth
from looktwice.errors import BadFile, UsageError

FOLDER = load_dataset("folder")


def read(root: Path) -> list[Item]:
    return list(FOLDER.items(root))


@pytest.mark.parametrize("normal", NORMAL)
@pytest.mark.parametrize("anomalous", ["Bad", "NG", "yes"])
def test_each_normal_name_means_normal(normal: str, anomalous: str, tmp_path: Path) -> None:
    picture(tmp_path / normal.upper() / "a.png")
    picture(tmp_path / anomalous / "b.png")
    assert {item.path.stem: item.label for item in read(tmp_path)} == {"a": 0, "b": 1}


@pytest.mark.parametrize("anomalous", ANOMALOUS)
def test_each_anomalous_name_means_anomalous(anomalous: str, tmp_path: Path) -> None:
    picture(tmp_path / anomalous / "b.png")
    assert [item.label for item in read(tmp_path)] == [1]


@pytest.mark.parametrize(
    "mask", ["masks/b.png", "ground_truth/bad/b_mask.png", "bad/b_mask.png", "bad/masks/b.png", "Masks/B.PNG"]
)
def test_a_mask_is_found_by_its_stem(mask: str, tmp_path: Path) -> None:
    picture(tmp_path / "good" / "a.png")
    picture(tmp_path / "bad" / "b.jpg")
    save_mask(tmp_path / mask, block(), 1)
    good, bad = read(tmp_path)
    np.testing.assert_array_equal(read_truth(good), np.zeros(SIZE, np.bool_))
    np.testing.assert_array_equal(read_truth(bad), block())


def test_parts_and_kinds_are_read_as_in_mvtec(tmp_path: Path) -> None:
    for name in ("train/ok/0.png", "test/ok/0.png", "test/deep scratch/0.png"):
        picture(tmp_path / "lid" / name)
    save_mask(tmp_path / "lid/ground_truth/deep scratch/0_mask.png", block())
    rows = [(i.category, i.split, i.label, i.defect_type) for i in read(tmp_path / "lid")]
    assert rows == [("lid", "train", 0, ""), ("lid", "test", 1, "deep scratch"), ("lid", "test", 0, "")]
    assert [(i.category, i.split, i.label, i.defect_type) for i in read(tmp_path)] == rows


def test_folders_of_folders_are_categories(tmp_path: Path) -> None:
    for name in ("lid/good/0.png", "lid/bad/0.png", "cup/ok/0.png"):
        picture(tmp_path / name)
    assert [(i.category, i.label) for i in read(tmp_path)] == [("cup", 0), ("lid", 0), ("lid", 1)]


def test_clouds_videos_and_pictures_are_told_apart(tmp_path: Path) -> None:
    picture(tmp_path / "good/a.png")
    xyz_tiff(tmp_path / "good/b.tiff")
    write(tmp_path / "good/c.pcd", "VERSION .7")
    write(tmp_path / "good/d.mp4", "video")
    write(tmp_path / "good/notes.txt", "no item")
    found = {item.path.name: item.modality for item in read(tmp_path)}
    assert found == {"a.png": "image", "b.tiff": "point_cloud", "c.pcd": "point_cloud", "d.mp4": "video"}


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (("good", "scratch"), r"scratch is named neither .* kind of defect, move it to .*anomalous/scratch"),
        (("good", "bad", "pred"), r"pred is named neither .* move it to .*bad/pred"),
        (("left", "right"), r"holds left, right: which is normal\? Name folders normal, good, ok"),
        (("train", "good"), r"holds both parts and labels \(good, train\)"),
        (("test/scratch",), r"test holds scratch: name the normal one good, ok or normal"),
        (("good/odd", "good"), r"good is normal but holds the folder odd"),
    ],
)
def test_folders_that_could_mean_two_things_are_refused(folders: tuple[str, ...], words: str, tmp_path: Path) -> None:
    for folder in folders:
        picture(tmp_path / folder / "a.png")
    with pytest.raises(UsageError, match=words):
        read(tmp_path)


def test_pictures_right_in_a_part_have_no_label(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "a.png")
    with pytest.raises(UsageError, match="holds files without a label: put them in"):
        read(tmp_path)


def test_a_csv_beside_folders_is_ambiguous(tmp_path: Path) -> None:
    picture(tmp_path / "good/a.png")
    write(tmp_path / "list.csv", "path,label\ngood/a.png,normal\n")
    with pytest.raises(UsageError, match=r"beside list.csv: give the CSV itself"):
        read(tmp_path)
    assert len(read(tmp_path / "list.csv")) == 1


def test_an_empty_root_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"folder of normal things \(normal, good, ok, no ...\)"):
        read(tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        read(tmp_path / "gone")


# ---------------------------------------------------------------- CSV


def test_a_csv_gives_labels_masks_types_references_and_more(tmp_path: Path) -> None:
    for name in ("x/a.png", "x/b b.png", "x/c.png"):
        picture(tmp_path / name)
    save_mask(tmp_path / "m/1.png", block(0))
    save_mask(tmp_path / "m/2.png", block(1))
    rows = [
        "path,label,mask,type,reference,category,split",
        "x/a.png,normal,,,,lid,train",
        "x/b b.png,Anomalous,m/1.png|m/2.png,dent,x/a.png|x/c.png,lid,test",
        "",
        "x/c.png,0,,,,,",
    ]
    write(tmp_path / "own list.csv", "\ufeff" + "\n".join(rows), newline="\r\n")
    a, b, c = read(tmp_path)
    assert [(i.label, i.split, i.category, i.defect_type) for i in (a, b)] == [
        (0, "train", "lid", ""),
        (1, "test", "lid", "dent"),
    ]
    assert (c.label, c.split, c.category) == (0, "test", tmp_path.name)
    np.testing.assert_array_equal(read_truth(b), block(0) | block(1))
    assert b.references == (tmp_path / "x/a.png", tmp_path / "x/c.png")
    assert b.source == "own list.csv, line 3"
    sample = load_item(b)
    assert sample.truth is not None
    assert sample.truth.defect_type == "dent"


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_commas_semicolons_and_tabs_are_understood(mark: str, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    write(tmp_path / "l.csv", mark.join(["path", "label"]) + "\n" + mark.join(["a.png", "bad"]) + "\n")
    assert [item.label for item in read(tmp_path)] == [1]


@pytest.mark.parametrize(
    ("column", "value", "label"),
    [("label", "1", 1), ("label", "ok", 0), ("label", "NG", 1), ("anomalous", "1", 1), ("normal", "1", 0)],
)
def test_the_header_says_which_way_the_label_goes(column: str, value: str, label: int, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    write(tmp_path / "l.csv", f"path,{column}\na.png,{value}\n")
    assert [item.label for item in read(tmp_path)] == [label]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a.png,1\n", r"the first line must name the columns path; it lacks path and has a.png, 1"),
        ("path,mask\na.png,\n", "must name one of label, anomalous, normal"),
        ("path,label,normal\na.png,1,0\n", "must name one of label, anomalous, normal"),
        ("path,label\na.png,1\na.png,perhaps\n", r"line 3: a.png stands in line 2 too"),
        ("path,label\na.png,perhaps\n", r"line 2: label must be normal or anomalous .* got 'perhaps'"),
        ("path,normal\na.png,good\n", r"line 2: normal must be 0 or 1, got 'good'"),
        ("path,label\na.png\n", r"line 2: 1 values for 2 columns \(path, label\)"),
        ("path,label\n,1\n", "line 2: path is empty"),
        ("path,label\ngone.png,1\n", r"gone.png: no such file \(l.csv, line 2\)"),
        ("path,label\nl.csv,1\n", "line 2: l.csv is not a picture, point cloud, video or folder of frames"),
        ("path,label,split\na.png,1,dev\n", "line 2: split must be train, validation or test, got 'dev'"),
        ("path,label,label\na.png,1,1\n", "the column label stands twice"),
        ("", "the file is empty"),
        ("\n\n", "no header: the first line must name path"),
    ],
)
def test_a_wrong_row_is_refused_by_its_line(text: str, words: str, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    write(tmp_path / "l.csv", text)
    with pytest.raises(BadFile, match=words):
        read(tmp_path)


def test_a_folder_of_frames_in_a_csv_is_a_video(tmp_path: Path) -> None:
    for k in range(3):
        picture(tmp_path / "clip" / f"{k}.png")
    write(tmp_path / "l.csv", "path,label\nclip,normal\n")
    (item,) = read(tmp_path)
    assert item.modality == "video"
    assert load_item(item).modality == "video"


def test_clouds_and_videos_take_a_number_a_point_or_frame(tmp_path: Path) -> None:
    pcd(tmp_path / "c.pcd", np.random.default_rng(0).random((4, 3)))
    for k in range(3):
        picture(tmp_path / "clip" / f"{k}.png")
        save_mask(tmp_path / "clip_masks" / f"{k}.png", block() & (k == 1))
    write(tmp_path / "c.txt", "0\n1\n0\n1\n")
    np.save(tmp_path / "v.npy", np.array([1, 0, 0]))
    rows = ["path,label,mask", "c.pcd,bad,c.txt", "clip,bad,v.npy", "./clip,bad,clip_masks", "clip/../clip,bad,c.txt"]
    write(tmp_path / "l.csv", "\n".join(rows) + "\n")
    cloud, numbers, masks, wrong = read(tmp_path)
    assert load_item(cloud).truth.mask.tolist() == [False, True, False, True]  # type: ignore[union-attr]
    assert read_truth(numbers).tolist() == [True, False, False]  # type: ignore[union-attr]
    assert read_truth(masks).tolist() == [False, True, False]  # type: ignore[union-attr]
    with pytest.raises(BadFile, match=r"c.txt: 4 labels, but .*clip has 3 to label"):
        read_truth(wrong)


def test_a_mask_of_the_wrong_kind_is_refused_by_its_line(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    write(tmp_path / "l.csv", "path,label,mask\na.png,bad,a.txt\n")
    with pytest.raises(BadFile, match=r"line 2: the mask of this image must be pictures, got a.txt"):
        read(tmp_path)


# ---------------------------------------------------------------- checking it


def test_own_data_without_masks_is_clean_and_with_some_is_not(tmp_path: Path) -> None:
    for name in ("good/a.png", "bad/b.png", "bad/c.png"):
        picture(tmp_path / name)
    assert check(FOLDER, tmp_path).clean
    save_mask(tmp_path / "masks/b.png", block())
    save_mask(tmp_path / "masks/z.png", block())
    findings = [(f.kind, f.where, f.message) for f in check(FOLDER, tmp_path).findings]
    assert findings == [
        ("no_image", "masks", "a mask without an image: z.png"),
        ("no_mask", "bad", "an anomalous item without a mask: c.png"),
    ]


def test_a_csv_can_ask_and_say_what_the_answer_should_be(tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        picture(tmp_path / name)
    rows = ["path,label,question,answer", '1.png,1,"What is wrong, and where?",A dent.', "2.png,0,Is it whole?,"]
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n")
    first, second = load_dataset("folder").items(tmp_path / "list.csv")
    assert [(one.text, one.answer) for one in first.questions] == [("What is wrong, and where?", "A dent.")]
    assert [(one.text, one.answer) for one in second.questions] == [("Is it whole?", "")]
    (tmp_path / "list.csv").write_text("path,label,answer\n1.png,1,A dent.\n")
    with pytest.raises(BadFile, match="line 2: an answer needs its question"):
        list(load_dataset("folder").items(tmp_path / "list.csv"))
