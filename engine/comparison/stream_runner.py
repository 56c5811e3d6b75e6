"""Sends a comparison's requests to the chat server and feeds the answers back: one asyncio task for each request.
Knows no screen and no HTTP; the conversation itself is in engine.comparison.session."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Protocol

from engine.comparison.answer import Stats
from engine.comparison.session import Comparison, LaneRequest
from engine.inference.sampling import Sampling
from store.errors import ServerError, TuningforkError
from store.records import Message


class ChatClient(Protocol):
    """What is needed of `engine.inference.client.Client`: pieces with `.text`, the last with `.stop` and figures."""

    def stream(
        self,
        model: str,
        messages: list[Message],
        sampling: Sampling,
        lane: str | None = None,
        prefix: Sequence[int] = (),
    ) -> AsyncIterator[Any]: ...

    async def stage(self, lane: str) -> str: ...

    async def close(self) -> None: ...


Connect = Callable[[], Awaitable[ChatClient]]
_STAGE_S = 0.5
"""How often the server is asked what an answer without a token waits for."""
_FIGURES = tuple(f.name for f in fields(Stats))


@dataclass(slots=True)
class Meter:
    """How fast an answer comes, measured by the client; the server's figures arrive at its end. Times in seconds.

    `stage` is what it waits for before its first token: "starting" (the server), or a stage of `Client.stage`."""

    asked: float
    first: float | None = None
    pieces: int = 0
    stage: str = ""

    def tick(self) -> None:
        if self.first is None:
            self.first = time.monotonic()
        self.pieces += 1

    @property
    def waited(self) -> float:
        """Seconds without a token so far, or until the first one."""
        return (self.first or time.monotonic()) - self.asked

    @property
    def rate(self) -> float | None:
        """Pieces (about tokens) per second since the first; None until there are some."""
        if self.first is None or self.pieces < 5:
            return None
        return (self.pieces - 1) / max(1e-3, time.monotonic() - self.first)


class StreamRunner:
    """Keeps a comparison and its streams in step. Call `sync()` after every change of the comparison.

    `on_change(request)` is called for each piece and each end; `on_end(request)` once an answer has ended by itself or
    failed. A server that went away fails the answer that was coming; the next request connects again.
    """

    def __init__(
        self,
        comparison: Comparison,
        connect: Connect,
        *,
        on_change: Callable[[LaneRequest], None] = lambda request: None,
        on_end: Callable[[LaneRequest], None] = lambda request: None,
    ) -> None:
        self.comparison = comparison
        self._connect = connect
        self._on_change = on_change
        self._on_end = on_end
        self._client: ChatClient | None = None
        self._dropped: list[ChatClient] = []
        self._connecting = asyncio.Lock()
        self.meters: dict[str, Meter] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    @property
    def streams(self) -> int:
        """How many requests are open now."""
        return len(self._tasks)

    def sync(self) -> None:
        """Cancel the streams that are no longer live and start those that are due."""
        live = {lane.live for lane in self.comparison.lanes.values()}
        for id, task in self._tasks.items():
            if id not in live:
                task.cancel()
        for request in self.comparison.due():
            self.meters[request.lane] = Meter(time.monotonic())
            task = asyncio.create_task(self._carry(request), name=f"lane-{request.lane}")
            self._tasks[request.id] = task
            task.add_done_callback(partial(self._forget, request.id))
            self._on_change(request)

    def replace(self, comparison: Comparison) -> None:
        """Run another conversation; what streams for the old one is cancelled."""
        self.comparison.stop()
        self.sync()
        self.comparison = comparison
        self.sync()

    async def client(self) -> ChatClient:
        """The connected client; connects when there is none. Raises TuningforkError when no server can be started."""
        async with self._connecting:
            if self._client is None:
                self._client = await self._connect()
            return self._client

    async def close(self) -> None:
        """Cancel every stream, wait for them to end, and close the client."""
        self.comparison.stop()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._drop_client()
        await self._close_dropped()

    async def _carry(self, request: LaneRequest) -> None:
        comparison, meter = self.comparison, self.meters[request.lane]
        try:
            meter.stage = "" if self._client else "starting"
            client = await self.client()
            meter.stage = ""
            await self._listen(comparison, client, request)
        except TuningforkError as error:
            if isinstance(error, ServerError):
                self._drop_client()
            comparison.fail(request.id, _one_line(error))
        except Exception as error:  # a lane that never ends would be worse than any message
            self._drop_client()
            comparison.fail(request.id, f"The answer broke off: {type(error).__name__}: {error}")
        finally:
            self._on_change(request)
        self._on_end(request)
        self.sync()
        if self.streams == 1:  # only this task is left
            await self._close_dropped()

    async def _listen(self, comparison: Comparison, client: ChatClient, request: LaneRequest) -> None:
        how = {"prefix": request.prefix} if request.prefix else {}
        pieces = client.stream(request.model, request.messages, request.sampling, lane=request.lane, **how)
        meter = self.meters[request.lane]
        watching = asyncio.create_task(self._watch_stage(client, request.lane, meter))
        try:
            async for piece in pieces:
                if hasattr(piece, "stop"):
                    self._ended(comparison, request, piece)
                    return
                if not comparison.feed(request.id, piece.text, piece.model):
                    return  # stopped or replaced: closing the stream cancels it on the server
                meter.tick()
                self._on_change(request)
        finally:
            watching.cancel()
            if hasattr(pieces, "aclose"):
                await pieces.aclose()
        comparison.fail(
            request.id, "The answer broke off before its end. The next prompt starts the server again if it is gone."
        )

    async def _watch_stage(self, client: ChatClient, lane: str, meter: Meter) -> None:
        """Keep the meter's stage until the first token."""
        await asyncio.sleep(_STAGE_S)
        while meter.first is None:
            with suppress(TuningforkError):  # the stream itself says what is wrong
                meter.stage = await client.stage(lane)
            await asyncio.sleep(_STAGE_S)

    def _ended(self, comparison: Comparison, request: LaneRequest, done: Any) -> None:
        if done.stop == "error":
            self._drop_client()
            comparison.fail(request.id, done.error or "The answer broke off.")
        else:
            figures = {name: getattr(done, name) for name in _FIGURES}
            comparison.finish(request.id, Stats(**figures), done.model)

    def _forget(self, id: int, _: asyncio.Task[None]) -> None:
        self._tasks.pop(id, None)

    def _drop_client(self) -> None:
        """Connect again next time. The old client is closed when nothing streams: another lane may still use it."""
        if self._client is not None:
            self._dropped.append(self._client)
            self._client = None

    async def _close_dropped(self) -> None:
        while self._dropped:
            await self._dropped.pop().close()


def _one_line(error: TuningforkError) -> str:
    """What happened and what to do, for a lane's status."""
    return f"{error.what} {error.todo}" if error.todo else error.what
