"""A whole copy is clean; whatever is missing or odd is said exactly."""

import json
import shutil
from pathlib import Path

import miniatures
import numpy as np
import pytest
from miniatures import block, picture, save_mask, write
from typer.testing import CliRunner

from looktwice.cli.datasets import app, markdown_table
from looktwice.data import DATASETS, load_dataset
from looktwice.data.checking import Finding, check
from looktwice.errors import UsageError

WHOLE = ["mpdd", "brain_mri", "isic", "mvtec_loco", "btad"]


def found(name: str, root: Path, **how: bool) -> list[tuple[str, str, str]]:
    return [(f.kind, f.where, f.message) for f in check(load_dataset(name), root, **how).findings]  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MPDD with all published numbers."""
    root = tmp_path_factory.mktemp("whole") / "mpdd"
    miniatures.build_whole(load_dataset("mpdd"), root)
    return root


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """A copy to spoil; its files are its own."""
    shutil.copytree(whole, tmp_path / "mpdd")
    return tmp_path / "mpdd"


@pytest.mark.parametrize("name", WHOLE)
def test_a_copy_with_the_published_numbers_is_clean(name: str, tmp_path: Path) -> None:
    miniatures.build_whole(load_dataset(name), tmp_path / name)
    report = check(load_dataset(name), tmp_path / name)
    assert report.findings == ()
    assert report.clean
    assert report.items == sum(
        (c.normal or 0) + (c.anomalous or 0) for c in load_dataset(name).expected() if not c.defect
    )


@pytest.mark.parametrize(
    ("name", "train", "normal", "anomalous"),
    [
        ("mvtec_ad", 3629, 467, 1258),
        ("visa", 8659, 962, 1200),
        ("btad", 1799, 451, 290),
        ("mpdd", 888, 176, 282),
        ("elpv", 0, 1508, 715),
        ("brain_mri", 0, 98, 155),
        ("head_ct", 0, 100, 100),
        ("br35h", 0, 1500, 1500),
        ("mvtec_3d", 2656, 249, 948),
        ("mvtec_loco", 1772, 575, 993),
        ("real3d_ad", 48, 604, 602),
        ("isic", 0, 0, 379),
        ("cvc_colondb", 0, 0, 380),
        ("cvc_clinicdb", 0, 0, 612),
        ("kvasir", 0, 0, 1000),
        ("endo", 0, 0, 200),
    ],
)
def test_the_held_counts_add_to_the_published_totals(name: str, train: int, normal: int, anomalous: int) -> None:
    counts = [count for count in load_dataset(name).expected() if not count.defect]
    assert sum(c.normal or 0 for c in counts if c.split == "train") == train
    assert sum(c.normal or 0 for c in counts if c.split == "test") == normal
    assert sum(c.anomalous or 0 for c in counts if c.split == "test") == anomalous


def test_a_missing_class_is_said_once(copy: Path) -> None:
    shutil.rmtree(copy / "tubes")
    assert found("mpdd", copy) == [("missing", "tubes", "class tubes is missing: not one item of it was found")]


def test_a_missing_part_says_what_was_expected(copy: Path) -> None:
    shutil.rmtree(copy / "connector/train")
    assert found("mpdd", copy) == [("missing", "connector/train", "nothing found, 128 normal expected")]


def test_wrong_numbers_say_expected_and_found_and_who_counted(copy: Path) -> None:
    (copy / "tubes/test/anomalous/000.png").unlink()
    (copy / "tubes/ground_truth/anomalous/000_mask.png").unlink()
    (copy / "tubes/train/good/000.png").unlink()
    assert found("mpdd", copy) == [
        ("count", "tubes/train", "normal 122 expected, 121 found (as reported by its authors, not re-counted)"),
        ("count", "tubes/test", "anomalous 69 expected, 68 found"),
        ("count", "tubes/test/anomalous", "anomalous 69 expected, 68 found"),
    ]


def test_masks_and_images_without_each_other_are_named(copy: Path) -> None:
    (copy / "tubes/ground_truth/anomalous/007_mask.png").unlink()
    save_mask(copy / "tubes/ground_truth/anomalous/900_mask.png", block())
    assert found("mpdd", copy) == [
        ("no_image", "tubes/ground_truth/anomalous", "a mask without an image: 900_mask.png"),
        ("no_mask", "tubes/test/anomalous", "an anomalous item without a mask: 007.png"),
    ]


def test_pointers_broken_files_and_wrong_sizes_are_named(copy: Path) -> None:
    good = copy / "tubes/test/good"
    for k in range(5):
        write(good / f"00{k}.png", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    (good / "010.png").write_bytes(b"")
    (good / "011.png").write_bytes((good / "012.png").read_bytes()[:80])
    save_mask(copy / "tubes/ground_truth/anomalous/000_mask.png", block().T)
    findings = found("mpdd", copy)
    assert findings[0] == ("empty", "tubes/test/good", "the file is empty: 010.png")
    assert findings[1] == (
        "mask_size",
        "tubes/ground_truth/anomalous",
        "the mask is 16x24 pixels, its picture 24x16: 000_mask.png",
    )
    assert [kind for kind, *_ in findings[2:]] == ["unreadable", "unreadable"]
    pointers, broken = sorted(message for _, _, message in findings[2:])
    assert pointers.startswith("a Git LFS pointer, not the file itself: run 'git lfs pull'")
    assert pointers.endswith("000.png, 001.png, 002.png and 2 more")
    assert "not a readable picture" in broken
    assert broken.endswith("011.png")


def test_unexpected_files_and_unknown_types_are_named(copy: Path) -> None:
    write(copy / "tubes/notes.doc", "x")
    write(copy / "readme.txt", "belongs to a copy")
    (copy / "tubes/test/anomalous").rename(copy / "tubes/test/odd")
    kinds = {(kind, where): message for kind, where, message in found("mpdd", copy)}
    assert kinds["unexpected", "tubes"] == "not a file of this data set: notes.doc"
    assert kinds["unknown_type", "tubes"] == "'odd' is no defect type of it (anomalous)"
    assert kinds["missing", "tubes/anomalous"] == "no item of the defect type anomalous"
    assert ("unexpected", ".") not in kinds


def test_the_nested_copy_of_the_brain_archive_is_named(tmp_path: Path) -> None:
    root = tmp_path / "brain"
    miniatures.build_whole(load_dataset("brain_mri"), root)
    for folder in ("yes", "no"):
        shutil.copytree(root / folder, root / "brain_tumor_dataset" / folder)
    ((kind, where, message),) = found("brain_mri", root)
    assert (kind, where) == ("nested_copy", "brain_tumor_dataset")
    assert message.startswith("a second copy of the set inside the first; it is not read, delete it: no/000.jpg")
    assert message.endswith("and 250 more")


def test_a_listed_file_that_is_missing_names_its_line(tmp_path: Path) -> None:
    miniatures.build(load_dataset("visa"), tmp_path)
    (tmp_path / "candle/Data/Images/Normal/000.JPG").unlink()
    assert ("missing_file", "candle/Data/Images/Normal", "no such file: 000.JPG (1cls.csv, line 3)") in found(
        "visa", tmp_path
    )


def test_a_broken_list_is_named_and_ends_the_check(tmp_path: Path) -> None:
    miniatures.build(load_dataset("mmad"), tmp_path)
    write(tmp_path / "mmad.json", "{")
    ((kind, where, message),) = found("mmad", tmp_path)
    assert (kind, where) == ("list", "mmad.json")
    assert message.startswith("line 1: not JSON")


def test_a_deep_check_finds_empty_masks_and_wrong_labels(tmp_path: Path) -> None:
    miniatures.build(load_dataset("folder"), tmp_path)
    save_mask(tmp_path / "masks/b.png", np.zeros(miniatures.SIZE, np.bool_))
    save_mask(tmp_path / "good/a 1_mask.png", block())
    assert found("folder", tmp_path) == []
    assert found("folder", tmp_path, deep=True) == [
        ("empty_mask", "bad", "labelled anomalous, but nothing is marked: b.PNG"),
        ("wrong_label", "good", "labelled normal, but something is marked: a 1.png"),
    ]


def test_frames_of_clips_are_counted(tmp_path: Path) -> None:
    miniatures.build(load_dataset("ucsd_ped2"), tmp_path)
    assert found("ucsd_ped2", tmp_path) == [
        ("count", "walkway/train", "items 16 expected, 1 found; frames 2550 expected, 4 found"),
        ("count", "walkway/test", "items 12 expected, 2 found; frames 2010 expected, 12 found"),
    ]


def test_the_published_defect_without_mask_is_no_finding(tmp_path: Path) -> None:
    miniatures.build(load_dataset("aitex"), tmp_path)
    assert {kind for kind, *_ in found("aitex", tmp_path)} == {"count"}


def test_a_wrong_variant_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="to be one of 1cls"):
        check(load_dataset("visa"), tmp_path, variant="3cls")


# ---------------------------------------------------------------- the command


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_lists_every_data_set_with_its_facts() -> None:
    for arguments in ((), ("list",)):
        code, out, _ = run(*arguments)
        assert code == 0
        for name in DATASETS:
            assert name in out
    assert "CC BY 4.0" in out
    assert "Nothing is downloaded" in out


def test_the_listing_in_json_marks_what_was_only_reported() -> None:
    code, out, _ = run("list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert list(rows) == list(DATASETS)
    counts = rows["mvtec_ad"]["counts"][""]
    assert {(count["split"], count["verified"]) for count in counts} == {("train", False), ("test", True)}
    assert rows["mvtec_ad"]["size"] == "train 3,629 normal (reported); test 467 normal + 1,258 anomalous"
    assert rows["mmad"]["size"] == "8,366 pictures; 39,672 questions"
    assert rows["visa"]["variants"] == ["1cls", "2cls_highshot", "2cls_fewshot"]
    assert rows["brain_mri"]["truth"] == "image labels"


def test_a_clean_copy_exits_with_zero(whole: Path) -> None:
    code, out, _ = run("check", "mpdd", whole)
    assert code == 0
    assert "tubes/test: 32 normal + 69 anomalous" in out
    assert out.strip().endswith("1346 items, clean")


def test_a_spoilt_copy_exits_with_one_and_says_why(copy: Path) -> None:
    shutil.rmtree(copy / "tubes")
    code, out, _ = run("check", "mpdd", copy)
    assert code == 1
    assert "missing  tubes: class tubes is missing" in out
    assert "1 thing is off" in out
    code, out, _ = run("check", "mpdd", copy, "--json")
    report = json.loads(out)
    assert code == 1
    assert report["clean"] is False
    assert Finding(**report["findings"][0]).kind == "missing"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("check", "mvtec-ad", "."), "Did you mean 'mvtec_ad'"),
        (("check", "mvtec_ad", "not here"), "not here: no such folder. Get MVTec AD from its owner"),
        (("check", "visa", ".", "--variant", "x"), "Expected variant of visa to be one of"),
        (("check", "mvtec_ad"), "Missing argument"),
        (("check", "folder", "left"), "which is normal?"),
    ],
)
def test_wrong_usage_exits_with_two(
    arguments: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "left/one/a.png")
    code, _, error = run(*arguments)
    assert code == 2
    assert words in error


def test_the_table_in_the_docs_is_the_listing() -> None:
    page = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")
    assert markdown_table([load_dataset(name) for name in DATASETS]) in page, (
        "docs/datasets.md is out of date: put in what 'looktwice datasets --markdown' prints"
    )
