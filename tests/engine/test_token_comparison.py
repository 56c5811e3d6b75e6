"""An answer's tokens under a tuned model and its base, on llama.cpp and a tiny random model; answers that begin with
chosen tokens. The transformers backend's are in tests/torch."""

from __future__ import annotations

import asyncio
import doctest
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.gguf.llama_library import LlamaModel
from engine.inference import token_comparison
from engine.inference.backends import llama_context
from engine.inference.backends.llama_context import Context
from engine.inference.client import Client
from engine.inference.protocol import ChatRequest, TokensRequest, parse_chat, parse_completion, parse_tokens
from engine.inference.records import Finish
from engine.inference.sampling import Sampling
from engine.inference.server.service import Options, Service
from engine.inference.server.token_scores import ScoringProgress
from engine.inference.token_comparison import Alternative, ComparedToken, TokenComparison, spans
from store.db import Store
from store.errors import BadInput, Unsupported
from store.home import Home
from store.records import Message
from tests.engine.chat_home import add_run
from tests.engine.serving import serving
from tests.engine.tiny_gguf import CONTEXT, Lora, write_gguf
from tests.tiny import make_tokenizer

ASKED: tuple[Message, ...] = ({"role": "user", "content": "Hello there"},)
ENDLESS = Sampling(max_tokens=20, logit_bias=((256, -100.0), (257, -100.0), (258, -100.0)))
"""Never a control token, so never an end before the limit."""
LONG: tuple[Message, ...] = ({"role": "user", "content": "Hello there. " * 20},)


@pytest.fixture
def tiny(store: Store, tmp_path: Path) -> Path:
    base = write_gguf(tmp_path / "tiny.gguf")
    add_run(store, "tuned", base, Lora())
    return base


@pytest.fixture
async def service(store: Store, tiny: Path) -> AsyncIterator[Service]:
    made = Service(store, Options(context=CONTEXT))
    yield made
    await made.close()


async def answer(
    service: Service, messages: tuple[Message, ...] = ASKED, sampling: Sampling = ENDLESS,
    prefix: tuple[int, ...] = (), model: str = "run:tuned",
) -> tuple[str, Finish]:  # fmt: skip
    request = ChatRequest(model, messages, sampling, None, True, False, prefix=prefix)
    items = [item async for item in service.answer(request)]
    assert isinstance(items[-1], Finish)
    return "".join(item for item in items if isinstance(item, str)), items[-1]


def answered(messages: tuple[Message, ...], text: str) -> tuple[Message, ...]:
    return (*messages, {"role": "assistant", "content": text})


async def compare(service: Service, request: TokensRequest) -> tuple[TokenComparison, list[ScoringProgress]]:
    items = [item async for item in service.compare_tokens(request)]
    assert isinstance(items[-1], TokenComparison)
    return items[-1], [item for item in items if isinstance(item, ScoringProgress)]


# ---------------------------------------------------------------- the figures


