"""The endpoint backend against servers that speak OpenAI's API well, badly, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from engine.inference import sse
from engine.inference.backends.endpoint import KEY, Endpoint
from engine.inference.limits import TO_CONTEXT_END
from engine.inference.records import Finish, GenerationRequest, Reasoning, TokenLogprob
from engine.inference.sampling import Sampling
from engine.models import refs
from engine.models.refs import Resolved
from store.errors import NotFound, ServerError, TuningforkError, Unsupported

Answer = Callable[[httpx.Request], httpx.Response]

MODEL = Resolved("http://there/v1#big", "endpoint", "big", url="http://there/v1", endpoint_model="big")
SAMPLING = Sampling(temperature=0.5, seed=9, max_tokens=3, stop=("x",))
REQUEST = GenerationRequest(MODEL, ({"role": "user", "content": "hi"},), SAMPLING)


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
    return "".join(item for item in items if isinstance(item, str)), items[-1]


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
        (lambda r: httpx.Response(401, json={"detail": "Key expired"}), ServerError, "wants a key: Key expired"),
        (lambda r: httpx.Response(404, json={"error": {"message": "no model big"}}), NotFound, "no model big"),
        (lambda r: httpx.Response(404, json={"object": "error", "message": "no model x"}), NotFound, "no model x"),
        (lambda r: httpx.Response(422, json={"detail": [{"loc": ["body", "stop"], "msg": "bad"}]}), ServerError, "bad"),
        (lambda r: httpx.Response(500, json={"error": "plain"}), ServerError, "500: plain"),
        (lambda r: httpx.Response(200, json={"error": {"message": "loading"}}), ServerError, "loading"),
        (lambda r: httpx.Response(200, json={"detail": "not now"}), ServerError, "not now"),
        (lambda r: httpx.Response(200, text="<html>sign in</html>"), ServerError, "no answer: <html>sign in"),
        (lambda r: httpx.Response(200), ServerError, "no answer: nothing"),
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


# ---------------------------------------------------------------- what servers really send


def whole(message: dict, finish: str | None = "stop", **more: object) -> dict:
    return {"choices": [{"message": {"role": "assistant", **message}, "finish_reason": finish}], **more}


THINKING = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]


def escaped(text: str) -> bytes:
    """A chunk with the text as JSON spells it."""
    return b'data: {"choices":[{"delta":{"content":"' + text.encode() + b'"}}]}\n\n'


def part(delta: dict, finish: str | None = None) -> bytes:
    return sse.event({"choices": [{"delta": delta, "finish_reason": finish}]})


@pytest.mark.parametrize(
    ("content", "text", "thought", "stop"),
    [
        (chunk("a") + sse.END, "a", "", "end"),  # no finish_reason
        (chunk("a") + chunk(finish="stop"), "a", "", "end"),  # no [DONE]
        (chunk("a") + chunk(finish="stop").rstrip(), "a", "", "end"),  # nor an end of the last line
        (chunk("a", error=None) + chunk(finish="length") + sse.END, "a", "", "length"),
        (b'data: {"choices":\ndata: [{"delta": {"content": "a"}}]}\n\n' + sse.END, "a", "", "end"),
        (chunk("a").rstrip() + b"\n" + chunk("b").rstrip() + b"\n" + sse.END, "ab", "", "end"),
        (b": comment\r\n\r\nevent: x\r\n" + chunk("a") + sse.END, "a", "", "end"),
        (part({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}) + sse.END, "ab", "", "end"),
        (part({"content": None, "reasoning_content": "hm"}) + chunk("a") + sse.END, "a", "hm", "end"),
        (part({"content": "", "reasoning": "hm"}) + chunk("a") + sse.END, "a", "hm", "end"),
        (part({"content": THINKING}) + chunk("a") + sse.END, "a", "hm", "end"),
        (json.dumps(whole({"content": "a"})).encode(), "a", "", "end"),
        (json.dumps(whole({"content": "a", "reasoning_content": "hm"}, "length")).encode(), "a", "hm", "length"),
        (b"\n " + json.dumps(whole({"content": [{"type": "text", "text": "a"}]}, None)).encode(), "a", "", "end"),
        (escaped(r"\ud83d") + escaped(r"\ude00") + sse.END, "😀", "", "end"),
        (escaped(r"a\ud83d") + sse.END, "a\ufffd", "", "end"),
        (sse.event({"choices": []}) + sse.event({"choices": [None]}) + chunk("a") + sse.END, "a", "", "end"),
    ],
)  # fmt: skip
async def test_each_way_of_answering_is_understood(content: bytes, text: str, thought: str, stop: str) -> None:
    backend = Endpoint(httpx.MockTransport(lambda request: httpx.Response(200, content=content)))
    items = [item async for item in backend.generate(REQUEST)]
    await backend.close()
    assert "".join(item for item in items if isinstance(item, str)) == text
    assert "".join(item.text for item in items if isinstance(item, Reasoning)) == thought
    assert isinstance(items[-1], Finish) and items[-1].stop == stop and items[-1].note == ""


async def test_reasoning_is_not_counted_as_the_answer() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 7}}
    answer = whole({"content": "a b", "reasoning_content": "long"}, usage=usage)
    _, finish = await talk(lambda request: httpx.Response(200, json=answer))
    assert (finish.tokens, finish.context_used) == (2, 14)
    stream = part({"reasoning_content": "x"}) * 5 + chunk("a") + sse.END
    _, finish = await talk(lambda request: httpx.Response(200, content=stream))
    assert finish.tokens == 1


def strict(*known: str, say: Callable[[str], dict]) -> tuple[Answer, list[dict]]:
    """A server that refuses every field but these, one at a time."""
    seen: list[dict] = []

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        seen.append(body)
        unknown = [name for name in body if name not in {"model", "messages", "stream", "temperature", *known}]
        if unknown:
            return httpx.Response(400, json=say(unknown[-1]))
        return httpx.Response(200, content=chunk("ok") + sse.END)

    return answer, seen


@pytest.mark.parametrize(
    "say",
    [
        lambda name: {"error": {"message": f"Unrecognized request argument supplied: {name}", "param": name}},
        lambda name: {"detail": [{"loc": ["body", name], "msg": "Extra inputs are not permitted"}]},
        lambda name: {"error": f"unknown field `{name}`"},
    ],
)
async def test_a_refused_field_is_left_out_and_the_answer_says_so(say: Callable[[str], dict]) -> None:
    answer, seen = strict("top_p", "max_tokens", "stop", say=say)
    backend = Endpoint(httpx.MockTransport(answer))
    sampling = Sampling(temperature=1.0, seed=3, top_k=5, max_tokens=3)
    request = GenerationRequest(MODEL, REQUEST.messages, sampling)
    finish = [item async for item in backend.generate(request)][-1]
    assert isinstance(finish, Finish)
    assert finish.note.startswith("This server refuses ") and finish.note.endswith("asked without them.")
    assert all(name in finish.note for name in ("seed", "top_k", "stream_options")) and len(seen) == 4
    again = [item async for item in backend.generate(request)][-1]
    assert isinstance(again, Finish) and again.note == finish.note and len(seen) == 5, "it is remembered"
    await backend.close()


@pytest.mark.parametrize("field", ["top_p", "stop", "response_format"])
async def test_a_refused_field_that_matters_fails_with_the_servers_reason(field: str) -> None:
    known = {"top_p", "stop", "seed", "stream_options", "max_tokens", "response_format"} - {field}
    answer, seen = strict(*known, say=lambda name: {"error": {"message": f"{name} is not supported"}})
    request = GenerationRequest(MODEL, REQUEST.messages, Sampling(stop=("x",), json_schema="{}"))
    with pytest.raises(ServerError, match=f"400: {field} is not supported"):
        await talk(answer, request)
    assert len(seen) == 1


async def test_the_new_name_of_max_tokens_is_used_where_a_server_wants_it() -> None:
    def say(name: str) -> dict:
        return {"error": {"message": f"Unsupported parameter: {name!r}. Use 'max_completion_tokens' instead."}}

    answer, seen = strict("top_p", "stop", "seed", "stream_options", "max_completion_tokens", say=say)
    text, finish = await talk(answer)
    assert text == "ok" and finish.note == "" and seen[-1]["max_completion_tokens"] == 3
    endless = GenerationRequest(MODEL, REQUEST.messages, Sampling(max_tokens=TO_CONTEXT_END))
    await talk(answer, endless)
    assert not {"max_tokens", "max_completion_tokens"} & seen[-1].keys()


@pytest.mark.parametrize(
    ("typed", "paths"),
    [
        ("http://there/v1", ["/v1/chat/completions"]),
        ("http://there", ["/v1/chat/completions"]),
        ("HTTP://there/", ["/v1/chat/completions"]),
        ("http://there/v1/chat/completions", ["/v1/chat/completions"]),
        ("http://there/api", ["/api/chat/completions", "/api/v1/chat/completions"]),
        ("http://there/api/v1/models", ["/api/v1/chat/completions"]),
        ("http://there/v1beta/openai", ["/v1beta/openai/chat/completions"]),
    ],
)
async def test_the_address_may_be_typed_in_several_ways(typed: str, paths: list[str]) -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        good = request.url.path == paths[-1]
        return httpx.Response(200, content=chunk("ok") + sse.END) if good else httpx.Response(404, text="Not Found")

    ref = refs.parse(f"{typed}#big")
    model = Resolved(str(ref), "endpoint", "big", url=ref.value, endpoint_model=ref.model)
    text, _ = await talk(answer, GenerationRequest(model, REQUEST.messages, SAMPLING))
    assert text == "ok" and seen == paths


async def test_an_old_server_without_v1_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        good = request.url.path in ("/models", "/chat/completions")
        return httpx.Response(200, content=chunk("ok") + sse.END) if good else httpx.Response(404)

    model = Resolved("http://there#big", "endpoint", "big", url="http://there", endpoint_model="big")
    assert (await talk(answer, GenerationRequest(model, REQUEST.messages, SAMPLING)))[0] == "ok"
    backend = Endpoint(httpx.MockTransport(answer))
    await backend.load(model)
    await backend.close()


async def test_a_stray_surrogate_never_raises() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert json.loads(request.content)["messages"][0]["content"] == "a?"
        return httpx.Response(200, content=chunk("ok") + sse.END)

    said = ({"role": "user", "content": "a\ud800"},)
    assert (await talk(answer, GenerationRequest(MODEL, said, Sampling(stop=("\udfff",)))))[0] == "ok"  # type: ignore[arg-type]


async def test_probabilities_are_passed_on_and_text_is_not_continued() -> None:
    found = {
        "content": [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [{"token": "b", "logprob": -1}]}]
    }
    stream = sse.event({"choices": [{"delta": {"content": "a"}, "logprobs": found}]}) + sse.END
    backend = Endpoint(httpx.MockTransport(lambda request: httpx.Response(200, content=stream)))
    request = GenerationRequest(MODEL, REQUEST.messages, Sampling(top_logprobs=1))
    items = [item async for item in backend.generate(request)]
    assert items[0] == TokenLogprob(b"a", -0.5, ((b"b", -1.0),)) and items[1] == "a"
    with pytest.raises(Unsupported) as caught:
        [item async for item in backend.generate(GenerationRequest(MODEL, (), Sampling(), text="x"))]
    assert caught.value.where == "prompt"
    await backend.close()
