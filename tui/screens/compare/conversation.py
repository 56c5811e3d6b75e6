"""The conversation that Compare shows: its session, the streams that answer it, and what the store has of it.
Knows no widget; the screen that shows the conversation is called back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

from engine.comparison import transcripts
from engine.comparison.session import Comparison, LaneRequest
from engine.comparison.stream_runner import ChatClient, Connect, StreamRunner
from engine.comparison.transcripts import Transcript
from engine.models import default_model
from engine.training import model_names
from tui.screens.compare.host import CompareHost


class Conversation:
    """One comparison at a time, with its streams; every change is written to the store as it goes.

    Change `comparison` and call `sync()`. `on_sync` is called after each change of the user's, `on_piece` for each
    request that streams something, `on_answer` once an answer has ended by itself or failed.
    """

    def __init__(
        self,
        host: CompareHost,
        connect: Connect,
        *,
        on_sync: Callable[[], None],
        on_piece: Callable[[LaneRequest], None],
        on_answer: Callable[[LaneRequest], None],
    ) -> None:
        self.comparison = Comparison([default_model.NAME])
        self.transcript = Transcript()
        self.runner = StreamRunner(self.comparison, connect, on_change=on_piece, on_end=self._answered)
        self._host = host
        self._on_sync, self._on_answer = on_sync, on_answer
        self._saving = asyncio.Lock()

    # -- what is ------------------------------------------------------------------------------------------------------

    @property
    def models(self) -> tuple[str, ...]:
        """The model references of the lanes, in order."""
        return tuple(lane.model for lane in self.comparison.lanes.values())

    @property
    def answering(self) -> dict[str, str]:
        """What each lane was answered by last: of a run that is still being tuned, the checkpoint."""
        lanes = self.comparison.lanes.values()
        return {
            lane.name: lane.answers[-1].model if lane.answers and not lane.few_shot else lane.model for lane in lanes
        }

    def empty_with(self, models: Sequence[str]) -> Comparison:
        """An empty comparison of these models, with the settings of this one."""
        now, seed = self.comparison, random.getrandbits(31)
        empty = Comparison(
            models, system=now.system, sampling=now.sampling, blind=now.blind, blind_seed=seed, mask=now.mask
        )
        empty.names = dict(now.names)
        return empty

    async def client(self) -> ChatClient:
        """The connected client. Raises TuningforkError when no server can be started."""
        return await self.runner.client()

    # -- changing it --------------------------------------------------------------------------------------------------

    def sync(self) -> None:
        """Carry a change of the comparison out: streams, store, then the screen that shows it."""
        self.runner.sync()
        self.save_soon()
        self._on_sync()

    def replace(self, comparison: Comparison, transcript: Transcript | None = None) -> None:
        """Show another comparison; `transcript` is what the store has of it. The one before stays in the store,
        with what was answered so far."""
        if not self.comparison.empty:
            self.comparison.stop()
            self.save_soon()
        self.comparison = comparison
        self.transcript = transcript or Transcript()
        self.runner.replace(comparison)

    async def close(self) -> None:
        """End all streams."""
        await self.runner.close()

    async def know_names(self, comparison: Comparison | None = None) -> None:
        """Look up what the models of a conversation are called, by default of the one that is shown."""
        comparison = comparison or self.comparison
        missing = comparison.unnamed
        if missing:
            call = self._host.tuningfork.bridge.call
            comparison.know({model: await call(model_names.of_model, model) for model in missing})

    # -- the store ----------------------------------------------------------------------------------------------------

    def save_soon(self) -> None:
        """Write this conversation in the background, also when another one replaces it before that is done."""
        comparison, transcript = self.comparison, self.transcript

        async def write() -> None:
            await self.save(comparison, transcript)

        self._host.run_soon(write, "save", exclusive=False)

    async def save(self, comparison: Comparison | None = None, transcript: Transcript | None = None) -> int | None:
        """Write what is new of a conversation, by default of the one that is shown; the id of its chat."""
        comparison, transcript = comparison or self.comparison, transcript or self.transcript
        async with self._saving:
            steps = transcript.plan(comparison)
            if steps:
                meta = transcripts.meta(comparison)
                await self._host.tuningfork.bridge.call(lambda store: transcript.write(store, steps, meta))
            return transcript.chat_id

    def _answered(self, request: LaneRequest) -> None:
        self.save_soon()
        self._on_answer(request)
