"""Answers by another server: any OpenAI-compatible endpoint (vLLM, Ollama, llama-server), its stream passed through.
Reads what such servers really send, and asks again without a field that one refuses. The key, if it wants one, comes
from the environment variable TUNINGFORK_ENDPOINT_KEY and is sent nowhere else."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NoReturn
from urllib.parse import urlsplit

import httpx

from engine.inference import sse
from engine.inference.backends.base import rate
from engine.inference.limits import TO_CONTEXT_END
from engine.inference.prompts import AnsweredPrompt, EncodedPrompt
from engine.inference.protocol import error_from
from engine.inference.records import Finish, GenerationRequest, Piece, Reasoning, ScoredBatch, TokenLogprob
from engine.inference.sampling import Sampling
from engine.inference.text_stream import Surrogates
from engine.models.refs import Resolved
from store.errors import NotFound, ServerError, TuningforkError, Unsupported
from store.records import Message

KEY = "TUNINGFORK_ENDPOINT_KEY"
_CONNECT_S, _SILENCE_S = 10.0, 300.0
_EXTRAS = ("top_k", "min_p", "repeat_penalty")
"""Fields that OpenAI's own API does not know: sent only when they are asked for, or a strict server refuses all."""
_SPARED = ("stream_options", "seed", *_EXTRAS)
"""Fields that a comparison can do without: a server that refuses one is asked again without it, and the answer says
so. Any other refused field would change what was asked for, and fails the answer."""
_PATHS = ("/chat/completions", "/completions", "/models")


@dataclass(slots=True)
class _Server:
    """What was learned of a server: where its API begins, the first that may be it first, and what it refuses."""

    bases: list[str]
    without: list[str] = field(default_factory=list)
    new_max_tokens: bool = False

    @property
    def note(self) -> str:
        """A sentence on what is left out of every request; "" for nothing."""
        if not self.without:
            return ""
        it = "it" if len(self.without) == 1 else "them"
        return f"This server refuses {' and '.join(self.without)}: asked without {it}."


class Endpoint:
    """Every remote model. Holds connections, no weights."""

    name = "endpoint"

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        timeout = httpx.Timeout(_CONNECT_S, read=_SILENCE_S)
        self._http = httpx.AsyncClient(timeout=timeout, transport=transport, follow_redirects=False)
        self._servers: dict[str, _Server] = {}

    async def load(self, model: Resolved) -> None:
        """Ask whether the endpoint answers. Raises ServerError when it does not."""
        server = self._server(model)
        try:
            while True:
                response = await self._http.get(f"{server.bases[0]}/models", headers=_headers())
                if response.status_code != 404 or not _elsewhere(server):
                    break
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _unreachable(model, error) from None
        if response.status_code in (401, 403):
            raise _refused(model, response.status_code, b"")

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Piece | Finish, None]:
        if request.text is not None:
            what = f"{request.model.ref} is an endpoint: it is asked through its chat."
            raise Unsupported(what, where="prompt", todo="Use /v1/chat/completions.")
        if request.prefix:
            what = f"{request.model.ref} is an endpoint: it cannot be told how an answer begins."
            raise Unsupported(what, where="prefix_ids", todo="Use a model on this machine.")
        model, server = request.model, self._server(request.model)
        reading = _Reading(model)
        try:
            while True:
                body = _body(request, server)
                url = f"{server.bases[0]}/chat/completions"
                exchange = self._http.stream("POST", url, content=sse.to_bytes(body), headers=_headers())
                async with exchange as response:
                    if response.status_code == 200:
                        async for piece in reading.pieces(response):
                            yield piece
                        break
                    raw = await response.aread()
                if not _adapt(server, response.status_code, raw, body):
                    raise _refused(model, response.status_code, raw)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _unreachable(model, error) from None
        except ValueError as error:
            raise ServerError(f"The endpoint sent something that is not JSON: {error}.", where=model.url) from None
        yield reading.finish(request, server.note)

    async def prompt(
        self, model: Resolved, messages: Sequence[Message], sampling: Sampling | None = None
    ) -> EncodedPrompt:
        _hidden(model)

    async def logits(self, model: Resolved, ids: Sequence[int], lane: str | None) -> Sequence[float]:
        _hidden(model)

    async def plain_logits(self, model: Resolved, ids: Sequence[int]) -> Sequence[float]:
        _hidden(model)

    async def answered(self, model: Resolved, messages: Sequence[Message], *, ended: bool = True) -> AnsweredPrompt:
        _hidden(model)

    async def score(
        self, model: Resolved, ids: Sequence[int], first: int, top: int = 0
    ) -> AsyncGenerator[ScoredBatch, None]:
        _hidden(model)
        yield ScoredBatch(0, ())  # makes it an async generator

    async def text_ids(self, model: Resolved, text: str, *, begin: bool) -> list[int]:
        _hidden(model)

    async def pieces(self, model: Resolved, ids: Sequence[int]) -> list[bytes]:
        _hidden(model)

    async def ends(self, model: Resolved, id: int) -> bool:
        _hidden(model)

    async def unload_idle(self, seconds: float, keep: Sequence[Resolved]) -> None:
        """Nothing is loaded here."""

    async def close(self) -> None:
        await self._http.aclose()

    def _server(self, model: Resolved) -> _Server:
        url = str(model.url)
        if url not in self._servers:
            self._servers[url] = _Server(_bases(url))
        return self._servers[url]


