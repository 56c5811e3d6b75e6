"""Answers by another server: any OpenAI-compatible endpoint (vLLM, Ollama, llama-server), its stream passed through.
The key, if it wants one, comes from the environment variable TUNINGFORK_ENDPOINT_KEY and is sent nowhere else."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from time import perf_counter
from typing import Any, NoReturn

import httpx

from engine.inference import sse
from engine.inference.backends.base import rate
from engine.inference.prompts import EncodedPrompt
from engine.inference.protocol import error_from
from engine.inference.records import Finish, GenerationRequest
from engine.inference.sampling import Sampling
from engine.models.refs import Resolved
from store.errors import NotFound, ServerError, Unsupported
from store.records import Message

KEY = "TUNINGFORK_ENDPOINT_KEY"
_CONNECT_S, _SILENCE_S = 10.0, 300.0
# Fields that OpenAI's own API does not know: sent only when they are asked for, or a strict server refuses the request.
_EXTRAS = ("top_k", "min_p", "repeat_penalty")


class Endpoint:
    """Every remote model. Holds connections, no weights."""

    name = "endpoint"

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        timeout = httpx.Timeout(_CONNECT_S, read=_SILENCE_S)
        self._http = httpx.AsyncClient(timeout=timeout, transport=transport, follow_redirects=False)

    async def load(self, model: Resolved) -> None:
        """Ask whether the endpoint answers. Raises ServerError when it does not."""
        try:
            response = await self._http.get(f"{model.url}/models", headers=_headers())
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _unreachable(model, error) from None
        if response.status_code in (401, 403):
            raise _refused(model, response.status_code, None)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[str | Finish, None]:
        model, sampling = request.model, request.sampling
        tokens, first, stop = 0, None, ""
        usage: dict[str, Any] = {}
        try:
            exchange = self._http.stream(
                "POST", f"{model.url}/chat/completions", json=_body(request, sampling), headers=_headers()
            )
            async with exchange as response:
                if response.status_code != 200:
                    await response.aread()
                    raise _refused(model, response.status_code, response)
                async for event in sse.events(response.aiter_bytes()):
                    if event is None:
                        break
                    text, ended = _read(event)
                    stop, usage = ended or stop, event.get("usage") or usage
                    if text:
                        first = first or perf_counter()
                        tokens += 1
                        yield text
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _unreachable(model, error) from None
        except ValueError as error:
            raise ServerError(f"The endpoint sent something that is not JSON: {error}.", where=model.url) from None
        if not stop:
            raise ServerError("The endpoint broke off in the middle of the answer.", where=model.url, todo="Try again.")
        tokens = int(usage.get("completion_tokens") or tokens)  # without usage, pieces stand for tokens
        prompt = int(usage.get("prompt_tokens") or 0)
        yield Finish(
            stop="length" if stop == "length" else "end",
            tokens=tokens,
            prompt_tokens=prompt,
            ttft_ms=(first - request.asked) * 1e3 if first else None,
            tokens_per_s=rate(tokens, first, perf_counter()),
            context_used=prompt + tokens,
        )

    async def prompt(self, model: Resolved, messages: Sequence[Message]) -> EncodedPrompt:
        _hidden(model)

    async def logits(self, model: Resolved, ids: Sequence[int], lane: str | None) -> Sequence[float]:
        _hidden(model)

    async def plain_logits(self, model: Resolved, ids: Sequence[int]) -> Sequence[float]:
        _hidden(model)

    async def unload_idle(self, seconds: float, keep: Sequence[Resolved]) -> None:
        """Nothing is held."""

    async def close(self) -> None:
        await self._http.aclose()


def _headers() -> dict[str, str]:
    key = os.environ.get(KEY)
    return {"Authorization": f"Bearer {key}"} if key else {}


def _body(request: GenerationRequest, sampling: Sampling) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": request.model.endpoint_model,
        "messages": list(request.messages),
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    default = Sampling()
    return body | {k: v for k, v in sampling.to_json().items() if k in _EXTRAS and v != getattr(default, k)}


def _read(event: dict[str, Any]) -> tuple[str, str]:
    """Text and finish reason of a chunk. Raises ServerError for an error in the stream."""
    if "error" in event:
        raise error_from(event) or ServerError("The endpoint failed.")
    choices = event.get("choices") or [{}]
    return (choices[0].get("delta") or {}).get("content") or "", choices[0].get("finish_reason") or ""


def _refused(model: Resolved, status: int, response: httpx.Response | None) -> Exception:
    if status in (401, 403):
        return ServerError(
            "The endpoint wants a key.", where=model.url, todo=f"Put it into {KEY} and restart the chat server."
        )
    try:
        error = error_from(response.json()) if response is not None else None
    except ValueError:
        error = None
    why = f": {error.what}" if error else "."
    if status == 404:
        return NotFound(f"The endpoint has no model {model.endpoint_model}{why}", where=model.url)
    return ServerError(f"The endpoint answered {status}{why}", where=model.url)


def _unreachable(model: Resolved, error: Exception) -> ServerError:
    return ServerError(
        f"The endpoint does not answer ({type(error).__name__}).", where=model.url, todo="Is it running?"
    )


def _hidden(model: Resolved) -> NoReturn:
    raise Unsupported(f"{model.ref} is an endpoint: its logits cannot be seen.", todo="Compare models on this machine.")
