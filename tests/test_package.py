"""The package as it is installed: what help loads, what the wheel holds, what works without extras."""

from __future__ import annotations

import inspect
import json
import os
import pkgutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from test_layering import heavy

import looktwice

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
HEAVY = ("numpy", "scipy", "PIL", "jinja2", "onnxruntime", "torch", "av", "trimesh", "tifffile")
# What the extras bring, by the name it is imported as.
OPTIONAL = (
    *("av", "trimesh", "pypcd4", "tifffile", "torch", "torchvision", "transformers", "accelerate", "peft"),
    *("safetensors", "openai", "pydicom", "nibabel", "fastapi", "uvicorn", "sqlalchemy", "ray", "onnx", "onnxscript"),
    *("mkdocs", "pytest", "hypothesis", "ruff", "mypy", "sklearn", "pycocotools", "jsonschema", "psutil", "hatchling"),
    *("xdist", "tensorboard", "sentencepiece", "tokenizers", "huggingface_hub"),
)
OTHER_NAMES = {"scikit-learn": "sklearn", "pytest-xdist": "xdist"}
NOT_IMPORTED = {"types-pyyaml", "scipy-stubs", "looktwice", "protobuf"}

ASK = """
import json, sys
from looktwice.cli.main import run
sys.argv = ["looktwice", *sys.argv[1:]]
try:
    run()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""

BLOCKED = """
import importlib, importlib.abc, sys

class Gone(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {optional}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Gone())
"""


def python(code: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )


# ---------------------------------------------------------------- help answers at once


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--help"], "calibrate"),
        (["--version"], looktwice.__version__),
        (["inspect", "--help"], "--fail-on"),
        (["calibrate", "--help"], "--alpha"),
        (["check", "--help"], "--run"),
        (["demo", "--help"], "--seed"),
        (["schema", "--help"], "result"),
        (["models", "--help"], "--json"),
        (["models"], "selfsim"),
        (["datasets", "--help"], "check"),
    ],
    ids=" ".join,
)
def test_help_and_listings_load_nothing_heavy(arguments: list[str], says: str) -> None:
    answer = python(ASK, *arguments)
    assert answer.returncode == 0, answer.stderr
    assert says in answer.stdout
    loaded = json.loads(answer.stderr.splitlines()[-1])
    assert [name for name in HEAVY if name in loaded] == []


def test_importing_the_package_loads_nothing_heavy() -> None:
    answer = python("import json, sys, looktwice; dir(looktwice); print(json.dumps(sorted(sys.modules)))")
    assert [name for name in HEAVY if name in json.loads(answer.stdout)] == []


# ---------------------------------------------------------------- the public face


def test_the_version_is_the_same_everywhere() -> None:
    assert looktwice.__version__ == PROJECT["version"]
    assert python(ASK, "--version").stdout == f"looktwice {PROJECT['version']}\n"


@pytest.mark.parametrize("name", [name for name in looktwice.__all__ if name != "__version__"])
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    found = getattr(looktwice, name)
    assert found.__name__ == name
    assert len(inspect.getdoc(found) or "") > 20
    assert name in dir(looktwice)


def test_a_name_that_is_not_public_is_an_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'inspct'"):
        looktwice.inspct  # noqa: B018


# ---------------------------------------------------------------- without extras


def test_the_blocked_names_are_those_of_all_extras() -> None:
    extras = [text for some in PROJECT["optional-dependencies"].values() for text in some]
    names = {text.split(">")[0].split("[")[0].lower() for text in extras} - NOT_IMPORTED
    assert {OTHER_NAMES.get(name, name) for name in names} <= set(OPTIONAL)


def test_every_module_can_be_imported_without_extras() -> None:
    names = [found.name for found in pkgutil.walk_packages(looktwice.__path__, "looktwice.")]
    names = [name for name in names if not heavy(name)]
    assert len(names) > 60
    loop = "for name in sys.argv[1:]: importlib.import_module(name)\nprint(len(sys.argv) - 1)"
    answer = python(BLOCKED.format(optional=OPTIONAL) + loop, *names)
    assert answer.stdout == f"{len(names)}\n", answer.stderr


@pytest.mark.parametrize("model", ["vmad", "lisa", "hf:owner/name"])
def test_a_model_that_is_nothing_without_torch_names_the_extra(model: str) -> None:
    code = f"""
import looktwice
try:
    looktwice.load({model!r}).fit(looktwice.Spec())
except ImportError as error:
    print(error.kind, error)
"""
    answer = python(BLOCKED.format(optional=OPTIONAL) + code)
    assert answer.stdout.startswith("missing_extra"), answer.stderr
    assert "pip install 'looktwice[torch]'" in answer.stdout


def test_pictures_are_inspected_without_extras_and_a_video_names_the_extra_it_needs(tmp_path: Path) -> None:
    code = """
from PIL import Image
from looktwice.data.procedural import plate

for seed, name in enumerate(("reference", "part")):
    Image.fromarray(plate(seed, size=128)[0]).save(f"{name}.png")
open("belt.mp4", "wb").write(bytes(64))
import looktwice
spec = looktwice.Spec(references=("reference.png",))
print([r.verdict for r in looktwice.inspect("part.png", spec=spec, out="out")])
for result in looktwice.inspect("belt.mp4", "selfsim"):
    print(result.error.kind, result.error.message)
"""
    answer = python(BLOCKED.format(optional=OPTIONAL) + code, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "['normal']" in answer.stdout
    assert "missing_extra" in answer.stdout
    assert "pip install 'looktwice[video]'" in answer.stdout
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


# ---------------------------------------------------------------- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    code = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    made = python(code, str(folder), cwd=ROOT)
    assert made.returncode == 0, made.stderr
    return zipfile.ZipFile(folder / made.stdout.split()[-1])


def test_the_wheel_holds_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    package = ROOT / "src" / "looktwice"
    files = {path.relative_to(package.parent).as_posix() for path in package.rglob("*") if path.is_file()}
    files = {name for name in files if "__pycache__" not in name}
    held = set(wheel.namelist())
    assert {"looktwice/py.typed", "looktwice/report/templates/report.html.j2"} <= files
    assert files <= held
    assert {name.split("/")[0] for name in held - files} == {f"looktwice-{looktwice.__version__}.dist-info"}


def test_the_wheel_says_what_it_needs(wheel: zipfile.ZipFile) -> None:
    info = f"looktwice-{looktwice.__version__}.dist-info"
    facts = wheel.read(f"{info}/METADATA").decode()
    assert "License-Expression: Apache-2.0" in facts
    assert "Requires-Python: >=3.11" in facts
    for extra in ("video", "points", "tiff"):
        assert f"Provides-Extra: {extra}" in facts
    assert "looktwice = looktwice.cli.main:run" in wheel.read(f"{info}/entry_points.txt").decode()
    assert "Apache License" in wheel.read(f"{info}/licenses/LICENSE").decode()


def test_the_core_needs_no_torch(wheel: zipfile.ZipFile) -> None:
    facts = wheel.read(f"looktwice-{looktwice.__version__}.dist-info/METADATA").decode()
    core = [line for line in facts.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert len(core) == len(PROJECT["dependencies"])
    assert not any("torch" in line for line in core)
