"""Random switching, stopping, regenerating, forking and closing against a real chat server in this process.
Afterwards no request, thread or context is left over, and no lane ever read another's words."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import uvicorn
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from engine import process
from engine.chat import access
from engine.chat.app import make_app
from engine.chat.lanes import MAX_CONTEXTS
from engine.chat.service import Options, Service
from engine.client import Client
from engine.compare import Comparison
from engine.duet import Duet
from engine.sampling import Sampling
from store.db import Store
from store.records import Message
from tests.engine.chat_home import chat_home

SAMPLING = Sampling(max_tokens=24)
EXAMPLES, STEPS = 10, 24
LANES = st.sampled_from("abcd")


class Place:
    """A loop in which server and clients live, as long as the test."""

    def __init__(self, root: Path) -> None:
        self.home, base = chat_home(root)
        self.models = (str(base), "run:tuned")
        self.loop = asyncio.Runner()
        self.loop.run(self._serve())

    async def _serve(self) -> None:
        self.store = Store.open(self.home)
        self.service = Service(self.store, Options())
        config = uvicorn.Config(make_app(self.service, "t", access.version()), log_level="warning", lifespan="off")
        config.port = 0
        bound = config.bind_socket()
        self.server = uvicorn.Server(config)
        self.serving = asyncio.create_task(self.server.serve([bound]), name="server")
        me, url = os.getpid(), f"http://127.0.0.1:{bound.getsockname()[1]}"
        info = access.ServerInfo(url, "t", me, process.started_at(me) or 0.0, access.version())
        access.write_info(self.home, info)

    def close(self) -> None:
        async def end() -> None:
            self.server.should_exit = True
            await self.serving
            await self.service.close()
            self.store.close()

        self.loop.run(end())
        self.loop.close()

    @property
    def computing(self) -> list[str]:
        """Threads that make an answer now."""
        return [t.name for t in threading.enumerate() if t.name.startswith("llama-compute")]

    @property
    def lanes(self) -> list[Any]:
        """The contexts of each base that is in memory."""
        return [loaded.lanes for backend in self.service._backends.values() for loaded in backend._models.values()]  # type: ignore[attr-defined]


class Witness:
    """A client that remembers what each lane read and was told. Passes everything on."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.said: dict[tuple[str, str], list[list[str]]] = defaultdict(list)
        self.read: list[tuple[str, str, list[Message]]] = []

    async def stream(
        self, model: str, messages: list[Message], sampling: Sampling, lane: str | None = None
    ) -> AsyncIterator[Any]:
        assert lane is not None
        self.read.append((lane, model, messages))
        pieces: list[str] = []
        self.said[lane, model].append(pieces)
        async with aclosing(self.client.stream(model, messages, sampling, lane)) as stream:
            async for piece in stream:
                if not hasattr(piece, "stop"):
                    pieces.append(piece.text)
                yield piece

    async def close(self) -> None:
        await self.client.close()


