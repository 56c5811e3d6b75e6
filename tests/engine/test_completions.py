"""The older completions API as evaluation harnesses use it: prompts that come back with the log probability of each
token, several prompts, token ids, and the tokenizer over HTTP; against llama.cpp's own logits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from engine.gguf.llama_library import LlamaModel
from engine.inference import access
from engine.inference.backends.llama_context import Context
from engine.inference.records import TokenLogprob
from engine.inference.replies import Completed, completions
from engine.inference.server.service import Options, Service
from store.db import Store
from store.home import Home
from tests.engine.chat_home import chat_home
from tests.engine.serving import serving

TEXT = "Hello there, how"


@pytest.fixture
def place(tmp_path: Path) -> tuple[Home, Path]:
    return chat_home(tmp_path)


@pytest.fixture
async def http(place: tuple[Home, Path]) -> AsyncIterator[httpx.AsyncClient]:
    home, base = place
    with Store.open(home) as store:
        service = Service(store, Options())
        await service.load(str(base), pin=True)
        async with serving(home, service):
            info = access.read_info(home)
            assert info is not None
            headers = {"Authorization": f"Bearer {info.token}"}
            async with httpx.AsyncClient(base_url=info.url, headers=headers, timeout=30, trust_env=False) as made:
                yield made
        await service.close()


def wanted(base: Path, ids: list[int]) -> list[float]:
    """The log probability of each token after the first, from the logits of a context of its own."""
    weights = LlamaModel(base)
    context = Context(weights, 256, 1)
    found = []
    for at in range(1, len(ids)):
        context.clear()
        context.prefill(ids[:at])
        logits = np.array(context.logits(), np.float64)
        found.append(float(logits[ids[at]] - logits.max() - np.log(np.exp(logits - logits.max()).sum())))
    context.free()
    weights.free()
    return found


async def ask(http: httpx.AsyncClient, base: Path, **body: Any) -> dict[str, Any]:
    answer = await http.post("/v1/completions", json={"model": str(base), **body})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_an_echoed_prompt_has_the_log_probability_of_each_token(
    http: httpx.AsyncClient, place: tuple[Home, Path]
) -> None:
    base = place[1]
    ids = (await http.post("/tokenize", json={"prompt": TEXT, "add_special_tokens": False})).json()["tokens"]
    body = await ask(http, base, prompt=[ids], max_tokens=1, logprobs=1, echo=True, temperature=0, seed=1234)
    (choice,) = body["choices"]
    found = choice["logprobs"]
    assert found["token_logprobs"][0] is None and found["top_logprobs"][0] is None
    assert len(found["token_logprobs"]) == len(ids) + 1, "the prompt and one token"
    assert found["token_logprobs"][1:-1] == pytest.approx(wanted(base, ids), abs=1e-5)
    assert body["usage"] == {"prompt_tokens": len(ids), "completion_tokens": 1, "total_tokens": len(ids) + 1}
    for value, top in zip(found["token_logprobs"][1:], found["top_logprobs"][1:], strict=True):
        assert value in top.values() and len(top) <= 2 and max(top.values()) >= value
    assert choice["text"].startswith(TEXT) and found["text_offset"][0] == 0


async def test_the_token_after_an_echoed_prompt_is_the_one_that_is_generated(
    http: httpx.AsyncClient, place: tuple[Home, Path]
) -> None:
    base = place[1]
    plain = await ask(http, base, prompt=TEXT, max_tokens=1, logprobs=1)
    quick = await ask(http, base, prompt=TEXT, max_tokens=1, logprobs=1, echo=True)
    longer = await ask(http, base, prompt=TEXT, max_tokens=3, logprobs=1, echo=True)
    bare = await ask(http, base, prompt=TEXT, max_tokens=0, logprobs=1, echo=True)
    said = plain["choices"][0]
    assert quick["choices"][0]["text"] == TEXT + said["text"]
    assert longer["choices"][0]["text"].startswith(TEXT + said["text"])
    assert quick["choices"][0]["logprobs"]["tokens"][-1] == said["logprobs"]["tokens"][0]
    last = quick["choices"][0]["logprobs"]["token_logprobs"][-1]
    assert last == pytest.approx(said["logprobs"]["token_logprobs"][0], abs=1e-5)
    assert bare["choices"][0]["text"] == TEXT and bare["usage"]["completion_tokens"] == 0
    assert bare["choices"][0]["logprobs"]["tokens"] == longer["choices"][0]["logprobs"]["tokens"][:-3]


async def test_several_prompts_are_answered_in_their_order(http: httpx.AsyncClient, place: tuple[Home, Path]) -> None:
    base, texts = place[1], ["Hello", "Who are you", "One two three"]
    alone = [(await ask(http, base, prompt=text, max_tokens=6))["choices"][0]["text"] for text in texts]
    body = await ask(http, base, prompt=texts, max_tokens=6)
    assert [choice["text"] for choice in body["choices"]] == alone
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    assert body["usage"]["completion_tokens"] == 18
    echoed = await ask(http, base, prompt=texts, max_tokens=6, echo=True)
    assert [choice["text"] for choice in echoed["choices"]] == [a + b for a, b in zip(texts, alone, strict=True)]
    assert all(choice["logprobs"] is None for choice in echoed["choices"])


async def test_the_tokenizer_of_the_model_that_the_server_was_started_for(
    http: httpx.AsyncClient, place: tuple[Home, Path]
) -> None:
    ids = (await http.post("/tokenize", json={"prompt": "Grüß dich, 世界"})).json()
    assert ids["count"] == len(ids["tokens"]) > 0
    back = await http.post("/detokenize", json={"tokens": ids["tokens"]})
    assert back.json() == {"prompt": "Grüß dich, 世界"}
    named = await http.post("/tokenize", json={"prompt": "Hello", "model": str(place[1])})
    assert named.status_code == 200
    for path, body in (("/tokenize", {"prompt": 3}), ("/detokenize", {"tokens": [99_999_999]})):
        answer = await http.post(path, json=body)
        assert answer.status_code == 400, answer.text
    async with httpx.AsyncClient(base_url=http.base_url, trust_env=False) as stranger:
        for method, path in (("GET", "/tokenizer_info"), ("POST", "/tokenize"), ("POST", "/detokenize")):
            assert (await stranger.request(method, path, json={})).status_code == 401, path


async def test_what_cannot_be_continued_is_refused_by_its_name(
    http: httpx.AsyncClient, place: tuple[Home, Path]
) -> None:
    for body, where in (
        ({"prompt": [[99_999_999]], "echo": True, "logprobs": 1}, "prompt"),
        ({"prompt": [1, 99_999_999], "max_tokens": 2}, "prompt"),
        ({"prompt": "a " * 9000, "echo": True, "logprobs": 1, "max_tokens": 1}, "prompt"),
        ({"prompt": ["a", "b"], "stream": True}, "stream"),
    ):
        answer = await http.post("/v1/completions", json={"model": str(place[1]), **body})
        assert answer.status_code == 400 and answer.json()["error"]["param"] == where, answer.text


def test_tokens_that_are_parts_of_a_character_keep_their_own_names() -> None:
    parts = [TokenLogprob(b"a", None), TokenLogprob(b"\xe4\xb8", -1.0, ((b"\xe4\xb9", -0.5), (b"\xe4\xb8", -1.0)))]
    found = completions([Completed("m", "a中b", [*parts, TokenLogprob(b"\xad", -2.0), TokenLogprob(b"b", -3.0)])])
    logprobs = found["choices"][0]["logprobs"]
    assert logprobs["tokens"] == ["a", "bytes:\\xe4\\xb8", "bytes:\\xad", "b"]
    assert logprobs["top_logprobs"][1] == {"bytes:\\xe4\\xb9": -0.5, "bytes:\\xe4\\xb8": -1.0}
    assert logprobs["text_offset"] == [0, 1, 1, 2], "a character begins where its first part does"
