"""The traps that published loaders fall into, each with a small copy that holds it."""

import json
from pathlib import Path

import miniatures
import numpy as np
import pytest
from miniatures import SIZE, block, clip, picture, save_mask, write
from PIL import Image

from looktwice.data import load_dataset
from looktwice.data.dataset import Tree
from looktwice.data.items import FrameTruth, Item, load_item, read_frame_masks, read_mask, read_truth, size_of
from looktwice.data.mmad import domain_knowledge
from looktwice.errors import BadFile, UsageError
from looktwice.records import PointCloudData


def only(items: list[Item], ending: str) -> Item:
    (found,) = [item for item in items if item.id.endswith(ending)]
    return found


def read(name: str, root: Path, **how: str) -> list[Item]:
    return list(load_dataset(name).items(root, **how))  # type: ignore[arg-type]


# ---------------------------------------------------------------- masks


@pytest.mark.parametrize("value", [1, 9, 76, 127, 253, 254, 255])
def test_any_value_above_zero_is_anomalous(value: int, tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_mask(save_mask(tmp_path / "m.png", block(), value)), block())


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I", "F", "CMYK"])
def test_masks_of_every_mode_read_alike(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    image = Image.fromarray(block().astype(np.uint8) * 255)
    image.convert("RGB").convert(mode).save(path) if mode == "CMYK" else image.convert(mode).save(path)
    np.testing.assert_array_equal(read_mask(path), block())


def test_a_mask_of_sixteen_bits_keeps_its_low_values(tmp_path: Path) -> None:
    Image.fromarray(block().astype(np.uint16) * 3).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), block())


def test_coloured_labels_count_and_transparent_pixels_do_not(tmp_path: Path) -> None:
    colours = np.zeros((*SIZE, 4), np.uint8)
    colours[..., 3] = 255
    colours[block(0), 2] = 40  # blue alone
    colours[block(2)] = (255, 0, 0, 0)  # red but transparent
    Image.fromarray(colours).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), block(0))


def test_a_jpeg_mask_is_cut_at_127_whatever_its_ending(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ringing = np.where(block(), 255 - rng.integers(0, 9, SIZE), rng.integers(0, 9, SIZE)).astype(np.uint8)
    Image.fromarray(ringing).save(tmp_path / "m.jpg", quality=95)
    (tmp_path / "m.jpg").rename(tmp_path / "m.png")  # as the polyp bundle renames them
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), block())


def test_kvasir_masks_made_from_jpeg_are_cut_at_127(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.png")
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.where(block(), 250, 5).astype(np.uint8)).save(tmp_path / "masks/a.png")
    (item,) = read("kvasir", tmp_path)
    np.testing.assert_array_equal(read_truth(item), block())


def test_several_masks_of_a_picture_are_united(tmp_path: Path) -> None:
    base = tmp_path / "pushpins"
    picture(base / "test/logical_anomalies/000.png")
    for k in range(3):
        save_mask(base / f"ground_truth/logical_anomalies/000/{k:03d}.png", block(k), 250 - k)
    (item,) = read("mvtec_loco", tmp_path)
    np.testing.assert_array_equal(read_truth(item), block(0) | block(1) | block(2))


def test_a_missing_mask_does_not_shift_its_neighbours(tmp_path: Path) -> None:
    for k in range(3):
        picture(tmp_path / f"wood/test/hole/00{k}.png")
    save_mask(tmp_path / "wood/ground_truth/hole/001_mask.png", block(1))
    save_mask(tmp_path / "wood/ground_truth/hole/002_mask.png", block(2))
    first, second, third = read("mvtec_ad", tmp_path)
    assert first.truth is None
    np.testing.assert_array_equal(read_truth(second), block(1))
    np.testing.assert_array_equal(read_truth(third), block(2))


def test_a_mask_of_another_size_is_refused_by_name(tmp_path: Path) -> None:
    picture(tmp_path / "wood/test/hole/000.png")
    save_mask(tmp_path / "wood/ground_truth/hole/000_mask.png", block(0).T)
    (item,) = read("mvtec_ad", tmp_path)
    with pytest.raises(BadFile, match=r"000_mask.png: the mask is 16x24 pixels, .*000.png is 24x16 pixels"):
        read_truth(item)


