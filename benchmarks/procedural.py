"""Speed of the generator on one core: pictures a second at several sizes, by category, and of clouds and videos.

Figures are of processor time of this process with all its threads, so that waiting for others does not count. A stream
is half good and half defective, four pictures a family, families included; words are written where it says so.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from looktwice.data.procedural import CATEGORIES, FILMS, SOLIDS, cloud_family, family, film_family, stream

BAR = 60.0  # pictures of 192 px a second and core
PICTURES = 400


def rate(work: Callable[[int], object], many: int) -> float:
    """How often a second `work` can be done."""
    work(0)
    start = time.process_time()
    for number in range(many):
        work(number)
    return many / (time.process_time() - start)


def told(size: int) -> Callable[[int], object]:
    made = stream(1, size=size)
    return lambda i: made[i].words


def of_category(category: str) -> Callable[[int], object]:
    def work(number: int) -> object:
        made = family(category, number // 4)
        return made.defective(number, size=192) if number % 2 else made.good(number, 192)

    return work


def main() -> int:
    reached = 0.0
    for size in (64, 128, 192, 256, 384, 512):
        made = stream(1, size=size)
        found = rate(made.__getitem__, PICTURES if size <= 192 else 120)
        reached = found if size == 192 else reached
        print(f"stream at {size} px: {found:.0f} pictures/s per core")
    print(f"stream at 192 px with words: {rate(told(192), 200):.0f} pictures/s per core")
    episodes = stream(1, size=192)
    print(f"episodes of 4 references and 2 queries at 192 px: {rate(episodes.episode, 40):.1f} episodes/s per core")
    rates = {category: rate(of_category(category), 24) for category in CATEGORIES}
    for category, found in sorted(rates.items(), key=lambda row: row[1]):
        print(f"  {category}: {found:.0f} pictures/s")
    for category in SOLIDS:
        found = rate(cloud_family(category, 1).defective, 4)
        print(f"cloud of 20,000 points, {category}: {found:.1f}/s")
    for category in FILMS:
        found = rate(film_family(category, 1).defective, 6)
        print(f"video of 60 frames at 160 x 120, {category}: {found:.1f}/s")
    print(f"bar: {BAR:.0f} pictures/s at 192 px: {'reached' if reached >= BAR else 'MISSED'} ({reached:.0f})")
    return 0 if reached >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
