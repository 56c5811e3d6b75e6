"""Talks to the chat server over HTTP and starts it when it is not there: how screens and commands reach a model.
Contains no model, template or sampling logic; httpx is imported on first use, so that the app starts fast."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

from engine.core import process
from engine.inference import access, sse
from engine.inference.sampling import Sampling
from engine.inference.token_comparison import TokenComparison
from store.errors import ServerError
from store.home import Home
from store.records import Message

if TYPE_CHECKING:
    import httpx

Stop = Literal["end", "length", "cancelled", "error"]
LOG = "chat-server.log"
_START_S = 60.0
_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of an answer; `model` is what gives it, as in `Done`. `reasoning` is what the model thinks before
    it answers, and no part of the answer."""

    text: str
    model: str = ""
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """How an answer ended. `text` is the whole answer, also when `stop` is "error"; `error` is then a sentence.

    Times are the server's: `ttft_ms` from the request to the first token, `tokens_per_s` over the tokens after it.
    `context_used` of `context_size` tokens are taken after the answer; `dropped_turns` earlier messages did not fit.
    `model` is what answered: for a run in training, its newest checkpoint as `run:NAME@STEP`. `reasoning` is what
    the model thought before it answered. `note` is a sentence on what could not be done as asked. `token_ids` are the
    answer's tokens, with the one that ended it; none where they are not known, or a stop text cut the answer.
    """

    text: str
    tokens: int = 0
    prompt_tokens: int = 0
    stop: Stop = "end"
    ttft_ms: float | None = None
    tokens_per_s: float | None = None
    context_used: int = 0
    context_size: int = 0
    dropped_turns: int = 0
    model: str = ""
    error: str | None = None
    reasoning: str = ""
    note: str = ""
    token_ids: tuple[int, ...] = ()


