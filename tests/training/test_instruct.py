"""Records from data sets, from files, from made pictures."""

import json

import numpy as np
import pytest
from PIL import Image

from looktwice.data import instruct_text
from looktwice.data.mvtec_ad import DATASET
from looktwice.data.procedural import Order, write_data_set
from looktwice.errors import BadFile, UsageError
from looktwice.training.instruct import ENDLESS, open_source, open_sources

BLOCK = np.zeros((48, 64), bool)
BLOCK[2:10, 50:60] = True  # upper right


def picture(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8)).save(path)


def mask(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(BLOCK.astype(np.uint8) * 255).save(path)


@pytest.fixture
def mvtec(tmp_path):
    for name in ("train/good/0", "test/good/0", "test/broken_large/0", "test/broken_large/1"):
        picture(tmp_path / "bottle" / f"{name}.png")
    mask(tmp_path / "bottle" / "ground_truth" / "broken_large" / "0_mask.png")
    return tmp_path


# ---------------------------------------------------------------- data sets


def test_a_data_set_becomes_records_with_sentences(mvtec):
    source = open_source(f"mvtec_ad:{mvtec}")
    assert (len(source.normal), len(source.other)) == (2, 2)
    good, bad = source.normal[0], source.other[0]
    assert good["anomalous"] is False
    assert not good["mask"].any()
    assert good["sections"]["description"] == "The image shows the bottle as it should be."
    assert bad["id"] == "mvtec_ad/bottle/test/broken_large/0.png"
    assert np.array_equal(bad["mask"], BLOCK)
    assert bad["sections"]["description"] == "The image shows the bottle with a large break at the upper right."
    assert bad["sections"]["impact"].endswith(".")
    assert (bad["object"], bad["defect_type"]) == ("bottle", "broken_large")


def test_an_anomalous_picture_without_its_mask_is_a_bad_record(mvtec):
    with pytest.raises(BadFile, match="this anomalous picture has no mask"):
        open_source(f"mvtec_ad:{mvtec}").other[1]


def test_split_and_categories_can_be_chosen(mvtec):
    assert len(open_source(f"mvtec_ad:{mvtec}?split=test,categories=bottle").normal) == 1
    with pytest.raises(UsageError, match="Expected split of mvtec_ad to be one of"):
        open_source(f"mvtec_ad:{mvtec}?split=tset")
    with pytest.raises(UsageError, match=r"Unknown key 'splits'\. Did you mean 'split'"):
        open_source(f"mvtec_ad:{mvtec}?splits=test")


def test_own_folders_without_masks_teach_words_only(tmp_path):
    picture(tmp_path / "normal" / "0.png")
    picture(tmp_path / "anomalous" / "0.png")
    record = open_source(f"folder:{tmp_path}").other[0]
    assert record["mask"] is None
    assert record["sections"]["description"].endswith("with a defect.")


def test_of_own_folders_with_some_masks_all_need_one(tmp_path):
    for name in ("normal/0", "anomalous/0", "anomalous/1"):
        picture(tmp_path / f"{name}.png")
    mask(tmp_path / "masks" / "1.png")
    other = open_source(f"folder:{tmp_path}").other
    with pytest.raises(BadFile, match="has no mask"):
        other[0]
    assert np.array_equal(other[1]["mask"], BLOCK)


def test_riad_brings_its_own_dialogues(tmp_path):
    write_data_set(tmp_path / "made", Order(layout="riad", categories=("nut",), count=4, size=64))
    source = open_source(f"riad:{tmp_path / 'made'}?split=train")
    record = source.other[0]
    assert [turn["from"] for turn in record["conversations"][:2]] == ["human", "gpt"]
    assert record["conversations"][0]["value"].startswith("<image>\n")
    assert record["mask"].any()


def test_dialogues_without_a_label_are_neither_normal_nor_anomalous(tmp_path):
    picture(tmp_path / "web" / "a.jpg")
    turns = [{"from": "human", "value": "<image>\nWhat is wrong?"}, {"from": "gpt", "value": "It is torn."}]
    (tmp_path / "webad.json").write_text(json.dumps([{"image": "web/a.jpg", "conversations": turns}]))
    source = open_source(f"anomaly_instruct:{tmp_path}")
    assert (len(source.normal), len(source.other)) == (0, 1)
    record = source.other[0]
    assert record["anomalous"] is None
    assert record["sections"] == {}
    assert record["conversations"][1]["value"] == "It is torn."


# ---------------------------------------------------------------- files of records


def test_files_of_records_are_read_with_paths_beside_them(tmp_path):
    write_data_set(tmp_path / "made", Order(layout="instruct", categories=("nut",), count=4, size=64))
    source = open_source(f"instruct:{tmp_path / 'made'}")
    assert (len(source.normal), len(source.other)) == (2, 2)
    record = source.other[0]
    assert record["image"].is_file()
    assert record["mask"].is_file()
    assert record["id"] == "nut.json/nut/00001"
    assert source.normal[0]["mask"] is None
    assert record["sections"]["description"]


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"image": "a.png"}\n')
    with pytest.raises(BadFile, match="record 1 has neither conversations nor sections"):
        open_source(f"instruct:{tmp_path / 'a.jsonl'}")
    with pytest.raises(UsageError, match="no such file or folder of instruct records"):
        open_source("instruct:nowhere")


