"""A scripted talker, for tests and for trying things out: it says what a file tells it to say.

A script is a list of rules; the first that fits answers:

    - when: [scratch, "Rule R1"]   # texts that the last user turn holds, or `regex`
      pictures: 2                  # how many the dialogue shows
      reply: {verdict: anomalous}  # text, or anything else, said as JSON
      choices: {Yes: 0.9, No: 0.1} # probabilities, where they are asked for; yes and no are words here, not booleans
      finish: stop                 # or length, refusal
    - when: broken
      error: talker_timeout        # a kind of TalkerError

or a mapping of `rules` to such a list and `default` to the reply where none fits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from looktwice.errors import UsageError
from looktwice.talkers.protocol import Asking, Picture, Reply, TalkerError, Turn, Usage

ErrorKind = Literal[
    "talker_unreachable",
    "talker_refused_key",
    "talker_rate_limited",
    "talker_timeout",
    "talker_failed",
    "talker_bad_request",
]
Said = Reply | TalkerError | str
PICTURE, LETTERS = 256, 4  # tokens of a picture, letters of a token: so that there is something to count


class _Words(yaml.SafeLoader):
    """YAML in which yes, no, on and off are words: they are what a talker says."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # the name and the kind are those of the base
        first: [(tag, form) for tag, form in rows if first in "tTfF" or not tag.endswith(":bool")]
        for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class Rule(BaseModel):
    """When to say what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    when: tuple[str, ...] = ()
    regex: re.Pattern[str] | None = None
    pictures: int | None = Field(None, ge=0)
    reply: Any = None
    choices: dict[str, float] = {}
    finish: Literal["stop", "length", "refusal"] = "stop"
    error: ErrorKind | None = None

    @field_validator("when", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.reply is None and not self.choices and self.error is None:
            raise ValueError("a rule says what to answer: reply, choices or error")
        if any(not value >= 0 for value in self.choices.values()) or (self.choices and not any(self.choices.values())):
            raise ValueError(f"choices are probabilities of which one is above 0, got {self.choices}")
        return self

    def fits(self, text: str, pictures: int) -> bool:
        """Whether the rule is about this last user text and so many pictures."""
        return (
            all(part in text for part in self.when)
            and (self.regex is None or self.regex.search(text) is not None)
            and self.pictures in (None, pictures)
        )

    def answer(self, how: Asking) -> Reply | TalkerError:
        """What the rule says."""
        if self.error is not None:
            return TalkerError(self.error, f"the script says {self.error}")
        said = max(self.choices, key=lambda word: self.choices[word]) if self.reply is None else self.reply
        text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
        return Reply(text, self.finish, choices=_among(self.choices, how.choices))


class Script(BaseModel):
    """Rules, and what is said where none fits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: tuple[Rule, ...] = ()
    default: Any = None


@dataclass(frozen=True)
class Asked:
    """What a scripted talker was asked."""

    dialogue: tuple[Turn, ...]
    how: Asking

    @property
    def text(self) -> str:
        """All text of the last user turn."""
        return "\n".join(part for part in self.dialogue[-1].parts if isinstance(part, str))

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All pictures of the dialogue."""
        return tuple(part for turn in self.dialogue for part in turn.parts if isinstance(part, Picture))


class Scripted:
    """A talker that follows a script: the path of a YAML file, or YAML that begins with '[' or '{' or has lines.

    `asked` holds all it was asked, in order. Raises UsageError for a script that cannot be read.
    """

    def __init__(self, script: str) -> None:
        self.name = f"fake:{script}"
        self.asked: list[Asked] = []
        text, where = _text(script)
        self.identity: Mapping[str, Any] | str = {"kind": "fake", "script": text}
        parsed = _parse(text, where)
        self._say: Callable[[Asked], Said] = lambda asked: _follow(parsed, where, asked)

    @classmethod
    def of(cls, say: Callable[[Sequence[Turn], Asking], Said], name: str = "fake:python") -> Self:
        """Return a talker that says what a function says: a text, a Reply or a TalkerError."""
        made = cls("[]")
        made.name = made.identity = name
        made._say = lambda asked: say(asked.dialogue, asked.how)
        return made

    def __repr__(self) -> str:
        return f"Scripted({self.name.removeprefix('fake:')!r})"

    def chat(self, dialogues: Sequence[Sequence[Turn]], how: Asking) -> list[Reply | TalkerError]:
        """Answer each dialogue, in order."""
        return [answer for _, answer in self.stream(dialogues, how)]

    def stream(self, dialogues: Iterable[Sequence[Turn]], how: Asking) -> Iterator[tuple[int, Reply | TalkerError]]:
        """Yield (number of the dialogue, answer), one by one."""
        for number, dialogue in enumerate(dialogues):
            asked = Asked(tuple(dialogue), how)
            self.asked.append(asked)
            said = self._say(asked)
            answer = Reply(said) if isinstance(said, str) else said
            yield number, answer if isinstance(answer, TalkerError) else _counted(answer, asked)


def _counted(reply: Reply, asked: Asked) -> Reply:
    """With tokens by rule of thumb, unless the script counts itself."""
    if reply.usage != Usage():
        return reply
    letters = sum(len(part) for turn in asked.dialogue for part in turn.parts if isinstance(part, str))
    tokens_in = -(-letters // LETTERS) + PICTURE * len(asked.pictures)
    return replace(reply, usage=Usage(tokens_in, -(-len(reply.text) // LETTERS)))


def _among(choices: Mapping[str, float], words: Sequence[str]) -> Mapping[str, float] | None:
    known = {word.casefold(): value for word, value in choices.items()}
    found = {word: known.get(word.casefold(), 0.0) for word in words}
    total = sum(found.values())
    return {word: value / total for word, value in found.items()} if total > 0 else None


def _follow(script: Script, where: str, asked: Asked) -> Said:
    for rule in script.rules:
        if rule.fits(asked.text, len(asked.pictures)):
            return rule.answer(asked.how)
    if script.default is not None:
        return Rule(reply=script.default).answer(asked.how)
    shown = asked.text if len(asked.text) <= 200 else f"{asked.text[:200]} ..."
    return TalkerError("talker_failed", f"no rule of {where} fits ({len(asked.pictures)} pictures): {shown}")


def _text(script: str) -> tuple[str, str]:
    """The text of a script and how errors call it."""
    if "\n" in script or script.lstrip().startswith(("[", "{")):
        return script, "the script"
    try:
        return Path(script).read_text(encoding="utf-8"), script
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or error
        raise UsageError(f"cannot read the script {script}: {why}") from error


def _parse(text: str, where: str) -> Script:
    try:
        content = yaml.load(text, Loader=_Words)
    except yaml.YAMLError as error:
        raise UsageError(f"{where} is no YAML: {error}") from error
    if not isinstance(content, Mapping):
        content = {"rules": content}
    try:
        return Script.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part + 1 if isinstance(part, int) else part) for part in first["loc"])
        raise UsageError(
            f"{where}, {place or 'top'}: {first['msg']}. A script is a list of rules with "
            f"{', '.join(Rule.model_fields)}, or has rules and default"
        ) from error
