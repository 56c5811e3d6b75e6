"""Server-sent events as the chat API uses them: one JSON object each, ended by [DONE].
Written by the server, read by the client and the endpoint backend; standard library only."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any

END = b"data: [DONE]\n\n"


def to_bytes(body: Mapping[str, Any]) -> bytes:
    """Compact JSON; half of a surrogate pair, which has no UTF-8 form, becomes a question mark."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def event(body: Mapping[str, Any]) -> bytes:
    """One event."""
    return b"data: " + to_bytes(body) + b"\n\n"


async def events(chunks: AsyncIterable[bytes]) -> AsyncIterator[dict[str, Any] | None]:
    """The objects of a stream of bytes, then None if it was ended by [DONE]: a stream that merely breaks off yields
    no None.

    Reads what servers really send beside the standard (https://html.spec.whatwg.org/multipage/server-sent-events.html):
    events without an empty line between them, an object over several `data:` lines, a last line without its end.
    Lines end at a line feed only; a text may hold other line separators. Raises ValueError for an event that is not
    JSON.
    """
    data = b""  # lines of an object that is not whole yet
    async for line in _lines(chunks):
        field, _, value = line.strip(b"\r").partition(b":")
        if not line.strip():  # the end of an event
            if data.strip():
                json.loads(data)  # not whole: says why
            data = b""
        if field != b"data":
            continue  # a comment, an event's name, an empty line
        if not data and value.strip() == b"[DONE]":
            yield None
            return
        data = data + b"\n" + value if data else value
        try:
            body = json.loads(data) if data.strip() else None
        except ValueError:
            continue  # the rest may follow on the next line
        data = b""
        if isinstance(body, dict):
            yield body
    if data.strip():
        json.loads(data)


async def _lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Lines without their line feed; the last one also when the stream ends without one."""
    held, mark = b"", b"\xef\xbb\xbf"  # a byte order mark may begin the stream
    async for chunk in chunks:
        *lines, held = (held + chunk).split(b"\n")
        for line in lines:
            yield line.removeprefix(mark)
            mark = b""
    if held:
        yield held.removeprefix(mark)
