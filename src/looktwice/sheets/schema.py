"""The shape of a sheet as a JSON Schema, for editors and other programs."""

from __future__ import annotations

from typing import Any

from looktwice.sheets.draft import LISTS, RULE_KEYS, TESTS, TEXTS

SCHEMA_ID = "urn:looktwice:sheet:1"
FILLED = {"type": "string", "pattern": r"\S"}
PATHS = {"type": ["string", "array", "null"], "pattern": r"\S", "items": FILLED}
RULE = {
    "type": ["string", "object"],
    "pattern": r"\S",
    "properties": {
        "id": {"type": ["string", "number"], "pattern": r"\S", "description": "named in every report; unique"},
        "text": {**FILLED, "description": "what holds for every normal part"},
    },
    "required": list(RULE_KEYS),
    "additionalProperties": False,
}


def sheet_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a sheet as YAML loads it; whether its files exist it cannot tell."""
    tests = {name: {"description": TESTS[name], **PATHS} for name in TESTS}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "looktwice inspection sheet",
        "description": "What an inspector knows. Any key may be left out. Paths are relative to the sheet.",
        "type": "object",
        "properties": {
            **{name: {"description": TEXTS[name], "type": ["string", "null"]} for name in TEXTS},
            "rules": {
                "description": "what holds for every normal part; plain texts are numbered r1, r2 ... by their place",
                "type": ["array", "null"],
                "items": RULE,
            },
            "references": {"description": LISTS["references"], **PATHS},
            "defects": {"description": LISTS["defects"], "type": ["array", "null"], "items": FILLED},
            "tests": {
                "description": "samples whose verdict is known; looktwice check --run inspects them",
                "type": ["object", "null"],
                "properties": tests,
                "additionalProperties": False,
            },
        },
        "additionalProperties": False,
    }
