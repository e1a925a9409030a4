"""The default style: the four kinds of knowledge in plain words, and an answer with reasons, rules and places.

The words are in `templates/inspector.txt`. The answer is one JSON object in which the description comes before the
verdict, so that a model looks before it judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from looktwice.prompts.answer import Answer, clean, read_answer
from looktwice.prompts.loose import objects, spoken
from looktwice.prompts.style import Brief
from looktwice.prompts.templates import Templates

ENGLISH = "English"


class Inspector:
    """Renders and reads prompts of this style."""

    def __init__(self, templates: Templates, language: str = ENGLISH) -> None:
        self.templates, self.language = templates, language

    def opening(self, brief: Brief, formatted: bool = True) -> str:
        """The task, what is data and not instruction, the object, its context, rules and defects."""
        spec = brief.spec
        paragraphs = [
            self._fill("task", task=clean(spec.task)) if spec.task else self._fill("no_task"),
            self._fill("guard"),
            self._fill("object", object=clean(spec.object)) if spec.object else "",
            self._fill("context", context=clean(spec.context)) if spec.context else "",
            self._rules(brief),
            self._fill("defects", defects=clean(", ".join(spec.defects))) if spec.defects else "",
            self._references(brief.references),
        ]
        return "\n\n".join(filter(None, paragraphs))

    def reference(self, number: int, of: int, name: str) -> str:
        """Label a picture of a normal part."""
        return self._fill("reference", number=str(number), count=str(of), name=_named(name))

    def part(self, brief: Brief) -> str:
        """Say what is shown now."""
        shown = self._fill(f"part_{brief.kind}", count=str(brief.views))
        return f"{shown} {self._fill('part_sheet')}" if brief.sheet else shown

    def picture(self, number: int, of: int, name: str) -> str:
        """Label one of several pictures of the part."""
        return self._fill("picture", number=str(number), count=str(of), name=_named(name)) if of > 1 else ""

    def grid(self, brief: Brief) -> str:
        """Label the picture with marks."""
        return self._fill("grid", marks=str(brief.marks))

    def closing(self, brief: Brief) -> str:
        """Ask for the JSON object, with the keys this case needs."""
        other = self.language != ENGLISH
        return self._fill(
            "answer",
            rules=self._fill("answer_rules") if brief.spec.rules else "",
            pictures=self._fill("answer_pictures") if brief.pictures > 1 else "",
            marks=self._fill("answer_marks") if brief.marks else "",
            language=self._fill("language", language=self.language) if other else "",
        )

    def schema(self, brief: Brief) -> Mapping[str, Any]:
        """JSON Schema of that object, in the subset that servers with strict schemas take."""
        properties: dict[str, Any] = {"description": _TEXT}
        if brief.spec.rules:
            ids = [rule.id for rule in brief.spec.rules]
            verdicts = ["kept", "broken", "not visible"]
            properties["rules"] = _list(
                _object({"id": {"enum": ids, **_TEXT}, "verdict": {"enum": verdicts, **_TEXT}, "seen": _TEXT})
            )
        properties |= {
            "verdict": {"enum": ["normal", "anomalous", "unsure"], **_TEXT},
            "confidence": {"type": "number"},
            "defect_type": _TEXT,
            "location": _TEXT,
        }
        if brief.pictures > 1:
            properties["pictures"] = _list(_WHOLE)
        properties["boxes"] = _list(_object({"picture": _WHOLE, "box": _list({"type": "number"})}))
        if brief.marks:
            properties["marks"] = _list(_WHOLE)
        return _object(properties | {"impact": _TEXT, "suggestion": _TEXT})

    def parse(self, text: str, brief: Brief) -> Answer | None:
        """Read the last object that holds a verdict; None where there is none, or where several disagree."""
        read = (read_answer(made, brief.spec.rules, brief.pictures, brief.marks) for made in objects(spoken(text)))
        answers = [answer for answer in read if answer is not None]
        return answers[-1] if len({answer.verdict for answer in answers}) == 1 else None

    def repair(self) -> str:
        """Ask for the same answer again in the form that was asked for."""
        return self._fill("repair")

    def _rules(self, brief: Brief) -> str:
        lines = [self._fill("rule", id=rule.id, text=clean(rule.text)) for rule in brief.spec.rules]
        return self._fill("rules", rules="\n".join(lines)) if lines else ""

    def _references(self, count: int) -> str:
        if count == 0:
            return ""
        return self._fill("one_reference") if count == 1 else self._fill("references", count=f"{count} pictures")

    def _fill(self, section: str, /, **values: str) -> str:
        return self.templates.fill(f"inspector.{section}", values)


_TEXT = {"type": "string"}
_WHOLE = {"type": "integer"}


def _list(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Every key is required and no other is allowed: strict servers refuse a schema that says less."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _named(name: str) -> str:
    return f' ("{clean(name)}")' if name else ""


def render_dialogue(templates: Templates, language: str = ENGLISH) -> str:
    """What stands before the questions of a conversation about a part."""
    other = templates.fill("inspector.dialogue_language", language=language) if language != ENGLISH else ""
    return templates.fill("inspector.dialogue", language=other)
