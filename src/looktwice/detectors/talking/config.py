"""What can be set of a detector that talks, and the talker it opens."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    computed_field,
    field_serializer,
)

from looktwice.errors import UsageError
from looktwice.prompts import STYLES
from looktwice.prompts.paper import Reading, Wording
from looktwice.prompts.style import PROMPT_PARTS, PromptPart, Style
from looktwice.prompts.templates import Templates
from looktwice.talkers.opening import open_talker
from looktwice.talkers.protocol import ChatModel

HEAVY = ("hf",)  # kinds of talkers that load weights: opened when the first part is judged
# Options of a talker that change how an answer is fetched, not what it is.
SERVICE = ("concurrency", "timeout", "retries", "backoff", "longest_wait", "key_env", "price_in", "price_out")


def _listed(value: Any) -> Any:
    return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


class TalkingConfig(BaseModel):
    """What can be set with --option. What cannot change an answer is left out of a dump, and so of a run's hash."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    talker: str = Field("", description="the chat model, KIND:MODEL: openai:gpt-4o, hf:REPO, fake:FILE")
    base_url: str | None = Field(None, description="address of another server that speaks the same protocol")
    talker_options: dict[str, Any] = Field({}, description="further options of the talker, as {timeout: 120}")
    style: Literal["inspector", "paper"] = Field("inspector", description="own prompts, or those published")
    prompt_parts: Annotated[tuple[PromptPart, ...], BeforeValidator(_listed)] = Field(
        PROMPT_PARTS, description="what is told of the sheet: task, class, rules, reference"
    )
    n_reference: int = Field(4, ge=0, description="normal samples shown, the first of the sheet; paper shows one")
    language: str = Field("English", pattern=r"^[^\W\d_][\w ()-]{0,40}$", description="language of the texts")
    templates: Path | None = Field(None, description="folder with prompt templates of your own")
    wording: Literal["auto"] | Wording = Field("auto", description="of style paper: image, depth, logical, medical")
    reading: Reading = Field("lenient", description="of style paper: how answers are read")
    score: Literal["auto", "probability", "votes", "answer"] = Field("auto", description="what the score is made of")
    votes: int = Field(3, ge=1, le=50, description="yes/no answers asked for where a talker tells no probabilities")
    layout: Literal["list", "sheet"] = Field("list", description="several views: one picture each, or one sheet of all")
    max_side: int = Field(1024, ge=64, le=4096, description="longest side of a picture shown, pixels")
    marks: int = Field(0, ge=0, le=9, description="rows and columns of numbered marks on a second copy; 0 for none")
    verify: bool = Field(False, description="ask again in four ways and mark what does not hold")
    max_tokens: int = Field(1024, ge=16, description="length of an answer, at most")
    seed: int = Field(0, ge=0, description="of sampled votes")
    cache: str | None = Field("default", exclude=True, description="folder of answers; null keeps none")
    budget: float | None = Field(None, ge=0, exclude=True, description="dollars that must not be passed")

    @field_serializer("talker_options")
    def _without_service(self, options: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in sorted(options.items()) if name not in SERVICE}

    @computed_field  # type: ignore[prop-decorator]
    @property
    def templates_sha256(self) -> str | None:
        """Hash of the user's templates: other words are another run."""
        if self.templates is None:
            return None
        digest = hashlib.sha256()
        for file in sorted(self.templates.glob("*.txt")):
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
        return digest.hexdigest()


def open_style(config: TalkingConfig) -> tuple[Style, Templates]:
    """Return the style and the templates; raises UsageError for templates that cannot be used."""
    templates = Templates(config.templates)
    kind = STYLES.load(config.style)
    made: Style
    if config.style == "paper":
        made = kind(templates, config.language, config.wording, config.reading)
    else:
        made = kind(templates, config.language)
    return made, templates


def open_early(config: TalkingConfig, model: str) -> ChatModel | None:
    """The talker, so that a missing key is told before any part is looked at; None where none is named yet.

    One that loads weights is opened later. Raises as `open_chat_model` does.
    """
    if not config.talker or config.talker.partition(":")[0] in HEAVY:
        return None
    return open_chat_model(config, model)


def open_chat_model(config: TalkingConfig, model: str) -> ChatModel:
    """Return the talker a config names, with its cache and budget; raises UsageError, UnknownName, MissingExtra."""
    if not config.talker:
        raise UsageError(
            f"{model} needs a chat model: --option talker=KIND:MODEL, such as openai:gpt-4o, hf:REPO or, with "
            f"base_url, openai:NAME of a server of your own"
        )
    options = dict(config.talker_options)
    if config.base_url is not None:
        options["base_url"] = config.base_url
    return open_talker(config.talker, cache=config.cache, budget=config.budget, **options)


def spent_by(talker: ChatModel | None) -> str:
    """What the answers of a talker have cost so far, in words; "" where it does not count."""
    return str(getattr(getattr(talker, "spent", None), "words", ""))