def test_the_mask_of_a_normal_picture_has_rows_first(tmp_path: Path) -> None:
    picture(tmp_path / "wood/test/good/000.png", size=(30, 70))
    (item,) = read("mvtec_ad", tmp_path)
    truth = read_truth(item)
    assert truth is not None
    assert truth.shape == (30, 70)


def test_a_picture_turned_by_its_tag_has_truth_in_the_turned_frame(tmp_path: Path) -> None:
    (tmp_path / "ok").mkdir()
    tags = Image.Exif()
    tags[0x0112] = 6
    Image.new("RGB", (24, 16)).save(tmp_path / "ok/a.jpg", exif=tags)
    (item,) = read("folder", tmp_path)
    assert size_of(item) == (24, 16)
    assert load_item(item).truth is not None


def test_an_anomalous_picture_with_an_empty_mask_keeps_its_label(tmp_path: Path) -> None:
    picture(tmp_path / "wood/test/hole/000.png")
    save_mask(tmp_path / "wood/ground_truth/hole/000_mask.png", np.zeros(SIZE, np.bool_))
    (item,) = read("mvtec_ad", tmp_path)
    truth = load_item(item).truth
    assert truth is not None
    assert truth.label == 1
    assert truth.mask is not None
    assert not truth.mask.any()


# ---------------------------------------------------------------- names


def test_endings_match_in_any_case_and_mix(tmp_path: Path) -> None:
    for name in ("01/test/ko/a.BMP", "01/test/ko/b.png", "03/test/ok/c.Bmp"):
        picture(tmp_path / name)
    save_mask(tmp_path / "01/ground_truth/ko/a.PNG", block())
    save_mask(tmp_path / "01/ground_truth/ko/b.bmp", block())
    items = read("btad", tmp_path)
    assert [item.label for item in items] == [1, 1, 0]
    for item in items[:2]:
        np.testing.assert_array_equal(read_truth(item), block())


def test_normal_is_a_whole_folder_name(tmp_path: Path) -> None:
    for defect in ("good", "good_enough", "not good", "Good"):
        picture(tmp_path / "wood/test" / defect / "0.png")
    labels = {item.id.split("/")[2]: item.label for item in read("mvtec_ad", tmp_path)}
    assert labels == {"good": 0, "Good": 0, "good_enough": 1, "not good": 1}


def test_the_second_copy_in_the_brain_archive_is_not_read(tmp_path: Path) -> None:
    for name in ("yes/Y1.jpg", "no/1 no.jpeg", "no/no 9.png", "no/N1.JPG"):
        picture(tmp_path / name)
        picture(tmp_path / "brain_tumor_dataset" / name)
    items = read("brain_mri", tmp_path)
    assert [item.id for item in items] == ["no/1 no.jpeg", "no/N1.JPG", "no/no 9.png", "yes/Y1.jpg"]
    assert [item.label for item in items] == [0, 0, 0, 1]


def test_only_the_two_labelled_folders_of_br35h_are_classes(tmp_path: Path) -> None:
    miniatures.build(load_dataset("br35h"), tmp_path)
    assert {item.id.split("/")[0] for item in read("br35h", tmp_path)} == {"yes", "no"}


def test_every_class_has_words_for_a_prompt() -> None:
    words = {
        ("mvtec_ad", "metal_nut"): "metal nut",
        ("visa", "pcb3"): "printed circuit board",
        ("visa", "macaroni2"): "macaroni",
        ("btad", "01"): "product",
        ("anomaly_shapenet", "ashtray0"): "ashtray",
        ("mmad", "VisA/pcb1"): "printed circuit board",
        ("mmad", "DS-MVTec/metal_nut"): "metal nut",
        ("real_iad", "transistor1"): "transistor",
    }
    assert {key: load_dataset(key[0]).display_name(key[1]) for key in words} == words


# ---------------------------------------------------------------- lists


def test_visa_normal_and_anomalous_files_of_one_name_stay_apart(tmp_path: Path) -> None:
    miniatures.build(load_dataset("visa"), tmp_path)
    items = read("visa", tmp_path, split="test")
    assert len({item.id for item in items}) == len(items) == 4
    assert sorted({item.path.name for item in items}) == ["000.JPG"]


