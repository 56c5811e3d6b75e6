"""The HTTP face of the chat server: routes, the token, limits, streams that end when their reader goes.
Every error leaves in one shape; the work itself is `engine.inference.server.service`'s."""

from __future__ import annotations

import asyncio
import logging
import os
from abc import abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from engine.inference import access, failures, protocol, sse
from engine.inference.limits import MAX_BODY
from engine.inference.protocol import Refusal
from engine.inference.records import Finish, Piece, Reasoning, TokenLogprob
from engine.inference.replies import Completed, Reply, TextReply, completions
from engine.inference.server.service import Began, Service
from engine.inference.server.token_scores import ScoringProgress
from engine.inference.token_comparison import TokenComparison
from store.errors import BadInput, NotFound, TuningforkError

log = logging.getLogger("tuningfork.chat")
Handler = Callable[[Request], Awaitable[Response]]


def make_app(service: Service, token: str, version: str, origins: Sequence[str] = ()) -> Starlette:
    """The application. Everything but /health wants `Authorization: Bearer TOKEN`.

    Web pages of `origins` ("*" for all) may ask from a browser, whose OPTIONS requests are then answered.
    """

    def guarded(handler: Handler) -> Handler:
        async def checked(request: Request) -> Response:
            if not access.token_matches(request.headers.get("authorization"), token):
                error = BadInput(
                    "The token is missing or wrong.", where="Authorization", todo="Send it as Bearer TOKEN."
                )
                return _failed(error, 401, {"WWW-Authenticate": "Bearer"})
            try:
                return await handler(request)
            except ClientDisconnect:
                return Response(status_code=499)
            except Exception as error:
                return failure(error)

        return checked

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok", "version": version, "pid": os.getpid()})

    async def models(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": [_model(ref) for ref in await service.models()]})

    async def model(request: Request) -> Response:
        return JSONResponse(_model(await service.model(request.path_params["id"])))

    async def chat(request: Request) -> Response:
        wanted = protocol.parse_chat(await _body(request))
        return AnswerResponse(service.answer(wanted), wanted, Reply)

    async def completion(request: Request) -> Response:
        wanted = protocol.parse_completion(await _body(request))
        if wanted.simple:
            return AnswerResponse(service.answer(wanted.prompts[0]), wanted.prompts[0], TextReply)
        return CompletionsResponse(service.complete(wanted))

    async def tokenizer_info(_: Request) -> Response:
        return JSONResponse(await service.tokenizer_info())

    async def tokenize(request: Request) -> Response:
        ids = await service.tokenize(*protocol.parse_tokenize(await _body(request)))
        return JSONResponse({"tokens": ids, "count": len(ids)})

    async def detokenize(request: Request) -> Response:
        return JSONResponse({"prompt": await service.detokenize(*protocol.parse_detokenize(await _body(request)))})

    async def lane_check(request: Request) -> Response:
        return JSONResponse(await service.lane_check(protocol.parse_lanes(await _body(request))))

    async def score(request: Request) -> Response:
        body = await _body(request)
        return JSONResponse(await service.score(protocol.text_field(body, "model"), protocol.parse_answered(body)))

    async def tokens(request: Request) -> Response:
        return TokensResponse(service.compare_tokens(protocol.parse_tokens(await _body(request))))

    async def load(request: Request) -> Response:
        return JSONResponse(await service.load(protocol.text_field(await _body(request), "model")))

    async def stage(request: Request) -> Response:
        return JSONResponse({"stage": service.stage(request.query_params.get("lane", ""))})

    async def unknown(request: Request, _: Exception) -> Response:
        return failure(NotFound(f"There is nothing at {request.method} {request.url.path}.", todo="See /v1/models."))

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/v1/models", guarded(models)),
            Route("/v1/models/{id:path}", guarded(model)),
            Route("/v1/chat/completions", guarded(chat), methods=["POST"]),
            Route("/v1/completions", guarded(completion), methods=["POST"]),
            Route("/tokenizer_info", guarded(tokenizer_info)),
            Route("/tokenize", guarded(tokenize), methods=["POST"]),
            Route("/detokenize", guarded(detokenize), methods=["POST"]),
            Route("/v1/tuningfork/lane_check", guarded(lane_check), methods=["POST"]),
            Route("/v1/tuningfork/score", guarded(score), methods=["POST"]),
            Route("/v1/tuningfork/tokens", guarded(tokens), methods=["POST"]),
            Route("/v1/tuningfork/load", guarded(load), methods=["POST"]),
            Route("/v1/tuningfork/stage", guarded(stage)),
        ],
        exception_handlers={404: unknown, 405: unknown},
        middleware=[_cors(origins)] if origins else [],
    )


