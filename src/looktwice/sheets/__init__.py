"""Inspection sheets: the expert's knowledge as YAML, read, checked, merged with flags and described by a schema.

- `draft` reads YAML into texts with their lines, and says what is wrong with its shape;
- `files` resolves paths, folders and globs;
- `reading` makes a Spec of both and stops at the first error;
- `linting` reports every error and what is merely odd;
- `schema` is the same shape as a JSON Schema.
"""

from looktwice.sheets.draft import Finding
from looktwice.sheets.files import expand
from looktwice.sheets.linting import lint
from looktwice.sheets.reading import load_references, merge, read_sheet
from looktwice.sheets.schema import sheet_schema

__all__ = ["Finding", "expand", "lint", "load_references", "merge", "read_sheet", "sheet_schema"]
