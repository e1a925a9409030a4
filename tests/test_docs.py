"""The README and the docs pages are true: their code runs, their output is what is printed, their links lead somewhere.

Every ```python block runs, one namespace a page, in order. Every ```console block runs, its commands being the lines
that start with "$ ", its other lines what is printed ("..." stands for anything). A ```yaml block whose first line is
"# NAME.yaml" is that file. All of a page happens in one empty folder, in the order of the page.
"""

from __future__ import annotations

import doctest
import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

import looktwice
from looktwice.detectors import CARDS, DETECTORS
from looktwice.modalities import MODALITIES, modality
from looktwice.report import FORMATS
from looktwice.report.jsonl import MEANING
from looktwice.settings import Settings

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.S | re.M)
EXIT = '; echo "exit $?"'
DEMO = ("make demo", "looktwice demo")  # the same command: run once for all pages


class Block(NamedTuple):
    """One fenced block of a page."""

    language: str
    text: str
    line: int


class Shown(NamedTuple):
    """One command of a console block and what the page says it prints."""

    command: str
    output: tuple[str, ...]


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    for found in FENCE.finditer(text):
        yield Block(found[1], found[2], text.count("\n", 0, found.start()) + 1)


def commands(text: str) -> list[Shown]:
    """Split a console block; a command goes on after a backslash at the end of its line."""
    found: list[Shown] = []
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("$ "):
            command = line[2:]
            while command.endswith("\\"):
                command = f"{command[:-1]}{next(lines).strip()}"
            found.append(Shown(command, ()))
        elif line.strip():
            assert found, f"a console block begins with a command, not with {line!r}"
            found[-1] = Shown(found[-1].command, (*found[-1].output, line))
    return found


def missing(output: tuple[str, ...], printed: str) -> list[str]:
    """The lines of a page that are not printed; spaces count as one, "..." stands for anything."""
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    patterns = {line: ".*".join(re.escape(" ".join(part.split())) for part in line.split("...")) for line in output}
    return [line for line, pattern in patterns.items() if not any(re.search(pattern, one) for one in lines)]


def bash(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=os.environ | {"PATH": tools, "OMP_NUM_THREADS": "1", "COLUMNS": "120", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )


Demo = Callable[[], tuple[Path, str]]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Run `looktwice demo` when first asked; returns the folder it made and what it printed."""

    @functools.cache
    def run() -> tuple[Path, str]:
        folder = tmp_path_factory.mktemp("demo")
        return folder / "out", bash(f"looktwice demo{EXIT}", folder).stdout

    return run


# ---------------------------------------------------------------- what the pages show is what happens


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_everything_a_page_shows_runs(page: Path, demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page):
        where = f"{page.name}, line {block.line}"
        if block.language == "python":
            run_python(block, where, names)
        elif block.language == "console":
            for shown in commands(block.text):
                run_shown(shown, where, tmp_path, demo)
        elif block.language == "yaml" and (name := re.match(r"# ([\w./-]+\.ya?ml)\n", block.text)):
            assert not (tmp_path / name[1]).exists(), f"{where}: {name[1]} is there already"
            (tmp_path / name[1]).write_text(block.text, "utf-8")


def run_python(block: Block, where: str, names: dict[str, object]) -> None:
    if block.text.lstrip().startswith(">>>"):
        test = doctest.DocTestParser().get_doctest(block.text, names, where, where, block.line)
        said: list[str] = []
        doctest.DocTestRunner().run(test, out=said.append, clear_globs=False)
        names |= test.globs
        assert not said, "".join(said)
    else:
        # line numbers of the page, so that a failure points at it
        exec(compile("\n" * block.line + block.text, where.split(",")[0], "exec"), names)


def run_shown(shown: Shown, where: str, folder: Path, demo: Demo) -> None:
    command = shown.command
    if command in DEMO:
        made, printed = demo()
        assert printed.endswith("exit 0\n"), printed
        shutil.copytree(made, folder / "out", dirs_exist_ok=True)
    elif command.startswith("make "):
        targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
        assert set(command.split()[1:]) <= targets, f"{where}: {command}"
        return
    else:
        ran = bash(command, folder)
        printed = ran.stdout
        assert ran.returncode == 0, f"{where}: {command}\n{printed}"
    assert missing(shown.output, printed) == [], f"{where}: {command}\n{printed}"
    if command.endswith(EXIT):
        assert any(line.startswith("exit ") for line in shown.output), f"{where}: say which exit code is meant"


@pytest.mark.parametrize(
    ("text", "printed", "lost"),
    [
        ("$ a\n1 of 2\n", "x\n1   of 2 parts\n", []),
        ("$ a\n1 of 3\n", "1 of 2\n", ["1 of 3"]),
        ("$ a\n... (in ... s)\n", "done (in 3.1 s)\n", []),
        ("$ a \\\n  b\nc.d\n", "cxd\n", ["c.d"]),
    ],
)
def test_a_shown_line_must_be_printed(text: str, printed: str, lost: list[str]) -> None:
    (shown,) = commands(text)
    assert shown.command in ("a", "a b")
    assert missing(shown.output, printed) == lost


def test_a_failing_command_or_example_fails_the_page(tmp_path: Path, demo: Demo) -> None:
    with pytest.raises(AssertionError, match="looktwice inspct"):
        run_shown(Shown("looktwice inspct", ()), "page", tmp_path, demo)
    with pytest.raises(AssertionError, match="exit code"):
        run_shown(Shown(f"false{EXIT}", ()), "page", tmp_path, demo)
    with pytest.raises(AssertionError, match="make dmo"):
        run_shown(Shown("make dmo", ()), "page", tmp_path, demo)
    with pytest.raises(ZeroDivisionError):
        run_python(Block("python", "1 / 0\n", 1), "page, line 1", {})
    with pytest.raises(AssertionError, match="Expected:"):
        run_python(Block("python", ">>> 1 + 1\n3\n", 1), "page, line 1", {})


# ---------------------------------------------------------------- links and pages


def anchors(page: Path) -> set[str]:
    """The names that headings of a page get."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.M)
    plain = [re.sub(r"[^\w\s-]", "", heading.lower()).strip() for heading in headings]
    return {re.sub(r"[\s]+", "-", heading) for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text("utf-8"))
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
def test_pages_link_to_pages_only(page: Path) -> None:
    # a link out of docs/ works in the repository and breaks on the built site
    links = re.findall(r"\]\(([^)\s:#]+)", FENCE.sub("", page.read_text("utf-8")))
    assert [link for link in links if not (page.parent / link).resolve().is_relative_to(DOCS)] == []


def test_the_navigation_lists_every_page_once() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]
    listed = [page for entry in nav for page in entry.values()]
    assert sorted(listed) == sorted(page.name for page in PAGES[1:])
    assert sorted(listed) == sorted(set(listed))