class Actions(RuleBasedStateMachine):
    """What a person may do to a comparison, in any order and while anything streams."""

    place: Place

    def __init__(self) -> None:
        super().__init__()
        self.prompts = 0
        self.witness: Witness | None = None
        self.duet = Duet(Comparison(self.place.models, sampling=SAMPLING), self.connect)

    async def connect(self) -> Witness:
        seen = self.witness
        self.witness = Witness(await Client.connect(self.place.home, start=False))
        if seen is not None:  # one memory, however often a client is made
            self.witness.said, self.witness.read = seen.said, seen.read
        return self.witness

    @property
    def talk(self) -> Comparison:
        return self.duet.comparison

    def act(self, change: Callable[[], object]) -> None:
        async def now() -> None:
            change()
            self.duet.sync()
            await asyncio.sleep(0)

        self.place.loop.run(now())

    def lane(self, name: str) -> str:
        return name if name in self.talk.lanes else next(iter(self.talk.lanes))

    def prompt(self) -> str:
        self.prompts += 1
        return f"prompt {self.prompts}"

    @rule()
    def send(self) -> None:
        self.act(lambda: self.talk.send(self.prompt()))

    @rule(times=st.integers(1, 3))
    def talk_on(self, times: int) -> None:
        """Prompts that are each answered before the next one: histories grow."""
        for _ in range(times):
            self.send()
            self.wait_for_all()

    @rule(name=LANES, both=st.booleans())
    def stop(self, name: str, both: bool) -> None:
        self.act(lambda: self.talk.stop(None if both else self.lane(name)))

    @precondition(lambda self: not self.talk.empty)
    @rule(name=LANES, both=st.booleans(), seed=st.integers(0, 9))
    def regenerate(self, name: str, both: bool, seed: int) -> None:
        self.act(lambda: self.talk.regenerate(None if both else self.lane(name), seed))

    @precondition(lambda self: not self.talk.empty)
    @rule()
    def edit(self) -> None:
        self.act(lambda: self.talk.edit_last(self.prompt()))

    @rule(name=LANES, which=st.integers(0, 1))
    def switch(self, name: str, which: int) -> None:
        self.act(lambda: self.talk.set_model(self.lane(name), self.place.models[which]))

    @precondition(lambda self: len(self.talk.lanes) < 4)
    @rule(which=st.integers(0, 1))
    def add(self, which: int) -> None:
        self.act(lambda: self.talk.add_lane(self.place.models[which]))

    @precondition(lambda self: len(self.talk.lanes) > 1)
    @rule(name=LANES)
    def drop(self, name: str) -> None:
        self.act(lambda: self.talk.drop_lane(self.lane(name)))

    @rule(turns=st.integers(0, 3))
    def fork(self, turns: int) -> None:
        self.act(lambda: self.duet.replace(self.talk.fork(turns)))

    @rule()
    def clear(self) -> None:
        self.act(lambda: self.talk.clear())

    @rule()
    def close(self) -> None:
        """Close the screen and open the conversation again."""

        async def again() -> None:
            await self.duet.close()
            assert self.duet.streams == 0
            self.duet = Duet(self.talk.fork(9), self.connect)

        self.place.loop.run(again())

    @rule(ms=st.integers(0, 40))
    def wait(self, ms: int) -> None:
        self.place.loop.run(asyncio.sleep(ms / 1000))

    @rule()
    def wait_for_all(self) -> None:
        self.place.loop.run(until(lambda: not self.talk.busy and not self.duet.streams))

    def teardown(self) -> None:
        self.place.loop.run(self.end())

    async def end(self) -> None:
        await until(lambda: not self.talk.busy and not self.duet.streams)
        await self.contexts_are_their_own()
        await self.duet.close()
        place, service = self.place, self.place.service
        await until(lambda: not service.busy and not place.computing and not any(lane.busy for lane in place.lanes))
        await until(lambda: not place.server.server_state.connections)
        assert all(len(lanes) <= MAX_CONTEXTS and not lanes._turns for lanes in place.lanes)
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("lane-")]
        self.nobody_read_another()

    async def contexts_are_their_own(self) -> None:
        """The last answers are what an empty context says to the same words."""
        if self.witness is None or self.talk.empty:
            return
        last = len(self.talk.turns) - 1
        for name, lane in self.talk.lanes.items():
            answer = lane.answers[last]
            assert answer.state != "failed", answer.error
            if answer.state == "done":
                fresh = await self.witness.client.complete(answer.model, self.talk.history(name, last), answer.sampling)
                assert fresh.text == answer.text

    def nobody_read_another(self) -> None:
        """Every answer that a lane read back is one that this lane got from this model."""
        for lane, model, messages in self.witness.read if self.witness else []:
            said = ["".join(pieces) for pieces in self.witness.said[lane, model]]  # type: ignore[union-attr]
            for message in messages:
                if message["role"] == "assistant":
                    assert any(text.startswith(message["content"]) for text in said), (lane, model, message)


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.002)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


@pytest.mark.slow
def test_two_hundred_random_actions_leave_nothing_behind(place: Place) -> None:
    before = threading.active_count()
    Actions.place = place
    plan = settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, database=None)
    run_state_machine_as_test(Actions, settings=settings(plan, suppress_health_check=[*HealthCheck]))
    pools = [t.name for t in threading.enumerate() if not t.name.startswith(("llama_", "lookup_", "asyncio_"))]
    assert len(pools) <= before, pools
