import os
import re
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from looktwice.errors import BadFile, UsageError
from looktwice.modalities import load
from looktwice.modalities.image import sample_from_array
from looktwice.records import Rule, Spec
from looktwice.settings import ImageSettings, Settings
from looktwice.sheets import Finding, expand, lint, load_references, merge, read_sheet, sheet_schema

FEW = settings(deadline=None, max_examples=40)
FULL = """\
# a sheet with everything
task: >-
  Release parts that keep every rule,
  hold back all others.
object: mounting plate
context: "Light level: normal within 10 %."
rules:
  - All four screws are present.
  - id: 4.10
    text: No scratch longer than 5 mm.
references:
  - good/*.png
  - cloud.xyz
defects:
  - scratch
tests:
  must_pass: fine.png
  must_fail:
    - bad/
"""


def picture(path, size=(40, 30), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)).save(path)
    return path


def cloud(path, points=200, scale=1.0, seed=0):
    np.savetxt(path, np.random.default_rng(seed).normal(0, scale, (points, 3)))
    return path


def frames(path, count=3, seed=0):
    for i in range(count):
        picture(path / f"{i}.png", seed=seed + i)
    return path


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """A folder `line` with the files of FULL, seen from its parent."""
    monkeypatch.chdir(tmp_path)
    line = Path("line")
    for seed, name in enumerate(["good/b.png", "good/a.png", "fine.png", "bad/z.png", "bad/y.png"]):
        picture(line / name, seed=seed)
    cloud(line / "cloud.xyz")
    (line / "sheet.yaml").write_text(FULL)
    return line


def sheet(folder, text):
    path = folder / "sheet.yaml"
    path.write_text(text) if isinstance(text, str) else path.write_bytes(text)
    return path


def messages(path, level=None, settings=None):
    return [f"{one.line}: {one.message}" for one in lint(path, settings) if level in (None, one.level)]


def refused(folder, text):
    with pytest.raises(UsageError) as error:
        read_sheet(sheet(folder, text))
    return str(error.value)


# ---------------------------------------------------------------- reading


def test_a_sheet_becomes_a_spec_with_its_paths_resolved(parts):
    spec = read_sheet(parts / "sheet.yaml")
    assert spec.task == "Release parts that keep every rule, hold back all others."
    assert (spec.object, spec.context) == ("mounting plate", "Light level: normal within 10 %.")
    assert spec.rules == (
        Rule(id="r1", text="All four screws are present."),
        Rule(id="4.10", text="No scratch longer than 5 mm."),
    )
    assert spec.references == ("line/good/a.png", "line/good/b.png", "line/cloud.xyz")
    assert spec.defects == ("scratch",)
    assert spec.tests.must_pass == ("line/fine.png",)
    assert spec.tests.must_fail == ("line/bad/y.png", "line/bad/z.png")
    assert lint(parts / "sheet.yaml") == []


def test_paths_stay_relative_or_absolute_as_the_sheet_was_given(parts, monkeypatch):
    assert read_sheet(parts.absolute() / "sheet.yaml").references[0] == str(parts.absolute() / "good" / "a.png")
    monkeypatch.chdir(parts)
    assert read_sheet(Path("sheet.yaml")).references[0] == "good/a.png"
    assert read_sheet("sheet.yaml").references[0] == "good/a.png"


def test_everything_may_be_left_out_or_left_blank(tmp_path):
    assert read_sheet(sheet(tmp_path, "object: gear")) == Spec(object="gear")
    blank = (
        "task:\nobject: ''\ncontext: ~\nrules: []\nreferences:\ndefects: []\ntests:\n  must_pass: []\n  must_fail:\n"
    )
    assert read_sheet(sheet(tmp_path, blank)) == Spec()
    assert read_sheet(sheet(tmp_path, "tests: {}")) == Spec()


def test_sheets_of_windows_editors_are_read(tmp_path):
    text = "object: größer als ½\r\nrules:\r\n  - straight\r\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        spec = read_sheet(sheet(tmp_path, text.encode(encoding)))
        assert (spec.object, spec.rules[0].text) == ("größer als ½", "straight")


def test_aliases_of_texts_are_read(tmp_path):
    spec = read_sheet(sheet(tmp_path, "object: &it gear\ncontext: *it\n"))
    assert spec.context == "gear"


