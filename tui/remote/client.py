"""The caller's side of remote control: connects to the app's socket, sends one request, reads its answer.
Imports no screen, so that a script's call stays quick."""

from __future__ import annotations

import socket
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from store.errors import Conflict, NotFound, ServerError, kind_named
from store.home import Home
from tui import file_errors
from tui.remote import protocol

_EVERY_S = 0.1
ANSWER_S = 60.0
"""Seconds until an answer must have come; the app itself stops waiting earlier."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """What a script waits for, all of it at once: `texts` that are on the screen and `gone` ones that are not, a
    `mode`, `actions` that are enabled, `ready` for a screen that does nothing by itself, `jobs_done` for no run, export
    or other job that runs or waits."""

    texts: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    mode: str | None = None
    actions: tuple[str, ...] = ()
    ready: bool = False
    jobs_done: bool = False

    def missing(self, shown: dict[str, Any], enabled: Collection[str]) -> str | None:
        """What is not so yet, as the end of a sentence; None when all is. `shown` is the app's answer to `show`.

        >>> shown = {"rows": ["Ready"], "mode": "data", "working": "checking", "jobs": []}
        >>> Awaited(("Ready",)).missing(shown, ()), Awaited(("Ready",), ready=True).missing(shown, ())
        (None, 'the app is still checking')
        """
        page = "\n".join(shown["rows"])
        found = [f"this is not on the screen: {text!r}" for text in self.texts if text not in page]
        found += [f"this is still on the screen: {text!r}" for text in self.gone if text in page]
        if self.mode is not None and shown["mode"] != self.mode:
            found.append(f"the mode is still {shown['mode']}")
        found += [f"the action {name} is not possible" for name in self.actions if name not in enabled]
        if self.ready and shown["working"]:
            found.append(f"the app is still {shown['working']}")
        if self.jobs_done and shown["jobs"]:
            found.append(f"this still runs or waits: {', '.join(job['name'] for job in shown['jobs'])}")
        return found[0] if found else None


class RemoteClient:
    """A connection to the app of a home. A context manager. NotFound where no app listens.

    `wait_s` is for how long an app that is still starting is waited for.
    """

    def __init__(self, home: Home, wait_s: float = 0.0) -> None:
        self._path = protocol.address(home)
        self._socket = self._connected(time.monotonic() + wait_s)
        self._reader = self._socket.makefile("rb")

    def _connected(self, deadline: float) -> socket.socket:
        while True:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            made.settimeout(ANSWER_S)
            try:
                made.connect(str(self._path))
                return made
            except (FileNotFoundError, ConnectionRefusedError):
                made.close()
                if time.monotonic() >= deadline:
                    todo = "Open the app with: tuningfork --remote\nOr one without a screen: tuningfork remote serve"
                    raise NotFound("No app of this home listens for remote calls.", todo=todo) from None
            except OSError as error:
                made.close()
                what = f"The remote socket cannot be used: {file_errors.reason(error)}."
                raise ServerError(what, where=str(self._path), todo="Check who owns the home.") from error
            time.sleep(_EVERY_S)

    def __enter__(self) -> RemoteClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self._socket.close()

    def ask(self, do: str, **what: Any) -> dict[str, Any]:
        """The answer to one request. An error that the app sent is raised as what it was there."""
        try:
            with suppress(ConnectionError):  # one that was refused before it asked is told why by what it reads
                self._socket.sendall(protocol.line({"do": do, **what}))
            data = self._reader.readline(protocol.LONGEST_ANSWER + 1)
        except TimeoutError:
            todo = "Look at its screen: tuningfork remote show"
            raise ServerError(f"The app did not answer within {ANSWER_S:.0f} s.", todo=todo) from None
        except OSError:
            data = b""
        if not data.endswith(b"\n"):
            raise ServerError("The app closed before it answered.", todo="Open it again with: tuningfork --remote")
        answer = protocol.parsed(data)
        if not answer.get("ok"):
            error = answer.get("error") or {}
            kind = kind_named(error.get("error"), ServerError)
            raise kind(str(error.get("what")), where=error.get("where"), todo=error.get("todo"))
        result: dict[str, Any] = answer["result"]
        return result

    def _check(self, awaited: Awaited) -> None:
        if awaited.mode is None and not awaited.actions:
            return
        app = self.ask("actions")
        if awaited.mode is not None and awaited.mode not in app["modes"]:
            raise protocol.unknown("mode", awaited.mode, app["modes"], f"Use: {', '.join(app['modes'])}")
        for name in awaited.actions:
            if name not in app["known"]:
                raise protocol.unknown("action", name, app["known"], "List them: tuningfork remote actions")

    def wait(self, awaited: Awaited, timeout_s: float) -> dict[str, Any]:
        """What is shown once all that is `awaited` is so. Conflict, with what is missing, when that takes longer than
        `timeout_s` seconds; NotFound at once for a mode or an action that no screen has."""
        self._check(awaited)
        deadline = time.monotonic() + timeout_s
        while True:
            shown = self.ask("show")
            offered = self.ask("actions")["actions"] if awaited.actions else []
            missing = awaited.missing(shown, {each["name"] for each in offered if each["enabled"]})
            if missing is None:
                return shown
            if time.monotonic() >= deadline:
                what = f"After {timeout_s:g} s {missing}."
                raise Conflict(what, todo="See what is shown with: tuningfork remote show")
            time.sleep(_EVERY_S)