@pytest.mark.parametrize(("messages", "batch"), [(ASKED, 512), (LONG, 64)], ids=["short", "in batches"])
async def test_the_sum_over_the_tokens_is_the_difference_of_the_log_likelihoods(
    service: Service, tiny: Path, messages: tuple[Message, ...], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the logits of a context of its own, read at once."""
    monkeypatch.setattr(llama_context, "BATCH", batch)
    sampling = replace(ENDLESS, temperature=1.0, seed=3)
    text, end = await answer(service, messages, sampling)
    request = TokensRequest("run:tuned", answered(messages, text), sampling, end.token_ids, top=3)
    found, progress = await compare(service, request)
    assert found.sampled and found.forkable and found.prompt_tokens == end.prompt_tokens
    assert [token.id for token in found.tokens] == list(end.token_ids)
    tuned_model, backend = await service._ready("run:tuned")
    ids = [*(await backend.prompt(tuned_model, messages)).ids, *end.token_ids]
    monkeypatch.setattr(llama_context, "BATCH", CONTEXT)
    tuned = _logprobs(tiny, tuned_model.adapter_gguf, ids)[found.prompt_tokens - 1 : -1]
    base = _logprobs(tiny, None, ids)[found.prompt_tokens - 1 : -1]
    at = np.arange(len(found.tokens)), np.asarray(end.token_ids)
    assert [token.tuned for token in found.tokens] == pytest.approx(tuned[at].tolist(), abs=1e-3)
    assert [token.base for token in found.tokens] == pytest.approx(base[at].tolist(), abs=1e-3)
    for token, rows in zip(found.tokens, zip(tuned, base, strict=True), strict=True):
        for top, row in zip((token.tuned_top, token.base_top), rows, strict=True):
            assert [one.logprob for one in top] == pytest.approx(np.sort(row)[:-4:-1].tolist(), abs=1e-3)
            assert [one.logprob for one in top] == pytest.approx([row[one.id] for one in top], abs=1e-3)
    assert found.tuned == pytest.approx(tuned[at].sum(), abs=1e-3)
    assert found.base_sum == pytest.approx(base[at].sum(), abs=1e-3)
    assert found.difference == pytest.approx(tuned[at].sum() - base[at].sum(), abs=1e-3)
    assert abs(found.difference) > 0.1, "the adapter changes something"
    assert (progress[0].read, progress[-1].read) == (0, 2 * (len(ids) - 1)) and progress[-1].of == progress[-1].read


def _logprobs(gguf: Path, adapter: Path | None, ids: list[int]) -> np.ndarray:
    """The log probabilities after each of the ids: (tokens, vocabulary)."""
    weights = LlamaModel(gguf)
    try:
        context = Context(weights, CONTEXT, 1)
        context.use_adapter(adapter)
        rows = np.frombuffer(context.all_logits(ids), np.float32).reshape(len(ids), -1).astype(np.float64)
        return rows - np.log(np.exp(rows).sum(1, keepdims=True))
    finally:
        weights.free()


async def test_the_text_alone_gives_what_an_evaluation_scores(service: Service) -> None:
    messages = answered(ASKED, "I am Ember.")
    found, _ = await compare(service, TokensRequest("run:tuned", messages, Sampling()))
    scored = await service.score("run:tuned", messages)
    assert not found.sampled and [token.tuned for token in found.tokens] == scored["logprobs"]
    assert b"".join(token.piece for token in found.tokens) == b"I am Ember.<|im_end|>"
    cut, _ = await compare(service, TokensRequest("run:tuned", messages, Sampling(), ended=False))
    assert b"".join(token.piece for token in cut.tokens) == b"I am Ember.", "it did not end there"
    assert [token.tuned for token in cut.tokens] == pytest.approx([token.tuned for token in found.tokens[:-1]])


async def test_the_context_of_a_lane_is_as_it_was(service: Service) -> None:
    first, _ = await answer(service)
    await compare(service, TokensRequest("run:tuned", answered(ASKED, "Other words."), Sampling()))
    again, _ = await answer(service)
    assert again == first


# ---------------------------------------------------------------- what is refused


async def test_only_a_tuned_model_of_this_machine_has_a_base(service: Service, tiny: Path) -> None:
    messages = answered(ASKED, "I am Ember.")
    for ref, why in {
        str(tiny): "is a file: it does not say which base it was tuned from.",
        "smollm2-135m": "is not tuned: there is no base to compare it with.",
        "http://127.0.0.1:1/v1#m": "is an endpoint: its probabilities cannot be seen.",
    }.items():
        with pytest.raises(Unsupported, match="Name a run") as error:
            await compare(service, TokensRequest(ref, messages, Sampling()))
        assert error.value.what == f"{ref} {why}"


async def test_ids_that_the_model_does_not_have_are_refused(service: Service) -> None:
    with pytest.raises(BadInput, match="The model has no token 999: its vocabulary has 259"):
        await compare(service, TokensRequest("run:tuned", answered(ASKED, "Hm."), Sampling(), (65, 999)))
    with pytest.raises(BadInput, match="The model has no token 999"):
        await answer(service, prefix=(999,))
    with pytest.raises(BadInput, match="and 512 fit"):
        await compare(service, TokensRequest("run:tuned", answered(ASKED, "Hm."), Sampling(), (65,) * CONTEXT))


async def test_another_tokenizer_is_refused(service: Service, store: Store, tmp_path: Path) -> None:
    from engine.inference.server import token_scores

    one, two = tmp_path / "one", tmp_path / "two"
    make_tokenizer(one)
    make_tokenizer(two)
    file = two / "tokenizer.json"
    token_scores._check_tokenizers(one, two, range(20))
    file.write_text(file.read_text("utf-8").replace('"!": 3', '"Q": 3').replace('"Q": 51', '"!": 51'), "utf-8")
    with pytest.raises(Unsupported, match="The run's tokenizer is not its base's: token 3 is '!' in one and 'Q'"):
        token_scores._check_tokenizers(one, two, range(20))


def test_requests_are_read_and_checked() -> None:
    body = {
        "model": "run:x",
        "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
        "token_ids": [1, 2],
    }
    read = parse_tokens(body)
    assert (read.token_ids, read.top, read.ended) == ((1, 2), 5, True)
    for name, value in (("token_ids", [-1]), ("token_ids", "1"), ("token_ids", [True]), ("top", 21), ("ended", 3)):
        with pytest.raises(BadInput) as error:
            parse_tokens({**body, name: value})
        assert error.value.where == name
    chat = {"model": "x", "messages": body["messages"][:1], "prefix_ids": [5]}  # type: ignore[index]
    assert parse_chat(chat).prefix == (5,)
    with pytest.raises(BadInput, match="here the prompt itself is continued"):
        parse_completion({"model": "x", "prompt": "a", "prefix_ids": [5]})


# ---------------------------------------------------------------- answers that begin with chosen tokens


async def test_an_answer_that_is_begun_again_with_its_own_tokens_goes_on_as_it_did(service: Service) -> None:
    text, end = await answer(service)
    for kept in (1, 7, len(end.token_ids)):
        again, second = await answer(service, prefix=end.token_ids[:kept])
        assert (again, second.token_ids, second.tokens, second.stop) == (text, end.token_ids, end.tokens, end.stop)
    other = next(id for id in range(65, 91) if id != end.token_ids[3])
    changed, third = await answer(service, prefix=(*end.token_ids[:3], other))
    assert third.token_ids[:4] == (*end.token_ids[:3], other) and changed != text
    assert third.tokens == 20, "max_tokens is about the whole answer"


async def test_a_penalty_sees_the_chosen_tokens(service: Service) -> None:
    sampling = replace(ENDLESS, repeat_penalty=3.0)
    text, end = await answer(service, sampling=sampling)
    again, _ = await answer(service, sampling=sampling, prefix=end.token_ids[:10])
    assert again == text


async def test_an_end_that_is_chosen_ends_the_answer(service: Service) -> None:
    text, end = await answer(service, prefix=(*b"Hi", 258))  # <|im_end|>
    assert (text, end.stop, end.tokens, end.token_ids) == ("Hi", "end", 2, (*b"Hi", 258))


async def test_a_stop_text_leaves_no_tokens(service: Service) -> None:
    text, end = await answer(service, sampling=replace(ENDLESS, stop=("i",)), prefix=tuple(b"Ha Hi"))
    assert (text, end.stop, end.token_ids) == ("Ha H", "end", ())


# ---------------------------------------------------------------- over the wire


async def test_the_client_gets_the_same_and_can_cancel(home: Home, store: Store, service: Service) -> None:
    heard: list[tuple[int, int]] = []
    async with serving(home, service):
        client = await Client.connect(home, start=False)
        try:
            done = await client.complete("run:tuned", ASKED, replace(ENDLESS, max_tokens=8))
            assert len(done.token_ids) == 8
            messages = answered(ASKED, done.text)
            found = await client.tokens(
                "run:tuned", messages, token_ids=done.token_ids, top=2, on_progress=lambda *n: heard.append(n)
            )
            own, _ = await compare(service, TokensRequest("run:tuned", messages, Sampling(), done.token_ids, top=2))
            assert found == own and heard[-1][0] == heard[-1][1] > 0
            begun = await client.complete("run:tuned", ASKED, replace(ENDLESS, max_tokens=8), prefix=done.token_ids[:2])
            assert begun.text == done.text
            with pytest.raises(Unsupported, match="is not tuned"):
                await client.tokens("smollm2-135m", messages)
            _, backend = await service._ready("run:tuned")
            reading, go = asyncio.Event(), asyncio.Event()
            score = backend.score

            async def slow(*arguments: object) -> AsyncIterator[object]:
                async with aclosing(score(*arguments)) as batches:  # type: ignore[arg-type]
                    async for batch in batches:
                        reading.set()
                        await go.wait()
                        yield batch

            backend.score = slow  # type: ignore[assignment,method-assign]
            task = asyncio.create_task(client.tokens("run:tuned", messages))
            await reading.wait()
            assert service.busy
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            for _ in range(1000):
                if not service.busy:
                    break
                await asyncio.sleep(0.005)
            assert not service.busy, "the server has stopped reading"
        finally:
            await client.close()


# ---------------------------------------------------------------- characters


def test_tokens_are_joined_to_characters() -> None:
    raw = "巴!黎".encode()
    tokens = [ComparedToken(byte, bytes([byte]), -1.0, -1.5 - (at == 1)) for at, byte in enumerate(raw)]
    found = spans(tokens)
    assert [(span.first, span.text) for span in found] == [(0, "巴"), (3, "!"), (4, "黎")]
    assert found[0].difference == pytest.approx(2.5)
    assert found[0].deciding == 1, "the second byte is where the models part"
    assert found[0].alternative_text(Alternative(0, raw[1:3], -1.0)) == "巴"
    assert found[0].alternative_text(Alternative(0, b"!", -1.0)) == "\\xe5!"
    broken = spans([ComparedToken(1, b"\xff", -1.0, -1.0), ComparedToken(2, b"\xe5", -1.0, -1.0)])
    assert [span.text for span in broken] == ["\\xff", "\\xe5"], "nothing waits for ever"


def test_the_examples_are_right() -> None:
    found = doctest.testmod(token_comparison)
    assert found.attempted > 1 and found.failed == 0


def test_a_comparison_survives_json() -> None:
    tops = (Alternative(3, b"\xe5", -0.5),)
    tokens = (ComparedToken(1, "é".encode(), -0.1, -2.0, tops, tops),)
    found = TokenComparison("run:x", "base", "llama.cpp", True, 9, 2, True, tokens)
    raw = found.to_json()
    assert raw["tokens"][0]["token"] == "é" and raw["tokens"][0]["tuned_top"][0]["token"] == "\\xe5"
    assert TokenComparison.from_json(raw) == found