@pytest.mark.parametrize("inside", ["", "1cls", "VisA_pytorch/1cls", "visa_pytorch"])
def test_visa_laid_out_like_mvtec_is_read_too(inside: str, tmp_path: Path) -> None:
    base = tmp_path / inside / "candle"
    for name in ("train/good/0001.JPG", "test/good/0002.JPG", "test/bad/003.JPG"):
        picture(base / name)
    colours = np.repeat(block()[..., None], 3, axis=2).astype(np.uint8) * 255
    (base / "ground_truth/bad").mkdir(parents=True)
    Image.fromarray(colours).save(base / "ground_truth/bad/003.png")  # three channels, as one toolkit writes
    items = read("visa", tmp_path)
    assert [(item.split, item.label) for item in items] == [("train", 0), ("test", 1), ("test", 0)]
    np.testing.assert_array_equal(read_truth(items[1]), block())
    with pytest.raises(UsageError, match=r"without the list split_csv/2cls_highshot.csv"):
        read("visa", tmp_path, variant="2cls_highshot")


@pytest.mark.parametrize(("variant", "labels"), [("extremes", [1, 0]), ("half", [1, 0, 0, 1]), ("any", [1, 0, 1, 1])])
def test_the_three_label_rules_of_elpv(variant: str, labels: list[int], tmp_path: Path) -> None:
    miniatures.build(load_dataset("elpv"), tmp_path)
    assert [item.label for item in read("elpv", tmp_path, variant=variant)] == labels


def test_a_quarter_of_the_normal_cells_of_elpv_is_judged_and_the_rest_is_learned_from(tmp_path: Path) -> None:
    rows = [
        f"images/cell{k:04d}.png  {p} mono" for k, p in enumerate(["0.0"] * 40 + ["1.0"] * 6 + ["0.3333333333333333"])
    ]
    for row in rows:
        miniatures.picture(tmp_path / row.split()[0], mode="L")
    write(tmp_path / "labels.csv", "\n".join(rows) + "\n")
    items = read("elpv", tmp_path, variant="quarter")
    found = [(item.split, item.label) for item in items]
    assert (found.count(("train", 0)), found.count(("test", 0)), found.count(("test", 1))) == (30, 10, 6)
    assert len({item.id for item in items}) == len(items) == 46
    assert items == read("elpv", tmp_path, variant="quarter")


def test_an_odd_probability_names_its_line(tmp_path: Path) -> None:
    write(tmp_path / "labels.csv", "images/cell0001.png  1.0 mono\nimages/cell0002.png  0.4 poly\n")
    with pytest.raises(BadFile, match=r"labels.csv, line 2: probability must be 0, 1/3, 2/3 or 1, got 0.4"):
        read("elpv", tmp_path)


def test_real_iad_lists_are_variants_and_a_nested_class_folder_is_found(tmp_path: Path) -> None:
    miniatures.build(load_dataset("real_iad"), tmp_path)
    nested = tmp_path / "realiad_1024/zipper"
    nested.rename(tmp_path / "aside")
    nested.mkdir()
    (tmp_path / "aside").rename(nested / "zipper")
    for variant in load_dataset("real_iad").variants:
        items = read("real_iad", tmp_path, variant=variant)
        assert all(item.path.exists() for item in items)
        assert len(items) == 6


def test_one_in_the_customizable_vlm_list_means_normal(tmp_path: Path) -> None:
    miniatures.build(load_dataset("customizable_vlm"), tmp_path)
    good, broken = read("customizable_vlm", tmp_path)
    assert (good.label, broken.label) == (0, 1)
    assert good.references == good.paths  # compared with itself, as published
    assert broken.references == good.paths
    inner = read("customizable_vlm", tmp_path / "datasets/MVTecAD")
    assert [item.paths for item in inner] == [good.paths, broken.paths]


def test_mmad_questions_templates_and_knowledge_are_parsed(tmp_path: Path) -> None:
    miniatures.build(load_dataset("mmad"), tmp_path)
    items = read("mmad", tmp_path)
    question = items[1].questions[0]
    assert (question.answer, question.kind) == ("A", "Anomaly Detection")
    assert question.options == (("A", "Yes."), ("B", "No."))
    assert items[1].references == items[1].similar == (tmp_path / "VisA/candle/train/good/0012.JPG",)
    assert [item.label for item in items if item.category.startswith("GoodsAD")] == [1]
    assert domain_knowledge(tmp_path) == {("DS-MVTec", "tile", "crack"): "A tile cracks when it falls."}


