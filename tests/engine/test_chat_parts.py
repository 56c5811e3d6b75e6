"""The pieces of the chat server that need no model: text streams, prompts that fit, requests, events, the gate,
threads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import tokenizers as tk
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from engine.inference import access, failures, grammar, protocol, sse, threads
from engine.inference.limits import TO_CONTEXT_END
from engine.inference.prompts import build
from engine.inference.protocol import Refusal
from engine.inference.records import Finish
from engine.inference.replies import Reply
from engine.inference.sampling import Sampling
from engine.inference.server.admission import Admission
from engine.inference.text_stream import Surrogates, TextStream
from engine.models.token_text import TokenText
from store.errors import BadInput, NoSpace, NotFound, ServerError, Unsupported
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

    def encode(self, messages: Sequence[Message], thinking: bool | None = None) -> list[int]:
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
        ({"messages": [{"role": "system", "content": "y"}]}, "messages"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
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
        ({"stop": 3}, "stop"),
        ({"stop": [None]}, "stop"),
        ({"stop": ["a"] * 17}, "stop"),
    ],
)
def test_each_wrong_field_is_named(changes: dict, where: str) -> None:
    with pytest.raises(BadInput) as caught:
        protocol.parse_chat(request(**changes))
    assert caught.value.where == where


def test_half_a_surrogate_pair_cannot_break_the_tokenizer() -> None:
    said = b'[{"role": "user", "content": "a\\ud800b \\ud83d\\ude00"}]'
    raw = b'{"model": "m\\udfff", "stop": "\\ud83d", "messages": ' + said + b"}"
    read = protocol.parse_chat(protocol.parse_body(raw))
    assert (read.model, read.messages[0]["content"], read.sampling.stop) == ("m?", "a?b 😀", ("?",))


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
    chunk = Reply("m").last(finish)
    assert chunk["choices"][0]["finish_reason"] == "length"
    assert chunk["tuningfork"]["dropped_turns"] == 2
    assert Reply("m").whole("t", finish)["usage"]["total_tokens"] == 8


# ---------------------------------------------------------------- admission, threads, access


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


# ---------------------------------------------------------------- what clients send


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"max_tokens": TO_CONTEXT_END}),
        ({"max_tokens": -1}, {"max_tokens": TO_CONTEXT_END}),
        ({"max_tokens": 10**12}, {"max_tokens": TO_CONTEXT_END}),
        ({"max_completion_tokens": 9}, {"max_tokens": 9}),
        ({"top_k": -1}, {"top_k": 0}),
        ({"top_k": 10**9}, {"top_k": 1_000_000}),
        ({"seed": 2**70}, {"seed": 2**63 - 1}),
        ({"stop": ""}, {"stop": ()}),
        ({"stop": ["", "x"]}, {"stop": ("x",)}),
        ({"repetition_penalty": 1.2}, {"repeat_penalty": 1.2}),
        ({"presence_penalty": -1}, {"presence_penalty": -1.0}),
        ({"frequency_penalty": 2}, {"frequency_penalty": 2.0}),
        ({"logit_bias": {"7": -100, "3": 1}}, {"logit_bias": ((3, 1.0), (7, -100.0))}),
        ({"logprobs": True}, {"top_logprobs": 0}),
        ({"logprobs": True, "top_logprobs": 20}, {"top_logprobs": 20}),
        ({"logprobs": False, "top_logprobs": 0}, {"top_logprobs": None}),
        ({"response_format": {"type": "text"}}, {"json_schema": None}),
        ({"response_format": {"type": "json_object"}}, {"json_schema": '{"type": "object"}'}),
        ({"n": 1, "tools": [], "modalities": ["text"], "user": "x", "store": True, "metadata": {}}, {}),
    ],
)
def test_what_is_harmless_or_too_large_is_taken(changes: dict, expected: dict) -> None:
    sampling = protocol.parse_chat(request(**changes)).sampling
    assert {name: getattr(sampling, name) for name in expected} == expected
    assert Sampling.from_json(json.loads(json.dumps(sampling.to_json()))) == sampling


def test_a_seed_of_minus_one_is_another_one_each_time() -> None:
    seeds = {protocol.parse_chat(request(seed=-1)).sampling.seed for _ in range(8)}
    assert len(seeds) > 1 and all(seed >= 0 for seed in seeds)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 0), ("n", 2), ("tools", [{}]), ("functions", [{}]), ("best_of", 2), ("echo", True), ("suffix", "x"),
        ("min_tokens", 3), ("ignore_eos", True), ("guided_regex", "a"), ("mirostat", 2), ("modalities", ["audio"]),
        ("stream", "yes"), ("max_tokens", -2), ("seed", -5), ("top_k", -2),
        ("presence_penalty", 2.1), ("frequency_penalty", "x"),
        ("logit_bias", {"x": 1}), ("logit_bias", {"1": 101}), ("logit_bias", {"1": float("nan")}), ("logit_bias", [1]),
        ("logprobs", 3), ("top_logprobs", 21), ("top_logprobs", 3),
        ("response_format", "json"), ("response_format", {"type": "xml"}), ("response_format", {"type": "json_schema"}),
    ],
)  # fmt: skip
def test_what_would_change_the_answer_is_refused_by_its_name(field: str, value: object) -> None:
    with pytest.raises(BadInput) as caught:
        protocol.parse_chat(request(**{field: value}))
    assert caught.value.where == field


def test_system_messages_may_stand_anywhere_and_an_assistant_may_have_said_nothing() -> None:
    said = [
        {"role": "system", "content": "a"},
        {"role": "developer", "content": "b"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None},
        {"role": "system", "content": "c"},
        {"role": "user", "content": [{"type": "text", "text": "go"}, {"type": "text", "text": " on"}]},
        {"role": "system", "content": "d"},
    ]
    read = protocol.parse_chat(request(messages=said)).messages
    assert [m["role"] for m in read] == ["system", "system", "user", "assistant", "system", "user", "system"]
    assert [m["content"] for m in read] == ["a", "b", "hi", "", "c", "go on", "d"]


def test_system_messages_are_kept_when_old_turns_are_left_out() -> None:
    class Words:
        source, stop_ids = "words", frozenset[int]()

        def encode(self, messages: Sequence[Message], thinking: bool | None = None) -> list[int]:
            self.last = [m["content"] for m in messages]
            return [0] * sum(len(m["content"].split()) for m in messages)

    talk: list[Message] = [{"role": "system", "content": "one"}, {"role": "system", "content": "two"}]
    for n in range(8):
        talk += [
            {"role": "user", "content": f"question {n} " * 3},
            {"role": "assistant", "content": f"answer {n} " * 3},
        ]
        if n == 2:
            talk.append({"role": "system", "content": "late"})
    talk.append({"role": "user", "content": "the last question"})
    template = Words()
    prompt = build(template, talk, 60)
    assert prompt.dropped_turns > 5
    assert template.last[:3] == ["one", "two", "late"] and template.last[-1] == "the last question"


@pytest.mark.parametrize("prompt", ["hello", ["hello"]])
def test_a_completion_continues_a_text(prompt: object) -> None:
    asked = protocol.parse_completion({"model": "m", "prompt": prompt, "logprobs": 2, "max_tokens": 4})
    (read,) = asked.prompts
    assert asked.simple
    assert (read.text, read.messages, read.sampling.top_logprobs, read.sampling.max_tokens) == ("hello", (), 2, 4)
    assert protocol.parse_completion({"model": "m", "prompt": "x"}).prompts[0].sampling.top_logprobs is None


def test_completions_of_several_prompts_and_of_tokens() -> None:
    asked = protocol.parse_completion({"model": "m", "prompt": ["a", "b"]})
    assert [each.text for each in asked.prompts] == ["a", "b"] and not asked.simple
    assert [each.ids for each in protocol.parse_completion({"model": "m", "prompt": [1, 2]}).prompts] == [(1, 2)]
    asked = protocol.parse_completion({"model": "m", "prompt": [[1, 2], [3]], "echo": True, "max_tokens": 0})
    assert [each.ids for each in asked.prompts] == [(1, 2), (3,)] and asked.echo and not asked.made
    for wrong, where in (
        ({"prompt": ["a", "b"], "stream": True}, "stream"),
        ({"prompt": "a", "echo": True, "stream": True}, "stream"),
        ({"prompt": "a", "echo": "yes"}, "echo"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
    ):
        with pytest.raises(BadInput) as caught:
            protocol.parse_completion({"model": "m", **wrong})
        assert caught.value.where == where


@pytest.mark.parametrize("prompt", ["", None, [], ["a", ""], [[]], [[1], [-1]], [1, "a"], 3, ["a"] * 257])
def test_what_is_no_text_to_continue(prompt: object) -> None:
    with pytest.raises(BadInput) as caught:
        protocol.parse_completion({"model": "m", "prompt": prompt})
    assert caught.value.where == "prompt"


# ---------------------------------------------------------------- what other servers send


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'data: {"a":1}\n\ndata: [DONE]\n\n', [{"a": 1}, None]),
        (b'data: {"a":1}\ndata: {"a":2}\ndata: [DONE]', [{"a": 1}, {"a": 2}, None]),
        (b'data: {"a":\ndata: 1}\n\n', [{"a": 1}]),
        (b'\xef\xbb\xbfdata:{"a":1}', [{"a": 1}]),
        (b': ping\r\nevent: x\r\ndata: {"a":1}\r\n\r\nid: 3\r\ndata: \r\n\r\n', [{"a": 1}]),
        (b'data: {"a":"x\\u2028y"}\n\n', [{"a": "x\u2028y"}]),
        (b"", []),
    ],
)
async def test_events_are_read_as_servers_really_send_them(raw: bytes, expected: list) -> None:
    for size in (1, 2, 7, 1000):

        async def chunks(size: int = size) -> AsyncIterator[bytes]:
            for at in range(0, len(raw), size):
                yield raw[at : at + size]

        assert [event async for event in sse.events(chunks())] == expected


@pytest.mark.parametrize("raw", [b"data: {nonsense\n\n", b'data: {"a":', b'data: {"a":\n\ndata: {}\n\n'])
async def test_an_event_that_never_becomes_whole_is_an_error(raw: bytes) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield raw

    with pytest.raises(ValueError):
        [event async for event in sse.events(chunks())]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({"error": "plain"}, "plain"),
        ({"error": {"message": "in an object", "type": "x"}}, "in an object"),
        ({"error": {"error": {"message": "nested"}}}, "nested"),
        ({"detail": "FastAPI's"}, "FastAPI's"),
        ({"detail": [{"loc": ["body", "seed"], "msg": "not permitted"}]}, "body.seed: not permitted"),
        ({"object": "error", "message": "vLLM's"}, "vLLM's"),
        ({"error": None, "choices": []}, None),
        ({"error": ""}, None),
        ({"choices": [], "message": "of no matter"}, None),
        ([], None),
        (None, None),
    ],
)
def test_the_reason_is_found_wherever_a_server_puts_it(body: object, what: str | None) -> None:
    error = protocol.error_from(body)
    assert (error and error.what) == what


# ---------------------------------------------------------------- text


@pytest.mark.parametrize("pieces", [["\ud83d", "\ude00"], ["a\ud83d", "", "\ude00b"], ["\ud83d\ude00"], ["😀"]])
def test_halves_of_a_pair_are_joined(pieces: list[str]) -> None:
    joined = Surrogates()
    text = "".join(map(joined.feed, pieces)) + joined.feed("", final=True)
    assert "😀" in text and "\ufffd" not in text


@given(st.lists(st.text(st.characters(categories=["Cs", "Ll", "So"]), max_size=4)))
def test_no_surrogate_is_ever_left(pieces: list[str]) -> None:
    joined = Surrogates()
    text = "".join(map(joined.feed, pieces)) + joined.feed("", final=True)
    text.encode()
    assert len(text.encode("utf-16-le")) <= len("".join(pieces).encode("utf-16-le", "surrogatepass"))


@pytest.fixture(scope="module")
def sentencepiece() -> Tokenizer:
    """A tokenizer like Llama 2's: `▁` for a space that is stripped at the front, unknown bytes as `<0x..>` tokens."""
    words = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), "▁", "▁he", "llo", "▁world", "a", "é", "▁▁"]
    tokenizer = Tokenizer(tk.models.BPE({w: n for n, w in enumerate(words)}, [], byte_fallback=True, unk_token="<unk>"))
    steps = [
        tk.decoders.Replace("▁", " "),
        tk.decoders.ByteFallback(),
        tk.decoders.Fuse(),
        tk.decoders.Strip(" ", 1, 0),
    ]
    tokenizer.decoder = tk.decoders.Sequence(steps)
    tokenizer.add_special_tokens(["<s>", "</s>"])
    return tokenizer