@FEW
@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=30), max_size=5
    )
)
def test_any_text_that_yaml_writes_comes_back(tmp_path_factory, texts):
    texts = [text.strip() for text in texts if text.strip()]
    path = sheet(tmp_path_factory.mktemp("any"), yaml.safe_dump({"object": "x", "rules": texts}, allow_unicode=True))
    assert [rule.text for rule in read_sheet(path).rules] == texts


# ---------------------------------------------------------------- what cannot be read

SHAPES = [  # sheet, line, words
    ("", None, "the sheet is empty. It may hold: task, object, context, rules, references, defects, tests"),
    ("# only a remark\n", None, "the sheet is empty"),
    ("- a\n- b\n", 1, "a sheet is lines of 'key: value' with the keys task, .* got a list"),
    ("plates", 1, "a sheet is lines of 'key: value' .* got the text 'plates'"),
    ("object: a\ntaks: b\n", 2, "unknown key 'taks'. Did you mean 'task'\\? Allowed in a sheet: task, object"),
    ("Task: b\n", 1, "unknown key 'Task'. Did you mean 'task'"),
    ("colour: b\n", 1, "unknown key 'colour'. Allowed in a sheet: task"),
    ("1: b\n", 1, "unknown key '1'"),
    ("? [a]\n: b\n", 1, "unknown key 'a list'"),
    ("<<: {task: a}\n", 1, "unknown key '<<'"),
    ("object: a\ntask: b\nobject: c\n", 3, "'object' stands twice, first in line 1: keep one of them"),
    ("tests:\n  must_pass: []\n  must_pass: []\n", 3, "'must_pass' stands twice, first in line 2"),
    ("rules:\n  - id: a\n    text: b\n    text: c\n", 4, "'text' stands twice, first in line 3"),
    ("task: 5\n", 1, "task must be text, got the number '5': put it in quotes"),
    ("task: no\n", 1, "task must be text, got the yes/no value 'no': put it in quotes"),
    ("task: 2024-01-01\n", 1, "task must be text, got the date '2024-01-01'"),
    ("task: [a]\n", 1, "task must be text, got a list"),
    ("task: {a: b}\n", 1, "task must be text, got keys and values: put a text with ': ' in it in quotes"),
    ("task: !!python/object:os.system ls\n", 1, "task must be text, got tag:yaml.org,2002:python/object:os.system"),
    ("rules: no scratch\n", 1, "expected a list, each line '- ' and a rule, got the text 'no scratch'"),
    ("rules: {a: b}\n", 1, "expected a list, each line '- ' and a rule, got keys and values"),
    ("rules:\n  - a\n  -\n", 3, "a rule is empty: write it, or remove the line"),
    ("rules:\n  - '  '\n", 2, "a rule is empty"),
    ("rules:\n  - 5\n", 2, "a rule must be text, got the number '5'"),
    ("rules:\n  - [a]\n", 2, "a rule must be text, got a list"),
    ("rules:\n  - Gap: below 1 mm\n", 2, "a rule is text, or id and text, got 'Gap: ...': put a text with ': ' in it"),
    ("rules:\n  - id: a\n", 2, "a rule is text, or id and text: text is missing"),
    ("rules:\n  - text: a\n", 2, "a rule is text, or id and text: id is missing"),
    ("rules:\n  - {}\n", 2, "a rule is text, or id and text: id is missing"),
    ("rules:\n  - idd: a\n    text: b\n", 2, "unknown key 'idd'. Did you mean 'id'\\? Allowed in a rule: id, text"),
    ("rules:\n  - id: a\n    text:\n", 3, "the text of a rule is empty"),
    ("rules:\n  - id: ''\n    text: b\n", 2, "the id of a rule is empty"),
    ("rules:\n  - id: yes\n    text: b\n", 2, "the id of a rule must be text, got the yes/no value 'yes'"),
    (
        "rules:\n  - id: a\n    text: b\n  - id: a\n    text: c\n",
        4,
        "rule id 'a' stands twice, first in line 2: ids must",
    ),
    ("rules:\n  - one\n  - id: r1\n    text: c\n", 3, "rule id 'r1' stands twice, first in line 2"),
    ("references: 5\n", 1, "a reference must be text, got the number '5'"),
    ("references: ''\n", 1, "a reference is empty"),
    ("references: {a: b}\n", 1, "expected a list, each line '- ' and a reference, got keys and values"),
    ("references:\n  - [a]\n", 2, "a reference must be text, got a list"),
    ("defects: scratch\n", 1, "expected a list, each line '- ' and a defect, got the text 'scratch'"),
    ("defects: [1]\n", 1, "a defect must be text, got the number '1'"),
    ("tests: a.png\n", 1, "tests must hold must_pass and must_fail, got the text 'a.png'"),
    ("tests: []\n", 1, "tests must hold must_pass and must_fail, got a list"),
    ("tests:\n  must_pas: []\n", 2, "unknown key 'must_pas'. Did you mean 'must_pass'\\? Allowed in tests"),
    ("tests:\n  must_fail: {a: b}\n", 2, "expected a list, each line '- ' and a path of must_fail"),
]
NOT_YAML = [
    ("rules:\n\t- a\n", 2, "a tab stands in the indentation: indent with spaces"),
    ("rules:\n  - id: a\n\ttext: b\n", 3, "a tab stands in the indentation"),
    ("task: Inspect: the plate\n", 1, "': ' inside a text: put the text in quotes, or mend the indentation"),
    ("object: a\ntask: %b\n", 2, "a text that begins with % must stand in quotes"),
    ("object: 'a\ntask: b\n", 1, "a text in quotes begins here"),
    ("object: a\n---\ntask: b\n", 2, "a second document begins here"),
    ("object: a\ntask: *b\n", 2, "not YAML: found undefined alias 'b'"),
    ("object: a\ntask: [b\n", 3, "not YAML: expected ',' or ']'"),
    ("object: a\ntask: b\x01\n", 2, "the control character U\\+0001 stands here: remove it"),
    ("a: " + "[" * 5000, None, "nested too deeply for a sheet"),
]