def test_an_answer_outside_its_options_is_refused(tmp_path: Path) -> None:
    miniatures.build(load_dataset("mmad"), tmp_path)
    content = json.loads((tmp_path / "mmad.json").read_text())
    content["VisA/candle/test/bad/007.JPG"]["conversation"][0]["Answer"] = "E"
    write(tmp_path / "mmad.json", json.dumps(content))
    with pytest.raises(BadFile, match=r"question 1: the answer 'E' is none of its options"):
        read("mmad", tmp_path)


def test_visa_dr_questions_keep_their_order_and_answers(tmp_path: Path) -> None:
    miniatures.build(load_dataset("visa_dr"), tmp_path)
    (item,) = read("visa_dr", tmp_path, split="reasoning")
    assert [question.text for question in item.questions] == [
        "Do you see any defects?",
        "Describe them.",
        "What could follow?",
    ]
    assert [question.answer for question in item.questions] == ["Yes.", "A dent.", "It may leak."]


def test_dialogues_have_roles_and_no_image_tags(tmp_path: Path) -> None:
    miniatures.build(load_dataset("anomaly_instruct"), tmp_path)
    views, pot = read("anomaly_instruct", tmp_path)
    assert [path.name for path in views.paths] == ["a.png", "b.png"]
    assert [(turn.role, turn.text) for turn in pot.turns] == [
        ("user", "Is the pot whole?"),
        ("assistant", "No, it leaks."),
    ]


@pytest.mark.parametrize(
    ("strategy", "numbers"),
    [("all", 5), ("first:2", 2), ("end:1", 1), ("random:3", 3), ("random:30%", 2), ("first:9", 5)],
)
def test_a_mixture_says_how_much_of_each_list_is_read(strategy: str, numbers: int, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    turns = [{"from": "human", "value": "<image>\nWhole?"}, {"from": "gpt", "value": "Yes."}]
    write(tmp_path / "web.json", json.dumps([{"image": "a.png", "conversations": turns}] * 5))
    write(tmp_path / "mix.yaml", f"datasets:\n- json_path: /theirs/web.json\n  sampling_strategy: '{strategy}'\n")
    items = read("anomaly_instruct", tmp_path)
    assert len(items) == numbers
    assert items == read("anomaly_instruct", tmp_path)
    if strategy == "end:1":
        assert items[0].source == "web.json, record 5"


def test_turns_out_of_order_are_refused(tmp_path: Path) -> None:
    turns = [{"from": "gpt", "value": "Yes."}]
    write(tmp_path / "web.json", json.dumps([{"image": "a.png", "conversations": turns}]))
    with pytest.raises(BadFile, match="record 1, turn 1 is from 'gpt', not human"):
        read("anomaly_instruct", tmp_path)


def test_broken_json_names_the_line(tmp_path: Path) -> None:
    write(tmp_path / "web.jsonl", '{"image": "a.png"\n')
    with pytest.raises(BadFile, match=r"web.jsonl: line 1: not JSON"):
        read("anomaly_instruct", tmp_path)


def test_riad_dialogues_meet_their_pictures(tmp_path: Path) -> None:
    miniatures.build(load_dataset("riad"), tmp_path)
    (told,) = [item for item in read("riad", tmp_path) if item.turns]
    assert told.label == 1
    assert load_item(told).truth.answer == "No. It is cracked."  # type: ignore[union-attr]
    write(
        tmp_path / "instruct.json",
        json.dumps([{"image": "gone.png", "conversations": [{"from": "human", "value": "?"}]}]),
    )
    with pytest.raises(BadFile, match=r"speaks of gone.png, which is not there"):
        read("riad", tmp_path)


# ---------------------------------------------------------------- wide strips, outlines


def test_tiles_cover_each_strip_and_keep_only_defective_ones_of_bad_strips(tmp_path: Path) -> None:
    picture(tmp_path / "NODefect_images/one/0001_000_00.png", size=(256, 1100), mode="L")
    picture(tmp_path / "Defect_images/0002_019_00.png", size=(256, 1100), mode="LA")
    mask = np.zeros((256, 1100), np.bool_)
    mask[10:20, 1050:1060] = True
    save_mask(tmp_path / "Mask_images/0002_019_00_mask.png", mask)
    tiles = read("aitex", tmp_path, variant="tiles")
    normal, bad = [t for t in tiles if t.label == 0], [t for t in tiles if t.label == 1]
    assert [tile.crop for tile in normal] == [(x, 0, min(x + 256, 1100), 256) for x in range(0, 1100, 256)]
    assert sum(tile.split == "test" for tile in normal) == 1
    assert [tile.crop for tile in bad] == [(1024, 0, 1100, 256)]
    sample = load_item(bad[0])
    assert sample.size == (256, 76)
    np.testing.assert_array_equal(sample.truth.mask, mask[:, 1024:])  # type: ignore[union-attr, arg-type]
    assert len({load_item(tile).sha256 for tile in normal}) == len(normal)


def test_the_misspelt_normal_strip_and_the_maskless_defect_are_read(tmp_path: Path) -> None:
    miniatures.build(load_dataset("aitex"), tmp_path)
    items = read("aitex", tmp_path)
    assert only(items, "0018_00_01.png").label == 0
    assert only(items, "0100_025_08.png").truth is None


def test_aitex_folders_nested_once_more_are_read(tmp_path: Path) -> None:
    picture(tmp_path / "Defect_images/Defect_images/0002_019_00.png")
    save_mask(tmp_path / "Mask_images/Mask_images/0002_019_00_mask.png", block())
    picture(tmp_path / "NODefect_images/NODefect_images/one/0001_000_00.png")
    items = read("aitex", tmp_path)
    assert [item.label for item in items] == [0, 1]
    np.testing.assert_array_equal(read_truth(items[1]), block())


def test_outlines_of_tumours_become_masks(tmp_path: Path) -> None:
    miniatures.build(load_dataset("br35h"), tmp_path)
    train, validation, test = read("br35h", tmp_path, variant="pixels")
    assert [item.split for item in (train, validation, test)] == ["train", "validation", "test"]
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    np.testing.assert_array_equal(read_truth(train), (x >= 2) & (x <= 9) & (y >= 3) & (y <= 8))
    np.testing.assert_array_equal(read_truth(validation), (x - 12) ** 2 + (y - 6) ** 2 <= 9)
    np.testing.assert_array_equal(read_truth(test), ((x - 12) / 8) ** 2 + ((y - 8) / 2) ** 2 <= 1)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "RGB", "I;16"])
