"""The chat server as other programs meet it: HTTP, the token, limits, errors, the official OpenAI client."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.core import process
from engine.gguf.llama_library import LlamaModel
from engine.inference import access
from engine.inference.access import ServerInfo
from engine.inference.backends.llama_context import Context
from engine.inference.backends.llama_cpp import LlamaCpp
from engine.inference.client import Client, Done, shutdown
from engine.inference.sampling import Sampling
from engine.inference.server.service import Options, Service
from store.db import Store
from store.home import Home
from tests.engine.chat_home import chat_home
from tests.engine.serving import serving

HI = [{"role": "user", "content": "Hello there"}]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, Path]]:
    home, base = chat_home(tmp_path_factory.mktemp("server"))
    yield home, base
    shutdown(home)


@pytest.fixture
async def client(place: tuple[Home, Path]) -> AsyncIterator[Client]:
    connected = await Client.connect(place[0])
    yield connected
    await connected.close()


@pytest.fixture
def info(place: tuple[Home, Path], client: Client) -> ServerInfo:
    found = access.read_info(place[0])
    assert found is not None
    return found


@pytest.fixture
async def http(info: ServerInfo, place: tuple[Home, Path]) -> AsyncIterator[httpx.AsyncClient]:
    async with _http(place[0]) as made:
        yield made


def body(model: Path | str, **changes: object) -> dict:
    return {"model": str(model), "messages": HI, "max_tokens": 8, **changes}


# ---------------------------------------------------------------- doors


async def test_nothing_but_health_opens_without_the_token(info: ServerInfo, place: tuple[Home, Path]) -> None:
    async with httpx.AsyncClient(base_url=info.url, trust_env=False) as stranger:
        health = await stranger.get("/health")
        assert health.status_code == 200 and health.json()["pid"] == info.pid
        assert info.token not in health.text
        for token in (None, "wrong", info.token[:-1], info.token + "x"):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            for method, path in (
                ("GET", "/v1/models"),
                ("POST", "/v1/chat/completions"),
                ("POST", "/v1/tuningfork/load"),
                ("POST", "/v1/tuningfork/lane_check"),
            ):
                answer = await stranger.request(method, path, headers=headers, json=body(place[1]))
                assert answer.status_code == 401, path
                assert answer.json()["error"]["what"].startswith("The token is missing or wrong")


def test_it_listens_on_loopback_alone_and_its_files_are_private(place: tuple[Home, Path], info: ServerInfo) -> None:
    assert info.url.startswith("http://127.0.0.1:")
    for name in ("server.json", "token"):
        assert (place[0].root / name).stat().st_mode & 0o777 == 0o600, name


def start(home: Home, *options: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "engine.inference.server", "--home", str(home.root), *options]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, env=process.environment(), check=False)


def test_an_open_bind_needs_a_token_file(home: Home) -> None:
    refused = start(home, "--host", "0.0.0.0")
    assert refused.returncode == 2
    assert "no token was given" in refused.stderr and "Traceback" not in refused.stderr


def test_a_second_server_of_a_home_is_refused(place: tuple[Home, Path], client: Client) -> None:
    second = start(place[0])
    assert second.returncode == 2 and "already runs" in second.stderr


def test_a_model_to_pin_that_does_not_exist_ends_the_start(home: Home) -> None:
    failed = start(home, "--model", "run:nobody")
    assert failed.returncode == 2 and "nobody" in failed.stderr and "Traceback" not in failed.stderr
    assert not (home.root / "server.json").exists()


def test_a_port_that_is_taken_is_named(home: Home, info: ServerInfo) -> None:
    port = info.url.rpartition(":")[2]
    failed = start(home, "--port", port)
    assert failed.returncode == 2 and port in failed.stderr


# ---------------------------------------------------------------- answers


async def test_an_answer_in_openai_shape(http: httpx.AsyncClient, place: tuple[Home, Path]) -> None:
    whole = (await http.post("/v1/chat/completions", json=body(place[1]))).json()
    assert whole["object"] == "chat.completion"
    assert whole["choices"][0]["finish_reason"] == "length"
    assert whole["usage"]["completion_tokens"] == 8
    assert whole["tuningfork"]["stop"] == "length"
    assert {"ttft_ms", "tokens_per_s", "prompt_tokens", "context_used", "dropped_turns"} <= whole["tuningfork"].keys()


async def test_a_stream_says_the_same_as_the_whole_answer(http: httpx.AsyncClient, place: tuple[Home, Path]) -> None:
    whole = (await http.post("/v1/chat/completions", json=body(place[1], max_tokens=30))).json()
    wanted = body(place[1], max_tokens=30, stream=True, stream_options={"include_usage": True})
    raw = (await http.post("/v1/chat/completions", json=wanted)).text
    lines = [line.removeprefix("data: ") for line in raw.split("\n") if line]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"])
    assert text == whole["choices"][0]["message"]["content"]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-1]["usage"] == whole["usage"]
    assert len({c["id"] for c in chunks}) == 1


async def test_the_official_client_works_streaming_and_not(info: ServerInfo, place: tuple[Home, Path]) -> None:
    import openai

    async with openai.AsyncOpenAI(base_url=f"{info.url}/v1", api_key=info.token, max_retries=0) as official:
        listed = [model.id async for model in official.models.list()]
        assert listed == ["smollm2-135m", "run:tuned"]
        asked = {"model": "run:tuned", "messages": HI, "max_tokens": 12, "seed": 3, "temperature": 0.8}
        whole = await official.chat.completions.create(**asked, extra_body={"top_k": 20, "lane": "o"})
        stream = await official.chat.completions.create(
            **asked, stream=True, stream_options={"include_usage": True}, extra_body={"top_k": 20}
        )
        chunks = [chunk async for chunk in stream]
        assert (
            "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
        )
        assert chunks[-1].usage == whole.usage
        with pytest.raises(openai.NotFoundError, match="nobody"):
            await official.chat.completions.create(**{**asked, "model": "run:nobody"})
        with pytest.raises(openai.BadRequestError, match="temperature"):
            await official.chat.completions.create(**{**asked, "temperature": 99})
    wrong = openai.AsyncOpenAI(base_url=f"{info.url}/v1", api_key="wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        await wrong.models.list()


async def test_two_lanes_at_once_equal_each_alone(client: Client, place: tuple[Home, Path]) -> None:
    sampling = Sampling(temperature=0.9, seed=7, max_tokens=40)
    base, tuned = str(place[1]), "run:tuned"
    alone = [(await client.complete(model, HI, sampling)).text for model in (base, tuned)]
    both = await asyncio.gather(
        client.complete(base, HI, sampling, lane="a"), client.complete(tuned, HI, sampling, lane="b")
    )
    assert [done.text for done in both] == alone
    assert alone[0] != alone[1]
    pieces = [piece async for piece in client.stream(tuned, HI, sampling)]
    assert {piece.model for piece in pieces} == {tuned}
    report = await client.lane_check({"a": base, "b": tuned})
    assert report["honest"] and [side["plain_max_diff"] > 0.01 for side in report["lanes"]] == [False, True]


# ---------------------------------------------------------------- refusals


async def test_each_bad_request_gets_a_sentence(http: httpx.AsyncClient, place: tuple[Home, Path]) -> None:
    model = place[1]
    for status, wanted, what in (
        (400, {"messages": HI}, "model must be"),
        (400, body(model, messages=[]), "at least one message"),
        (400, body(model, messages=[{"role": "user", "content": " "}]), "prompt is empty"),
        (400, body(model, messages=[{"role": "user", "content": "a\x00b"}]), "control character"),
        (400, body(model, messages=[{"role": "user", "content": "word " * 2000}]), "question is too long"),
        (404, body("run:nobody"), "no run"),
        (404, body("/nowhere/x.gguf"), "no such GGUF"),
        (404, body("frobnicate"), "no model"),
        (413, body(model, messages=[{"role": "user", "content": "x" * 1_000_000}]), "larger than"),
    ):
        for stream in (False, True):
            answer = await http.post("/v1/chat/completions", json={**wanted, "stream": stream})
            assert answer.status_code == status, what
            error = answer.json()["error"]
            assert what in error["what"] and what in error["message"]
    raw = await http.post("/v1/chat/completions", content=b"{nonsense")
    assert raw.status_code == 400 and "not valid JSON" in raw.json()["error"]["what"]
    deep = await http.post("/v1/chat/completions", content=b"[" * 100_000)
    assert deep.status_code == 400
    assert (await http.get("/v1/nothing")).json()["error"]["type"] == "NotFound"
    assert (await http.get("/v1/chat/completions")).status_code == 404


async def test_too_many_at_once_are_told_to_come_back(http: httpx.AsyncClient, place: tuple[Home, Path]) -> None:
    """Twenty fit (four answered, sixteen waiting); the rest get 429, and afterwards all is well.

    Ninety ask at once: so many that a fast machine cannot answer the first before the last have come.
    """
    wanted = body(place[1], max_tokens=400)
    tasks = [asyncio.create_task(http.post("/v1/chat/completions", json=wanted)) for _ in range(90)]
    answers = await asyncio.gather(*tasks)
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) >= 20
    refused = answers[statuses.index(429)]
    assert refused.headers["retry-after"] == "2" and "busy" in refused.json()["error"]["what"]
    assert len({a.json()["choices"][0]["message"]["content"] for a in answers if a.status_code == 200}) == 1
    assert (await http.post("/v1/chat/completions", json=body(place[1]))).status_code == 200


async def test_a_reader_that_goes_ends_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers without an end hold all places: only a reader that goes can free one, or nobody else is ever answered.

    No bound on seconds: on a busy machine one token may take one.
    """
    home, base = chat_home(tmp_path)
    store = Store.open(home)
    service = Service(store, Options(active=4))
    endless = body(base, max_tokens=400, stream=True)
    async with serving(home, service), _http(home) as http:

        async def look_and_leave(n: int) -> None:
            async with http.stream("POST", "/v1/chat/completions", json={**endless, "lane": f"leave{n}"}) as response:
                async for _ in response.aiter_bytes():
                    return

        with monkeypatch.context() as patched:
            _never_end(patched)
            for _ in range(3):
                await asyncio.gather(*(look_and_leave(n) for n in range(4)))
            await _until(lambda: not service.busy and not _computing())
            whole = asyncio.create_task(http.post("/v1/chat/completions", json={**endless, "stream": False}))
            await _until(_computing)
            whole.cancel()  # one that is not streamed, too
            await _until(lambda: not service.busy and not _computing())
        contexts = next(iter(service._backends["llama.cpp"]._models.values())).lanes  # type: ignore[attr-defined]
        assert not contexts.busy and len(contexts) == 5
        assert (await http.post("/v1/chat/completions", json=body(base))).status_code == 200
    await service.close()
    store.close()