@pytest.mark.parametrize(("text", "line", "words"), SHAPES + NOT_YAML)
def test_a_sheet_that_cannot_be_read_says_where_and_what_is_allowed(tmp_path, text, line, words):
    error = refused(tmp_path, text)
    path = tmp_path / "sheet.yaml"
    start = f"{path}, line {line}: " if line else f"{path}: "
    assert error.startswith(start)
    assert re.match(words, error.removeprefix(start))
    first = next(one for one in lint(path) if one.level == "error")
    assert first.line == line
    assert error.removeprefix(start).startswith(first.message)


def test_reading_stops_at_the_first_error_and_counts_the_others(tmp_path):
    error = refused(tmp_path, "task: 5\nobjct: b\nrules: a\n")
    path = tmp_path / "sheet.yaml"
    assert error == (
        f"{path}, line 1: task must be text, got the number '5': put it in quotes (2 more: looktwice check {path})"
    )


def test_aliases_that_multiply_or_loop_cost_nothing(tmp_path):
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 40))
    assert "unknown key 'a0'" in refused(tmp_path, bomb)
    assert "a rule must be text, got a list" in refused(tmp_path, "rules: &a\n  - *a\n")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such inspection sheet"),
        (b"object: caf\xe9\n", "line 1: not UTF-8 text: save the sheet as UTF-8"),
        (b"task: a\nobject: \xc3\x28\n", "line 2: not UTF-8 text"),
        (b"#" * 1_000_001, "larger than 1 MB: this is no inspection sheet"),
    ],
)
def test_a_file_that_is_no_sheet_is_refused_when_read_and_when_linted(tmp_path, content, words):
    path = tmp_path / "sheet.yaml"
    if content is not None:
        path.write_bytes(content)
    for call in (read_sheet, lint):
        with pytest.raises(UsageError, match=words):
            call(path)


def test_a_folder_is_no_sheet(tmp_path):
    for call in (read_sheet, lint):
        with pytest.raises(UsageError, match="is a folder: name the sheet in it"):
            call(tmp_path)


# ---------------------------------------------------------------- paths


def test_a_folder_stands_for_the_samples_directly_in_it(tmp_path):
    for name in ("b.png", "a.png", "deeper/c.png", ".hidden.png"):
        picture(tmp_path / "good" / name)
    frames(tmp_path / "good" / "run.frames")
    (tmp_path / "good" / "notes.md").write_text("all good")
    names = [path.relative_to(tmp_path).as_posix() for path in expand(["good"], tmp_path)]
    assert names == ["good/a.png", "good/b.png", "good/run.frames"]
    assert expand(["good/"], tmp_path) == expand(["good"], tmp_path)