class Client:
    """A connection to the chat server of one home: `await Client.connect(home)`, at the end `await client.close()`.

    If the server has stopped, the next call starts it again, unless `start` was False.
    """

    def __init__(self, home: Home, http: httpx.AsyncClient, info: access.ServerInfo, start: bool) -> None:
        self._home, self._http, self._info, self._start = home, http, info, start
        self._reconnecting = asyncio.Lock()

    @classmethod
    async def connect(cls, home: Home, *, start: bool = True) -> Client:
        """Reach the home's chat server, starting it detached when none answers.

        Raises ServerError when it cannot be started (with the tail of its log), or is absent and `start` is False.
        """
        info = await asyncio.to_thread(_find_or_start, home, start)
        httpx = await asyncio.to_thread(_httpx)  # imported while the server starts
        # Only ever plain HTTP to a server of ours: neither certificates nor the environment's proxies apply.
        http = httpx.AsyncClient(timeout=httpx.Timeout(10.0, read=None), verify=False, trust_env=False)
        client = cls(home, http, info, start)
        try:
            await client._healthy()
        except BaseException:
            await http.aclose()
            raise
        return client

    async def stream(
        self,
        model: str,
        messages: Sequence[Message],
        sampling: Sampling,
        lane: str | None = None,
        prefix: Sequence[int] = (),
    ) -> AsyncGenerator[Delta | Done, None]:
        """Yield the answer's pieces, then one `Done`. Closing the iterator cancels the generation on the server.

        `lane` names a conversation side whose prefix the server may keep. The answer begins with the tokens of
        `prefix`, if there are any, whose text comes first. A refused request raises what it was refused
        with (NotFound, BadInput, …); an answer that breaks off ends in `Done(stop="error")` with the text so far.
        """
        body = {"model": model, "messages": list(messages), "stream": True, **sampling.to_json()}
        if lane is not None:
            body["lane"] = lane
        if prefix:
            body["prefix_ids"] = list(prefix)
        texts: list[str] = []
        try:
            async with aclosing(self._events(body)) as events:
                async for event in events:
                    if isinstance(event, Done):
                        yield event
                        return
                    texts.append(event.text)
                    yield event
            what = "The chat server stopped in the middle of the answer. The next prompt starts it again."
        except _Broken as error:
            what = str(error)
        yield Done("".join(texts), stop="error", error=what)

    async def complete(
        self,
        model: str,
        messages: Sequence[Message],
        sampling: Sampling,
        lane: str | None = None,
        prefix: Sequence[int] = (),
    ) -> Done:
        """The whole answer at once; fails like `stream`."""
        async with aclosing(self.stream(model, messages, sampling, lane, prefix)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Done):
                    return piece
        raise ServerError("The answer had no end.")

    async def lane_check(self, lanes: Mapping[str, str]) -> dict[str, Any]:
        """Check with numbers what each lane (name to model) is; the keys are those of `server.lane_check.check`."""
        body = {"lanes": [{"lane": lane, "model": model} for lane, model in lanes.items()]}
        return await self._call("POST", "/v1/tuningfork/lane_check", body)

    async def score(self, model: str, messages: Sequence[Message]) -> list[float]:
        """The natural log probability of each token of the last message, an assistant's, with the end of its turn.

        Unsupported for an endpoint, whose probabilities are not seen; BadInput for what does not fit the context.
        """
        body = {"model": model, "messages": list(messages)}
        return list((await self._call("POST", "/v1/tuningfork/score", body, patient=True))["logprobs"])

    async def tokens(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        token_ids: Sequence[int] = (),
        ended: bool = True,
        sampling: Sampling | None = None,
        top: int = 5,
        on_progress: Callable[[int, int], None] = lambda read, of: None,
    ) -> TokenComparison:
        """How probable a tuned model and its base find each token of the last message, an assistant's.

        `token_ids` are those that were sampled with `sampling` (`Done.token_ids`); without them the text is turned into
        tokens again, with the end of its turn if it has `ended`. `on_progress` hears how many tokens are read, of how
        many. Cancelling ends the work on the server. Unsupported for a model that is not tuned, or an endpoint.
        """
        body = {"model": model, "messages": list(messages), "ended": ended, "top": top}
        body |= (sampling or Sampling()).to_json() | ({"token_ids": list(token_ids)} if token_ids else {})
        httpx, again = _httpx(), True
        while True:
            try:
                async with self._request("POST", "/v1/tuningfork/tokens", body) as response:
                    if response.status_code == 200:
                        return await _comparison(response, on_progress)
                    refusal, wait = await _refusal(response), response.headers.get("retry-after", "")
            except httpx.TransportError:
                if not again:
                    raise _silent(self._home) from None
                again = False
                await self._reconnect()
                continue
            if response.status_code != 503 or not wait.isdigit():
                raise refusal
            await asyncio.sleep(int(wait))  # its base is being prepared

    async def load(self, model: str) -> dict[str, Any]:
        """Load a model now, so that its first answer starts at once: {"model", "backend", "ms"}.

        Waits while the server prepares its base, which `stream` would raise a ServerError for.
        """
        return await self._call("POST", "/v1/tuningfork/load", {"model": model}, patient=True)

    async def stage(self, lane: str) -> str:
        """What the server does for the answer of a lane that has no token yet: "queued", "loading" (its model) or
        "reading" (its prompt); empty where it does not know."""
        return str((await self._call("GET", f"/v1/tuningfork/stage?{urlencode({'lane': lane})}"))["stage"])

    async def models(self) -> list[str]:
        """The model references that the server knows."""
        return [row["id"] for row in (await self._call("GET", "/v1/models"))["data"]]

    async def close(self) -> None:
        """Close the connections; the server stays."""
        await self._http.aclose()

    async def _events(self, body: dict[str, Any]) -> AsyncGenerator[Delta | Done, None]:
        """One streamed answer; tried once more when the server stopped before sending anything."""
        httpx = _httpx()
        texts: list[str] = []
        thoughts: list[str] = []
        for again in (True, False):
            try:
                async with self._request("POST", "/v1/chat/completions", body) as response:
                    if response.status_code != 200:
                        raise await _refusal(response)
                    async for event in sse.events(response.aiter_bytes()):
                        if event is None:
                            return
                        if event.get("error"):
                            raise _Broken((_error_in(event) or ServerError("The answer failed.")).what)
                        text, thought, done = _read(event)
                        if text or thought:
                            texts.append(text)
                            thoughts.append(thought)
                            yield Delta(text, str(event.get("model", "")), thought)
                        if done is not None:
                            yield replace(done, text="".join(texts), reasoning="".join(thoughts))
                    return
            except httpx.TransportError:
                if texts:
                    return  # broke off: the caller reports it
                if not again:
                    raise ServerError(
                        "The chat server does not answer.", where=_log(self._home), todo="Try again."
                    ) from None
                await self._reconnect()

    async def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, patient: bool = False
    ) -> dict[str, Any]:
        """One request and its JSON response.

        Tried once more when the server has stopped; with `patient`, for as long as the server says when to retry.
        """
        httpx, again = _httpx(), True
        while True:
            try:
                async with self._request(method, path, body) as response:
                    await response.aread()
            except httpx.TransportError:
                if not again:
                    raise _silent(self._home) from None
                again = False
                await self._reconnect()
                continue
            if response.status_code == 200:
                return dict(response.json())
            wait = response.headers.get("retry-after", "")
            if not (patient and response.status_code == 503 and wait.isdigit()):
                raise await _refusal(response)
            await asyncio.sleep(int(wait))

    def _request(self, method: str, path: str, body: dict[str, Any] | None = None):  # type: ignore[no-untyped-def]
        headers = {"Authorization": f"Bearer {self._info.token}", "Content-Type": "application/json"}
        content = None if body is None else sse.to_bytes(body)
        return self._http.stream(method, self._info.url + path, content=content, headers=headers)

    async def _reconnect(self) -> None:
        """Find or start the server again; when several callers notice at once, one does it."""
        gone = self._info
        async with self._reconnecting:
            if self._info is gone:
                self._info = await asyncio.to_thread(_find_or_start, self._home, self._start)
                await self._healthy()

    async def _healthy(self) -> None:
        """Wait until the server answers. It listens from its first moment on, so one request is enough."""
        httpx = _httpx()
        try:
            response = await self._http.get(self._info.url + "/health", timeout=_START_S)
            if response.status_code == 200:
                return
        except httpx.TransportError:
            await asyncio.sleep(0)  # it ended while starting: its log has the reason
        raise _did_not_start(self._home)


