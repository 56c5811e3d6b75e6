"""Who may talk to the server and where it is: the token, the file that says where a home's server listens, the bind
rule. Used by the server and by its clients; imports no server library."""

from __future__ import annotations

import fcntl
import hmac
import ipaddress
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.core import process
from engine.core.files import write_whole
from store.errors import BadInput, Conflict
from store.home import Home

LOOPBACK = "127.0.0.1"
_SHORTEST_TOKEN = 16


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """Where a home's chat server listens and which process it is."""

    url: str
    token: str
    pid: int
    pid_started: float
    version: str

    def alive(self) -> bool:
        """Whether that very process runs."""
        return process.is_running(self.pid, self.pid_started) is True


def version() -> str:
    """The version that server and client must share."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("tuningfork")
    except PackageNotFoundError:
        return "0"


def info_path(home: Home) -> Path:
    """The file that names the home's server."""
    return home.root / "server.json"


def read_info(home: Home) -> ServerInfo | None:
    """The server that the home's file names, whether it lives or not; None without a readable file."""
    try:
        return ServerInfo(**json.loads(info_path(home).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_info(home: Home, info: ServerInfo) -> None:
    """Write down where the server is: readable by its owner only, written completely or not at all."""
    write_whole(info_path(home), json.dumps(asdict(info)))


def remove_info(home: Home, pid: int) -> None:
    """Remove the file if it still names this process."""
    info = read_info(home)
    if info is not None and info.pid == pid:
        info_path(home).unlink(missing_ok=True)


def token_of(home: Home, path: Path | None) -> str:
    """The token from a given file, else the home's own, made on first use. Both must be readable by their owner alone.

    Raises BadInput for a missing, short or open file.
    """
    own = home.root / "token"
    if path is None and not own.exists():
        write_whole(own, secrets.token_urlsafe(32) + "\n")
    path = path or own
    try:
        token = path.read_text("utf-8").strip()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"The token file cannot be read: {error}.", where=str(path), todo="Name a readable file."
        ) from None
    if mode & 0o077:
        raise BadInput("Other users may read the token file.", where=str(path), todo=f"chmod 600 {path}")
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise BadInput(
            f"The token must be one word of at least {_SHORTEST_TOKEN} ASCII characters.",
            where=str(path),
            todo=f"Make one: openssl rand -hex 24 > {path}",
        )
    return token


def check_bind(host: str, token_file: Path | None) -> None:
    """Refuse to listen where other machines can connect, unless a token file was named."""
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local and token_file is None:
        raise BadInput(
            f"{host} can be reached from other machines, and no token was given.",
            where="--host",
            todo="Name a token file with --token-file, or stay on 127.0.0.1 and use an SSH tunnel.",
        )


def token_matches(header: str | None, token: str) -> bool:
    """Whether an Authorization header carries the token; takes the same time wherever they differ."""
    scheme, _, given = (header or "").partition(" ")
    return hmac.compare_digest(given.strip().encode(), token.encode()) and scheme.lower() == "bearer"


def lock_path(home: Home) -> Path:
    """The file that the home's chat server holds locked while it lives."""
    return home.root / "server.lock"


def is_held(path: Path) -> bool:
    """Whether a process holds a lock file."""
    try:
        with only_one(path, ""):
            return False
    except Conflict:
        return True


@contextmanager
def only_one(path: Path, taken: str) -> Iterator[None]:
    """Hold a lock file; the system releases it however the process ends.

    Raises Conflict saying `taken` when it is held.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(taken, where=str(path), todo="Use that one, or end it first.") from None
        yield
    finally:
        os.close(handle)


@contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Hold a lock file, waiting until it is free. Blocks its thread."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