class _Reading:
    """Reads one answer, whether it is streamed or sent whole."""

    def __init__(self, model: Resolved) -> None:
        self._model = model
        self._text, self._thought = Surrogates(), Surrogates()
        self._stop, self._tokens = "", 0
        self._first: float | None = None  # of anything
        self._answered: float | None = None  # the first text of the answer
        self._usage: Mapping[str, Any] = {}

    async def pieces(self, response: httpx.Response) -> AsyncIterator[Piece]:
        """Text, reasoning and log probabilities as they come. Raises ServerError for an error in the answer, or for
        an answer without an end; ValueError for what is not JSON."""
        chunks = response.aiter_bytes()
        head = b""
        async for chunk in chunks:
            head += chunk
            if head.strip():
                break
        if head.lstrip().startswith(b"{"):  # the server does not stream, or sends an error as a success
            whole = json.loads(head + b"".join([chunk async for chunk in chunks]))
            for piece in self._event(whole if isinstance(whole, dict) else {}):
                yield piece
            self._stop = self._stop or ("stop" if isinstance(whole, dict) and whole.get("choices") else "")
        else:
            async for event in sse.events(_chained(head, chunks)):
                if event is None:
                    self._stop = self._stop or "stop"
                    break
                for piece in self._event(event):
                    yield piece
        for piece in self._rest():
            yield piece
        if not self._stop:
            what = "The endpoint broke off in the middle of the answer."
            if self._first is None and not head.lstrip().startswith((b"data", b":", b"event", b"id")):
                what = f"The endpoint sent no answer: {head[:80].decode('utf-8', 'replace').strip() or 'nothing'}"
            raise ServerError(what, where=self._model.url, todo="Try again.")

    def finish(self, request: GenerationRequest, note: str) -> Finish:
        """How the answer ended, tokens of reasoning not counted. Without `usage`, pieces of text stand for tokens."""
        details = self._usage.get("completion_tokens_details")
        thoughts = _count(details.get("reasoning_tokens")) if isinstance(details, dict) else 0
        tokens = max(0, _count(self._usage.get("completion_tokens")) - thoughts) or self._tokens
        prompt = _count(self._usage.get("prompt_tokens"))
        return Finish(
            stop="length" if self._stop in ("length", "max_tokens") else "end",
            tokens=tokens,
            prompt_tokens=prompt,
            ttft_ms=(self._first - request.asked) * 1e3 if self._first else None,
            tokens_per_s=rate(tokens, self._answered, perf_counter()),
            context_used=prompt + thoughts + tokens,
            note=note,
        )

    def _event(self, event: Mapping[str, Any]) -> list[Piece]:
        if (error := error_from(event)) is not None:
            raise ServerError(f"The endpoint failed: {error.what}", where=self._model.url)
        usage, choices = event.get("usage"), event.get("choices")
        self._usage = usage if isinstance(usage, dict) else self._usage
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        said = choice.get("delta") or choice.get("message") or {}
        text, thought = _texts(said.get("content"))
        for name in ("reasoning_content", "reasoning"):
            thought = thought or (said[name] if isinstance(said.get(name), str) else "")
        self._stop = str(choice.get("finish_reason") or self._stop)
        found: list[Piece] = [*_logprobs(choice.get("logprobs"))]
        if text or thought:
            self._first = self._first or perf_counter()
        if text:
            self._answered = self._answered or perf_counter()
            self._tokens += 1
        if thought := self._thought.feed(thought):
            found.append(Reasoning(thought))
        if text := self._text.feed(text):
            found.append(text)
        return found

    def _rest(self) -> list[Piece]:
        thought, text = self._thought.feed("", final=True), self._text.feed("", final=True)
        return [*([Reasoning(thought)] if thought else []), *([text] if text else [])]