# ---------------------------------------------------------------- made pictures


def test_made_pictures_have_no_end_and_are_the_same_for_the_same_number():
    source = open_source("procedural:categories=nut+foam,families=2,size=64")
    assert len(source.normal) == len(source.other) == ENDLESS
    one, other = source.other[10**9], open_source("procedural:categories=nut+foam,families=2,size=64").other[10**9]
    assert np.array_equal(one["image"], other["image"])
    assert one["id"] == other["id"]
    assert one["mask"].any()
    assert one["image"].shape == (64, 64, 3)


def test_categories_and_families_take_turns():
    source = open_source("procedural:categories=nut+foam,families=2,size=64,seed=3,first=7")
    ids = [source.normal[i]["id"] for i in range(5)]
    assert ids == ["nut/3/7/good", "foam/3/7/good", "nut/4/7/good", "foam/4/7/good", "nut/3/8/good"]


def test_parts_that_are_held_out_are_others():
    train, test = open_sources(
        ("procedural:categories=nut,size=64", "procedural:categories=nut,size=64,first=0,count=1000")
    )
    assert len(test.normal) == 1000
    last, first = int(test.normal[999]["id"].split("/")[2]), int(train.normal[0]["id"].split("/")[2])
    assert last < first


def test_some_good_parts_are_near_misses():
    source = open_source("procedural:categories=nut,size=64,near=0.5")
    plain = open_source("procedural:categories=nut,size=64")
    odd = [not np.array_equal(source.normal[i]["image"], plain.normal[i]["image"]) for i in range(12)]
    assert 4 <= sum(odd) <= 8


# ---------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mvtec", r"data is NAME:WHERE, got 'mvtec'"),
        ("mvtec:x", r"Unknown data 'mvtec'. Did you mean 'mvtec_ad'\?"),
        ("mvtec_ad:nowhere", "no such folder"),
        ("0*procedural:", "a source needs at least one turn"),
        ("procedural:level=eazy", "level must be one of easy, medium, hard, got 'eazy'"),
        ("procedural:categories=nuts", r"Unknown category 'nuts'. Did you mean 'nut'\?"),
        ("procedural:size=1", "procedural: size: .*greater than or equal to 64"),
        ("procedural:colour=red", "Unknown key 'colour'"),
        ("procedural:easy", "expected KEY=VALUE, got 'easy'"),
    ],
)
def test_what_cannot_be_opened_is_said(text, words):
    with pytest.raises((UsageError, BadFile), match=words):
        open_source(text)


def test_nothing_to_train_on_is_said():
    with pytest.raises(UsageError, match="nothing to train on: name data, such as procedural"):
        open_sources(())


def test_a_number_in_front_is_the_number_of_turns():
    assert open_source("3*procedural:categories=nut").turns == 3


# ---------------------------------------------------------------- sentences


@pytest.mark.parametrize("defect", sorted({name for names in DATASET.defects.values() for name in names}))
def test_each_defect_of_mvtec_has_plain_words(defect):
    found = instruct_text.sections("part", True, defect, BLOCK)
    assert "_" not in " ".join(found.values())
    assert "{" not in " ".join(found.values())
    assert found["description"].startswith("The image shows the part with a")
    assert found["description"].endswith(" at the upper right.")
    assert defect in ("combined", "defective") or instruct_text.group_of(defect)
    for name in ("description", "impact", "suggestion"):
        assert found[name].count(". ") == 0  # one sentence each: answers are read by the order of their sentences
        assert found[name][0].isupper()


def test_what_is_not_known_is_not_said():
    assert instruct_text.sections("cable", True)["description"] == "The image shows the cable with a defect."
    assert instruct_text.sections("cable", False)["impact"] == ""
    named = instruct_text.sections("candle", True, "burnt, melt", BLOCK)["description"]
    assert named == "The image shows the candle with a burnt spot and a molten spot at the upper right."


def test_the_same_draw_says_the_same_and_draws_differ():
    said = [instruct_text.sections("cable", True, "cut", None, draw)["impact"] for draw in range(20)]
    assert said[3] == instruct_text.sections("cable", True, "cut", None, 3)["impact"]
    assert len(set(said)) > 1
