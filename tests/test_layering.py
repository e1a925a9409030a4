"""Imports point one way: read from the source, also inside functions, under TYPE_CHECKING and in lazy tables."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from looktwice.errors import EXTRA_OF

# Lower lines know nothing of higher ones, and members of one line know nothing of each other.
LAYERS = (
    ("errors",),
    ("registry", "settings", "records"),
    ("prompts", "metrics", "modalities", "regions", "report"),
    ("data", "backbones", "checkpoints", "talkers"),
    ("detectors",),
    ("words", "sheets", "calibration", "run_folder"),
    ("findings",),
    ("inspection",),
    ("benchmark", "training"),
    ("service",),
    ("cli",),
)
# What a lower line may still not know: who -> (what, why).
STRANGERS = {
    "report": (("detectors", "modalities", "data", "backbones"), "a report never runs a model and never loads a file"),
    "regions": (("detectors", "modalities", "data", "backbones"), "places are found in arrays"),
    "words": (("detectors", "modalities", "data", "backbones", "report"), "words are made from what was measured"),
    "calibration": (("detectors", "modalities", "data", "backbones"), "a calibration sees scores only"),
}
# The only doors into a package for those outside of it: everything else in it is its own business.
DOORS = {("detectors", "modalities"): "looktwice.modalities", ("data", "modalities"): "looktwice.modalities"}
# Where an import name differs from the name of its distribution.
DISTRIBUTIONS = {"pillow": "PIL", "pyyaml": "yaml"}
THROUGH_CORE = {"markupsafe"}  # part of the public face of jinja2
# Files that are nothing without torch: they import it as a matter of course, and are loaded through a registry, which
# names the extra where it is missing, or by each other.
HEAVY = (
    "looktwice.backbones",
    "looktwice.checkpoints",
    "looktwice.detectors.vmad",
    "looktwice.talkers.hf",
    "looktwice.training",
)

SOURCE = Path(__file__).parents[1] / "src"
NAME = re.compile(r"looktwice(\.\w+)+(:\w+)?")


class Import(NamedTuple):
    """One import: who, what, where."""

    module: str  # "looktwice.report.html"
    target: str  # "looktwice.records.Spec", "numpy"
    line: int
    for_types: bool  # under TYPE_CHECKING
    lazy: bool  # a name in a table, loaded when it is used

    @property
    def place(self) -> str:
        return f"{self.module}, line {self.line}"


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted((SOURCE / "looktwice").rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports_of(module: str, source: str) -> Iterator[Import]:
    """Every import statement and every text that names a module of ours."""
    tree = ast.parse(source)
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        typing = id(node) in for_types
        if isinstance(node, ast.Import):
            yield from (Import(module, alias.name, node.lineno, typing, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}, line {node.lineno}: imports are absolute here"
            yield from (
                Import(module, f"{node.module}.{alias.name}", node.lineno, typing, False) for alias in node.names
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value):
            yield Import(module, node.value.replace(":", "."), node.lineno, typing, True)


MODULES = modules()
IMPORTS = [one for module, path in MODULES.items() for one in imports_of(module, path.read_text("utf-8"))]
OWN = [one for one in IMPORTS if one.target.split(".")[0] == "looktwice" and one.module != "looktwice"]


def member(name: str) -> str | None:
    """looktwice.report.html -> report; None for what looktwice/__init__.py itself holds."""
    first = f"{name}.".split(".")[1]
    return first if f"looktwice.{first}" in MODULES else None


def layer(name: str) -> int:
    return next(i for i, members in enumerate(LAYERS) if name in members)


def test_every_part_of_the_package_has_its_layer() -> None:
    parts = {member(module) for module in MODULES if module != "looktwice"}
    assert parts <= {name for names in LAYERS for name in names}


def upward(one: Import) -> bool:
    here, there = member(one.module), member(one.target)
    if here is None or there is None:
        return False
    return here != there and layer(there) >= layer(here)


def test_imports_point_one_way() -> None:
    assert [f"{one.place}: {one.target}" for one in OWN if upward(one)] == []


def strange(one: Import) -> bool:
    return member(one.target) in STRANGERS.get(member(one.module) or "", ((), ""))[0]


def test_a_report_never_learns_of_detectors_nor_words_of_files() -> None:
    assert [f"{one.place}: {one.target}" for one in OWN if strange(one)] == []


def past_the_door(one: Import) -> bool:
    here, there = member(one.module), member(one.target)
    door = DOORS.get((here or "", there or ""))
    if door is None or one.target == door:
        return False
    name = one.target.removeprefix(f"{door}.")
    return f"{door}.{name.split('.')[0]}" in MODULES  # a module of it, not one of its functions


def test_detectors_know_modalities_by_their_front_door_only() -> None:
    assert [f"{one.place}: {one.target}" for one in OWN if past_the_door(one)] == []


def test_only_the_table_knows_a_detector_by_name() -> None:
    from looktwice.detectors import DETECTORS

    rows = {target.split(":")[0] for target in DETECTORS.values()}

    def names(one: Import) -> bool:
        return any(one.target == row or one.target.startswith(f"{row}.") for row in rows)

    allowed = {"looktwice.detectors", *rows}  # a detector of several files may import its own
    assert [one.place for one in OWN if names(one) and one.module not in allowed] == []


def core() -> set[str]:
    """Import names of what every installation has."""
    project = tomllib.loads((SOURCE.parent / "pyproject.toml").read_text("utf-8"))["project"]
    names = {re.split(r"[<>=!~\[; ]", text)[0].lower() for text in project["dependencies"]}
    return {DISTRIBUTIONS.get(name, name) for name in names} | THROUGH_CORE


def heavy(module: str) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in HEAVY)


def extra(one: Import) -> bool:
    first = one.target.split(".")[0]
    if heavy(one.module) and first in EXTRA_OF:
        return False
    return first not in sys.stdlib_module_names | core() | {"looktwice"} and not one.for_types


def at_the_top(one: Import) -> bool:
    """Whether importing the module imports this too."""
    source = MODULES[one.module].read_text("utf-8").splitlines()[one.line - 1]
    return not source.startswith((" ", "\t")) and not one.lazy and not one.for_types


def test_light_files_load_heavy_ones_only_when_they_are_used() -> None:
    breaches = [one for one in OWN if heavy(one.target) and not heavy(one.module) and at_the_top(one)]
    assert [f"{one.place}: {one.target}" for one in breaches] == []


def test_optional_packages_come_through_need_and_never_by_import() -> None:
    # errors.need names the extra that brings the package; a bare import would only say "No module named"
    assert [f"{one.place}: {one.target}" for one in IMPORTS if extra(one)] == []


@pytest.mark.parametrize(
    ("module", "line", "rule"),
    [
        ("looktwice.modalities.image", "from looktwice.detectors.memory import Memory", upward),
        ("looktwice.modalities.image", "def f():\n    from looktwice import detectors", upward),
        ("looktwice.modalities.image", "if TYPE_CHECKING:\n    from looktwice.detectors import Card", upward),
        ("looktwice.modalities", 'TABLE = {"x": "looktwice.detectors.memory:Memory"}', upward),
        ("looktwice.metrics.ranking", "import looktwice.modalities.image", upward),
        ("looktwice.records", "from looktwice.settings import Settings", upward),
        ("looktwice.inspection", "from looktwice.cli.console import track", upward),
        ("looktwice.report.html", "from looktwice.detectors import CARDS", strange),
        ("looktwice.words", "from looktwice import modalities", strange),
        ("looktwice.detectors.memory", "from looktwice.modalities.image import Image", past_the_door),
        ("looktwice.detectors.memory", "from looktwice.modalities import point_cloud", past_the_door),
        ("looktwice.metrics.ranking", "from sklearn.metrics import roc_auc_score", extra),
        ("looktwice.modalities.video", "import av", extra),
        ("looktwice.modalities.video", "def f():\n    import torch.nn", extra),
    ],
)
def test_each_rule_sees_its_breach(module: str, line: str, rule) -> None:
    assert [rule(one) for one in imports_of(module, line)] == [True]


@pytest.mark.parametrize(
    ("module", "line", "rule"),
    [
        ("looktwice.detectors.memory", "from looktwice import modalities", upward),
        ("looktwice.findings", "from looktwice import __version__", upward),
        ("looktwice.detectors.memory", "from looktwice.modalities import load, views", past_the_door),
        ("looktwice.detectors.memory", "from looktwice.detectors.cells import shrink", upward),
        ("looktwice.report.jsonl", "import json, yaml, numpy.typing, looktwice.records", extra),
        ("looktwice.modalities.video", "if TYPE_CHECKING:\n    import av", extra),
    ],
)
def test_no_rule_sees_a_breach_where_there_is_none(module: str, line: str, rule) -> None:
    assert not any(rule(one) for one in imports_of(module, line))


def test_the_design_page_shows_these_layers() -> None:
    page = (SOURCE.parent / "docs" / "design.md").read_text("utf-8")
    assert "\n".join(", ".join(names) for names in LAYERS) in page
