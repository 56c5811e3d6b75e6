"""Server-sent events as the chat API uses them: one JSON object each, ended by [DONE].
Written by the server, read by the client and the endpoint backend; standard library only."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any

END = b"data: [DONE]\n\n"


def event(body: Mapping[str, Any]) -> bytes:
    """One event."""
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


async def events(chunks: AsyncIterable[bytes]) -> AsyncIterator[dict[str, Any] | None]:
    """The objects of a stream of bytes, then None if it was ended by [DONE]: a stream that merely breaks off yields
    no None.

    Lines end at a line feed only; a text may hold other line separators. Raises ValueError for an event that is not
    JSON.
    """
    held = b""
    async for chunk in chunks:
        *lines, held = (held + chunk).split(b"\n")
        for line in lines:
            field, _, value = line.strip(b"\r").partition(b":")
            if field != b"data":
                continue  # a comment, an event name or the empty line between events
            if value.strip() == b"[DONE]":
                yield None
                return
            body = json.loads(value)
            if isinstance(body, dict):
                yield body
