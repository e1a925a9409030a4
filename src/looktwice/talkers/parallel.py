"""Many requests at once: a few threads, answers as they come, and one pace for all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")
POLL = 0.1  # seconds until a waiting thread looks again whether it should stop


def in_parallel(
    work: Callable[[Item, threading.Event], Answer], items: Iterable[Item], limit: int
) -> Iterator[tuple[int, Answer]]:
    """Yield (number of the item, answer) as answers come; an item is taken only when one of `limit` threads is free.

    `work` also gets the event that says nobody waits any more. What `items` raises is raised after the answers under
    way have come. Whoever leaves early (Ctrl-C) waits for no thread, nor does the end of the process.
    """
    tasks: SimpleQueue[tuple[int, Item] | None] = SimpleQueue()
    done: SimpleQueue[tuple[int, Future[Answer]]] = SimpleQueue()
    stop = threading.Event()

    def worker() -> None:
        while (task := tasks.get()) is not None and not stop.is_set():
            number, item = task
            outcome: Future[Answer] = Future()
            try:
                outcome.set_result(work(item, stop))
            except BaseException as error:  # carried to the one who waits
                outcome.set_exception(error)
            done.put((number, outcome))

    supply, failure = enumerate(items), None
    running = threads = 0
    more = True
    try:
        while more or running:
            while more and running < limit:
                try:
                    tasks.put(next(supply))
                except StopIteration:
                    more = False
                except Exception as error:
                    more, failure = False, error
                else:
                    running += 1
                    if running > threads:
                        threading.Thread(target=worker, daemon=True).start()
                        threads += 1
            if running:
                number, outcome = done.get()
                running -= 1
                yield number, outcome.result()
    finally:
        stop.set()
        for _ in range(threads):
            tasks.put(None)
    if failure is not None:
        raise failure


class Pace:
    """Lets at most `limit` requests go at once; none while the server asks to wait, then half as many as before.

    Each good answer gives one back. Shared by all threads that talk to one server.
    """

    def __init__(self, limit: int) -> None:
        self._limit = self._allowed = limit
        self._running = 0
        self._closed_until = 0.0  # time.monotonic()
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, stop: threading.Event) -> Iterator[None]:
        """Wait for a turn, or until `stop` is set, and hold it."""
        with self._changed:
            while not stop.is_set() and (wait := self._wait()) > 0:
                self._changed.wait(min(wait, POLL))
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _wait(self) -> float:
        return POLL if self._running >= self._allowed else self._closed_until - time.monotonic()

    def hold(self, seconds: float) -> None:
        """Let nobody go for so long, and fewer at once from then on."""
        with self._changed:
            self._closed_until = max(self._closed_until, time.monotonic() + seconds)
            self._allowed = max(1, self._allowed // 2)

    def ease(self) -> None:
        """Let one more go at once, up to the limit."""
        with self._changed:
            self._allowed = min(self._limit, self._allowed + 1)
            self._changed.notify_all()
