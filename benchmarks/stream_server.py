"""A chat server without a model: every lane gets words at a fixed rate, through our own HTTP shapes.
Started as a process, `python -m benchmarks.stream_server HOME RATE`; the app of that home takes it for its server."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from itertools import cycle, islice
from pathlib import Path
from time import monotonic
from typing import Any

import uvicorn

from engine.core import process
from engine.inference import access
from engine.inference.protocol import ChatRequest
from engine.inference.records import Finish
from engine.inference.server.app import make_app
from store.home import Home

TOKENS = 20_000
WORDS = (
    "the keeper climbed the stairs while rain beat on the glass and his daughter counted the waves.\n\n"
    "she said that every seventh wave was higher than the others, and he laughed because he had known it too"
)


class WordStream:
    """What `make_app` needs of a service. `rate` is words a second in each lane."""

    def __init__(self, rate: float) -> None:
        self._rate = rate

    async def answer(self, request: ChatRequest) -> AsyncGenerator[str | Finish, None]:
        """Words, each at its time, however late the one before was taken."""
        began = monotonic()
        for n, word in enumerate(islice(cycle(WORDS.split(" ")), TOKENS)):
            await asyncio.sleep(max(0.0, began + n / self._rate - monotonic()))
            yield word + " "
        yield Finish("length", TOKENS, 40, 10.0, self._rate, 40 + TOKENS, 8192, model=request.model)

    async def models(self) -> list[str]:
        """None of its own."""
        return []

    async def load(self, ref: str) -> dict[str, Any]:
        """Everything is ready."""
        return {"model": ref, "backend": "stream", "ms": 0.0}


def main(home: str, rate: str) -> None:
    """Serve until killed."""
    token, root = "bench", Home(Path(home))
    config = uvicorn.Config(
        make_app(WordStream(float(rate)), token, access.version()),  # type: ignore[arg-type]
        log_level="warning",
        access_log=False,
        lifespan="off",
    )
    config.port = 0
    bound = config.bind_socket()
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    started = process.started_at(os.getpid()) or 0.0
    access.write_info(root, access.ServerInfo(url, token, os.getpid(), started, access.version()))
    asyncio.run(uvicorn.Server(config).serve([bound]))


if __name__ == "__main__":
    main(*sys.argv[1:])
