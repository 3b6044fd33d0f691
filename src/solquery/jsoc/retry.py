"""How long and how often a server is asked again: growing pauses with jitter, and an end.

Pauses double up to a limit, and each is shortened at random by up to half, so that clients that failed together do
not come back together (Brooker 2015, "Exponential backoff and jitter").
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ..errors import SolqueryError

__all__ = ["NotNow", "RetryPolicy", "ServerDown", "persist"]

T = TypeVar("T")


class NotNow(Exception):
    """A failure that may pass: a time-out, a refused connection, a 5xx, a page where data belong.

    Attributes
    ----------
    after_s
        What the server asked to wait (Retry-After), else 0.
    unreachable
        Whether no answer came at all.
    """

    def __init__(self, reason: str, after_s: float = 0.0, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.after_s = after_s
        self.unreachable = unreachable


class ServerDown(SolqueryError):
    """The server does not answer any more; what was fetched is safe, and the same command goes on."""


@dataclass(frozen=True)
class RetryPolicy:
    """Numbers of a polite client.

    Attributes
    ----------
    tries
        Attempts at one request or file before it is given up.
    first_s, most_s
        Pause after the first failure, and the longest one.
    timeout_s
        Seconds without a byte after which a connection counts as dead.
    poll_s, poll_most_s
        First and longest pause between two questions about a pending export.
    export_s
        How long a pending export is waited for.
    """

    tries: int = 6
    first_s: float = 2.0
    most_s: float = 300.0
    timeout_s: float = 60.0
    poll_s: float = 5.0
    poll_most_s: float = 60.0
    export_s: float = 12 * 3600.0

    def pause(self, failures: int, rng: random.Random) -> float:
        """Seconds to wait after the `failures`-th failure in a row."""
        return min(self.first_s * 2.0 ** min(failures - 1, 100), self.most_s) * rng.uniform(0.5, 1.0)

    def poll(self, question: int, rng: random.Random) -> float:
        """Seconds before the `question`-th look at a pending export."""
        # a power that is far beyond the longest pause would be no number any more
        return min(self.poll_s * 1.5 ** min(question, 100), self.poll_most_s) * rng.uniform(0.75, 1.0)


def persist(
    what: Callable[[], T],
    retry_policy: RetryPolicy,
    rng: random.Random,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """`what()`, again after each `NotNow`, until it answers or `retry_policy.tries` are used up.

    Raises
    ------
    NotNow
        The last one. Everything else that `what` raises passes through at once.
    """
    for failures in range(1, retry_policy.tries + 1):
        try:
            return what()
        except NotNow as error:
            if failures == retry_policy.tries:
                raise
            # a server that names its own pause is taken at its word, within reason
            wait = max(retry_policy.pause(failures, rng), min(error.after_s, retry_policy.most_s))
            say(f"{error}; again in {wait:.1f} s")
            sleep(wait)
    raise AssertionError("unreachable")
