"""Runs blocking calls (store, files, long work) in threads of our own, so that the event loop never waits for them.
Nothing else in the interface starts a thread or touches a connection."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

from store.db import Store

P = ParamSpec("P")
T = TypeVar("T")
_Call = tuple["Future[Any]", Callable[[], Any]]


class _Threads:
    """A few daemon threads over one queue. Daemons, because a pool's threads would delay the exit."""

    def __init__(self, name: str, size: int) -> None:
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._run, name=f"{name}-{n}", daemon=True) for n in range(size)]
        for thread in self._threads:
            thread.start()

    def submit(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        self._calls.put((future, call))
        return future

    def close(self, timeout: float) -> None:
        """Let queued calls finish, but wait at most `timeout` seconds per thread."""
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join(timeout)

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            future, call = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:  # it belongs to whoever awaits the future
                future.set_exception(error)


class Left(Exception):
    """Raised inside a job, and caught by the page that began it: the page was left, its result is not wanted."""


@dataclass(frozen=True, slots=True)
class StoreChange:
    """What changed in the store since the last look."""

    pairs: bool
    runs: bool


class Bridge:
    """Runs store calls off the event loop. Each thread gets its own connection from the store.

    Once `ended()` is true, a caller is cancelled when its call is done: the widgets that its result was for are being
    removed.
    """

    def __init__(self, store: Store, ended: Callable[[], bool] = lambda: False) -> None:
        self.store, self._ended = store, ended
        self._quick = _Threads("store", 2)
        self._long = _Threads("job", 1)
        self._watch = _Threads("watch", 1)  # data_version belongs to one connection, so to one thread
        self._files = _Threads("files", 1)  # one, so that an older text never overwrites a newer one
        self._seen: tuple[int, Any, Any] | None = None
        self.waiting = 0
        """Calls under way."""

    async def call(self, fn: Callable[Concatenate[Store, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn(store, *args)` in a thread; for calls of milliseconds."""
        return await self._result(self._quick.submit(lambda: fn(self.store, *args, **kwargs)))

    async def job(self, fn: Callable[Concatenate[Store, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for calls of seconds (imports, preparing a model), one after another, beside `call`."""
        return await self._result(self._long.submit(lambda: fn(self.store, *args, **kwargs)))

    async def thread(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn(*args)` in a thread, for blocking work without the store."""
        return await self._result(self._quick.submit(lambda: fn(*args, **kwargs)))

    async def file(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn(*args)` in a thread, in the order of the calls; for the small files of drafts and settings."""
        return await asyncio.wrap_future(self._files.submit(lambda: fn(*args, **kwargs)))

    def file_now(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same, blocking until it is done, for a process that is about to end. TimeoutError after 2 s."""
        return self._files.submit(lambda: fn(*args, **kwargs)).result(2.0)

    async def changes(self) -> StoreChange | None:
        """What any connection, ours or another process's, committed since the last call; None when nothing did."""
        return await asyncio.wrap_future(self._watch.submit(self._look))

    def close(self, timeout: float = 2.0) -> None:
        """Wait a moment for writes in progress. Blocks; call it when the screen is gone."""
        for threads in (self._watch, self._files, self._quick, self._long):
            threads.close(timeout)

    async def _result(self, future: Future[T]) -> T:
        self.waiting += 1
        try:
            return await asyncio.wrap_future(future)
        finally:
            self.waiting -= 1
            if self._ended():
                raise asyncio.CancelledError

    def _look(self) -> StoreChange | None:
        version = self.store.data_version()
        if self._seen is not None and self._seen[0] == version:
            return None
        pairs = tuple(self.store.row(_PAIRS_MARK) or ())
        runs = tuple(self.store.row(_RUNS_MARK) or ())
        before, self._seen = self._seen, (version, pairs, runs)
        if before is None:
            return StoreChange(pairs=False, runs=True)  # screens read the pairs when they open
        return StoreChange(pairs=before[1] != pairs, runs=before[2] != runs)


_PAIRS_MARK = "SELECT (SELECT max(id) FROM edit), (SELECT count(*) FROM dataset_pair), (SELECT count(*) FROM dataset)"
_RUNS_MARK = (
    "SELECT (SELECT max(id) FROM event),"
    " (SELECT group_concat(name || state || wanted || step || coalesce(result_step, '') || note) FROM run),"
    " (SELECT group_concat(id || state) FROM export), (SELECT group_concat(id || state || wanted) FROM job)"
)
