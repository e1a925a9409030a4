"""Sheets as Specs: read from YAML, topped up by flags, with their references loaded."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from looktwice import modalities
from looktwice.errors import UsageError
from looktwice.records import Expectation, Rule, Sample, Spec
from looktwice.settings import Settings
from looktwice.sheets.draft import Finding, read_draft
from looktwice.sheets.files import Found, expand, match

NUMBERED_FLAG = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]*):\s+(?P<text>\S.*)", re.DOTALL)


def read_sheet(path: Path | str) -> Spec:
    """Read a sheet; its paths come back resolved: one for each sample, usable from the current folder.

    Raises UsageError that names the sheet, the line, what is allowed, and how many errors more there are.
    """
    path = Path(path)
    draft = read_draft(path)
    paths: dict[str, tuple[str, ...]] = {}
    for name, patterns in draft.paths.items():
        found = Found()
        for pattern in patterns:
            try:
                found.add(match(pattern.text, path.parent).paths)
            except UsageError as error:
                draft.errors.append(Finding("error", pattern.line, f"{name}: {error}"))
        paths[name] = tuple(str(one) for one in found.paths)
    if draft.errors:
        first, more = draft.errors[0], len(draft.errors) - 1
        line = f", line {first.line}" if first.line else ""
        rest = f" ({more} more: looktwice check {path})" if more else ""
        raise UsageError(f"{path}{line}: {first.message}{rest}")
    return Spec(
        **{name: text.text for name, text in draft.texts.items()},
        rules=tuple(Rule(id=rule.id.text, text=rule.text.text) for rule in draft.rules),
        references=paths.get("references", ()),
        defects=tuple(defect.text for defect in draft.defects),
        tests=Expectation(must_pass=paths.get("must_pass", ()), must_fail=paths.get("must_fail", ())),
    )


def merge(
    spec: Spec,
    *,
    task: str = "",
    object: str = "",
    context: str = "",
    rules: Sequence[str] = (),
    references: Sequence[str | Path | Sample] = (),
) -> Spec:
    """Return the sheet with flags on top: texts replace the sheet's, rules and references are added to them.

    A rule "id: text" keeps its id; others are numbered on from the sheet's, by their place or the next free number.
    References are expanded as `expand` does, relative to the current folder. Raises UsageError for an empty rule, an
    id that stands already, and a reference that stands for nothing.
    """
    known = Found()
    known.add(Path(one) for one in spec.references if isinstance(one, str))
    added: list[Sample | str] = []
    for reference in references:
        if isinstance(reference, Sample):
            added.append(reference)
        else:
            before = len(known.paths)
            known.add(expand([reference]))
            added += [str(path) for path in known.paths[before:]]
    return Spec(
        task=task.strip() or spec.task,
        object=object.strip() or spec.object,
        context=context.strip() or spec.context,
        rules=(*spec.rules, *_flag_rules(rules, spec.rules)),
        references=(*spec.references, *added),
        defects=spec.defects,
        tests=spec.tests,
    )


def _flag_rules(texts: Sequence[str], before: Sequence[Rule]) -> Iterator[Rule]:
    given = [(NUMBERED_FLAG.fullmatch(text.strip()), text.strip()) for text in texts]
    taken = {rule.id for rule in before}
    for own, text in given:
        if not text:
            raise UsageError("a rule is empty: write what a normal part is like")
        if own and own["id"] in taken:
            raise UsageError(f"rule id '{own['id']}' stands already: give the rule '{own['text']}' another id")
        taken |= {own["id"]} if own else set()
    for place, (own, text) in enumerate(given, len(before) + 1):
        if own:
            yield Rule(id=own["id"], text=own["text"])
            continue
        id = next(f"r{number}" for number in itertools.count(place) if f"r{number}" not in taken)
        taken.add(id)
        yield Rule(id=id, text=text)


def load_references(spec: Spec, settings: Settings | None = None) -> list[Sample]:
    """Load the references, in order; Samples stay as they are, folders and globs are expanded.

    Raises UsageError for a reference that stands for nothing, BadFile for the first that cannot be read, MissingExtra.
    """
    samples: list[Sample] = []
    for reference in spec.references:
        if isinstance(reference, Sample):
            samples.append(reference)
        else:
            samples += [modalities.load(path, settings) for path in expand([reference])]
    return samples
