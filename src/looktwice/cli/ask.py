"""looktwice ask: a conversation about one part."""

from __future__ import annotations

import json as coder
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from looktwice.cli import sheet_flags as flags
from looktwice.cli.console import note, one_line_errors, pairs, printable


def ask(
    part: Annotated[str, typer.Argument(help="The part to ask about: a picture, point cloud or video.")],
    question: Annotated[
        list[str] | None, typer.Argument(help="Questions; without any they are read line by line.")
    ] = None,
    model: flags.Model = None,
    sheet: flags.Sheet = None,
    task: flags.Task = "",
    object: flags.Object = "",
    context: flags.Context = "",
    rule: flags.Rules = None,
    reference: flags.References = None,
    option: flags.Options = None,
    explain_with: flags.ExplainWith = None,
    talker_option: flags.TalkerOptions = None,
    base_url: flags.BaseUrl = None,
    language: flags.Language = None,
    budget: flags.Budget = None,
    set: flags.Set = None,
    modality: Annotated[str | None, typer.Option(help="Treat the part as image, point_cloud or video.")] = None,
    transcript: Annotated[
        Path, typer.Option(help="File that each question and answer is added to, one JSON object per line.")
    ] = Path("looktwice-transcript.jsonl"),
    json: Annotated[bool, typer.Option("--json", help="Each answer as one JSON object per line.")] = False,
) -> None:
    """Ask a model that talks about one part: it is shown once, questions are cheap.

    Answers go to standard output, one after the other, so questions can be piped in. An empty line or the end of
    input ends the conversation.
    """
    with one_line_errors():
        from looktwice.inspection import look
        from looktwice.report.jsonl import append_line

        seen = look(
            part,
            model,
            flags.spec_from(sheet, task, object, context, rule, reference),
            options=pairs(option or [], "--option"),
            explain_with=explain_with,
            talking=flags.talking_from(base_url, language, False, budget, talker_option),
            settings=flags.settings_from(set),
            modality=modality,
        )
        for one in _questions(question or []):
            answer = seen.ask(one)
            said = {"part": part, "model": explain_with or model, "question": one, "answer": answer}
            line = coder.dumps(said, ensure_ascii=False).encode()
            append_line(transcript, line + b"\n")
            if json:
                typer.echo(line)  # bytes: UTF-8 whatever the terminal speaks
            else:
                for words in answer.splitlines() or [""]:
                    typer.echo(printable(words))
        note(f"Transcript: {transcript}")


def _questions(given: list[str]) -> Iterator[str]:
    """Those of the command line, else those typed or piped in."""
    if given:
        yield from given
        return
    while True:
        if sys.stdin.isatty():
            typer.echo("? ", nl=False, err=True)
        line = sys.stdin.readline().strip()
        if not line:
            return
        yield line
