"""Work off the event loop: threads in lanes, each with a bounded queue, a time limit, and latest-wins per client.

A lane is a kind of work. Moving a slider must not wait behind the inversion of somebody's observation, so each kind
has threads of its own. A thread cannot be stopped: what runs too long is answered for, and its place in the queue is
free only when it has really ended, so that a lane never holds more than its threads and its queue.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["Busy", "Lane", "Superseded", "TooSlow"]

T = TypeVar("T")

#: clients whose newest request is remembered
_CLIENTS = 1024


class Busy(Exception):
    """The queue of a lane is full."""


class TooSlow(Exception):
    """The work took longer than the lane allows."""


class Superseded(Exception):
    """The same client has asked for something newer, before this was begun."""


class Lane:
    """Threads for one kind of work.

    Parameters
    ----------
    name
        For the names of the threads.
    workers, queue
        How many run at once, and how many may wait.
    seconds
        Time limit, waiting included.
    """

    def __init__(self, name: str, workers: int, queue: int, seconds: float) -> None:
        self.name, self.seconds, self.limit = name, seconds, workers + queue
        self._workers = workers
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._inside = 0
        self._newest: OrderedDict[str, int] = OrderedDict()
        self._tickets = 0

    @property
    def inside(self) -> int:
        """Requests that run or wait."""
        return self._inside

    def _enter(self, client: str | None) -> int:
        with self._lock:
            if self._inside >= self.limit:
                raise Busy
            self._inside += 1
            self._tickets += 1
            if client is not None:
                self._newest[client] = self._tickets
                self._newest.move_to_end(client)
                while len(self._newest) > _CLIENTS:
                    self._newest.popitem(last=False)
            return self._tickets

    def _leave(self, _: object = None) -> None:
        with self._lock:
            self._inside -= 1

    def _stale(self, client: str | None, ticket: int) -> bool:
        return client is not None and self._newest.get(client, ticket) > ticket

    async def run(self, work: Callable[[], T], client: str | None = None) -> T:
        """The result of `work`, done in a thread.

        Parameters
        ----------
        work
            Called without arguments.
        client
            Who asks; a newer request of the same client in this lane makes this one pointless, and it is not begun.

        Raises
        ------
        Busy, TooSlow, Superseded
            And whatever `work` raises.
        """
        ticket = self._enter(client)

        def guarded() -> T:
            if self._stale(client, ticket):
                raise Superseded
            return work()

        try:
            future = self._submit(guarded)
        except BaseException:
            self._leave()
            raise
        future.add_done_callback(self._leave)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self.seconds)
        except TimeoutError:
            future.cancel()
            raise TooSlow from None

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix=f"solquery-{self.name}")
            return self._pool.submit(work)

    def close(self) -> None:
        """Give up what waits and leave what runs to end; the next request begins anew."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
