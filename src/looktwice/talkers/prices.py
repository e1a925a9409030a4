"""What a token costs, in US dollars per million, and how many tokens a picture can cost.

Source: the list of github.com/simonw/llm-prices at commit 723ef0b (5 August 2026), which follows the pages
developers.openai.com/api/docs/pricing and ai.google.dev/gemini-api/docs/pricing. Discounts (batch, cached input) are
left out; the prices are those of prompts up to 200,000 tokens, which an inspection stays far below. Prices change:
`price_in` and `price_out` overrule.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

# Most tokens that one picture costs in any family whose rule is public: Qwen2-VL by default, 12,845,056 / 28^2.
PICTURE = 16_384


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens, and the most tokens that one picture can cost."""

    dollars_in: float
    dollars_out: float
    picture: int = PICTURE

    def dollars(self, tokens_in: int, tokens_out: int) -> float:
        """What so many tokens cost."""
        return (tokens_in * self.dollars_in + tokens_out * self.dollars_out) / 1e6


FREE = Price(0.0, 0.0)

# Pictures by OpenAI's guide: at most 8 tiles and a base, or 1,536 patches times a factor (1.62 mini, 2.46 nano).
TILES, MINI, NANO = 1_536, 2_489, 3_779
OPENAI: Mapping[str, Price] = {
    "gpt-4o": Price(2.50, 10.00, TILES),
    "gpt-4o-2024-05-13": Price(5.00, 15.00, TILES),
    "gpt-4o-mini": Price(0.15, 0.60, 2_833 + 8 * 5_667),
    "gpt-4.1": Price(2.00, 8.00, TILES),
    "gpt-4.1-mini": Price(0.40, 1.60, MINI),
    "gpt-4.1-nano": Price(0.10, 0.40, NANO),
    "gpt-5": Price(1.25, 10.00, TILES),
    "gpt-5-mini": Price(0.25, 2.00, MINI),
    "gpt-5-nano": Price(0.05, 0.40, NANO),
    "gpt-5.1": Price(1.25, 10.00),
    "gpt-5.2": Price(1.75, 14.00),
    "gpt-5.4": Price(2.50, 15.00),
    "gpt-5.4-mini": Price(0.75, 4.50),
    "gpt-5.4-nano": Price(0.20, 1.25),
    "gpt-5.5": Price(5.00, 30.00),
}
GEMINI: Mapping[str, Price] = {
    "gemini-2.5-pro": Price(1.25, 10.00),
    "gemini-2.5-flash": Price(0.30, 2.50),
    "gemini-2.5-flash-lite": Price(0.10, 0.40),
}
SERVERS: Mapping[str, Mapping[str, Price]] = {
    "https://api.openai.com/": OPENAI,
    "https://generativelanguage.googleapis.com/": GEMINI,
}
SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")


def listed(model: str, base_url: str) -> Price | None:
    """Return the list price of a model at its maker's own server, None where it is not known.

    >>> listed("gpt-4o-2024-08-06", "https://api.openai.com/v1/").dollars(1_000_000, 100_000)
    3.5
    >>> listed("gpt-4o", "http://localhost:8000/v1/") is None
    True
    """
    table = next((rows for server, rows in SERVERS.items() if base_url.startswith(server)), {})
    return table.get(model) or table.get(SNAPSHOT.sub("", model))