def spoken(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    text = TokenText(lambda some: str(tokenizer.decode(some, skip_special_tokens=True)))
    return "".join(map(text.feed, ids)) + text.rest()


def byte(*values: int) -> list[int]:
    return [3 + value for value in values]


@pytest.mark.parametrize(
    "ids",
    [
        [259, 260, 261, 262],
        [*byte(0xF0, 0x9F, 0x98, 0x80), 261],
        [261, *byte(0xE2, 0x82), 261, 260],
        [*byte(0xFF, 0xC3), 264],
        [1, 260, 2, 265, 265, 260],
        byte(*"né ü".encode()),
    ],
)
def test_no_sequence_of_tokens_breaks_decoding(sentencepiece: Tokenizer, ids: list[int]) -> None:
    assert spoken(sentencepiece, ids) == sentencepiece.decode(ids, skip_special_tokens=True)


def test_the_stream_of_tokenizers_breaks_where_ours_does_not(sentencepiece: Tokenizer) -> None:
    ids, theirs = [261, *byte(0, 0x85), 261], tk.decoders.DecodeStream(skip_special_tokens=True)
    with pytest.raises(Exception, match="Invalid prefix"):
        [theirs.step(sentencepiece, token) for token in ids]
    said = spoken(sentencepiece, ids)
    assert said.startswith("llo") and said.endswith("llo")


@given(st.lists(st.integers(0, 265), max_size=30))
def test_decoding_never_fails_and_keeps_what_is_whole(sentencepiece: Tokenizer, ids: list[int]) -> None:
    whole = sentencepiece.decode(ids, skip_special_tokens=True)
    said = spoken(sentencepiece, ids)
    if "\ufffd" not in whole:
        assert said == whole


# ---------------------------------------------------------------- schemas and failures


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {},
        {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False},
        {"type": "array", "items": {"enum": ["x", "y"]}, "minItems": 1, "maxItems": 3},
        {"anyOf": [{"type": "string", "maxLength": 5}, {"type": "null"}]},
        {"type": ["string", "null"], "description": "either"},
        {"type": "string", "pattern": "^[a-z]{2,4}$"},
        {"type": "string", "format": "date"},
        {"$defs": {"A": {"const": 3}}, "type": "object", "properties": {"a": {"allOf": [{"$ref": "#/$defs/A"}]}}},
        {"type": "boolean"},
    ],
)
def test_a_schema_becomes_a_grammar(schema: dict) -> None:
    assert "root ::=" in grammar.from_schema(json.dumps(schema))