def test_globs_are_sorted_and_two_stars_cross_folders(tmp_path):
    for name in ("x/b.png", "x/a.png", "a.png", "x/y/c.png", "x/y/d.jpg", "x/Thumbs.db.txt"):
        picture(tmp_path / name) if not name.endswith("txt") else (tmp_path / name).write_text("no points here")
    frames(tmp_path / "x" / "run.frames")

    def names(*patterns):
        return [path.relative_to(tmp_path).as_posix() for path in expand(patterns, tmp_path)]

    assert names("x/*.png") == ["x/a.png", "x/b.png"]
    assert names("**/[ac].png") == ["a.png", "x/a.png", "x/y/c.png"]
    assert names("x/**") == ["x/a.png", "x/b.png", "x/run.frames", "x/y/c.png", "x/y/d.jpg"]
    assert names("x/*") == ["x/a.png", "x/b.png", "x/run.frames"]
    assert names("x/*.frames/*") == ["x/run.frames/0.png", "x/run.frames/1.png", "x/run.frames/2.png"]


def test_each_sample_comes_once_in_the_order_it_was_named(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        picture(tmp_path / name)
    os.symlink(tmp_path / "a.png", tmp_path / "z.png")
    found = expand(["b.png", "*.png", tmp_path / "b.png", "./c.png"], tmp_path)
    assert [path.name for path in found] == ["b.png", "a.png", "c.png"]


def test_expanding_again_changes_nothing(tmp_path):
    for name in ("part[1].png", "part1.png", "what?.png", "run.frames/0.png"):
        picture(tmp_path / name)
    found = expand([tmp_path])
    assert [path.name for path in found] == ["part1.png", "part[1].png", "run.frames", "what?.png"]
    assert expand(found) == found


def test_a_name_with_brackets_is_that_file_before_it_is_a_pattern(tmp_path):
    picture(tmp_path / "part[1].png")
    picture(tmp_path / "part1.png")
    assert [path.name for path in expand(["part[1].png"], tmp_path)] == ["part[1].png"]
    (tmp_path / "part[1].png").unlink()
    assert [path.name for path in expand(["part[1].png"], tmp_path)] == ["part1.png"]


def test_a_sheet_in_a_folder_with_brackets_finds_its_files(tmp_path):
    folder = tmp_path / "run [1]*"
    picture(folder / "good" / "a.png")
    assert read_sheet(sheet(folder, "references: good/*.png")).references == (str(folder / "good" / "a.png"),)


def test_a_named_file_is_taken_whatever_it_is(tmp_path):
    (tmp_path / "notes.md").write_text("x")
    assert expand(["notes.md"], tmp_path) == [tmp_path / "notes.md"]


NOTHING = [
    ("gooo.png", "no such file: 'gooo.png'. Did you mean 'good.png'?"),
    ("elsewhere.bmp", "no such file: 'elsewhere.bmp'"),
    ("nowhere/a.png", "no such file: 'nowhere/a.png': there is no folder {}/nowhere"),
    ("set\\\\a.png", "no such file: 'set\\\\\\\\a.png'. Write / between folders"),
    ("*.bmp", "'*.bmp' matches no file"),
    ("nowhere/*.png", "'nowhere/*.png' matches no file: there is no folder {}/nowhere"),
    ("*/", "'*/' matches no file, only folders: add /* to take the files in them"),
    ("docs", "the folder 'docs' holds no picture, point cloud or video"),
    ("upper", "the folder 'upper' holds no picture, point cloud or video. For those in its folders write 'upper/**'"),
    ("docs/*", "'docs/*' matches no picture, point cloud or video, but a.md, b.md, c.md and 1 more"),
    (" ", "a path must name a file, a folder or a glob, got ' '"),
    ("a\0b", "a path must name a file, a folder or a glob, got 'a\\x00b'"),
    ("x" * 5000, "no such file: 'xxx"),
]


@pytest.mark.parametrize(("pattern", "words"), NOTHING, ids=range(len(NOTHING)))
def test_a_pattern_that_stands_for_nothing_is_named(tmp_path, pattern, words):
    picture(tmp_path / "good.png")
    picture(tmp_path / "upper" / "lower" / "a.png")
    (tmp_path / "docs").mkdir()
    for name in "abcd":
        (tmp_path / "docs" / f"{name}.md").write_text("x")
    with pytest.raises(UsageError) as error:
        expand(["good.png", pattern], tmp_path)
    assert str(error.value).startswith(words.format(tmp_path).replace("\\\\", "\\"))


def test_a_missing_reference_or_test_names_its_line(parts):
    text = "references:\n  - good/*.png\n  - god/*.png\n"
    assert refused(parts, text) == (
        "line/sheet.yaml, line 3: references: 'god/*.png' matches no file: there is no folder line/god"
    )
    assert refused(parts, "tests:\n  must_fail: bed\n") == (
        "line/sheet.yaml, line 2: must_fail: no such file: 'bed'. Did you mean 'bad'?"
    )


# ---------------------------------------------------------------- flags on top


def test_flags_replace_texts_and_add_rules_and_references(parts):
    spec = read_sheet(parts / "sheet.yaml")
    merged = merge(spec, object="plate", rules=["no rust", "label: The label is legible."], references=["line/bad"])
    assert (merged.task, merged.object, merged.context) == (spec.task, "plate", spec.context)
    assert [(rule.id, rule.text) for rule in merged.rules[2:]] == [
        ("r3", "no rust"),
        ("label", "The label is legible."),
    ]
    assert merged.references == (*spec.references, "line/bad/y.png", "line/bad/z.png")
    assert (merged.defects, merged.tests) == (spec.defects, spec.tests)


def test_without_flags_nothing_changes(parts):
    spec = read_sheet(parts / "sheet.yaml")
    assert merge(spec) == spec
    assert merge(Spec(), task=" ") == Spec()


def test_a_reference_that_stands_in_the_sheet_is_not_added_again(parts):
    spec = read_sheet(parts / "sheet.yaml")
    more = [parts.absolute() / "good", "line/good/../fine.png", Path("line/fine.png")]
    assert merge(spec, references=more).references == (*spec.references, "line/good/../fine.png")


def test_samples_in_memory_can_be_references(parts):
    made = sample_from_array(np.zeros((4, 4, 3), np.uint8))
    merged = merge(Spec(references=["line/fine.png"]), references=[made, "line/fine.png"])
    assert merged.references == ("line/fine.png", made)
    assert merge(merged).references == merged.references


def test_rules_of_flags_never_take_an_id_that_stands_already():
    before = Spec(rules=[Rule(id="r2", text="a"), Rule(id="r3", text="b")])
    ids = [rule.id for rule in merge(before, rules=["c", "r4: d", "e", "f"]).rules]
    assert ids == ["r2", "r3", "r5", "r4", "r6", "r7"]


@FEW
@given(
    st.lists(st.sampled_from(["r1", "r2", "r3", "r4", "x"]), unique=True, max_size=4),
    st.lists(st.sampled_from(["a", "b", "r5: c", "x9: d", "no: e", "gap:wide"]), unique=True, max_size=6),
)
def test_ids_stay_unique_whatever_is_merged(before, flags):
    spec = Spec(rules=[Rule(id=id, text="t") for id in before])
    merged = merge(spec, rules=flags)
    assert merged.rules[: len(before)] == spec.rules
    assert len({rule.id for rule in merged.rules}) == len(before) + len(flags)


def test_only_a_word_and_a_colon_make_an_id():
    texts = ["plate-3.b: bright", "no gap: none at all", "ratio 3:1 is kept", "gap:wide", "  spaced:  out  "]
    assert [(rule.id, rule.text) for rule in merge(Spec(), rules=texts).rules] == [
        ("plate-3.b", "bright"),
        ("r2", "no gap: none at all"),
        ("r3", "ratio 3:1 is kept"),
        ("r4", "gap:wide"),
        ("spaced", "out"),
    ]


def test_flags_that_cannot_be_used_are_named(parts):
    with pytest.raises(UsageError, match="a rule is empty: write what a normal part is like"):
        merge(Spec(), rules=["fine", "  "])
    with pytest.raises(UsageError, match="rule id 'a' stands already: give the rule 'two' another id"):
        merge(Spec(rules=[Rule(id="a", text="one")]), rules=["a: two"])
    with pytest.raises(UsageError, match="rule id 'a' stands already"):
        merge(Spec(), rules=["a: one", "a: two"])
    with pytest.raises(UsageError, match=r"no such file: 'line/fone\.png'. Did you mean 'fine\.png'"):
        merge(Spec(), references=["line/fone.png"])


def test_references_are_loaded_in_order(parts):
    made = sample_from_array(np.zeros((4, 4, 3), np.uint8))
    spec = Spec(references=["line/cloud.xyz", made, "line/good/*.png"])
    samples = load_references(spec)
    assert [sample.modality for sample in samples] == ["point_cloud", "image", "image", "image"]
    assert samples[1] is made
    assert [sample.path.as_posix() for sample in samples[2:]] == ["line/good/a.png", "line/good/b.png"]
    assert samples[2] == load("line/good/a.png")


def test_a_reference_that_cannot_be_loaded_is_named(parts):
    (parts / "good" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    with pytest.raises(BadFile, match=r"line/good/a\.png: "):
        load_references(read_sheet(parts / "sheet.yaml"))
    with pytest.raises(BadFile, match=r"b\.png.* 1200 .*image\.max_pixels|b\.png.*pixel") as error:
        load_references(Spec(references=["line/good/b.png"]), Settings(image=ImageSettings(max_pixels=100)))
    assert error.value.kind == "too_large"


# ---------------------------------------------------------------- linting


def test_everything_wrong_is_found_in_one_pass_and_in_order(parts):
    text = (
        "taks: x\nobject: TODO\nrules:\n  - No scratches.\n  - no scratch\n  -\nreferences:\n  - good/*.png\n"
        "  - gone/*.png\n  - broken.png\ntests:\n  must_pass: good/a.png\n  must_fail: none.png\n"
    )
    (parts / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    findings = lint(sheet(parts, text))
    assert [(one.level, one.line) for one in findings] == [
        ("error", 1),
        ("warning", 2),
        ("warning", 5),
        ("error", 6),
        ("error", 9),
        ("error", 10),
        ("warning", 12),
        ("error", 13),
    ]
    assert findings[2] == Finding(
        "warning", 5, "rule 'r2' says nearly the same as rule 'r1' (line 4): keep one of them"
    )


def test_what_cannot_be_parsed_is_one_finding(tmp_path):
    assert lint(sheet(tmp_path, "task: a: b")) == [
        Finding("error", 1, "': ' inside a text: put the text in quotes, or mend the indentation")
    ]


def test_missing_keys_are_warnings_about_the_whole_sheet(tmp_path):
    assert messages(sheet(tmp_path, "context: by daylight"), "warning") == [
        "None: no task: say what the inspection is for; models that read text need it",
        "None: no object: say what the parts are called; models that read text need it",
        "None: no references: name normal samples; without them a model can only guess what is normal",
    ]


def test_a_key_that_stands_there_is_not_called_missing(tmp_path):
    assert messages(sheet(tmp_path, "tasks: a\nobject:\nreferences: []\n"), "warning") == [
        "2: object is empty: fill it in, or remove the line",
        "3: references is empty: fill it in, or remove the line",
    ]


@pytest.mark.parametrize(
    ("text", "holder"),
    [
        ("todo", "todo"),
        ("Check the FIXME here", "FIXME"),
        ("scratch, dent ...", "..."),
        ("and so on…", "…"),
        ("TBD", "TBD"),
        ("xxxx", "xxxx"),
        ("n/a", "n/a"),
        ("<your part>", "<your part>"),
        ("-", "-"),
        ("???", "???"),
        ("please fill in", "fill in"),
    ],
)
def test_placeholders_are_found_in_every_text(tmp_path, text, holder):
    content = {"task": text, "object": text, "context": text, "rules": [{"id": "a", "text": text}], "defects": [text]}
    found = messages(sheet(tmp_path, yaml.safe_dump(content, sort_keys=False)))
    names = ("task", "object", "context", "rule 'a'", "a defect")
    assert [one.split(": ", 1)[1] for one in found if "placeholder" in one] == [
        f"{name} holds '{holder}': is it a placeholder?" for name in names
    ]


@pytest.mark.parametrize(
    "text", ["gap < 5 mm and > 2 mm", "photodocumentation", "maxxx2 label", "Fill level between the marks. No dents!"]
)
def test_ordinary_words_are_no_placeholders(tmp_path, text):
    assert not [one for one in messages(sheet(tmp_path, yaml.safe_dump({"task": text}))) if "placeholder" in one]


ALIKE = [
    ("No scratch on the plate.", "no scratch on the plate", "says the same as"),
    ("No scratch on the plate", "No scratches on a plate.", "says nearly the same as"),
    ("All screws are present", "All screws must be present!", "says nearly the same as"),
    ("No dents or scratches", "No scratches or dents", "says nearly the same as"),
    ("The lable is legible", "The label is legible", "says nearly the same as"),
]
DIFFERENT = [
    ("Hole 1 is open", "Hole 2 is open"),
    ("The left screw is present", "The right screw is present"),
    ("The label is present", "The label is absent"),
    ("The cover has a label", "The cover is without a label"),
    ("No scratch", "No dent"),
    ("Gap below 5 mm", "Gap below 6 mm"),
]


@pytest.mark.parametrize(("one", "other", "how"), ALIKE)
def test_rules_that_say_the_same_are_found(tmp_path, one, other, how):
    found = messages(sheet(tmp_path, yaml.safe_dump({"rules": [one, "Something else entirely", other]})))
    assert found[0].startswith(f"4: rule 'r3' {how}")
    assert "rule 'r1' (line 2): keep one of them" in found[0]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_rules_that_differ_in_what_matters_are_left_alone(tmp_path, one, other):
    assert not [text for text in messages(sheet(tmp_path, yaml.safe_dump({"rules": [one, other]}))) if "rule" in text]


def test_a_defect_named_twice_is_found(tmp_path):
    found = messages(sheet(tmp_path, "defects:\n  - scratch\n  - dent\n  - Scratch\n"))
    assert found[0] == "4: the defect 'Scratch' stands twice, first in line 2"


def test_each_reference_that_does_not_decode_is_found_with_the_reason(parts):
    (parts / "good" / "a.png").write_bytes((parts / "good" / "a.png").read_bytes()[:200])
    (parts / "good" / "c.png").write_bytes(b"")
    (parts / "cloud.xyz").write_text("nothing here")
    found = messages(parts / "sheet.yaml", "error")
    assert [one.split(": ")[:3] for one in found] == [
        ["12", "references", "line/good/a.png"],
        ["12", "references", "line/good/c.png"],
        ["13", "references", "line/cloud.xyz"],
    ]
    assert "no bytes" in found[1]
    assert all(len(one.split(": ", 3)[3]) > 10 for one in found)


def test_references_are_decoded_with_the_settings_of_the_run(parts):
    small = Settings(image=ImageSettings(max_pixels=100))
    assert len(messages(parts / "sheet.yaml", "error", small)) == 2


def test_what_a_folder_leaves_out_is_said(parts):
    (parts / "good" / "notes.md").write_text("x")
    found = messages(sheet(parts, "references: good"))
    assert found[0] == "1: references: 'good' leaves out what is not a picture, point cloud or video: notes.md"


def test_a_reference_named_twice_is_found(parts):
    found = messages(sheet(parts, "references:\n  - good\n  - good/b.png\n"))
    assert found[0] == "3: references: line/good/b.png is named twice, first in line 2"


def test_references_with_the_same_content_are_found(parts):
    shutil.copy(parts / "good" / "a.png", parts / "good" / "copy.png")
    found = messages(parts / "sheet.yaml")
    assert found == [
        "12: references: line/good/copy.png has the same content as line/good/a.png: it teaches nothing new"
    ]


def test_the_reference_of_odd_size_is_named(parts):
    for seed in range(3):
        picture(parts / "good" / f"more{seed}.png", (42, 31), seed + 10)
    picture(parts / "good" / "big.png", (160, 120), 20)
    picture(parts / "good" / "upright.png", (30, 40), 21)
    found = messages(parts / "sheet.yaml")
    ask = "most others are like line/good/a.png, 40 x 30 px: do they show the same thing in the same way?"
    assert found == [
        f"12: references: line/good/big.png is 160 x 120 px, {ask}",
        f"12: references: line/good/upright.png is 30 x 40 px, {ask}",
    ]


def test_of_two_sizes_none_is_called_the_odd_one(parts):
    picture(parts / "good" / "b.png", (90, 60))
    found = messages(parts / "sheet.yaml")
    assert found == [
        "12: references: they differ wildly in size, line/good/a.png is 40 x 30 px, line/good/b.png is 90 x 60 px: "
        "do they show the same thing in the same way?"
    ]


def test_sizes_are_compared_within_a_modality_only(parts):
    picture(parts / "wide.frames" / "0.png", (400, 30))
    text = "object: a\ntask: b\nreferences: [good, cloud.xyz, wide.frames]\n"
    assert messages(sheet(parts, text)) == []


def test_a_cloud_in_other_units_or_far_thinner_is_named(parts):
    for i in range(3):
        cloud(parts / f"c{i}.xyz", 200 + i, seed=i + 1)
    cloud(parts / "metres.xyz", 200, 0.001, seed=8)
    cloud(parts / "thin.xyz", 12, seed=9)
    found = messages(sheet(parts, "object: a\ntask: b\nreferences: '*.xyz'\n"))
    assert len(found) == 2
    assert found[0].startswith("3: references: line/metres.xyz is 200 points and 0.00")
    assert found[1].startswith("3: references: line/thin.xyz is 12 points and ")
    assert all("most others are like line/c0.xyz, 200 points and" in one for one in found)


def test_a_stray_point_does_not_make_a_cloud_odd(parts):
    for i in range(3):
        points = np.random.default_rng(i).normal(0, 1, (300, 3))
        points[0] *= 1000 if i == 1 else 1
        np.savetxt(parts / f"c{i}.xyz", points)
    assert messages(sheet(parts, "object: a\ntask: b\nreferences: 'c?.xyz'\n")) == []


def test_tests_that_prove_nothing_are_found(parts):
    shutil.copy(parts / "good" / "b.png", parts / "twin.png")
    shutil.copy(parts / "fine.png", parts / "bad" / "fine.png")
    text = FULL.replace("must_pass: fine.png", "must_pass: [fine.png, good/a.png]").replace(
        "    - bad/", "    - bad/\n    - twin.png"
    )
    assert messages(sheet(parts, text)) == [
        "17: must_pass: line/good/a.png is also a reference: that it passes proves nothing",
        "19: must_fail: line/bad/fine.png (same content as line/fine.png) is also in must_pass",
        "20: must_fail: line/twin.png (same content as line/good/b.png) is also a reference: references must be normal",
    ]


def test_a_part_in_both_lists_is_found(parts):
    text = "object: a\ntask: b\nreferences: good\ntests:\n  must_pass: fine.png\n  must_fail: fine.png\n"
    assert messages(sheet(parts, text)) == ["6: must_fail: line/fine.png is also in must_pass"]


def test_missing_test_files_are_found(parts):
    text = "object: a\ntask: b\nreferences: good\ntests:\n  must_pass: fin.png\n  must_fail: [gone, bad/*.bmp]\n"
    assert messages(sheet(parts, text), "error") == [
        "5: must_pass: no such file: 'fin.png'. Did you mean 'fine.png'?",
        "6: must_fail: no such file: 'gone'",
        "6: must_fail: 'bad/*.bmp' matches no file",
    ]


def test_a_sheet_without_errors_can_be_read_and_one_with_errors_cannot(parts):
    for text in [FULL, *(text for text, *_ in SHAPES), "references: gone.png", "object: a\nrules: [a, a]\n"]:
        path = sheet(parts, text)
        if any(one.level == "error" for one in lint(path)):
            with pytest.raises(UsageError):
                read_sheet(path)
        else:
            assert isinstance(read_sheet(path), Spec)


# ---------------------------------------------------------------- the schema

BLANKS = "task:\nobject: ''\nrules:\nreferences: []\ndefects: ~\ntests: {}\n"
# What a loader has already made of the YAML, or refuses before any schema is asked.
BEYOND = ("stands twice", "unknown key '<<'", "unknown key 'a list'", "got tag:")


def test_the_schema_is_valid_and_named():
    schema = sheet_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert (schema["$schema"], schema["$id"]) == (
        "https://json-schema.org/draft/2020-12/schema",
        "urn:looktwice:sheet:1",
    )
    assert set(schema["properties"]) == set(Spec.model_fields)
    assert all(one["description"] for one in schema["properties"].values())


@pytest.mark.parametrize(
    "text", [FULL, BLANKS, "object: a", "references: a.png", "tests: {must_pass: [a], must_fail:}"]
)
def test_the_schema_takes_what_is_read(tmp_path, text):
    jsonschema.Draft202012Validator(sheet_schema()).validate(yaml.safe_load(text))
    errors = messages(sheet(tmp_path, text), "error")
    assert all("no such file" in one or "matches no file" in one for one in errors)  # of its shape there are none


@pytest.mark.parametrize("text", [text for text, _, words in SHAPES if not any(one in words for one in BEYOND)])
def test_the_schema_refuses_what_is_refused(text):
    assert not jsonschema.Draft202012Validator(sheet_schema()).is_valid(yaml.safe_load(text))


def test_the_sheet_of_the_sample_parts_is_valid():
    from looktwice.data.procedural.parts import SHEET

    jsonschema.Draft202012Validator(sheet_schema()).validate(yaml.safe_load(SHEET))