def test_pictures_of_every_mode_load_as_three_channels(mode: str, tmp_path: Path) -> None:
    (tmp_path / "no").mkdir()
    if mode == "I;16":
        Image.fromarray(np.arange(384, dtype=np.uint16).reshape(SIZE) * 100).save(tmp_path / "no/a.png")
    else:
        Image.new("RGB", (SIZE[1], SIZE[0])).convert(mode).save(tmp_path / "no/a.png")
    (item,) = read("brain_mri", tmp_path)
    sample = load_item(item)
    assert sample.id == "no/a.png"
    assert sample.size == SIZE
    assert sample.truth is not None
    assert sample.truth.label == 0
    assert sample.truth.mask is None


# ---------------------------------------------------------------- clouds


def test_an_anomalous_scan_is_read_from_its_label_file(tmp_path: Path) -> None:
    miniatures.build(load_dataset("real3d_ad"), tmp_path)
    item = only(read("real3d_ad", tmp_path, split="test"), "airplane/test/7_bulge_cut.pcd")
    sample = load_item(item)
    rows = np.loadtxt(tmp_path / "airplane/gt/7_bulge_cut.txt")
    assert isinstance(sample.data, PointCloudData)
    np.testing.assert_allclose(sample.data.points, rows[:, :3])
    np.testing.assert_array_equal(sample.truth.mask, rows[:, 3] > 0)  # type: ignore[union-attr, arg-type]


def test_points_without_coordinates_stay_in_place_and_are_invalid(tmp_path: Path) -> None:
    miniatures.build(load_dataset("real3d_ad"), tmp_path)
    write(tmp_path / "airplane/gt/7_bulge_cut.txt", "0 0 1 0\nnan nan nan 0\n1 1 1 1\n")
    sample = load_item(only(read("real3d_ad", tmp_path), "airplane/test/7_bulge_cut.pcd"))
    assert isinstance(sample.data, PointCloudData)
    assert sample.data.valid.tolist() == [True, False, True]
    assert sample.truth.mask.tolist() == [False, False, True]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "words"),
    [("1 2 3\n", "expected 4 columns"), ("1 2 3 bad\n", "not rows of"), ("\n\n", "no rows"), ("", "the file is empty")],
)
def test_a_broken_label_file_says_why(text: str, words: str, tmp_path: Path) -> None:
    miniatures.build(load_dataset("anomaly_shapenet"), tmp_path)
    write(tmp_path / "dataset/pcd/bottle3/GT/bottle3_concavity2.txt", text)
    with pytest.raises(BadFile, match=words):
        read_truth(only(read("anomaly_shapenet", tmp_path), "bottle3_concavity2.pcd"))


