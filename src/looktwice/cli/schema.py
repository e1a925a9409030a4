"""looktwice schema: the published JSON Schemas."""

from __future__ import annotations

from typing import Annotated

import typer

from looktwice.cli.console import one_line_errors


def schema(name: Annotated[str, typer.Argument(help="sheet (the YAML) or result (a line of results.jsonl)")]) -> None:
    """Print a JSON Schema."""
    with one_line_errors():
        import json

        from looktwice.registry import Registry

        schemas = Registry(
            "schema",
            {"sheet": "looktwice.sheets:sheet_schema", "result": "looktwice.report.jsonl:result_schema"},
        )
        typer.echo(json.dumps(schemas.load(name)(), indent=1))