async def _chained(head: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for chunk in chunks:
        yield chunk


def _bases(url: str) -> list[str]:
    """Where the API of a server may begin, likeliest first: a user may leave out /v1, or give a whole address."""
    url = url.rstrip("/")
    for path in _PATHS:
        url = url.removesuffix(path).rstrip("/")
    path = urlsplit(url).path
    if re.search(r"/v\d", path):
        return [url]
    return [f"{url}/v1", url] if not path else [url, f"{url}/v1"]


def _elsewhere(server: _Server) -> bool:
    """Turn to the next address where the API may begin, if there is one."""
    if len(server.bases) == 1:
        return False
    del server.bases[0]
    return True


def _adapt(server: _Server, status: int, raw: bytes, body: Mapping[str, Any]) -> bool:
    """Learn from a refusal; True when asking again may succeed."""
    text = raw.decode("utf-8", "replace")
    if status in (404, 405) and "model" not in text.casefold():
        return _elsewhere(server)
    if status not in (400, 422):
        return False
    if "max_tokens" in body and "max_completion_tokens" in text:
        server.new_max_tokens = True
        return True
    refused = next((name for name in _SPARED if name in body and re.search(rf"\b{name}\b", text)), None)
    if refused is None:
        return False
    server.without.append(refused)
    return True


def _headers() -> dict[str, str]:
    key = os.environ.get(KEY)
    return {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}


def _body(request: GenerationRequest, server: _Server) -> dict[str, Any]:
    """The request as OpenAI's API spells it. A field at its default that not every server knows is left out."""
    sampling, default = request.sampling, Sampling()
    fields = sampling.to_json()
    if not sampling.stop:
        del fields["stop"]
    longest = fields.pop("max_tokens")
    if longest < TO_CONTEXT_END:
        fields["max_completion_tokens" if server.new_max_tokens else "max_tokens"] = longest
    body = {
        "model": request.model.endpoint_model,
        "messages": list(request.messages),
        "stream": True,
        "stream_options": {"include_usage": True},
        **{k: v for k, v in fields.items() if k not in _EXTRAS or v != getattr(default, k)},
    }
    return {name: value for name, value in body.items() if name not in server.without}


def _texts(content: Any) -> tuple[str, str]:
    """The text and the reasoning of a message's content: a text, or a list of parts."""
    if isinstance(content, str):
        return content, ""
    text = thought = ""
    for part in content if isinstance(content, list) else []:
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(part, str):
            text += part
        elif kind in ("thinking", "reasoning"):
            inner = part.get(kind, part.get("text"))
            thought += inner if isinstance(inner, str) else "".join(_texts(inner))
        elif kind is not None or isinstance(part, dict):
            text += part["text"] if isinstance(part.get("text"), str) else ""
    return text, thought


def _logprobs(found: Any) -> list[TokenLogprob]:
    content = found.get("content") if isinstance(found, dict) else None
    return [
        TokenLogprob(*_token(one), tuple(_token(other) for other in one.get("top_logprobs") or []))
        for one in content or []
        if isinstance(one, dict)
    ]


def _token(one: Mapping[str, Any]) -> tuple[bytes, float]:
    raw = one.get("bytes")
    piece = bytes(raw) if isinstance(raw, list) else str(one.get("token", "")).encode("utf-8", "replace")
    return piece, float(one.get("logprob") or 0.0)


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _refused(model: Resolved, status: int, raw: bytes) -> Exception:
    """What the server said, in its own words where it gave a reason."""
    error: TuningforkError | None = None
    with suppress(ValueError):
        error = error_from(json.loads(raw)) if raw else None
    why = f": {error.what}" if error else "."
    if status in (401, 403):
        todo = f"Put a key that it accepts into {KEY} and restart the chat server."
        return ServerError(f"The endpoint wants a key{why}", where=model.url, todo=todo)
    if status == 404:
        return NotFound(f"The endpoint has no model {model.endpoint_model}{why}", where=model.url)
    return ServerError(f"The endpoint answered {status}{why}", where=model.url)


def _unreachable(model: Resolved, error: Exception) -> ServerError:
    return ServerError(
        f"The endpoint does not answer ({type(error).__name__}).", where=model.url, todo="Is it running?"
    )


def _hidden(model: Resolved) -> NoReturn:
    raise Unsupported(f"{model.ref} is an endpoint: its logits cannot be seen.", todo="Compare models on this machine.")