def test_a_scan_and_its_photograph_share_the_mask(tmp_path: Path) -> None:
    miniatures.build(load_dataset("mvtec_3d"), tmp_path)
    scan = only(read("mvtec_3d", tmp_path, split="test"), "rope/test/hole/xyz/000.tiff")
    photograph = scan.photograph()
    assert photograph.path.name == "000.png"
    np.testing.assert_array_equal(read_truth(scan), block(0).reshape(-1))
    np.testing.assert_array_equal(read_truth(photograph), block(0))
    assert load_item(photograph).size == SIZE
    assert load_item(scan).truth.mask.sum() == block(0).sum()  # type: ignore[union-attr]


def test_a_cloud_alone_has_no_photograph(tmp_path: Path) -> None:
    miniatures.build(load_dataset("real3d_ad"), tmp_path)
    with pytest.raises(UsageError, match="no colour picture beside its point cloud"):
        read("real3d_ad", tmp_path)[0].photograph()


# ---------------------------------------------------------------- videos


def test_ranges_of_frames_start_at_one_and_include_their_end(tmp_path: Path) -> None:
    miniatures.build(load_dataset("ucsd_ped2"), tmp_path)
    item = only(read("ucsd_ped2", tmp_path), "Test001")
    truth = read_truth(item)
    assert truth is not None
    assert np.nonzero(truth)[0].tolist() == [1, 2, 5]
    masks = list(read_frame_masks(item))
    assert [mask.any() for mask in masks] == truth.tolist()
    assert masks[1].shape == SIZE


def test_a_script_without_ranges_or_with_too_few_is_refused(tmp_path: Path) -> None:
    miniatures.build(load_dataset("ucsd_ped2"), tmp_path)
    script = tmp_path / "UCSDped2/Test/UCSDped2.m"
    write(script, "TestVideoFile{end+1}.gt_frame = [1:2];\n% TestVideoFile{end+1}.gt_frame = [3:4];\n")
    with pytest.raises(BadFile, match="gives frames of 1 clips, but there is Test002"):
        read("ucsd_ped2", tmp_path)
    write(script, "TestVideoFile{end+1}.gt_frame = [a:b];\n")
    with pytest.raises(BadFile, match=r"expected ranges such as \[61:180, 200:210\], got \[a:b\]"):
        read("ucsd_ped2", tmp_path)
    script.unlink()
    with pytest.raises(BadFile, match="no such file"):
        read("ucsd_ped2", tmp_path)


def test_a_range_behind_the_end_is_cut_and_one_outside_is_refused(tmp_path: Path) -> None:
    item = Item(id="v", paths=(tmp_path / "v.mp4",), modality="video", category="c", split="test", label=1)
    assert FrameTruth(ranges=((3, 9),)).read(item, (5,)).tolist() == [False, False, False, True, True]
    with pytest.raises(BadFile, match=r"frames 8 to 9 are not in .* with 5 frames"):
        FrameTruth(ranges=((7, 8),)).read(item, (5,))


def test_labels_of_another_length_than_the_video_are_refused(tmp_path: Path) -> None:
    miniatures.build(load_dataset("shanghaitech"), tmp_path)
    np.save(tmp_path / "testing/test_frame_mask/01_0014.npy", np.ones(4))
    with pytest.raises(BadFile, match=r"01_0014.npy: labels 4 frames, .*01_0014 has 5"):
        read_truth(only(read("shanghaitech", tmp_path), "01_0014"))


