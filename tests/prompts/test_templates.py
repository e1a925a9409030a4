"""Templates: sections, places to fill, and a user's own words in their place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from looktwice.errors import UsageError
from looktwice.prompts.templates import PLACE, Templates, _packaged


def test_no_template_has_an_unfilled_brace_or_a_sentence_twice():
    for name, text in _packaged().items():
        left = PLACE.sub("", text)
        assert "{{" not in left, name
        assert "}}" not in left, name
        said = [line for line in re.split(r"(?<=[.?:])\s+|\n", text) if len(line) > 20]
        assert len(said) == len(set(said)), name


def test_what_is_filled_in_is_never_read_as_a_template():
    templates = Templates()
    filled = templates.fill("inspector.rule", id="{{text}}", text="{{id}} !<INPUT 0>! {{nothing}}")
    assert filled == "- rule {{text}}: {{id}} !<INPUT 0>! {{nothing}}"


def test_a_line_that_holds_only_an_empty_place_stays_away():
    filled = Templates().fill("inspector.dialogue", language="")
    assert not filled.endswith("\n")
    assert Templates().fill("inspector.dialogue", language="Answer in German.").endswith("\nAnswer in German.")


def test_own_sections_stand_in_for_those_of_the_package(tmp_path: Path):
    (tmp_path / "inspector.txt").write_text("For us.\n\n[[object]]\nTeil: {{object}}\n\n[[repair]]\nNochmal.\n")
    templates = Templates(tmp_path)
    assert templates.fill("inspector.object", object="Deckel") == "Teil: Deckel"
    assert templates["inspector.repair"] == "Nochmal."
    assert templates["inspector.guard"] == Templates()["inspector.guard"]
    assert templates.own == {"inspector.object", "inspector.repair"}


def test_the_published_file_can_be_replaced_in_its_own_notation(tmp_path: Path):
    (tmp_path / "ad_prompt.txt").write_text(
        "Variables: !<INPUT 3>!\n<commentblockmarker>###</commentblockmarker>\n\nIs the !<INPUT 0>! fine?\n"
    )
    assert Templates(tmp_path).fill("ad_prompt", {"0": "lid"}) == "Is the lid fine?"


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("inspektor.txt", "x", ["inspektor.txt is no template", "Did you mean 'inspector.txt'?"]),
        ("inspector.txt", "[[objekt]]\nx", ["section [[objekt]]", "Did you mean 'object'?"]),
        ("inspector.txt", "no section at all", ["a text without sections", "Known: task"]),
        ("inspector.txt", "[[object]]\nThe part", ["section [[object]]", "{{object}} is missing"]),
        (
            "inspector.txt",
            "[[object]]\n{{object}} {{objekt}}",
            ["unknown place {{objekt}}", "Did you mean '{{object}}'?"],
        ),
        ("inspector.txt", "[[guard]]\n{{x}}", ["unknown place {{x}}", "Allowed: none"]),
        ("ad_prompt.txt", "Is it fine?", ["ad_prompt.txt: the place !<INPUT 0>! is missing"]),
        ("ad_prompt.txt", "!<INPUT 0>! !<INPUT 1>!", ["unknown place !<INPUT 1>!", "Allowed: !<INPUT 0>!"]),
    ],
)
def test_a_template_that_cannot_be_used_names_the_file_and_what_is_allowed(tmp_path: Path, file, text, words):
    (tmp_path / file).write_text(text)
    with pytest.raises(UsageError) as caught:
        Templates(tmp_path)
    assert str(tmp_path) in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_folder_without_templates_is_told(tmp_path: Path):
    with pytest.raises(UsageError, match=r"holds no template. Known: ad_prompt\.txt, check\.txt"):
        Templates(tmp_path)
    with pytest.raises(UsageError, match="cannot be listed: No such file"):
        Templates(tmp_path / "missing")
    (tmp_path / "check.txt").write_bytes(b"[[neutral]]\n\xff")
    with pytest.raises(UsageError, match="cannot be read as UTF-8 text"):
        Templates(tmp_path)