@pytest.mark.parametrize(
    ("schema", "what"),
    [
        ({"type": "integer", "minimum": 3}, "minimum"),
        ({"type": "object", "properties": {"a": {"type": "string", "format": "email"}}}, "email"),
        ({"type": "array", "minItems": 2}, "counts items"),
        ({"type": "array", "items": {}, "maxItems": 10**9}, "maxItems"),
        ({"type": ["string", "null"], "enum": ["a", None]}, "enum"),
        ({"allOf": [{"type": "object"}, {"type": "object"}]}, "allOf"),
        ({"$ref": "https://example.org/schema.json"}, "cannot be used"),
        ({"$ref": "#/$defs/none"}, "cannot be used"),
        ({"type": "nonsense"}, "cannot be used"),
        ({"type": "string", "pattern": "[a-z]"}, "cannot be used"),
        ({"properties": {"a": 3}}, "not a JSON schema"),
    ],
)
def test_a_schema_that_cannot_be_enforced_is_refused(schema: dict, what: str) -> None:
    with pytest.raises(BadInput, match=what) as caught:
        grammar.from_schema(json.dumps(schema))
    assert caught.value.where == "response_format"


class OutOfMemoryError(RuntimeError):
    """As torch calls its own."""


@pytest.mark.parametrize(
    ("error", "kind", "what", "todo"),
    [
        (ModuleNotFoundError("No module named 'timm.models'", name="timm.models"), Unsupported, "package timm", "timm"),
        (ImportError("\nThis model requires tiktoken.\n"), Unsupported, "requires tiktoken", "Install"),
        (OutOfMemoryError("CUDA out of memory"), ServerError, "not enough memory", "--context"),
        (MemoryError(), ServerError, "not enough memory", "--context"),
        (OSError(28, "No space left", "/x"), NoSpace, "disk is full", "space"),
        (FileNotFoundError(2, "No such file", "/x"), NotFound, "gone", "Restore"),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"), BadInput, "surrogate", ""),
        (KeyError("hidden_size"), ServerError, "KeyError", "log"),
        (BadInput("as it is"), BadInput, "as it is", ""),
    ],
)
def test_each_failure_has_a_name(error: Exception, kind: type, what: str, todo: str) -> None:
    found = failures.named(error)
    assert type(found) is kind and what in found.what and todo in (found.todo or "")
