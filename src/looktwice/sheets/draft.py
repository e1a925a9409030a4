"""From YAML to a draft: every text with its line, and everything that does not fit the shape of a sheet.

The YAML is read as a tree of nodes, so that every error has a line and numbers stay as they were written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import yaml

from looktwice.errors import UsageError, did_you_mean

TEXTS = {
    "task": "task description: what the inspection is for and what its verdict decides",
    "object": "what the parts are called",
    "context": "what else one must know about the parts: what may vary without being a defect",
}
LISTS = {
    "references": "normal samples: files, folders or globs, relative to the sheet",
    "defects": "names of known defects",
}
TESTS = {
    "must_pass": "normal samples that are not references: files, folders or globs, relative to the sheet",
    "must_fail": "defective samples: files, folders or globs, relative to the sheet",
}
KEYS = (*TEXTS, "rules", *LISTS, "tests")
RULE_KEYS = ("id", "text")
MAX_BYTES = 1_000_000  # a sheet is read by people: anything larger is another file given by mistake

STR, NULL = "tag:yaml.org,2002:str", "tag:yaml.org,2002:null"
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
SCALARS = {
    STR: "the text",
    **dict.fromkeys(NUMBERS, "the number"),
    "tag:yaml.org,2002:bool": "the yes/no value",
    "tag:yaml.org,2002:timestamp": "the date",
}


@dataclass(frozen=True)
class Finding:
    """What is wrong ("error") or odd ("warning") in a sheet; line counts from 1, None is about the whole sheet."""

    level: Literal["error", "warning"]
    line: int | None
    message: str


class Text(NamedTuple):
    """A text and its line, from 1."""

    text: str
    line: int


class DraftRule(NamedTuple):
    """A rule whose id may still be that of another."""

    id: Text
    text: Text


@dataclass
class Draft:
    """What could be read of a sheet, and the errors of what could not."""

    texts: dict[str, Text] = field(default_factory=dict)
    rules: list[DraftRule] = field(default_factory=list)
    defects: list[Text] = field(default_factory=list)
    paths: dict[str, list[Text]] = field(default_factory=dict)  # patterns of references, must_pass, must_fail
    named: set[str] = field(default_factory=set)  # keys that stand in the sheet, whatever their value, or were meant
    empty: list[Text] = field(default_factory=list)  # keys that stand there without a value
    errors: list[Finding] = field(default_factory=list)

    def error(self, node: yaml.Node, message: str) -> None:
        """Note what is wrong at a node."""
        self.errors.append(Finding("error", line_of(node), message))


def read_draft(path: Path) -> Draft:
    """Read all of a sheet; raises UsageError only when there is no text to read."""
    draft = Draft()
    text = _text_of(path)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        draft.errors.append(_yaml_error(error, text))
        return draft
    if node is None:
        draft.errors.append(Finding("error", None, f"the sheet is empty. It may hold: {', '.join(KEYS)}"))
    elif not isinstance(node, yaml.MappingNode):
        draft.error(node, f"a sheet is lines of 'key: value' with the keys {', '.join(KEYS)}, got {_kind(node)}")
    else:
        _fill(draft, node)
    draft.errors.sort(key=lambda finding: finding.line or 0)
    return draft


def _fill(draft: Draft, node: yaml.MappingNode) -> None:
    for key, value in _pairs(draft, node, KEYS, "a sheet").items():
        kind = yaml.ScalarNode if key in TEXTS else yaml.MappingNode if key == "tests" else yaml.SequenceNode
        if _is_blank(value, kind):
            draft.empty.append(Text(key, line_of(value)))
        elif key in TEXTS:
            if text := _text(draft, value, key):
                draft.texts[key] = text
        elif key == "rules":
            draft.rules = _rules(draft, value)
        elif key == "defects":
            draft.defects = _list(draft, value, "a defect")
        elif key == "references":
            draft.paths[key] = _list(draft, value, "a reference", one=True)
        elif isinstance(value, yaml.MappingNode):
            _fill_tests(draft, value)
        else:
            draft.error(value, f"tests must hold {' and '.join(TESTS)}, got {_kind(value)}")


def _fill_tests(draft: Draft, node: yaml.MappingNode) -> None:
    for key, value in _pairs(draft, node, tuple(TESTS), "tests").items():
        if _is_blank(value, yaml.SequenceNode):
            draft.empty.append(Text(key, line_of(value)))
        else:
            draft.paths[key] = _list(draft, value, f"a path of {key}", one=True)


# ---------------------------------------------------------------- the file


def _text_of(path: Path) -> str:
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder: name the sheet in it")
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such inspection sheet") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path}: larger than {MAX_BYTES // 1_000_000} MB: this is no inspection sheet")
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")  # as some Windows editors write
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UsageError(f"{path}, line {line}: not UTF-8 text: save the sheet as UTF-8") from error


def _yaml_error(error: Exception, text: str) -> Finding:
    """Say in plain words what YAML stumbled over."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return Finding("error", line, f"the control character U+{ord(text[error.position]):04X} stands here: remove it")
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return Finding("error", None, "nested too deeply for a sheet")
    line, problem = error.problem_mark.line + 1, error.problem or "cannot be read"
    # a tab is often noticed one line late
    for number in (line - 1, line):
        if re.match(r" *\t", "".join(text.splitlines()[number - 1 : number])):
            return Finding("error", number, "a tab stands in the indentation: indent with spaces")
    if error.context_mark is not None and "quoted scalar" in (error.context or ""):
        return Finding("error", error.context_mark.line + 1, f"a text in quotes begins here: {problem}")
    if "mapping values are not allowed" in problem:
        return Finding("error", line, "': ' inside a text: put the text in quotes, or mend the indentation")
    if start := re.search(r"found character '(.+)' that cannot start", problem):
        return Finding("error", line, f"a text that begins with {start[1]} must stand in quotes")
    if "expected a single document" in (error.context or ""):
        return Finding("error", line, "a second document begins here (---): one file holds one sheet")
    return Finding("error", line, f"not YAML: {problem}")


