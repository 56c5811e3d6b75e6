"""The chat server's HTTP face in this process, for tests that look behind it or stand something else there.
Real sockets and a real server file; only the process is the test's own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from engine.core import process
from engine.inference import access
from engine.inference.server.app import make_app
from store.home import Home


@asynccontextmanager
async def serving(home: Home, service: Any) -> AsyncIterator[uvicorn.Server]:
    """Answer the clients of `home` with what `make_app` makes of `service`. The token and address are in its file."""
    app = make_app(service, "t", access.version())
    config = uvicorn.Config(app, port=0, log_level="warning", lifespan="off")
    bound = config.bind_socket()
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([bound]), name="server")
    me, url = os.getpid(), f"http://127.0.0.1:{bound.getsockname()[1]}"
    access.write_info(home, access.ServerInfo(url, "t", me, process.started_at(me) or 0.0, access.version()))
    try:
        yield server
    finally:
        server.should_exit = True
        await task
        access.remove_info(home, me)
