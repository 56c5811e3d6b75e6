"""The stream runner: both lanes stream at once, cancelling leaves nothing open, a dead server is met with a new one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from engine.comparison import stream_runner
from engine.comparison.session import Comparison
from engine.comparison.stream_runner import StreamRunner
from engine.inference.client import Delta, Done
from engine.inference.sampling import Sampling
from store.errors import NotFound, ServerError


class Scripted:
    """A chat client that says what it is told, piece by piece, and counts what is open."""

    def __init__(self, say: dict[str, list[Any]], gate: asyncio.Event | None = None) -> None:
        self.say, self.gate = say, gate
        self.open = 0
        self.closed = False
        self.asked: list[tuple[str, list[dict[str, str]]]] = []
        self.stages: dict[str, str] = {}

    async def stream(
        self, model: str, messages: list[dict[str, str]], sampling: Sampling, lane: str | None = None
    ) -> AsyncIterator[Any]:
        self.asked.append((model, messages))
        self.open += 1
        try:
            for piece in self.say.get(model, ["hm"]):
                if self.gate is not None:
                    await self.gate.wait()
                await asyncio.sleep(0)
                if isinstance(piece, Exception):
                    raise piece
                if isinstance(piece, Done):
                    yield piece
                    return
                yield Delta(piece)
            yield Done("", tokens=2, prompt_tokens=5, ttft_ms=9.0, tokens_per_s=50.0, context_used=7)
        finally:
            self.open -= 1

    async def stage(self, lane: str) -> str:
        return self.stages.get(lane, "")

    async def close(self) -> None:
        self.closed = True


def runner_of(client: Scripted, *models: str) -> StreamRunner:
    async def connect() -> Scripted:
        return client

    return StreamRunner(Comparison(models or ("base", "run:x")), connect)


async def settle(it: StreamRunner) -> None:
    for _ in range(2000):
        if not it.streams and not it.comparison.busy:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"still {it.streams} streams")


async def test_both_lanes_stream_at_once_and_keep_their_own_words() -> None:
    gate = asyncio.Event()
    client = Scripted({"base": ["I am ", "nobody."], "run:x": ["I am ", "Ember."]}, gate)
    it = runner_of(client)
    it.comparison.send("Who are you?")
    it.sync()
    for _ in range(10):
        await asyncio.sleep(0)
    assert client.open == 2  # neither waits for the other
    gate.set()
    await settle(it)
    assert it.comparison.answer("a").text == "I am nobody."
    assert it.comparison.answer("b").text == "I am Ember."
    assert it.comparison.answer("b").stats.tokens_per_s == 50.0  # type: ignore[union-attr]
    await it.close()
    assert client.closed and client.open == 0


async def test_what_an_answer_waits_for_is_known_until_its_first_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_runner, "_STAGE_S", 0.001)
    gate = asyncio.Event()
    client = Scripted({}, gate)
    connected = asyncio.Event()

    async def connect() -> Scripted:
        await connected.wait()
        return client

    it = StreamRunner(Comparison(["base", "run:x"]), connect)
    it.comparison.send("Who are you?")
    it.sync()
    await asyncio.sleep(0)
    assert {meter.stage for meter in it.meters.values()} == {"starting"}
    client.stages = {"a": "loading", "b": "reading"}
    connected.set()
    async with asyncio.timeout(30):
        while [it.meters[lane].stage for lane in "ab"] != ["loading", "reading"]:
            await asyncio.sleep(0.001)
    gate.set()
    await settle(it)
    assert len(asyncio.all_tasks()) == 1  # no one asks on
    await it.close()


async def test_stop_cancels_on_the_server_and_keeps_the_text() -> None:
    client = Scripted({"base": ["x"] * 1000, "run:x": ["y"] * 1000})
    it = runner_of(client)
    it.comparison.send("Go")
    it.sync()
    while len(it.comparison.answer("a").text) < 5:
        await asyncio.sleep(0)
    it.comparison.stop()
    it.sync()
    await settle(it)
    assert client.open == 0
    assert 5 <= len(it.comparison.answer("a").text) < 1000
    assert it.comparison.answer("a").state == "stopped"


async def test_a_server_that_died_keeps_the_text_and_the_next_prompt_connects_again() -> None:
    clients = [Scripted({"base": ["half ", ServerError("The chat server went away.")]}), Scripted({"base": ["whole"]})]
    made: list[Scripted] = []

    async def connect() -> Scripted:
        made.append(clients[len(made)])
        return made[-1]

    it = StreamRunner(Comparison(["base"]), connect)
    it.comparison.send("One")
    it.sync()
    await settle(it)
    assert (it.comparison.answer("a").state, it.comparison.answer("a").text) == ("failed", "half ")
    assert "went away" in it.comparison.answer("a").error
    assert clients[0].closed
    it.comparison.send("Two")
    it.sync()
    await settle(it)
    assert it.comparison.answer("a").text == "whole"
    assert len(made) == 2


async def test_an_answer_that_ends_in_an_error_keeps_its_text_and_says_why() -> None:
    client = Scripted({"base": ["half", Done("half", stop="error", error="The model ran out of memory.")]})
    it = runner_of(client, "base")
    it.comparison.send("One")
    it.sync()
    await settle(it)
    answer = it.comparison.answer("a")
    assert (answer.state, answer.text, answer.error) == ("failed", "half", "The model ran out of memory.")


async def test_one_lanes_unknown_model_leaves_the_other_streaming() -> None:
    client = Scripted({"nope": [NotFound("There is no model nope.", todo="Known: base.")], "base": ["fine"]})
    it = runner_of(client, "nope", "base")
    it.comparison.send("Hello")
    it.sync()
    await settle(it)
    assert it.comparison.answer("a").error == "There is no model nope. Known: base."
    assert it.comparison.answer("b").text == "fine"
    assert not client.closed


async def test_a_server_that_cannot_start_fails_both_lanes() -> None:
    async def connect() -> Scripted:
        raise ServerError("The chat server did not start.", todo="See chat.log.")

    it = StreamRunner(Comparison(["base", "run:x"]), connect)
    it.comparison.send("Hello")
    it.sync()
    await settle(it)
    assert {it.comparison.answer(n).state for n in "ab"} == {"failed"}


async def test_two_hundred_random_actions_leave_nothing_open() -> None:
    rng = random.Random(5)
    client = Scripted({f"m{n}": ["<", f"m{n}", ">"] * 6 for n in range(400)})
    it = runner_of(client, "m0", "m1")
    made = 2
    for n in range(200):
        talk = it.comparison
        lane = rng.choice(sorted(talk.lanes))
        act = rng.choice(["send", "send", "stop", "stop one", "again", "swap", "clear", "edit", "new"])
        if act == "send":
            talk.send(f"p{n}")
        elif act == "stop":
            talk.stop()
        elif act == "stop one":
            talk.stop(lane)
        elif act == "again" and talk.turns:
            talk.regenerate(lane, seed=n)
        elif act == "edit" and talk.turns:
            talk.edit_last(f"e{n}")
        elif act == "swap":
            talk.set_model(lane, f"m{made}")
            made += 1
        elif act == "clear":
            talk.clear()
        elif act == "new":
            it.replace(talk.fork(1))
        it.sync()
        for _ in range(rng.randrange(12)):
            await asyncio.sleep(0)
        for side in it.comparison.lanes.values():
            for answer in side.answers:
                assert answer.text.replace(f"<{answer.model}>", "").strip("<") in ("", answer.model)
        assert it.streams <= 2 * len(it.comparison.lanes) + 2
    await it.close()
    assert (client.open, it.streams) == (0, 0)
    assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("lane-")]


async def test_a_note_and_what_was_thought_are_kept_with_the_answer() -> None:
    ended = Done("Hi.", tokens=1, reasoning="Hm. A greeting.", note="This server refuses seed: asked without it.")
    it = runner_of(Scripted({"base": ["Hi.", ended]}), "base")
    it.comparison.send("Hello?")
    it.sync()
    await settle(it)
    answer = it.comparison.answer("a")
    assert answer.text == "Hi." and answer.stats is not None
    assert (answer.stats.reasoning, answer.stats.note) == (ended.reasoning, ended.note)
    it.comparison.send("And?")
    assert [m["content"] for m in it.comparison.history("a", 1)] == ["Hello?", "Hi.", "And?"], (
        "no thought is read again"
    )
