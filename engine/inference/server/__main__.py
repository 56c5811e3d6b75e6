"""`python -m engine.inference.server`: start the chat server of a home, write its address, stop it when idle.
Only one server runs for a home; the lock goes with the process, however it ends."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from engine.core import process
from engine.inference import access, limits
from store.errors import BadInput, TuningforkError
from store.home import Home, find_home

if TYPE_CHECKING:
    import uvicorn

    from engine.inference.server.service import Service

_GRACE_S = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run until idle, stopped, or failed. Returns an exit code: 0 done, 2 the caller's mistake, 1 ours."""
    try:
        run(argv, lambda text: print(text, flush=True), lambda url: print(f"listening at {url}", flush=True))
    except TuningforkError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def run(argv: Sequence[str] | None, tell: Callable[[str], None], listening: Callable[[str], None]) -> None:
    """The same for a caller that handles errors itself; says what takes time, and the server's URL once it answers."""
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    home = find_home(options.home).ensure()
    with access.only_one(access.lock_path(home), "A chat server already runs for this home."):
        _listen(home, options, tell, listening)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m engine.inference.server", description="The chat server of a home.")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--host", default=access.LOOPBACK)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--token-file", type=Path, help="a file of mode 0600; default: the home's own")
    parser.add_argument("--idle-s", type=float, default=600.0, help="unload unused models, and end unless --stay")
    parser.add_argument("--stay", action="store_true", help="do not end when idle")
    parser.add_argument("--model", action="append", default=[], help="load this one first and keep it in memory")
    parser.add_argument("--backend", default="auto", choices=limits.BACKENDS)
    parser.add_argument("--context", type=int, default=limits.CONTEXT, help="tokens of one conversation at most")
    parser.add_argument("--max-tokens", type=int, default=limits.TO_CONTEXT_END, help="tokens of one answer at most")
    parser.add_argument(
        "--cors", action="append", default=[], metavar="ORIGIN", help="web pages that may ask; * is all"
    )
    return parser


def _listen(
    home: Home, options: argparse.Namespace, tell: Callable[[str], None], listening: Callable[[str], None]
) -> None:
    """Serve until the end.

    Binds and writes the address first, so that clients can connect while the rest is imported.
    """
    access.check_bind(options.host, options.token_file)
    token = access.token_of(home, options.token_file)
    with closing(_bind(options.host, options.port)) as bound:
        url = f"http://{_for_url(options.host)}:{bound.getsockname()[1]}"
        started = process.started_at(os.getpid()) or 0.0
        access.write_info(home, access.ServerInfo(url, token, os.getpid(), started, access.version()))
        try:
            asyncio.run(_serve(home, options, token, bound, tell, lambda: listening(url)))
        finally:
            access.remove_info(home, os.getpid())


async def _serve(
    home: Home,
    options: argparse.Namespace,
    token: str,
    bound: socket.socket,
    tell: Callable[[str], None],
    listening: Callable[[], None],
) -> None:
    import uvicorn

    from engine.inference.server.app import make_app
    from engine.inference.server.service import Options, Service
    from store.db import Store

    with Store.open(home) as store:
        service = Service(store, Options(options.backend, options.idle_s, options.context, options.max_tokens))
        config = uvicorn.Config(
            make_app(service, token, access.version(), options.cors),
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=_GRACE_S,
            server_header=False,
        )
        server = uvicorn.Server(config)
        watch = asyncio.create_task(_watch(server, service, home, options))
        try:
            for ref in options.model:
                tell(f"Loading {ref} …")
                await service.load(ref, pin=True)
            listening()
            await server.serve([bound])
        finally:
            watch.cancel()
            await service.close()


async def _watch(server: uvicorn.Server, service: Service, home: Home, options: argparse.Namespace) -> None:
    """Unload what is idle; end the server when all of it is, or when its home is gone."""
    while not server.should_exit:
        await asyncio.sleep(min(1.0, options.idle_s))
        await service.unload_idle()
        idle = not service.busy and monotonic() - service.used_at > options.idle_s
        if (idle and not options.stay and not options.model) or not access.info_path(home).exists():
            server.should_exit = True


def _bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises BadInput when the address cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(128)
        return bound
    except (OSError, OverflowError) as error:
        raise BadInput(
            f"The server cannot listen on this address: {error}.",
            where=f"{host}:{port}",
            todo="Choose another --port or --host.",
        ) from None


def _for_url(host: str) -> str:
    """How clients on this machine reach a server bound to `host`."""
    if host in ("0.0.0.0", "::"):
        return access.LOOPBACK
    return f"[{host}]" if ":" in host else host


if __name__ == "__main__":
    sys.exit(main())