# ---------------------------------------------------------------- nodes


def _pairs(draft: Draft, node: yaml.MappingNode, allowed: Sequence[str], what: str) -> dict[str, yaml.Node]:
    """Return the known keys of a mapping; keys that are unknown or stand twice become errors."""
    found: dict[str, yaml.Node] = {}
    first: dict[str, int] = {}
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else _kind(key)
        if name in first:
            draft.error(key, f"'{name}' stands twice, first in line {first[name]}: keep one of them")
            continue
        first[name] = line_of(key)
        near = did_you_mean(name.lower(), allowed)
        if name in allowed:
            found[name] = value
        else:
            draft.error(key, f"unknown key '{name}'.{near} Allowed in {what}: {', '.join(allowed)}")
        draft.named.update(known for known in allowed if known == name or f"'{known}'" in near)
    return found


def _text(draft: Draft, node: yaml.Node, what: str, *, numbers: bool = False) -> Text | None:
    """Return the text of a node, or None and an error; with `numbers` a number is taken as it was written."""
    hint = ""
    if _is_blank(node, yaml.ScalarNode):
        draft.error(node, f"{what} is empty: write it, or remove the line")
        return None
    if isinstance(node, yaml.ScalarNode):
        if node.tag == STR or (numbers and node.tag in NUMBERS):
            return Text(str(node.value).strip(), line_of(node))
        hint = ": put it in quotes"
    elif isinstance(node, yaml.MappingNode):
        hint = ": put a text with ': ' in it in quotes"
    draft.error(node, f"{what} must be text, got {_kind(node)}{hint}")
    return None


def _list(draft: Draft, node: yaml.Node, what: str, *, one: bool = False) -> list[Text]:
    """Return the texts of a list; with `one` a single text is a list of one."""
    items = [node] if one and isinstance(node, yaml.ScalarNode) else node.value
    if not isinstance(node, yaml.SequenceNode) and items is node.value:
        draft.error(node, f"expected a list, each line '- ' and {what}, got {_kind(node)}")
        return []
    return [text for item in items if (text := _text(draft, item, what))]


def _rules(draft: Draft, node: yaml.Node) -> list[DraftRule]:
    """Return the rules; a plain text is numbered by its place in the list."""
    if not isinstance(node, yaml.SequenceNode):
        draft.error(node, f"expected a list, each line '- ' and a rule, got {_kind(node)}")
        return []
    rules: dict[str, DraftRule] = {}
    for number, item in enumerate(node.value, 1):
        if (rule := _rule(draft, item, number)) is None:
            continue
        same = rules.setdefault(rule.id.text, rule)
        if same is not rule:
            message = f"rule id '{rule.id.text}' stands twice, first in line {same.id.line}: ids must differ"
            draft.errors.append(Finding("error", rule.id.line, message))
    return list(rules.values())


def _rule(draft: Draft, node: yaml.Node, number: int) -> DraftRule | None:
    if not isinstance(node, yaml.MappingNode):
        text = _text(draft, node, "a rule")
        return DraftRule(Text(f"r{number}", text.line), text) if text else None
    keys = [str(key.value) for key, _ in node.value]
    if keys and not any(key in RULE_KEYS or did_you_mean(key.lower(), RULE_KEYS) for key in keys):
        draft.error(node, f"a rule is text, or id and text, got '{keys[0]}: ...': put a text with ': ' in it in quotes")
        return None
    pairs = _pairs(draft, node, RULE_KEYS, "a rule")
    for missing in (key for key in RULE_KEYS if key not in pairs):
        draft.error(node, f"a rule is text, or id and text: {missing} is missing")
    id = _text(draft, pairs["id"], "the id of a rule", numbers=True) if "id" in pairs else None
    text = _text(draft, pairs["text"], "the text of a rule") if "text" in pairs else None
    return DraftRule(id, text) if id and text else None


def _is_blank(node: yaml.Node, kind: type[yaml.Node]) -> bool:
    """Whether nothing stands there: no value, or a blank one of the right kind."""
    if isinstance(node, yaml.ScalarNode) and kind is yaml.ScalarNode:
        return node.tag == NULL or (node.tag == STR and not str(node.value).strip())
    return node.tag == NULL or (isinstance(node, kind) and not node.value)


def line_of(node: yaml.Node) -> int:
    """The line a node begins in, from 1."""
    return int(node.start_mark.line) + 1


def _kind(node: yaml.Node) -> str:
    """A YAML value in words."""
    if isinstance(node, yaml.MappingNode):
        return "keys and values"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if node.tag == NULL:
        return "nothing"
    return f"{SCALARS.get(node.tag, node.tag)} '{str(node.value)[:40]}'"
