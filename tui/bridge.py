"""Where the event loop meets the store: threads of our own run blocking calls, coroutines await them.
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
    """A few daemon threads over one queue. Daemons, because a pool's threads would hold up the exit of the program."""

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
        """Let what is queued finish, but wait `timeout` seconds a thread at most."""
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


@dataclass(frozen=True, slots=True)
class Pulse:
    """What moved in the store since the last look."""

    pairs: bool
    runs: bool


class Bridge:
    """Runs store calls off the event loop. Each thread gets its own connection from the store.

    Once `ended()` is true, whoever awaited a call is cancelled when it is done: the widgets that its answer was for are
    being taken away.
    """

    def __init__(self, store: Store, ended: Callable[[], bool] = lambda: False) -> None:
        self.store, self._ended = store, ended
        self._quick = _Threads("store", 2)
        self._long = _Threads("job", 1)
        self._export = _Threads("export", 1)  # minutes, in which runs can still be checked and files imported
        self._watch = _Threads("watch", 1)  # data_version is a property of one connection, so of one thread
        self._files = _Threads("files", 1)  # one, so that an older text never lands on a newer one
        self._seen: tuple[int, Any, Any] | None = None

    async def call(self, fn: Callable[Concatenate[Store, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`fn(store, *args)` in a thread; for what takes milliseconds."""
        return await self._result(self._quick.submit(lambda: fn(self.store, *args, **kwargs)))

    async def job(self, fn: Callable[Concatenate[Store, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for what takes seconds (imports, exports, preparing a model), one after another, beside `call`."""
        return await self._result(self._long.submit(lambda: fn(self.store, *args, **kwargs)))

    async def export(self, fn: Callable[Concatenate[Store, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for what takes minutes, beside `job`. Whoever calls it sees to it that it can be cancelled."""
        return await self._result(self._export.submit(lambda: fn(self.store, *args, **kwargs)))

    async def thread(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`fn(*args)` in a thread, for blocking work that needs no store."""
        return await self._result(self._quick.submit(lambda: fn(*args, **kwargs)))

    async def file(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`fn(*args)` in a thread, in the order asked; for the small files of drafts and settings."""
        return await asyncio.wrap_future(self._files.submit(lambda: fn(*args, **kwargs)))

    def file_now(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same, blocking until it is done (2 s at most, else TimeoutError): the process is about to end."""
        return self._files.submit(lambda: fn(*args, **kwargs)).result(2.0)

    async def pulse(self) -> Pulse | None:
        """What any connection, ours or another process's, committed since the last call; None when nothing did."""
        return await asyncio.wrap_future(self._watch.submit(self._look))

    def close(self, timeout: float = 2.0) -> None:
        """Wait a moment for writes under way. Blocks; call it when the screen is gone."""
        for threads in (self._watch, self._files, self._quick, self._long, self._export):
            threads.close(timeout)

    async def _result(self, future: Future[T]) -> T:
        try:
            return await asyncio.wrap_future(future)
        finally:
            if self._ended():
                raise asyncio.CancelledError

    def _look(self) -> Pulse | None:
        version = self.store.data_version()
        if self._seen is not None and self._seen[0] == version:
            return None
        pairs = tuple(self.store.row(_PAIRS_MARK) or ())
        runs = tuple(self.store.row(_RUNS_MARK) or ())
        before, self._seen = self._seen, (version, pairs, runs)
        if before is None:
            return Pulse(pairs=False, runs=True)  # screens read the pairs when they open
        return Pulse(pairs=before[1] != pairs, runs=before[2] != runs)


_PAIRS_MARK = "SELECT (SELECT max(id) FROM edit), (SELECT count(*) FROM dataset_pair), (SELECT count(*) FROM dataset)"
_RUNS_MARK = (
    "SELECT (SELECT max(id) FROM event), (SELECT group_concat(name || state || wanted || step) FROM run),"
    " (SELECT group_concat(id || state) FROM export)"
)
