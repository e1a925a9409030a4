"""Contract of every data set: a miniature of its layout is read back, and its facts hold together."""

from pathlib import Path

import miniatures
import pytest

from looktwice.data import DATASETS, load_dataset
from looktwice.data.checking import check
from looktwice.errors import BadFile, UnknownName, UsageError

NAMES = list(DATASETS)


@pytest.mark.parametrize("name", NAMES)
def test_a_miniature_of_the_layout_is_read_back(name: str, tmp_path: Path) -> None:
    dataset = load_dataset(name)
    things = miniatures.build(dataset, tmp_path)
    items = list(dataset.items(tmp_path))
    miniatures.compare(items, things)
    assert list(dataset.items(str(tmp_path))) == items


@pytest.mark.parametrize("name", NAMES)
def test_litter_and_hidden_files_change_nothing(name: str, tmp_path: Path) -> None:
    dataset = load_dataset(name)
    things = miniatures.build(dataset, tmp_path)
    for folder in [tmp_path, *(p for p in tmp_path.rglob("*") if p.is_dir())]:
        for litter in (".DS_Store", "Thumbs.db", "._000.png", "._000.JPG"):
            (folder / litter).write_text("litter")
    assert sorted(item.id for item in dataset.items(tmp_path)) == sorted(things)


@pytest.mark.parametrize("name", NAMES)
def test_a_root_whose_name_holds_telling_words_changes_nothing(name: str, tmp_path: Path) -> None:
    root = tmp_path / "latest goods" / "bad test train ground_truth ok"
    things = miniatures.build(load_dataset(name), root)
    miniatures.compare(list(load_dataset(name).items(root)), things)


@pytest.mark.parametrize("name", NAMES)
def test_each_split_and_category_can_be_read_alone(name: str, tmp_path: Path) -> None:
    dataset = load_dataset(name)
    things = miniatures.build(dataset, tmp_path)
    assert {thing.split for thing in things.values()} <= set(dataset.all_splits)
    for split in dataset.all_splits:
        got = [item.id for item in dataset.items(tmp_path, split=split)]
        assert sorted(got) == sorted(key for key, thing in things.items() if thing.split == split)
    category = next(iter(things.values())).category
    got = [item.id for item in dataset.items(tmp_path, categories=[category])]
    assert sorted(got) == sorted(key for key, thing in things.items() if thing.category == category)


@pytest.mark.parametrize("name", NAMES)
def test_the_facts_hold_together(name: str) -> None:
    dataset = load_dataset(name)
    assert dataset.name == name
    assert dataset.title
    assert dataset.owner
    assert dataset.page
    assert dataset.licence
    assert dataset.all_splits
    assert set(dataset.counts) <= {*dataset.variants, ""}
    assert dataset.expected() or dataset.size
    for counts in dataset.counts.values():
        for count in counts:
            assert count.category in {"", "*", *dataset.categories}
            assert count.split in {"", *dataset.all_splits}
    assert set(dataset.display) <= set(dataset.categories) or not dataset.categories
    for category in dataset.categories:
        words = dataset.display_name(category)
        assert words == words.strip()
        assert "_" not in words
        assert not words.isdigit()


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_folder_says_what_belongs_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadFile) as caught:
        list(load_dataset(name).items(tmp_path))
    assert caught.value.kind == "empty"
    assert "nothing of" in caught.value.why
    report = check(load_dataset(name), tmp_path)
    assert [finding.kind for finding in report.findings] == ["missing"]


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_root_says_where_to_get_the_set(name: str, tmp_path: Path) -> None:
    dataset = load_dataset(name)
    with pytest.raises(UsageError, match="no such folder"):
        dataset.items(tmp_path / "nowhere")


# one finds its videos at any depth, the other takes folders for categories
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("ucf_crime", "folder")])
def test_a_folder_too_high_is_named(name: str, tmp_path: Path) -> None:
    miniatures.build(load_dataset(name), tmp_path / "copies" / "mine")
    with pytest.raises(BadFile, match="give that folder"):
        list(load_dataset(name).items(tmp_path / "copies"))


@pytest.mark.parametrize("name", NAMES)
def test_a_miniature_is_sound_but_for_its_numbers(name: str, tmp_path: Path) -> None:
    miniatures.build(load_dataset(name), tmp_path)
    report = check(load_dataset(name), tmp_path)
    numbers = {"missing", "count"}  # a miniature is small, and holds two classes of many
    assert [finding for finding in report.findings if finding.kind not in numbers] == []
    assert report.items == sum(n + a + u for _, _, n, a, u in report.found)


def test_an_unknown_data_set_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'mvtec_ad'"):
        load_dataset("mvtec-ad")


def test_an_unknown_category_names_the_data_set_it_belongs_to(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"one of candle, .* got 'bottle' \(it belongs to mvtec_ad\)"):
        load_dataset("visa").items(tmp_path, categories=["bottle"])


def test_an_unknown_split_and_variant_list_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="to be one of train, test, got 'dev'"):
        load_dataset("mvtec_ad").items(tmp_path, split="dev")
    with pytest.raises(UsageError, match="to be one of extremes, quarter, half, any, got 'third'"):
        load_dataset("elpv").items(tmp_path, variant="third")
    with pytest.raises(UsageError, match="it has only one"):
        load_dataset("mvtec_ad").items(tmp_path, variant="1cls")