def test_a_pickled_label_file_is_refused(tmp_path: Path) -> None:
    miniatures.build(load_dataset("shanghaitech"), tmp_path)
    np.save(tmp_path / "testing/test_frame_mask/01_0014.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(BadFile, match="not a NumPy array"):
        read("shanghaitech", tmp_path)


def test_a_loaded_video_carries_the_truth_of_the_frames_looked_at(tmp_path: Path) -> None:
    miniatures.build(load_dataset("avenue"), tmp_path)
    item = only(read("avenue", tmp_path), "03.avi")
    sample = load_item(item)
    everything = read_truth(item)
    assert everything is not None
    assert sample.truth is not None
    assert sample.truth.label == 1  # found from its masks
    np.testing.assert_array_equal(sample.truth.mask, everything[sample.data.frames])  # type: ignore[union-attr, arg-type]


def test_ucf_annotation_with_a_missing_number_names_the_line(tmp_path: Path) -> None:
    miniatures.build(load_dataset("ucf_crime"), tmp_path)
    write(tmp_path / "Temporal_Anomaly_Annotation_for_Testing_Videos.txt", "Abuse028_x264.mp4  Abuse  3  5  9\n")
    with pytest.raises(BadFile, match="line 1: expected name, class, start, end, start, end"):
        read("ucf_crime", tmp_path)


def test_a_ucf_video_that_lies_twice_is_taken_from_the_listed_folder(tmp_path: Path) -> None:
    miniatures.build(load_dataset("ucf_crime"), tmp_path)
    item = only(read("ucf_crime", tmp_path), "Normal_Videos_003_x264.mp4")
    assert item.path.parent.name == "Testing_Normal_Videos_Anomaly"


def test_frame_numbers_of_a_real_video_fit_its_labels(tmp_path: Path) -> None:
    clip(tmp_path / "v.mp4", 8)
    truth = FrameTruth(ranges=((2, 4),))
    item = Item(id="v", paths=(tmp_path / "v.mp4",), modality="video", category="c", split="test", label=1, truth=truth)
    found = read_truth(item)
    assert found is not None
    assert found.tolist() == [False, False, True, True, True, False, False, False]


# ---------------------------------------------------------------- files that are not what they seem


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"


def test_a_git_lfs_pointer_is_named_wherever_it_stands(tmp_path: Path) -> None:
    picture(tmp_path / "wood/test/hole/000.png")
    write(tmp_path / "wood/ground_truth/hole/000_mask.png", POINTER)
    write(tmp_path / "wood/test/hole/001.png", POINTER)
    first, second = read("mvtec_ad", tmp_path)
    with pytest.raises(BadFile, match=r"000_mask.png: a Git LFS pointer, not the file itself: run 'git lfs pull'"):
        read_truth(first)
    with pytest.raises(BadFile, match=r"001.png: a Git LFS pointer"):
        load_item(second)
    write(tmp_path / "mmad.json", POINTER)
    with pytest.raises(BadFile, match=r"mmad.json: a Git LFS pointer"):
        read("mmad", tmp_path)


def test_a_truncated_mask_is_unreadable_not_empty(tmp_path: Path) -> None:
    picture(tmp_path / "wood/test/hole/000.png")
    file = save_mask(tmp_path / "wood/ground_truth/hole/000_mask.png", block())
    file.write_bytes(file.read_bytes()[:60])
    (item,) = read("mvtec_ad", tmp_path)
    with pytest.raises(BadFile) as caught:
        read_truth(item)
    assert caught.value.kind == "unreadable"
    assert "not a readable picture" in caught.value.why


def test_folders_are_listed_in_order_whatever_the_disk_says(tmp_path: Path) -> None:
    for k in (5, 3, 9, 0):
        picture(tmp_path / f"wood/test/good/00{k}.png")
    assert Tree(tmp_path).files(tmp_path / "wood/test/good") == ["000.png", "003.png", "005.png", "009.png"]


def test_mmad_is_read_with_other_keys_and_places_of_masks(tmp_path: Path) -> None:
    key = "DS-MVTec/tile/image/crack/000.png"
    asked = {
        "Question": "Is it whole?",
        "Answer": "B",
        "Options": {"A": "Yes.", "B": "No."},
        "type": "Anomaly Detection",
    }
    miniatures.picture(tmp_path / key)
    miniatures.save_mask(tmp_path / "DS-MVTec/tile/image/mask/000.png", miniatures.block())
    record = {"mask_path": "mask/000.png", "conversation_2": [asked]}  # no image_path: the key says it
    write(tmp_path / "mmad.json", json.dumps({key: record}))
    (item,) = read("mmad", tmp_path)
    assert item.path == tmp_path / key
    assert item.questions[0].answer == "B"
    np.testing.assert_array_equal(read_truth(item), miniatures.block())
    write(tmp_path / "mmad.json", json.dumps({key: {"mask_path": None}}))
    with pytest.raises(BadFile, match=r"record 'DS-MVTec/tile/.*' lacks conversation, a list of questions"):
        read("mmad", tmp_path)
