"""The flags that several commands share: the inspection sheet in words, and how things are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from looktwice.cli.console import pairs

if TYPE_CHECKING:
    from looktwice.records import Spec
    from looktwice.settings import Settings

Model = Annotated[str | None, typer.Option("-m", "--model", help="Detector, see 'looktwice models'. Default: memory with references, else selfsim.")]  # fmt: skip  # noqa: E501
Sheet = Annotated[Path | None, typer.Option(help="Inspection sheet (YAML).")]
Task = Annotated[str, typer.Option(help="What is to be inspected for.")]
Object = Annotated[str, typer.Option(help="What the parts are called.")]
Context = Annotated[str, typer.Option(help="What one must know about the parts.")]
Rules = Annotated[list[str] | None, typer.Option("--rule", help="A normality rule; repeatable.")]
References = Annotated[list[str] | None, typer.Option("--reference", help="A normal sample: file, folder or glob; repeatable.")]  # fmt: skip  # noqa: E501
Options = Annotated[list[str] | None, typer.Option("--option", help="KEY=VALUE for the detector; repeatable.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE for loading, such as image.max_pixels=1e8; repeatable.")]  # fmt: skip  # noqa: E501
ExplainWith = Annotated[str | None, typer.Option("--explain-with", help="Chat model that puts the findings into words: openai:MODEL, hf:REPO.")]  # fmt: skip  # noqa: E501
BaseUrl = Annotated[str | None, typer.Option("--base-url", help="Address of another server that speaks OpenAI's protocol.")]  # fmt: skip  # noqa: E501
Language = Annotated[str | None, typer.Option(help="Language a chat model answers in. Default: English.")]
Verify = Annotated[bool, typer.Option("--verify", help="Ask a chat model again in other ways; mark what does not hold.")]  # fmt: skip  # noqa: E501
Budget = Annotated[float | None, typer.Option(min=0, help="Dollars a chat model may cost; the run stops before.")]
TalkerOptions = Annotated[list[str] | None, typer.Option("--talker-option", help="KEY=VALUE for the chat model of --explain-with; repeatable.")]  # fmt: skip  # noqa: E501


def talking_from(
    base_url: str | None,
    language: str | None,
    verify: bool,
    budget: float | None,
    options: list[str] | None,
) -> dict[str, Any]:
    """What was said about the chat model."""
    flags = {"base_url": base_url, "language": language, "verify": verify or None, "budget": budget}
    given = {name: value for name, value in flags.items() if value is not None}
    return given | pairs(options or [], "--talker-option")


def spec_from(
    sheet: Path | None,
    task: str = "",
    object: str = "",
    context: str = "",
    rules: list[str] | None = None,
    references: list[str] | None = None,
) -> Spec:
    """Read the sheet, if any, and put the flags on top."""
    from looktwice.records import Spec
    from looktwice.sheets import merge, read_sheet

    spec = read_sheet(sheet) if sheet is not None else Spec()
    return merge(
        spec, task=task, object=object, context=context, rules=tuple(rules or ()), references=tuple(references or ())
    )


def settings_from(changes: list[str] | None, **video: Any) -> Settings:
    """Build the settings from --set KEY=VALUE and the sampling of videos."""
    from pydantic import ValidationError

    from looktwice.errors import UsageError, unknown_name
    from looktwice.settings import Settings

    values: dict[str, dict[str, Any]] = {name: {} for name in Settings.model_fields}
    for key, value in pairs(changes or [], "--set").items():
        group, _, name = key.partition(".")
        known = [f"{g}.{n}" for g, field in Settings.model_fields.items() for n in field.default.__class__.model_fields]
        if key not in known:
            raise unknown_name("setting", key, known)
        # YAML reads 1e8 as text; whole numbers written so are meant as numbers
        values[group][name] = int(float(value)) if isinstance(value, str) and _is_whole(value) else value
    values["video"] |= {name: value for name, value in video.items() if value is not None}
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"setting {where}: {first['msg']}, got {first['input']}") from error


def _is_whole(text: str) -> bool:
    try:
        return float(text).is_integer()
    except ValueError:
        return False
