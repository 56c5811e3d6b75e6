"""Random switching, stopping, regenerating, forking and closing, against a server of digests and against llama.cpp.
Afterwards no request, thread or context is left over, and every lane read its own words and no others.

The test keeps its own book of each lane (tests/tui/ledger.py). Broken on purpose, one at a time, and caught: a history
made of the first lane's answers; a late piece that goes to whichever lane streams; another model in a lane with the
answers of the one before; StreamRunner.close that does nothing; a cache that is continued whatever it holds
(llama.cpp alone).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from engine.comparison.session import Comparison
from engine.comparison.stream_runner import StreamRunner
from engine.inference.backends.context_pool import MAX_CONTEXTS
from engine.inference.client import Client
from engine.inference.protocol import ChatRequest
from engine.inference.records import Finish
from engine.inference.sampling import Sampling
from engine.inference.server.service import Options, Service
from store.db import Store
from store.home import Home
from store.records import Message
from tests.engine.chat_home import chat_home
from tests.engine.serving import serving
from tests.tui.ledger import Ledger, digest

SAMPLING = Sampling(max_tokens=24)
EXAMPLES, STEPS = 6, 24  # against each of two servers
LANES = st.sampled_from("abcd")


class Digests:
    """What `make_app` needs of a service: every answer is a digest of exactly what was sent."""

    busy = 0

    async def answer(self, request: ChatRequest) -> AsyncGenerator[str | Finish, None]:
        """Word by word."""
        self.busy += 1
        try:
            words = digest(request.model, request.lane, request.messages).split(" ")
            for n, word in enumerate(words):
                await asyncio.sleep(0.002)
                yield f" {word}" if n else word
            yield Finish("end", len(words), 1, 1.0, 1.0, 1, 1, model=request.model)
        finally:
            self.busy -= 1

    async def stage(self, lane: str) -> str:
        return ""

    async def close(self) -> None:
        """Holds nothing."""


class Place:
    """A loop in which server and clients live, as long as the test."""

    def __init__(self, home: Home, models: tuple[str, str], service: Digests | Service) -> None:
        self.home, self.models, self.service = home, models, service
        self.loop, self._open = asyncio.Runner(), AsyncExitStack()
        self.server = self.loop.run(self._open.enter_async_context(serving(home, service)))

    def close(self) -> None:
        self.loop.run(self._open.aclose())
        self.loop.run(self.service.close())
        self.loop.close()

    @property
    def busy(self) -> bool:
        """Whether any answer is being made."""
        computing = any(thread.name.startswith("llama-compute") for thread in threading.enumerate())
        return bool(self.service.busy) or computing or any(lanes.busy for lanes in self.contexts)

    @property
    def contexts(self) -> list[Any]:
        """Those of each base that is in memory."""
        if isinstance(self.service, Digests):
            return []
        return [loaded.lanes for backend in self.service._backends.values() for loaded in backend._models.values()]  # type: ignore[attr-defined]


class Witness:
    """A client that shows each request and each piece to the book, then passes it on."""

    def __init__(self, client: Client, book: Callable[[], Ledger]) -> None:
        self.client, self.book = client, book

    async def stream(
        self, model: str, messages: list[Message], sampling: Sampling, lane: str | None = None
    ) -> AsyncIterator[Any]:
        assert lane is not None
        cell = self.book().request(lane, model, messages)
        async with aclosing(self.client.stream(model, messages, sampling, lane)) as stream:
            async for piece in stream:
                if hasattr(piece, "stop"):
                    cell.state, cell.whole = "over", piece.stop in ("end", "length")
                elif cell.state == "coming":
                    cell.text += piece.text
                yield piece

    async def stage(self, lane: str) -> str:
        return await self.client.stage(lane)

    async def close(self) -> None:
        await self.client.close()


class Actions(RuleBasedStateMachine):
    """What a person may do to a comparison, in any order and while anything streams."""

    place: Place

    def __init__(self) -> None:
        super().__init__()
        self.prompts = 0
        self.book = Ledger(self.place.models)
        self.runner = StreamRunner(Comparison(self.place.models, sampling=SAMPLING), self.connect)

    async def connect(self) -> Witness:
        return Witness(await Client.connect(self.place.home, start=False), lambda: self.book)

    @property
    def talk(self) -> Comparison:
        return self.runner.comparison

    def act(self, change: Callable[[], object], noted: Callable[[], object]) -> None:
        async def now() -> None:
            change()
            noted()
            self.runner.sync()
            await asyncio.sleep(0)

        self.place.loop.run(now())

    def lane(self, name: str) -> str:
        return name if name in self.talk.lanes else next(iter(self.talk.lanes))

    def prompt(self) -> str:
        self.prompts += 1
        return f"prompt {self.prompts}"

    @rule()
    def send(self) -> None:
        prompt = self.prompt()
        self.act(lambda: self.talk.send(prompt), lambda: self.book.send(prompt))

    @rule(times=st.integers(1, 3))
    def talk_on(self, times: int) -> None:
        """Prompts that are each answered before the next one: histories grow."""
        for _ in range(times):
            self.send()
            self.wait_for_all()

    @rule(name=LANES, both=st.booleans())
    def stop(self, name: str, both: bool) -> None:
        lane = None if both else self.lane(name)
        self.act(lambda: self.talk.stop(lane), lambda: self.book.stop(lane))

    @precondition(lambda self: not self.talk.empty)
    @rule(name=LANES, both=st.booleans(), seed=st.integers(0, 9))
    def regenerate(self, name: str, both: bool, seed: int) -> None:
        lane = None if both else self.lane(name)
        self.act(lambda: self.talk.regenerate(lane, seed), lambda: self.book.regenerate(lane))

    @precondition(lambda self: not self.talk.empty)
    @rule()
    def edit(self) -> None:
        prompt = self.prompt()

        def noted() -> None:
            self.book.cut(len(self.book.prompts) - 1)
            self.book.send(prompt)

        self.act(lambda: self.talk.edit_last(prompt), noted)

    @rule(name=LANES, which=st.integers(0, 1))
    def switch(self, name: str, which: int) -> None:
        lane, model = self.lane(name), self.place.models[which]
        self.act(lambda: self.talk.set_model(lane, model), lambda: self.book.switch(lane, model))

    @precondition(lambda self: len(self.talk.lanes) < 4)
    @rule(which=st.integers(0, 1))
    def add(self, which: int) -> None:
        model = self.place.models[which]
        self.act(lambda: self.talk.add_lane(model), lambda: self.book.add(model))

    @precondition(lambda self: len(self.talk.lanes) > 1)
    @rule(name=LANES)
    def drop(self, name: str) -> None:
        lane = self.lane(name)
        self.act(lambda: self.talk.drop_lane(lane), lambda: self.book.drop(lane))

    @rule(turns=st.integers(0, 3))
    def fork(self, turns: int) -> None:
        self.act(lambda: self.runner.replace(self.talk.fork(turns)), lambda: self.book.fork(turns))

    @rule()
    def clear(self) -> None:
        self.act(lambda: self.talk.clear(), lambda: self.book.cut(0))

    @rule()
    def close(self) -> None:
        """Close the screen and open the conversation again."""

        async def again() -> None:
            before = self.runner._client
            await self.runner.close()
            assert self.runner.streams == 0
            assert not client_open(before), "the connection of a closed screen is open"
            self.book.fork(99)
            self.runner = StreamRunner(self.talk.fork(99), self.connect)

        self.place.loop.run(again())

    @rule(ms=st.integers(0, 40))
    def wait(self, ms: int) -> None:
        self.place.loop.run(asyncio.sleep(ms / 1000))

    @rule()
    def wait_for_all(self) -> None:
        self.place.loop.run(until(lambda: not self.talk.busy and not self.runner.streams))

    def teardown(self) -> None:
        self.place.loop.run(self.end())

    async def end(self) -> None:
        await until(lambda: not self.talk.busy and not self.runner.streams)
        assert not self.book.wrong, self.book.wrong[0]
        self.shown_is_what_came()
        await self.answers_fit_their_questions()
        await self.runner.close()
        await until(lambda: not self.place.busy)
        await until(lambda: not self.place.server.server_state.connections)
        assert all(len(lanes) <= MAX_CONTEXTS and not lanes._turns for lanes in self.place.contexts)
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("lane-")]

    def shown_is_what_came(self) -> None:
        """Every answer holds the text that came for it, no more and no less."""
        assert [turn.prompt for turn in self.talk.turns] == self.book.prompts
        assert list(self.talk.lanes) == list(self.book.columns)
        for name, lane in self.talk.lanes.items():
            assert not [answer.error for answer in lane.answers if answer.state == "failed"]
            assert [answer.text for answer in lane.answers] == [cell.text for cell in self.book.columns[name].cells]

    async def answers_fit_their_questions(self) -> None:
        """A whole answer is the digest of what its lane should have read, or what an empty context says to that."""
        client = await Client.connect(self.place.home, start=False)
        for name, column in self.book.columns.items():
            for turn, cell in enumerate(column.cells):
                if not cell.whole:
                    continue
                messages = self.book.reads(name, turn)
                if isinstance(self.place.service, Digests):
                    assert cell.text == digest(column.model, name, messages)
                else:
                    sampling = self.talk.answer(name, turn).sampling
                    assert cell.text == (await client.complete(column.model, messages, sampling)).text
        await client.close()


def client_open(witness: Any) -> bool:
    """Whether a client still has its connections."""
    return witness is not None and not witness.client._http.is_closed


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.002)


@pytest.fixture(params=["digests", "llama.cpp"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    home, base = chat_home(tmp_path)
    with Store.open(home) as store:
        if request.param == "digests":
            made = Place(home, ("one", "two"), Digests())
        else:
            made = Place(home, (str(base), "run:tuned"), Service(store, Options()))
        yield made
        made.close()


@pytest.mark.slow
def test_a_hundred_random_actions_mix_nothing_and_leave_nothing_behind(place: Place) -> None:
    before = threading.active_count()
    Actions.place = place
    plan = settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, database=None)
    plan = settings(plan, suppress_health_check=[*HealthCheck], phases=[Phase.generate])
    run_state_machine_as_test(Actions, settings=plan)
    pools = [t.name for t in threading.enumerate() if not t.name.startswith(("llama_", "lookup_", "asyncio_"))]
    assert len(pools) <= before, pools
