"""looktwice models: the detectors there are, and what each needs and can do."""

from __future__ import annotations

from typing import Annotated

import typer

from looktwice.cli.console import one_line_errors, table


def models(
    name: Annotated[str | None, typer.Argument(help="Show one model's card and options.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the detectors, or show one."""
    with one_line_errors():
        from looktwice.detectors import CARDS, DETECTORS

        if name is not None:
            DETECTORS.target(name)
        if json:
            _as_json([name] if name else list(CARDS))
        elif name is not None:
            _show(name)
        else:
            rows = [
                [
                    key,
                    ", ".join(card.modalities).replace("_", " "),
                    " + ".join(w for w, can in (("zero-shot", card.zero_shot), ("few-shot", card.few_shot)) if can),
                    "yes" if card.localises else "no",
                    "yes" if card.explains else "no",
                    _weights(key),
                    card.paper,
                ]
                for key, card in CARDS.items()
            ]
            table(["name", "modalities", "shots", "localises", "explains", "weights", "paper"], rows)


def _weights(name: str) -> str:
    from looktwice.detectors import CARDS

    card = CARDS[name]
    if card.talks:
        return "a chat model"
    if not card.weights:
        return "none needed"
    return ", ".join(card.weights) + (" (present)" if card.ready else " (missing)")


def _as_json(names: list[str]) -> None:
    import dataclasses
    import json

    from looktwice.detectors import CARDS

    rows = [{"name": n, **dataclasses.asdict(CARDS[n]), "weights_present": CARDS[n].ready} for n in names]
    typer.echo(json.dumps(rows if len(names) != 1 else rows[0], indent=1))


def _show(name: str) -> None:
    from looktwice.detectors import CARDS, DETECTORS

    card = CARDS[name]
    typer.echo(f"{name}: {card.summary}")
    for what, text in (
        ("paper", card.paper),
        ("modalities", ", ".join(card.modalities)),
        ("needs references", "no" if card.zero_shot else "yes"),
        ("uses references", "yes" if card.few_shot else "no"),
        ("weights", _weights(name)),
        ("good for", card.good_for),
        ("bad for", card.bad_for),
    ):
        typer.echo(f"  {what}: {text}")
    typer.echo("  options (--option KEY=VALUE):")
    for key, field in DETECTORS.load(name).Config.model_fields.items():
        typer.echo(f"    {key}={field.default}  {field.description}")