async def test_the_stage_of_an_answer_tells_loading_from_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, base = chat_home(tmp_path)
    store = Store.open(home)
    service = Service(store, Options())
    load, loads = LlamaCpp.load, asyncio.Event()

    async def slowly(self: LlamaCpp, model: Any) -> None:
        await loads.wait()
        await load(self, model)

    monkeypatch.setattr(LlamaCpp, "load", slowly)
    async with serving(home, service), _http(home) as http:

        async def stage() -> str:
            return str((await http.get("/v1/tuningfork/stage?lane=left")).json()["stage"])

        assert await stage() == ""
        asked = asyncio.create_task(http.post("/v1/chat/completions", json={**body(base), "lane": "left"}))
        async with asyncio.timeout(30):
            while (found := await stage()) != "loading":
                assert found in ("", "queued")
            with monkeypatch.context() as patched:
                _never_end(patched)
                loads.set()
                while (found := await stage()) != "reading":
                    assert found == "loading"
                asked.cancel()
                await _until(lambda: not service.busy and not _computing())
        assert await stage() == ""
    await service.close()
    store.close()


def _never_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer goes on without limit; the first token alone is computed."""
    tokens, decode = LlamaCpp._tokens, Context.decode

    def endless(self: LlamaCpp, work: Any, emit: Any) -> Any:
        work.limit = sys.maxsize
        return tokens(self, work, emit)

    def idle(self: Context, ids: Sequence[int]) -> None:
        if len(ids) == 1:
            time.sleep(0.002)
        else:
            decode(self, ids)

    monkeypatch.setattr(LlamaCpp, "_tokens", endless)
    monkeypatch.setattr(Context, "decode", idle)
    monkeypatch.setattr(LlamaModel, "ends", lambda self, token: False)
    monkeypatch.setattr(Context, "sample", lambda self: ord("A") - ord("!"))  # the byte tokens begin with "!"


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.002)


def _computing() -> bool:
    return any(thread.name.startswith("llama-compute") for thread in threading.enumerate())


def _http(home: Home) -> httpx.AsyncClient:
    info = access.read_info(home)
    assert info is not None
    headers = {"Authorization": f"Bearer {info.token}"}
    return httpx.AsyncClient(base_url=info.url, headers=headers, timeout=30, trust_env=False)


# ---------------------------------------------------------------- life and death


async def test_a_server_killed_in_the_middle_keeps_the_text_and_comes_back(
    home: Home, place: tuple[Home, Path]
) -> None:
    client = await Client.connect(home)
    try:
        texts, done = [], None
        async for piece in client.stream(str(place[1]), HI, Sampling(max_tokens=450, temperature=1.0)):
            if isinstance(piece, Done):
                done = piece
            else:
                texts.append(piece.text)
                if len(texts) == 2:
                    victim = access.read_info(home)
                    assert victim is not None
                    os.kill(victim.pid, signal.SIGKILL)
        assert done is not None and done.stop == "error"
        assert done.text == "".join(texts) and done.text
        assert done.error and "stopped in the middle" in done.error
        again = await client.complete(str(place[1]), HI, Sampling(max_tokens=5))
        assert again.stop == "length" and again.tokens == 5
        revived = access.read_info(home)
        assert revived is not None and revived.pid != victim.pid
    finally:
        await client.close()
        shutdown(home)


async def test_many_clients_that_start_at_once_share_one_server(home: Home, place: tuple[Home, Path]) -> None:
    clients = await asyncio.gather(*(Client.connect(home) for _ in range(4)))
    try:
        assert len({client._info.pid for client in clients}) == 1
        starts = (home.logs / "chat-server.log").read_text().count("listening")
        assert starts == 1
        assert shutdown(home)
        again = await asyncio.gather(*(c.complete(str(place[1]), HI, Sampling(max_tokens=3)) for c in clients))
        assert [done.tokens for done in again] == [3] * 4
        assert len({client._info.pid for client in clients}) == 1
    finally:
        for client in clients:
            await client.close()
        shutdown(home)


async def test_a_server_of_another_version_is_replaced(home: Home) -> None:
    first = await Client.connect(home)
    await first.close()
    old = access.read_info(home)
    assert old is not None
    access.write_info(home, ServerInfo(old.url, old.token, old.pid, old.pid_started, "0.0.0-older"))
    second = await Client.connect(home)
    await second.close()
    new = access.read_info(home)
    assert new is not None and new.pid != old.pid and not old.alive()
    assert shutdown(home) and not shutdown(home)
    assert not (home.root / "server.json").exists()


async def test_an_idle_server_ends_by_itself(home: Home, place: tuple[Home, Path]) -> None:
    argv = [sys.executable, "-m", "engine.inference.server", "--home", str(home.root), "--idle-s", "0.3"]
    pid, started = process.spawn(argv, log=home.logs / "x.log", cwd=home.root, env=process.environment())
    deadline = time.monotonic() + 20
    while process.is_running(pid, started) and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    assert not process.is_running(pid, started)
    assert not (home.root / "server.json").exists()


async def test_without_start_nothing_is_started(home: Home) -> None:
    from store.errors import ServerError

    with pytest.raises(ServerError, match="No chat server runs"):
        await Client.connect(home, start=False)
    assert not (home.root / "server.json").exists()


async def test_a_server_that_cannot_start_says_why(home: Home) -> None:
    from store.errors import ServerError

    (home.root / "token").write_text("short")
    (home.root / "token").chmod(0o600)
    with pytest.raises(ServerError, match="did not start"):
        await Client.connect(home)


def test_the_server_never_imports_torch_or_transformers(place: tuple[Home, Path]) -> None:
    code = (
        "import sys; from pathlib import Path; import engine.inference.server.app, engine.inference.server.service;"
        "import engine.inference.server.__main__;"
        "from engine.inference.backends.llama_cpp import LlamaCpp;"
        "from engine.gguf.llama_library import LlamaModel;"
        f"LlamaModel(Path({str(place[1])!r}));"
        "bad = {'torch','transformers','peft','trl','pandas','llama_cpp.llama','numpy'} & set(sys.modules); print(bad);"
        "sys.exit(bool(bad))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=process.environment(), check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
