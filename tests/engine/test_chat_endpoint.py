"""The endpoint backend against servers that speak OpenAI's API well, badly, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from engine.inference import sse
from engine.inference.backends.endpoint import KEY, Endpoint
from engine.inference.records import Finish, GenerationRequest
from engine.inference.sampling import Sampling
from engine.models.refs import Resolved
from store.errors import NotFound, ServerError, TuningforkError, Unsupported

Answer = Callable[[httpx.Request], httpx.Response]

MODEL = Resolved("http://there/v1#big", "endpoint", "big", url="http://there/v1", endpoint_model="big")
REQUEST = GenerationRequest(
    MODEL, ({"role": "user", "content": "hi"},), Sampling(temperature=0.5, seed=9, max_tokens=3, stop=("x",))
)


def chunk(text: str | None = None, finish: str | None = None, **more: object) -> bytes:
    delta = {} if text is None else {"content": text}
    return sse.event({"choices": [{"delta": delta, "finish_reason": finish}], **more})


async def talk(answer: Answer, request: GenerationRequest = REQUEST) -> tuple[str, Finish]:
    backend = Endpoint(httpx.MockTransport(answer))
    try:
        items = [item async for item in backend.generate(request)]
    finally:
        await backend.close()
    assert isinstance(items[-1], Finish)
    return "".join(items[:-1]), items[-1]


async def test_a_stream_passes_through_with_its_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        usage = sse.event({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 2}})
        return httpx.Response(
            200, content=chunk("one ") + b": ping\n\n" + chunk("two") + chunk(finish="stop") + usage + sse.END
        )

    monkeypatch.setenv(KEY, "secret-key")
    text, finish = await talk(answer)
    assert text == "one two"
    assert (finish.stop, finish.tokens, finish.prompt_tokens, finish.context_used) == ("end", 2, 11, 13)
    sent = json.loads(seen[0].content)
    assert seen[0].url == "http://there/v1/chat/completions"
    assert seen[0].headers["authorization"] == "Bearer secret-key"
    assert sent["model"] == "big" and sent["temperature"] == 0.5 and sent["seed"] == 9 and sent["stop"] == ["x"]
    assert not {"top_k", "min_p", "repeat_penalty", "lane"} & sent.keys(), "a strict server would refuse unknown fields"


async def test_our_own_filters_are_sent_when_they_are_set_and_no_key_without_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(KEY, raising=False)

    def answer(request: httpx.Request) -> httpx.Response:
        assert "authorization" not in request.headers
        assert json.loads(request.content)["top_k"] == 40
        return httpx.Response(200, content=chunk("ok") + chunk(finish="length") + sse.END)

    _, finish = await talk(answer, GenerationRequest(MODEL, REQUEST.messages, Sampling(temperature=1.0, top_k=40)))
    assert finish.stop == "length" and finish.tokens == 1


def raises(error: Exception) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        raise error

    return answer


@pytest.mark.parametrize(
    ("answer", "kind", "what"),
    [
        (raises(httpx.ConnectError("no")), ServerError, "does not answer"),
        (raises(httpx.ReadTimeout("slow")), ServerError, "does not answer"),
        (lambda r: httpx.Response(401), ServerError, "wants a key"),
        (lambda r: httpx.Response(404, json={"error": {"message": "no such thing"}}), NotFound, "no such thing"),
        (lambda r: httpx.Response(500, text="<html>"), ServerError, "answered 500"),
        (lambda r: httpx.Response(302, headers={"location": "http://elsewhere"}), ServerError, "answered 302"),
        (lambda r: httpx.Response(200, content=chunk("half")), ServerError, "broke off"),
        (lambda r: httpx.Response(200, content=b"data: {nonsense\n\n"), ServerError, "not JSON"),
        (
            lambda r: httpx.Response(200, content=chunk("a") + sse.event({"error": {"message": "out of memory"}})),
            ServerError,
            "out of memory",
        ),
    ],
)
async def test_each_failure_is_a_sentence(answer: Answer, kind: type[TuningforkError], what: str) -> None:
    with pytest.raises(kind, match=what):
        await talk(answer)


async def test_loading_asks_whether_it_is_there_and_its_logits_stay_hidden() -> None:
    backend = Endpoint(httpx.MockTransport(lambda request: httpx.Response(200, json={"data": []})))
    await backend.load(MODEL)
    with pytest.raises(Unsupported, match="logits"):
        await backend.logits(MODEL, [1], None)
    await backend.close()
    gone = Endpoint(httpx.MockTransport(raises(httpx.ConnectError("no"))))
    with pytest.raises(ServerError, match="does not answer"):
        await gone.load(MODEL)
    await gone.close()