# ---------------------------------------------------------------- tables and trees against the code


def rows(page: str, heading: str) -> dict[str, list[str]]:
    """The rows of the first table below a heading: name in the first cell -> the other cells."""
    text = (DOCS / page).read_text("utf-8")
    assert f"# {heading}\n" in text, f"{page} has no heading '{heading}'"
    below = text.split(f"# {heading}\n", 1)[1].splitlines()
    start = next(i for i, line in enumerate(below) if line.startswith("|"))
    found = {}
    for line in below[start + 2 :]:
        if not line.startswith("|"):
            break
        first, *rest = (cell.strip() for cell in line.strip("|").split("|"))
        found[first.strip("`")] = rest
    return found


@pytest.mark.parametrize("group", Settings.model_fields)
def test_the_settings_tables_are_those_of_the_code(group: str) -> None:
    fields = type(getattr(Settings(), group)).model_fields
    wanted = {f"{group}.{name}": [f"`{show(f.default)}`", f.description] for name, f in fields.items()}
    assert rows("modalities.md", f"Settings: {group}") == wanted


def show(value: object) -> str:
    return "none" if value is None else str(list(value)) if isinstance(value, tuple) else str(value)


@pytest.mark.parametrize("name", DETECTORS)
def test_the_option_tables_are_those_of_the_code(name: str) -> None:
    fields = DETECTORS.load(name).Config.model_fields
    wanted = {key: [f"`{show(field.default)}`", field.description] for key, field in fields.items()}
    assert rows("detectors.md", f"Options of {name}") == wanted


def test_the_cards_of_the_page_are_those_of_the_code() -> None:
    shown = rows("detectors.md", "Cards")
    assert list(shown) == list(CARDS)
    for name, card in CARDS.items():
        shots = " + ".join(w for w, can in (("zero-shot", card.zero_shot), ("few-shot", card.few_shot)) if can)
        assert shown[name] == [card.summary, shots, card.good_for, card.bad_for]


def test_the_fields_of_the_results_page_are_those_of_the_schema() -> None:
    assert {name: cells[0] for name, cells in rows("reports.md", "results.jsonl").items()} == MEANING


def test_the_formats_of_the_reports_page_are_those_of_the_code() -> None:
    assert set(rows("reports.md", "Formats")) == set(FORMATS)


def test_the_modalities_page_lists_every_ending() -> None:
    page = (DOCS / "modalities.md").read_text("utf-8")
    for name in MODALITIES:
        for suffix in modality(name).suffixes:
            assert f"`{suffix}`" in page, f"{name}: {suffix}"


def test_the_readme_lists_every_command() -> None:
    from looktwice.cli.main import app

    text = (ROOT / "README.md").read_text("utf-8")
    names = [c.name or c.callback.__name__ for c in app.registered_commands] + [g.name for g in app.registered_groups]
    assert len(names) > 5
    assert [name for name in names if f"| `looktwice {name}" not in text] == []


def tree() -> dict[str, str]:
    """The tree of the README: path -> what it says about it."""
    text = (ROOT / "README.md").read_text("utf-8")
    block = next(found[2] for found in FENCE.finditer(text) if found[1] == "text" and "src/looktwice/" in found[2])
    found = {}
    for line in block.splitlines():
        name, words = re.split(r"\s{2,}", line.strip(), maxsplit=1)
        found[f"src/looktwice/{name}" if line.startswith("  ") else name] = words
    return found


def tracked() -> set[str]:
    """Files of the repository; of a copy without its history: all that lies there."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        return set(listed.stdout.splitlines())
    return {path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if "__pycache__" not in path.parts}


def test_the_tree_of_the_readme_is_the_tree() -> None:
    listed = tree()
    for path in listed:
        assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file(), path
    package = ROOT / "src" / "looktwice"
    real = {f"src/looktwice/{path.name}" for path in package.iterdir() if path.name != "__pycache__"}
    real |= {path.split("/")[0] for path in tracked()} - {"src"} | {"src/looktwice"}
    real = {f"{path}/" if (ROOT / path).is_dir() else path for path in real}
    assert real <= set(listed), real - set(listed)


def test_the_pages_name_the_version_they_are_about() -> None:
    assert looktwice.__version__ in (DOCS / "index.md").read_text("utf-8")
