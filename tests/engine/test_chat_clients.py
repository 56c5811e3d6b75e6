"""The chat server as real OpenAI clients use it: the `openai` package walks what the server offers, and `llm` asks
through its extra-openai-models.yaml. The server is a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engine.core import process
from engine.inference import access
from engine.inference.access import ServerInfo
from engine.inference.client import Client, Done, shutdown
from engine.inference.sampling import Sampling
from store.home import Home
from tests.engine.chat_home import chat_home

BASE = "./tiny.gguf"
"""The base model: the server runs in its folder."""
HI = [{"role": "user", "content": "Hello there"}]
ORIGIN = "http://localhost:3000"
MOOD = {
    "type": "object",
    "properties": {"mood": {"enum": ["good", "bad"]}, "sure": {"type": "boolean"}},
    "required": ["mood", "sure"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, Path]]:
    home, base = chat_home(tmp_path_factory.mktemp("clients"))
    argv = [sys.executable, "-m", "engine.inference.server", "--home", str(home.root), "--stay"]
    argv += ["--cors", ORIGIN, "--max-tokens", "60"]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=base.parent, env=process.environment())
    assert child.stdout is not None and "listening" in child.stdout.readline()
    yield home, base
    shutdown(home)
    child.wait(20)
    child.stdout.close()


@pytest.fixture
def info(place: tuple[Home, Path]) -> ServerInfo:
    found = access.read_info(place[0])
    assert found is not None
    return found


@pytest.fixture
async def client(info: ServerInfo) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{info.url}/v1", api_key=info.token, max_retries=0) as made:
        yield made


@pytest.fixture
async def http(info: ServerInfo) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {info.token}"}
    async with httpx.AsyncClient(base_url=info.url, headers=headers, timeout=60, trust_env=False) as made:
        yield made


async def answer(client: openai.AsyncOpenAI, **asked: object) -> openai.types.chat.ChatCompletion:
    wanted = {"model": BASE, "messages": HI, "max_tokens": 8, **asked}
    return await client.chat.completions.create(**wanted)  # type: ignore[call-overload,no-any-return]


# ---------------------------------------------------------------- models


async def test_each_model_of_the_list_can_be_looked_up(client: openai.AsyncOpenAI, place: tuple[Home, Path]) -> None:
    listed = [model.id async for model in client.models.list()]
    assert "run:tuned" in listed
    for name in (*listed, str(place[1])):
        assert (await client.models.retrieve(name)).id == name
    for name in ("run:nobody", "nothing", "org/not-here"):
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve(name)


# ---------------------------------------------------------------- length, seeds, stops


async def test_without_a_limit_an_answer_goes_on_to_the_servers_own(client: openai.AsyncOpenAI) -> None:
    for most in (openai.omit, -1, 10**9):
        found = await answer(client, max_tokens=most)
        assert found.choices[0].finish_reason in ("length", "stop")
        assert found.usage is not None and 8 < found.usage.completion_tokens <= 60
    with pytest.raises(openai.BadRequestError, match="max_tokens"):
        await answer(client, max_tokens=0)


async def test_a_seed_repeats_an_answer_and_minus_one_does_not(client: openai.AsyncOpenAI) -> None:
    async def text(seed: int) -> str | None:
        return (await answer(client, seed=seed, temperature=1.5, max_tokens=20)).choices[0].message.content

    assert await text(5) == await text(5)
    assert len({await text(-1) for _ in range(3)}) > 1


async def test_harmless_fields_change_nothing(client: openai.AsyncOpenAI) -> None:
    plain = await answer(client)
    asked = {"stop": "", "n": 1, "user": "me", "presence_penalty": 0, "logit_bias": {}, "tools": []}
    extra = {"top_k": -1, "min_p": 0, "unknown": {"x": 1}}
    dressed = await answer(client, **asked, response_format={"type": "text"}, extra_body=extra)
    assert dressed.choices[0].message.content == plain.choices[0].message.content


# ---------------------------------------------------------------- conversations


async def test_a_conversation_as_clients_keep_it(client: openai.AsyncOpenAI) -> None:
    said = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "Be kind."},
        *HI,
        {"role": "assistant", "content": None},
        {"role": "system", "content": "Now be loud."},
        {"role": "user", "content": [{"type": "text", "text": "Go on"}]},
    ]
    full = await answer(client, messages=said)
    fewer = await answer(client, messages=[*said[:4], *said[5:]])
    assert full.usage and fewer.usage and full.usage.prompt_tokens > fewer.usage.prompt_tokens


async def test_a_surrogate_in_any_field_is_answered(http: httpx.AsyncClient) -> None:
    raw = rb'{"model":"run:tuned","messages":[{"role":"user","content":"a\ud800"}],"max_tokens":3,"stop":"\udfff"}'
    assert (await http.post("/v1/chat/completions", content=raw)).status_code == 200
    unknown = await http.post("/v1/chat/completions", content=raw.replace(b"run:tuned", rb"run:\ud800"))
    assert unknown.status_code in (400, 404) and unknown.json()["error"]["message"]


# ---------------------------------------------------------------- structured answers


@pytest.mark.parametrize("temperature", [0, 1.5])
@pytest.mark.parametrize("model", [BASE, "run:tuned"])
async def test_an_answer_follows_its_schema(client: openai.AsyncOpenAI, model: str, temperature: float) -> None:
    shape = {"type": "json_schema", "json_schema": {"name": "mood", "schema": MOOD, "strict": True}}
    found = await answer(client, model=model, response_format=shape, temperature=temperature, max_tokens=60)
    assert found.choices[0].finish_reason == "stop"
    said = json.loads(found.choices[0].message.content or "")
    assert said.keys() == {"mood", "sure"} and said["mood"] in ("good", "bad") and isinstance(said["sure"], bool)


async def test_any_object_and_a_stream_of_one(client: openai.AsyncOpenAI) -> None:
    found = await answer(client, response_format={"type": "json_object"}, max_tokens=20)
    assert (found.choices[0].message.content or "").startswith("{")
    shape = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": ["yes", "no"]}}}
    stream = await client.chat.completions.create(
        model=BASE,
        messages=HI,  # type: ignore[arg-type]
        stream=True,
        response_format=shape,  # type: ignore[arg-type]
    )
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert json.loads(text) in ("yes", "no")


async def test_biases_that_forbid_what_the_schema_wants_are_an_error_and_the_server_lives(
    client: openai.AsyncOpenAI,
) -> None:
    shape = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": ["yes", "no"]}}}
    everything = {str(token): -100 for token in range(259)}
    found = await answer(client, response_format=shape, logit_bias=everything, max_tokens=20)
    assert json.loads(found.choices[0].message.content or "") in ("yes", "no"), "the same for all changes nothing"
    with pytest.raises(openai.BadRequestError, match="minimum"):
        bad = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "integer", "minimum": 3}}}
        await answer(client, response_format=bad)
    assert (await answer(client)).choices


# ---------------------------------------------------------------- probabilities, penalties, biases


async def test_log_probabilities_of_each_token(client: openai.AsyncOpenAI) -> None:
    found = (await answer(client, logprobs=True, top_logprobs=4)).choices[0]
    assert found.logprobs and found.logprobs.content and len(found.logprobs.content) == 8
    for token in found.logprobs.content:
        assert token.logprob <= 0 and len(token.top_logprobs) == 4
        assert token.top_logprobs[0].logprob == pytest.approx(token.logprob), "greedy takes the likeliest"
    raw = b"".join(bytes(token.bytes or []) for token in found.logprobs.content)
    assert raw.decode("utf-8", "replace") == found.message.content
    assert (await answer(client, logprobs=True)).choices[0].logprobs.content[0].top_logprobs == []  # type: ignore[union-attr,index]
    assert (await answer(client)).choices[0].logprobs is None


async def test_log_probabilities_of_a_stream_are_those_of_the_whole(client: openai.AsyncOpenAI) -> None:
    whole = (await answer(client, logprobs=True, top_logprobs=2)).choices[0].logprobs
    stream = await client.chat.completions.create(
        model=BASE,
        messages=HI,  # type: ignore[arg-type]
        max_tokens=8,
        logprobs=True,
        top_logprobs=2,
        stream=True,
    )
    parts = [chunk.choices[0].logprobs async for chunk in stream]
    streamed = [token for part in parts if part for token in part.content or []]
    assert whole is not None and [t.token for t in streamed] == [t.token for t in whole.content or []]
    assert [t.logprob for t in streamed] == pytest.approx([t.logprob for t in whole.content or []])


async def test_a_bias_forces_and_forbids(client: openai.AsyncOpenAI) -> None:
    forced = await answer(client, logit_bias={str(ord("Z")): 100})  # the first 256 tokens are the bytes
    assert forced.choices[0].message.content == "Z" * 8
    plain = (await answer(client, logprobs=True)).choices[0].logprobs
    assert plain and plain.content
    first = (plain.content[0].bytes or [0])[0]
    other = (await answer(client, logit_bias={str(first): -100}, logprobs=True)).choices[0].logprobs
    assert other and other.content and other.content[0].bytes != [first]
    with pytest.raises(openai.BadRequestError, match="no token 100000"):
        await answer(client, logit_bias={"100000": 1})


async def test_penalties_end_repetition(client: openai.AsyncOpenAI) -> None:
    letters = {str(ord(letter)): 50 for letter in "ABCDEFGH"}
    plain = (await answer(client, logit_bias=letters)).choices[0].message.content
    for penalty in ("presence_penalty", "frequency_penalty"):
        said = (await answer(client, logit_bias=letters, **{penalty: 2})).choices[0].message.content
        assert said and plain and len(set(said)) > len(set(plain))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2),
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("top_logprobs", 3),
        ("modalities", ["audio"]),
    ],
)
async def test_what_is_not_supported_is_refused_by_its_name(
    client: openai.AsyncOpenAI, field: str, value: object
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await answer(client, **{field: value})
    assert caught.value.param == field and field in caught.value.message


# ---------------------------------------------------------------- plain completions


async def test_plain_completions(client: openai.AsyncOpenAI, place: tuple[Home, Path]) -> None:
    asked = {"model": str(place[1]), "prompt": "Once upon", "max_tokens": 6}
    whole = await client.completions.create(**asked, logprobs=2)  # type: ignore[call-overload]
    assert whole.object == "text_completion" and whole.usage.prompt_tokens == len("Once upon")
    found = whole.choices[0].logprobs
    assert len(found.tokens) == len(found.token_logprobs) == len(found.top_logprobs) == 6
    stream = await client.completions.create(**asked, stream=True)  # type: ignore[call-overload]
    assert "".join([chunk.choices[0].text async for chunk in stream]) == whole.choices[0].text
    several = await client.completions.create(**{**asked, "prompt": ["Once", "upon"]}, echo=True)  # type: ignore[call-overload]
    assert [choice.text[:4] for choice in several.choices] == ["Once", "upon"]
    for wrong in ({"suffix": "x"}, {"best_of": 3}):
        with pytest.raises(openai.BadRequestError, match=next(iter(wrong))):
            await client.completions.create(**{**asked, **wrong})  # type: ignore[call-overload]


# ---------------------------------------------------------------- browsers


async def test_only_pages_that_were_named_may_ask_from_a_browser(http: httpx.AsyncClient, info: ServerInfo) -> None:
    wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    async with httpx.AsyncClient(base_url=info.url, trust_env=False) as browser:
        good = await browser.options("/v1/chat/completions", headers={"Origin": ORIGIN, **wanted})
        assert good.status_code == 200 and good.headers["access-control-allow-origin"] == ORIGIN
        assert "authorization" in good.headers["access-control-allow-headers"].lower()
        bad = await browser.options("/v1/chat/completions", headers={"Origin": "http://evil.example", **wanted})
        assert bad.status_code == 400 and "access-control-allow-origin" not in bad.headers
    listed = await http.get("/v1/models", headers={"Origin": ORIGIN})
    assert listed.headers["access-control-allow-origin"] == ORIGIN


# ---------------------------------------------------------------- llm


@pytest.mark.slow
async def test_llm_asks_through_its_list_of_openai_models(info: ServerInfo, tmp_path: Path) -> None:
    """https://llm.datasette.io/en/stable/other-models.html#openai-compatible-models"""
    entry = {"model_id": "tuned", "model_name": BASE, "api_base": f"{info.url}/v1", "api_key_name": "fork"}
    older = {**entry, "model_id": "older", "completion": True}
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps([entry, older]))  # JSON is YAML
    (tmp_path / "keys.json").write_text(json.dumps({"fork": info.token}))
    env = {**os.environ, "LLM_USER_PATH": str(tmp_path), "LLM_LOAD_PLUGINS": ""}

    async def ask(*words: str) -> str:
        argv = [sys.executable, "-m", "llm", *words, "--no-log"]
        done = await asyncio.to_thread(
            subprocess.run, argv, capture_output=True, text=True, env=env, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    short = ("-o", "max_tokens", "12")
    streamed = await ask("-m", "tuned", "Hello there", *short)
    assert streamed.strip() and await ask("-m", "tuned", "Hello there", "--no-stream", *short) == streamed
    assert (await ask("-m", "tuned", "Hello there", "-s", "Be brief.", *short)).strip()
    assert (await ask("-m", "older", "Hello there", *short)).strip()


# ---------------------------------------------------------------- another server, as a lane


async def test_another_server_answers_through_ours(place: tuple[Home, Path]) -> None:
    """A server that refuses `seed`, thinks before it answers, and sends a character in two halves."""
    asked: list[dict[str, Any]] = []

    async def chat(request: Request) -> Response:
        asked.append(await request.json())
        if "seed" in asked[-1]:
            return JSONResponse({"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}, 422)
        deltas = [r'"reasoning_content":"Hm."', r'"content":"a \ud83d"', r'"content":"\ude00"']
        chunks = [f'data: {{"choices":[{{"delta":{{{delta}}}}}],"error":null}}\n\n' for delta in deltas]
        return Response("".join(chunks) + "data: [DONE]", media_type="text/event-stream")

    app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])
    config = uvicorn.Config(app, port=0, log_level="warning", lifespan="off")
    bound = config.bind_socket()
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([bound]))
    model = f"http://127.0.0.1:{bound.getsockname()[1]}#other"
    client = await Client.connect(place[0], start=False)
    try:
        pieces = [piece async for piece in client.stream(model, HI, Sampling(seed=3, max_tokens=5))]  # type: ignore[arg-type]
        done = pieces[-1]
        assert isinstance(done, Done)
        assert (done.text, done.reasoning, done.stop) == ("a 😀", "Hm.", "end")
        assert done.note == "This server refuses seed: asked without it."
        assert [piece.reasoning for piece in pieces[:-1] if piece.reasoning] == ["Hm."]  # type: ignore[union-attr]
        assert asked[0]["seed"] == 3 and "seed" not in asked[1] and len(asked) == 2
    finally:
        await client.close()
        server.should_exit = True
        await task