def _cors(origins: Sequence[str]) -> Middleware:
    """Lets web pages of these origins ask. The token is a header, so no cookies are allowed."""
    return Middleware(CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"], allow_headers=["*"])


def _model(ref: str) -> dict[str, Any]:
    return {"id": ref, "object": "model", "created": 0, "owned_by": "tuningfork"}


class CancellingResponse(Response):
    """A response whose work is cancelled when its reader goes, also while nothing is sent yet."""

    @abstractmethod
    async def write(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do the work and send what it gives."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = asyncio.create_task(self.write(scope, receive, send))
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (gone, answer):
                task.cancel()
            results = await asyncio.gather(answer, gone, return_exceptions=True)
        if isinstance(results[0], Exception) and not isinstance(results[0], OSError):
            log.error("an answer failed to be sent", exc_info=results[0])


class AnswerResponse(CancellingResponse):
    """One answer, streamed or whole."""

    def __init__(
        self,
        items: AsyncGenerator[Began | Piece | Finish, None],
        request: protocol.ChatRequest,
        reply: Callable[[str], Reply],
    ) -> None:
        self.background = None
        self._items, self._request, self._make_reply = items, request, reply
        self._reply = reply(request.model)

    async def write(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._stream if self._request.stream else self._whole)(scope, receive, send)

    async def _whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        texts: list[str] = []
        thoughts: list[str] = []
        logprobs: list[TokenLogprob] = []
        async with aclosing(self._items) as items:
            try:
                async for item in items:
                    match item:
                        case Began():
                            self._reply = self._make_reply(item.model)
                        case Finish():
                            whole = self._reply.whole("".join(texts), item, "".join(thoughts), logprobs)
                            response: Response = Response(sse.to_bytes(whole), media_type="application/json")
                        case Reasoning():
                            thoughts.append(item.text)
                        case TokenLogprob():
                            logprobs.append(item)
                        case _:
                            texts.append(item)
            except Exception as error:
                response = failure(error)
        await response(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The status line waits for the first item, so that a refused request gets a proper error."""
        started = False
        logprobs: list[TokenLogprob] = []  # of tokens whose text comes next
        async with aclosing(self._items) as items:
            try:
                async for item in items:
                    if isinstance(item, Began):
                        self._reply = self._make_reply(item.model)
                        continue
                    if not started:
                        await send({"type": "http.response.start", "status": 200, "headers": _SSE_HEADERS})
                        await _send_event(send, self._reply.opening())
                        started = True
                    match item:
                        case Finish():
                            await _send_event(send, self._reply.last(item, logprobs))
                            if self._request.include_usage:
                                await _send_event(send, self._reply.usage(item))
                        case Reasoning():
                            await _send_event(send, self._reply.reasoning(item.text))
                        case TokenLogprob():
                            logprobs.append(item)
                        case _:
                            await _send_event(send, self._reply.piece(item, logprobs))
                            logprobs = []
                ending = sse.END
            except OSError:
                raise  # the reader is gone
            except Exception as error:
                if not started:
                    await failure(error)(scope, receive, send)
                    return
                ending = sse.event(protocol.error_body(_known(error)))
        await send({"type": "http.response.body", "body": ending, "more_body": False})


class CompletionsResponse(CancellingResponse):
    """Several completions, or one with its prompt: whole, when all are there."""

    def __init__(self, work: Coroutine[Any, Any, list[Completed]]) -> None:
        self.background = None
        self._work = work

    async def write(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            found = completions(await self._work)
            response: Response = Response(sse.to_bytes(found), media_type="application/json")
        except Exception as error:
            response = failure(error)
        await response(scope, receive, send)


class TokensResponse(CancellingResponse):
    """A comparison of an answer's tokens as events: {"read", "of"} while it is computed, then the comparison."""

    def __init__(self, items: AsyncGenerator[ScoringProgress | TokenComparison, None]) -> None:
        self.background = None
        self._items = items

    async def write(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, ending = False, sse.END
        async with aclosing(self._items) as items:
            try:
                async for item in items:
                    if not started:  # not before the first item, so that a refused request gets a proper error
                        await send({"type": "http.response.start", "status": 200, "headers": _SSE_HEADERS})
                        started = True
                    await _send_event(send, item.to_json() if isinstance(item, TokenComparison) else asdict(item))
            except OSError:
                raise  # the reader is gone
            except Exception as error:
                if not started:
                    await failure(error)(scope, receive, send)
                    return
                ending = sse.event(protocol.error_body(_known(error)))
        await send({"type": "http.response.body", "body": ending, "more_body": False})


_SSE_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]


async def _send_event(send: Send, event: dict[str, Any]) -> None:
    await send({"type": "http.response.body", "body": sse.event(event), "more_body": True})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


async def _body(request: Request) -> dict[str, Any]:
    """The JSON of a request of at most `MAX_BODY` bytes; a longer one is refused before it is read to its end."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            error = BadInput(
                f"The request is larger than {MAX_BODY:,} bytes.", where="body", todo="Shorten the prompt."
            )
            raise Refusal(error, 413)
        parts.append(part)
    return protocol.parse_body(b"".join(parts))


def failure(error: Exception) -> Response:
    """The response to an error: ours as it is, anything else as our fault, with the details in the log alone."""
    if isinstance(error, Refusal):
        headers = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
        return _failed(error.error, error.status, headers)
    known = _known(error)
    return _failed(known, protocol.status_of(known), {})


def _known(error: Exception) -> TuningforkError:
    if isinstance(error, Refusal):
        return error.error
    if not isinstance(error, TuningforkError):
        log.error("unexpected error", exc_info=error)
    return failures.named(error)


def _failed(error: TuningforkError, status: int, headers: dict[str, str]) -> Response:
    body = sse.to_bytes(protocol.error_body(error))
    return Response(body, status, headers, media_type="application/json")