class _Broken(Exception):
    """An answer that began and then failed, with a sentence about it."""


def shutdown(home: Home, *, timeout_s: float = 5.0) -> bool:
    """End the home's chat server. False when none was running."""
    info = access.read_info(home)
    if info is None or not info.alive():
        return False
    with suppress(ProcessLookupError):
        os.kill(info.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    while info.alive() or access.is_held(access.lock_path(home)):  # its threads may outlive its first one
        now = access.read_info(home)
        if now is not None and now.pid != info.pid:
            break  # another server has started
        if time.monotonic() > deadline:
            process.kill_group(info.pid, info.pid_started)
            if process.started_at(info.pid) == info.pid_started:
                os.kill(info.pid, signal.SIGKILL)
            break
        time.sleep(_POLL_S)
    access.remove_info(home, info.pid)
    return True


def _find_or_start(home: Home, start: bool) -> access.ServerInfo:
    """The running server of our version, started when there is none. Blocks; of two callers at once, one starts it."""
    info = _living(home)
    if info is not None:
        return info
    if not start:
        raise ServerError("No chat server runs for this home.", where=str(home.root), todo="Start it: tuningfork serve")
    home.ensure()
    with access.in_turn(home.root / "server.start.lock"):
        return _living(home) or _start(home)


def _living(home: Home) -> access.ServerInfo | None:
    """The server that runs, unless it is of another version: that one is ended."""
    info = access.read_info(home)
    if info is None or not info.alive():
        return None
    if info.version != access.version():
        shutdown(home)
        return None
    return info


def _start(home: Home) -> access.ServerInfo:
    argv = [sys.executable, "-m", "engine.inference.server", "--home", str(home.root)]
    pid, started = process.spawn(argv, log=home.logs / LOG, cwd=home.root, env=process.environment())
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        info = _living(home)
        if info is not None:
            return info
        if not process.is_running(pid, started):
            break
        time.sleep(_POLL_S)
    raise _did_not_start(home)


def _did_not_start(home: Home) -> ServerError:
    why = process.last_line(home.logs / LOG)
    return ServerError(
        f"The chat server did not start{': ' + why if why else '.'}", where=_log(home), todo="See its log."
    )


def _silent(home: Home) -> ServerError:
    return ServerError("The chat server does not answer.", where=_log(home), todo="Try again.")


def _log(home: Home) -> str:
    return str(home.logs / LOG)


def _httpx():  # type: ignore[no-untyped-def]  # a module
    import httpx

    return httpx


def _error_in(body: Any):  # type: ignore[no-untyped-def]
    from engine.inference.protocol import error_from

    return error_from(body)


async def _refusal(response: httpx.Response) -> Exception:
    """What the server refused the request with."""
    raw = await response.aread()
    with suppress(ValueError):
        error = _error_in(response.json())
        if error is not None:
            return error
    return ServerError(f"The chat server answered {response.status_code}.", todo=raw[:200].decode("utf-8", "replace"))


async def _comparison(response: httpx.Response, on_progress: Callable[[int, int], None]) -> TokenComparison:
    """What the server streams of a comparison. ServerError when it breaks off."""
    async for event in sse.events(response.aiter_bytes()):
        if event is None:
            break
        if event.get("error"):
            raise _error_in(event) or ServerError("The tokens could not be compared.")
        if "tokens" in event:
            return TokenComparison.from_json(event)
        on_progress(int(event["read"]), int(event["of"]))
    raise ServerError("The chat server stopped before the tokens were compared.", todo="Try again.")


def _read(event: dict[str, Any]) -> tuple[str, str, Done | None]:
    """Text and reasoning of a chunk, and the end if it is the last one."""
    choices = event.get("choices") or [{}]
    said = choices[0].get("delta") or {}
    figures = event.get("tuningfork")
    done = None
    if isinstance(figures, dict):
        done = Done("", **{**figures, "token_ids": tuple(figures.get("token_ids", ()))})
    return said.get("content") or "", said.get("reasoning_content") or "", done
