"""What client and server of `tuningfork remote` agree on: the place of the socket, its permissions, lines and limits.
One JSON object a line each way. Imports neither the interface nor the event loop."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store import suggest
from store.errors import BadInput, NotFound, Unsupported, UserError
from store.home import Home
from tui.text import one_line

VERSION = 1
LONGEST_REQUEST = 64 << 10
"""Bytes of one line to the app."""
LONGEST_ANSWER = 16 << 20
"""Bytes of one line from the app; a picture of a large screen is the longest."""
MOST_KEYS, MOST_TEXT, MOST_CLIENTS = 100, 2_000, 8
"""Keys and characters of one request, and clients at a time."""
_LONGEST_PATH = 100
"""Bytes of a socket's path: Linux takes 107, macOS 103."""


@dataclass(frozen=True, slots=True)
class RemoteAccess:
    """What a remote caller may do. `allow_removing` lets it confirm what cannot be undone; `ready` is called with the
    socket's path once callers are heard."""

    allow_removing: bool = False
    ready: Callable[[Path], None] | None = None


def folder(home: Home) -> Path:
    """Where the socket and its lock are, for the owner of the home alone."""
    return home.root / "remote"


def address(home: Home) -> Path:
    """The path of the home's socket. Unsupported where the system has none; BadInput where the path is too long."""
    path = folder(home) / "remote.sock"
    if not hasattr(socket, "AF_UNIX"):
        raise Unsupported("This system has no Unix sockets, which remote control needs.", todo="Use Linux or macOS.")
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise BadInput(
            f"The path of the remote socket is longer than the {_LONGEST_PATH} bytes that a socket can have.",
            where=str(path),
            todo="Open the home by a shorter path, such as a link: ln -s HOME ~/t; tuningfork --home ~/t",
        )
    return path


def make_folder(home: Home) -> Path:
    """Make the socket's folder, or take it back from others who could enter it."""
    path = folder(home)
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.getuid():
        raise BadInput(
            "The folder of the remote socket is a link or belongs to someone else.",
            where=str(path),
            todo="Remove it and open the app again.",
        )
    path.chmod(0o700)
    return path


def peer_uid(peer: socket.socket) -> int | None:
    """The user at the other end, by the kernel's word; None where the system does not say and the mode must do."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    found = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", found)[1]
    return uid


def line(message: dict[str, Any]) -> bytes:
    """One message as it goes over the socket. Every control character and lone surrogate is escaped."""
    return json.dumps({"v": VERSION, **message}, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def parsed(data: bytes) -> dict[str, Any]:
    """A message from its line. BadInput where it is none, or of another version."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise BadInput("The line is not JSON.", todo="Send one JSON object a line.") from None
    if not isinstance(found, dict):
        raise BadInput("The line is not a JSON object.", todo="Send one JSON object a line.")
    if found.get("v") != VERSION:
        raise BadInput(
            f"The message has version {one_line(repr(found.get('v')), 40)}, and this Tuningfork speaks {VERSION}.",
            todo="Use the same version of Tuningfork for the app and the command.",
        )
    return found


def unknown(what: str, name: str, known: Iterable[str], otherwise: str) -> NotFound:
    """There is no action, field or mode of that name: the nearest ones are named, or else `otherwise` is what to do.

    >>> unknown("mode", "tarin", ["data", "train"], "Use: data, train").todo
    'Did you mean train?'
    """
    return NotFound(f"There is no {what} {one_line(repr(name), 60)}.", todo=suggest.hint(name, known, otherwise))


def refused(error: UserError | Exception) -> dict[str, Any]:
    """The answer that carries an error."""
    as_dict = getattr(error, "as_dict", None)
    if as_dict is not None:
        return {"ok": False, "error": as_dict()}
    what = f"The app failed with {type(error).__name__}: {error}"
    return {"ok": False, "error": {"error": "ServerError", "what": what, "where": None, "todo": None}}
