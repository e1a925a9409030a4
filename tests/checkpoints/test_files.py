"""Files of weights: found, opened, and never trusted."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from looktwice.checkpoints import BadCheckpoint, locate, read_tensors
from looktwice.errors import LookTwiceError

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2), "scale": torch.tensor(2.5)}


def same(found) -> bool:
    return set(found) == set(WEIGHTS) and all(torch.equal(found[name], one) for name, one in WEIGHTS.items())


def test_safetensors_are_read(tmp_path):
    save_file(WEIGHTS, tmp_path / "x.safetensors")
    found = read_tensors(tmp_path / "x.safetensors")
    assert same(found)
    assert found.shape("a.weight") == (2, 3)
    assert found.shape("scale") == ()


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files_are_read_new_and_old(tmp_path, zipped):
    torch.save(WEIGHTS, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    assert same(read_tensors(str(tmp_path / "x.pth")))


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "module"])
def test_weights_are_found_inside_what_a_training_script_saved(tmp_path, wrapper):
    torch.save({wrapper: {f"module.{name}": one for name, one in WEIGHTS.items()}, "epoch": 3}, tmp_path / "x.pt")
    assert same(read_tensors(tmp_path / "x.pt"))


def shards(folder: Path, kind: str = "safetensors") -> dict[str, str]:
    one, two = f"model-1.{kind}", f"model-2.{kind}"
    parts = {one: ["a.weight"], two: ["a.bias", "scale"]}
    for name, keys in parts.items():
        held = {key: WEIGHTS[key] for key in keys}
        save_file(held, folder / name) if kind == "safetensors" else torch.save(held, folder / name)
    where = {key: name for name, keys in parts.items() for key in keys}
    stem = "model.safetensors" if kind == "safetensors" else "pytorch_model.bin"
    (folder / f"{stem}.index.json").write_text(json.dumps({"weight_map": where}), "utf-8")
    return where


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_shards_are_read_by_their_index_and_by_their_folder(tmp_path, kind):
    shards(tmp_path, kind)
    assert same(read_tensors(tmp_path))
    assert same(read_tensors(next(tmp_path.glob("*.json"))))


def test_several_files_make_one_set(tmp_path):
    shards(tmp_path)
    assert same(read_tensors([tmp_path / "model-1.safetensors", tmp_path / "model-2.safetensors"]))


def test_a_tensor_in_two_files_is_refused(tmp_path):
    save_file(WEIGHTS, tmp_path / "x.safetensors")
    save_file({"scale": WEIGHTS["scale"]}, tmp_path / "y.safetensors")
    with pytest.raises(BadCheckpoint, match=r"y\.safetensors: another file gives scale as well"):
        read_tensors([tmp_path / "x.safetensors", tmp_path / "y.safetensors"])


def test_in_a_folder_safetensors_come_first(tmp_path):
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    torch.save({"other": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    assert same(read_tensors(tmp_path))


def test_a_folder_with_one_file_of_any_name_will_do(tmp_path):
    torch.save(WEIGHTS, tmp_path / "sam_vit_b_01ec64.pth")
    assert same(read_tensors(tmp_path))


@pytest.mark.parametrize(
    ("names", "words"),
    [([], "has none of .*, but no weights: name the file"), (["a.bin", "b.pth"], r"but a\.bin, b\.pth: name the file")],
)
def test_a_folder_that_does_not_say_which_file_is_refused(tmp_path, names, words):
    for name in names:
        torch.save(WEIGHTS, tmp_path / name)
    with pytest.raises(BadCheckpoint, match=words):
        read_tensors(tmp_path)


class Trap:
    """Opening it by pickle would run a command."""

    def __reduce__(self):
        return (os.system, ("echo trapped > trapped",))


def test_a_file_with_a_program_in_it_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": torch.zeros(1), "trap": Trap()}, tmp_path / "x.bin")
    with pytest.raises(BadCheckpoint, match=r"x\.bin cannot be read \(UnpicklingError.* never unpickled"):
        read_tensors(tmp_path / "x.bin")
    assert not (tmp_path / "trapped").exists()


def broken(folder: Path, kind: str) -> Path:
    """Files that are not what their name says."""
    path = folder / {"safetensors": "x.safetensors", "noise.safetensors": "x.safetensors"}.get(kind, "x.pth")
    if kind == "safetensors":
        save_file(WEIGHTS, path)
    elif kind.startswith("noise"):
        path.write_bytes(bytes(range(256)) * 8)
    else:
        torch.save(WEIGHTS, path, _use_new_zipfile_serialization=kind == "zip")
    if not kind.startswith("noise"):
        path.write_bytes(path.read_bytes()[:-40])
    return path


@pytest.mark.parametrize("kind", ["safetensors", "noise.safetensors", "zip", "old", "noise"])
def test_a_broken_file_is_named(tmp_path, kind):
    path = broken(tmp_path, kind)
    with pytest.raises(BadCheckpoint, match=rf"{path.name} cannot be read") as error:
        read_tensors(path)
    assert isinstance(error.value, LookTwiceError)
    assert error.value.kind == "bad_checkpoint"


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "x.pth").touch()
    with pytest.raises(BadCheckpoint, match=r"x\.pth cannot be read"):
        read_tensors(tmp_path / "x.pth")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.ones(2)])
def test_a_file_without_tensors_by_name_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(BadCheckpoint, match=r"x\.pt holds no tensors by name"):
        read_tensors(tmp_path / "x.pt")


def test_a_pointer_instead_of_weights_is_recognised(tmp_path):
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 13\n"
    (tmp_path / "model.safetensors").write_text(text, "utf-8")
    with pytest.raises(BadCheckpoint, match=r"is a Git LFS pointer, not the weights: download the file itself"):
        read_tensors(tmp_path)


def test_a_missing_shard_is_named(tmp_path):
    shards(tmp_path)
    (tmp_path / "model-2.safetensors").unlink()
    with pytest.raises(BadCheckpoint, match=r"lacks model-2\.safetensors of 2 shards: download them again"):
        read_tensors(tmp_path)


def test_shards_that_lack_what_the_index_promises_are_named(tmp_path):
    where = shards(tmp_path) | {"b.weight": "model-1.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}), "utf-8")
    with pytest.raises(BadCheckpoint, match=r"the shards lack b\.weight of the index"):
        read_tensors(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no index of shards"),
        ("[]", "is no index of shards"),
        ("{}", "is no index of shards"),
        ('{"weight_map": {"a": 3}}', "is no index of shards"),
        ('{"weight_map": {"a": "../x.bin"}}', "names shards outside of its folder"),
    ],
)
def test_a_broken_index_is_refused(tmp_path, text, words):
    (tmp_path / "model.safetensors.index.json").write_text(text, "utf-8")
    with pytest.raises(BadCheckpoint, match=words):
        read_tensors(tmp_path)


# ---------------------------------------------------------------- where files are


def test_a_missing_published_file_says_its_size_and_where_it_is_from(tmp_path):
    with pytest.raises(
        BadCheckpoint, match=r"is not there: download it \(2\.4 GiB, https://dl\.fbaipublicfiles\.com/\S+\)"
    ):
        locate(tmp_path / "sam_vit_h_4b8939.pth")


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(BadCheckpoint, match="is not there: give a file, a folder, or ORG/NAME"):
        locate(tmp_path / "x.pth")


@pytest.mark.parametrize("name", ["nobody/nothing", "../nothing"])
def test_a_model_that_was_not_downloaded_says_the_command(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BadCheckpoint, match=rf"is neither a path nor in the local cache: hf download {name}"):
        locate(name)


def test_a_model_in_the_local_cache_is_found_by_its_name(tmp_path, monkeypatch):
    cached = tmp_path / "models--nobody--something"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0" * 40, "utf-8")
    (cached / "snapshots" / ("0" * 40)).mkdir(parents=True)
    save_file(WEIGHTS, cached / "snapshots" / ("0" * 40) / "model.safetensors")
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path))
    assert same(read_tensors("nobody/something"))
