"""The pieces of the chat server that need no model: text streams, prompts that fit, requests, events, the gate,
threads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.inference import access, protocol, sse, threads
from engine.inference.prompts import build
from engine.inference.protocol import Refusal
from engine.inference.records import Finish
from engine.inference.sampling import Sampling
from engine.inference.server.admission import Admission
from engine.inference.text_stream import TextStream
from store.errors import BadInput, NotFound, ServerError
from store.home import Home
from store.records import Message

# ---------------------------------------------------------------- text


def split(raw: bytes, cuts: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted({cut % (len(raw) + 1) for cut in cuts}), len(raw)]
    return [raw[a:b] for a, b in pairwise(edges)]


@given(st.text(), st.lists(st.integers(min_value=0), max_size=8), st.lists(st.text(min_size=1, max_size=4), max_size=3))
def test_text_does_not_depend_on_how_it_was_cut(text: str, cuts: list[int], stops: list[str]) -> None:
    stream = TextStream(stops)
    said = "".join(stream.feed(part) for part in split(text.encode(), cuts)) + stream.feed(b"", final=True)
    at = min((text.find(stop) for stop in stops if stop in text), default=None)
    assert said == (text if at is None else text[:at])
    assert stream.stopped == (at is not None)


def test_half_a_character_waits_and_a_broken_one_shows_as_such() -> None:
    stream = TextStream()
    assert stream.feed("é".encode()[:1]) == ""
    assert stream.feed("é".encode()[1:]) == "é"
    assert stream.feed(b"\xf0\x9f") + stream.feed(b"", final=True) == "\ufffd"


def test_the_beginning_of_a_stop_text_is_held_back_until_it_is_certain() -> None:
    stream = TextStream(["END"])
    assert stream.feed(b"one E") == "one "
    assert stream.feed(b"N") == ""
    assert stream.feed(b"x") == "ENx"
    assert stream.feed(b"END more") == ""
    assert stream.stopped
    assert stream.feed(b"even more") == ""


# ---------------------------------------------------------------- prompts


@dataclass
class Words:
    """A template whose tokens are words: 1 for the system text, 10 for each turn."""

    source: str = "words"
    stop_ids: frozenset[int] = frozenset({0})
    asked: list[int] = field(default_factory=list)

    def encode(self, messages: Sequence[Message]) -> list[int]:
        return [n for m in messages for n in ([1] if m["role"] == "system" else [int(m["content"])] * 10)]


def conversation(turns: int) -> list[Message]:
    roles = ["user" if n % 2 == 0 else "assistant" for n in range(turns)]
    return [{"role": "system", "content": "s"}] + [{"role": r, "content": str(n + 2)} for n, r in enumerate(roles)]


def test_what_fits_is_left_alone() -> None:
    assert build(Words(), conversation(5), context=100, max_tokens=10).dropped_turns == 0


@pytest.mark.parametrize("turns", [3, 5, 9, 21, 41])
def test_the_oldest_turns_go_never_the_system_text_or_the_question(turns: int) -> None:
    prompt = build(Words(), conversation(turns), context=60, max_tokens=10)
    assert len(prompt.ids) <= 50
    assert prompt.ids[0] == 1
    assert prompt.ids[-1] == turns + 1
    assert prompt.dropped_turns % 2 == 0, "what is left must begin with a question"
    assert (prompt.dropped_turns > 0) == (turns > 4)
    kept = [int(i) for i in prompt.ids[1::10]]
    assert kept == list(range(prompt.dropped_turns + 2, turns + 2))


def test_a_long_conversation_keeps_its_beginning_for_some_turns() -> None:
    starts = [build(Words(), conversation(turns), context=200, max_tokens=10).ids[1] for turns in range(31, 63, 2)]
    assert len(set(starts)) <= len(starts) // 2 + 1


def test_a_question_that_cannot_fit_is_refused_with_its_size() -> None:
    with pytest.raises(BadInput, match=r"11 tokens, and 8 fit"):
        build(Words(), conversation(3), context=10, max_tokens=2)


# ---------------------------------------------------------------- requests


def request(**changes: object) -> dict:
    return {"model": "m", "messages": [{"role": "user", "content": "hi"}], **changes}


def test_a_request_is_read_with_openai_spellings() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [{"role": "developer", "content": "s"}, {"role": "user", "content": parts}]
    read = protocol.parse_chat(request(messages=messages, max_completion_tokens=7, stop="x", temperature=1, lane="a"))
    assert read.messages == ({"role": "system", "content": "s"}, {"role": "user", "content": "ab"})
    assert read.sampling == Sampling(temperature=1.0, max_tokens=7, stop=("x",))
    assert read.lane == "a"


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"model": ""}, "model"),
        ({"model": 3}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "user", "content": "  \n"}]}, "messages"),
        ({"messages": [{"role": "user", "content": "a\x1b[31m"}]}, "messages"),
        ({"messages": [{"role": "user", "content": 4}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}, "messages"),
        ({"messages": [{"role": "user", "content": "x"}, {"role": "system", "content": "y"}]}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"n": 2}, "n"),
        ({"tools": [{}]}, "tools"),
        ({"lane": ""}, "lane"),
        ({"lane": "x" * 300}, "lane"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"top_k": 1.5}, "top_k"),
        ({"seed": True}, "seed"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": float("inf")}, "max_tokens"),
        ({"stop": [""]}, "stop"),
        ({"stop": ["a"] * 17}, "stop"),
    ],
)
def test_each_wrong_field_is_named(changes: dict, where: str) -> None:
    with pytest.raises(BadInput) as caught:
        protocol.parse_chat(request(**changes))
    assert caught.value.where == where


def test_half_a_surrogate_pair_cannot_break_the_tokenizer() -> None:
    read = protocol.parse_chat(json.loads('{"model": "m", "messages": [{"role": "user", "content": "a\\ud800b"}]}'))
    assert read.messages[0]["content"] == "a?b"


def test_sampling_travels_whole() -> None:
    sampling = Sampling(0.7, 0.9, 40, 0.05, 1.1, 2**40, 99, ("a", "b"))
    assert Sampling.from_json(json.loads(json.dumps(sampling.to_json()))) == sampling


def test_errors_come_back_as_what_they_were() -> None:
    error = NotFound("There is no model x.", where="model", todo="Known: y.")
    back = protocol.error_from(json.loads(json.dumps(protocol.error_body(error))))
    assert (type(back), back.what, back.where, back.todo) == (NotFound, error.what, "model", "Known: y.")
    assert protocol.status_of(error) == 404
    assert isinstance(
        protocol.error_from({"error": {"message": "theirs", "type": "invalid_request_error"}}), ServerError
    )
    assert isinstance(protocol.error_from({"error": {"type": "TuningforkError.__class__"}}), ServerError)
    assert protocol.error_from({"choices": []}) is None


# ---------------------------------------------------------------- events


@given(st.lists(st.text(), max_size=5), st.lists(st.integers(min_value=0), max_size=10), st.booleans())
def test_events_survive_any_cut_and_tell_an_end_from_a_break(texts: list[str], cuts: list[int], ended: bool) -> None:
    raw = b"".join(sse.event({"text": text}) for text in texts) + (sse.END if ended else b"")

    async def chunks() -> AsyncIterator[bytes]:
        for part in split(raw, cuts):
            yield part

    async def read() -> list:
        return [event async for event in sse.events(chunks())]

    assert asyncio.run(read()) == [{"text": text} for text in texts] + ([None] if ended else [])


def test_the_last_chunk_carries_our_figures() -> None:
    finish = Finish("length", 3, 5, 1.0, 2.0, 8, 100, 2)
    chunk = protocol.ChatReply("m").last(finish)
    assert chunk["choices"][0]["finish_reason"] == "length"
    assert chunk["tuningfork"]["dropped_turns"] == 2
    assert protocol.ChatReply("m").whole("t", finish)["usage"]["total_tokens"] == 8


# ---------------------------------------------------------------- gate, threads, access


async def test_one_too_many_is_told_when_to_come_back() -> None:
    gate, go = Admission(active=1, waiting=1), asyncio.Event()

    async def one() -> None:
        async with gate.enter():
            await go.wait()

    tasks = [asyncio.create_task(one()) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(Refusal) as caught:
        await one()
    assert (caught.value.status, caught.value.retry_after) == (429, 2)
    tasks[1].cancel()  # a waiting one that goes makes room
    await asyncio.gather(tasks[1], return_exceptions=True)
    assert gate.waiting == 0
    go.set()
    await tasks[0]
    await one()
    assert gate.inside == 0


def test_cores_are_shared_and_training_keeps_its_own() -> None:
    budget = threads.Budget(cores=8, taken=lambda: 6)
    assert budget.share() == 8
    with budget.one_more(), budget.one_more():
        assert budget.share() == 4
        budget.look()
        assert budget.share() == 1
    assert threads.Budget(cores=2, taken=lambda: 2).share() == 2
    full = threads.Budget(cores=2, taken=lambda: 2)
    full.look()
    assert full.share() == 1


def test_the_token_file_is_private_and_must_stay_so(home: Home, tmp_path) -> None:
    token = access.token_of(home, None)
    assert access.token_of(home, None) == token
    assert (home.root / "token").stat().st_mode & 0o777 == 0o600
    (home.root / "token").chmod(0o644)
    with pytest.raises(BadInput, match="Other users"):
        access.token_of(home, None)
    with pytest.raises(BadInput, match="cannot be read"):
        access.token_of(home, tmp_path / "none")
    short = tmp_path / "short"
    short.write_text("abc")
    short.chmod(0o600)
    with pytest.raises(BadInput, match="at least 16"):
        access.token_of(home, short)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_no_token_file(host: str) -> None:
    access.check_bind(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_other_addresses_are_refused_without_a_token_file(host: str, tmp_path) -> None:
    with pytest.raises(BadInput, match="no token"):
        access.check_bind(host, None)
    access.check_bind(host, tmp_path / "token")


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer wrong", "Basic secret", "secret", "Bearer secre", "Bearer sécret"]
)
def test_only_the_right_bearer_token_opens(header: str | None) -> None:
    assert not access.token_matches(header, "secret")
    assert access.token_matches("bearer secret", "secret")


def test_a_server_file_that_is_broken_counts_as_none(home: Home) -> None:
    assert access.read_info(home) is None
    for text in ("", "{", "[]", '{"url": "x"}', '{"url": "x", "odd": 1}'):
        access.info_path(home).write_text(text)
        assert access.read_info(home) is None
