"""The app's side of remote control: one worker that hears callers on the home's socket and acts as their keys would.
What a caller may not do is decided here; what it sees is read in `reading`."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from textual import events
from textual._callback import invoke
from textual.keys import Keys, _character_to_key, key_to_character

from store.errors import BadInput, Conflict, TuningforkError, Unsupported
from tui import modes
from tui.paste import plain
from tui.remote import fields, protocol, reading
from tui.remote.protocol import RemoteAccess
from tui.text import one_line

_IDLE_S = 5.0
"""For how long a call waits until the app has done what it started; the answer says whether it has."""
_AT_THE_TERMINAL = {"app.suspend", "prompt.editor", "editor.field", "editor.whole"}
_WITHOUT_A_QUESTION = {
    "votes.remove", "compare.unvote", "export.cancel", "jobs.stop", "editor.revert", "proposed_pair.revert"
}  # fmt: skip
"""Actions that remove something at once, and cannot be undone. The job that is stopped may be a half-made export."""
_TYPES = {_character_to_key(chr(code)): chr(code) for code in range(ord(" "), 127)}
"""What a key types, by its name: `/` by `slash`."""
_NAMED = {key.value for key in Keys} | _TYPES.keys()
_KEY = re.compile(r"((?:ctrl|alt|shift)\+)*(.+)", re.DOTALL)


class RemoteServer:
    """Hears callers until the app ends. Conflict where another app of the home hears them already."""

    def __init__(self, app: Any, access: RemoteAccess) -> None:
        self._app, self._access = app, access
        self._one_at_a_time = asyncio.Lock()
        self._clients: set[asyncio.Task[Any]] = set()
        self._doing: dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]] = {
            "actions": self._actions, "show": self._show, "svg": self._svg, "call": self._call, "press": self._press,
            "type": self._type, "paste": self._paste, "mode": self._mode, "quit": self._quit,
            "fields": self._fields, "fill": self._fill, "choose": self._choose,
        }  # fmt: skip
        self._leaving = False

    async def serve(self) -> None:
        """Listen until cancelled. The lock is held for as long, so a socket without a lock is a dead app's."""
        home = self._app.store.home
        path = protocol.address(home)
        lock = os.open(protocol.make_folder(home) / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(
                    "Another app of this home already listens for remote calls.",
                    where=str(path),
                    todo="Quit that one first: tuningfork remote quit",
                ) from None
            path.unlink(missing_ok=True)
            await self._listen(path)
        finally:
            os.close(lock)

    async def _listen(self, path: Path) -> None:
        server = await asyncio.start_unix_server(self._client, path, limit=protocol.LONGEST_REQUEST)
        try:
            path.chmod(0o600)  # the folder let no one in meanwhile
            if self._access.ready is not None:
                self._access.ready(path)
            await asyncio.Event().wait()
        finally:
            path.unlink(missing_ok=True)
            server.close()
            for client in self._clients:
                client.cancel()

    # -- one caller ---------------------------------------------------------------------------------------------------

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            await self._hear(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass  # it left, and what it asked for is done; or the app ends, which asyncio would print as an error
        finally:
            self._clients.discard(task)
            writer.close()

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        uid = protocol.peer_uid(writer.get_extra_info("socket"))
        if uid not in (None, os.getuid()):
            await _send(writer, protocol.refused(BadInput("Only the user who opened the app may call it.")))
            return
        if len(self._clients) > protocol.MOST_CLIENTS:
            busy = Conflict(f"{protocol.MOST_CLIENTS} callers are connected already.", todo="Close one of them.")
            await _send(writer, protocol.refused(busy))
            return
        while True:
            try:
                data = await reader.readline()
            except ValueError:  # asyncio's word for a line above the limit; what follows it is in the middle of it
                most = protocol.LONGEST_REQUEST
                await _send(writer, protocol.refused(BadInput(f"The line is longer than {most} bytes.")))
                return
            if not data.endswith(b"\n"):
                return
            await _send(writer, await self._answer(data))
            if self._leaving:
                self._leaving = False
                self._leave()

    async def _answer(self, data: bytes) -> dict[str, Any]:
        try:
            request = protocol.parsed(data)
            do = self._doing.get(str(request.get("do")))
            if do is None:
                known = ", ".join(self._doing)
                raise BadInput(f"There is no request {one_line(repr(request.get('do')), 40)}.", todo=f"Use: {known}")
            async with self._one_at_a_time:
                return {"ok": True, "result": await do(request)}
        except TuningforkError as error:
            return protocol.refused(error)
        except Exception as error:  # a caller's line must never end the app
            return protocol.refused(error)

    # -- reading ------------------------------------------------------------------------------------------------------

    async def _actions(self, _: dict[str, Any]) -> dict[str, Any]:
        listed = reading.actions(self._app)
        for each in listed:
            each["enabled"] = each["enabled"] and self._forbidden(each["name"]) is None
        known = {*_elsewhere(), *(key.id for page in modes.pages() for key in modes.actions(page))}
        known.update(each["name"] for each in listed)
        named = [mode.name for mode in modes.registered()]
        return {"mode": self._app.current_mode, "actions": listed, "known": sorted(known), "modes": named}

    async def _show(self, _: dict[str, Any]) -> dict[str, Any]:
        live = await self._app.live_now()
        waiting = [{"name": "queued runs", "kind": "run", "state": f"{live.queued} queued"}] if live.queued else []
        named = [{"name": run.name, "kind": "run", "state": run.state} for run in live.runs]
        named += [{"name": job.name, "kind": job.kind, "state": job.state} for job in live.jobs]
        return {**reading.shown(self._app), "jobs": named + waiting}

    async def _fields(self, _: dict[str, Any]) -> dict[str, Any]:
        focused = self._app.screen.focused
        return {"fields": [field.told(focused) for field in fields.fields(self._app)]}

    async def _svg(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"svg": self._app.export_screenshot()}

    # -- acting -------------------------------------------------------------------------------------------------------

    async def _call(self, request: dict[str, Any]) -> dict[str, Any]:
        name = _text(request, "action", 100)
        await self._built()
        bound, page, elsewhere = reading.bound(self._app), reading.page_keys(self._app), _elsewhere()
        if name not in {*bound, *page, *elsewhere}:
            raise protocol.unknown("action", name, {*bound, *page, *elsewhere}, "List them: tuningfork remote actions")
        self._check(name)
        if name in bound:
            node, binding, enabled = bound[name]
            if not enabled:
                raise _not_now(name)
            return await self._done(partial(self._app.run_action, binding.action, node))
        if name in page:
            if not reading.possible(self._app, page[name]):
                raise _not_now(name)
            return await self._done(partial(self._app.act, page[name].action))
        return await self._done(partial(self._app.act, *elsewhere[name]))

    async def _fill(self, request: dict[str, Any]) -> dict[str, Any]:
        self._check(None)
        name, text = _text(request, "field", 100), _text(request, "text", protocol.LONGEST_REQUEST, least=0)
        return await self._done(partial(fields.fill, self._app, name, text))

    async def _choose(self, request: dict[str, Any]) -> dict[str, Any]:
        """Put the cursor on a row, or the focus on a button; with `open`, press Enter there."""
        self._check(None)
        done = await self._done(partial(fields.choose, self._app, _text(request, "text", 400)))
        return await self._send_key(("enter", "\r")) if request.get("open") is True else done

    async def _press(self, request: dict[str, Any]) -> dict[str, Any]:
        keys = request.get("keys")
        if not isinstance(keys, list) or not 0 < len(keys) <= protocol.MOST_KEYS:
            raise BadInput(f"A request presses 1 to {protocol.MOST_KEYS} keys.", where="keys")
        presses = [_key(key) for key in keys]
        for press in presses:
            done = await self._send_key(press)
        return done

    async def _type(self, request: dict[str, Any]) -> dict[str, Any]:
        text = _text(request, "text", protocol.MOST_TEXT)
        done = {"idle": True}
        for char in text.replace("\r\n", "\n"):
            done = await self._send_key(("enter", "\r") if char == "\n" else (_character_to_key(char), char))
        return done

    async def _paste(self, request: dict[str, Any]) -> dict[str, Any]:
        self._check(None)
        text = plain(_text(request, "text", protocol.LONGEST_REQUEST))
        self._app.post_message(events.Paste(text))  # to a widget it would bubble up to the app, which pastes it again
        return await self._settled()

    async def _mode(self, request: dict[str, Any]) -> dict[str, Any]:
        name = _text(request, "mode", 100)
        known = [mode.name for mode in modes.registered()]
        if name not in known:
            raise protocol.unknown("mode", name, known, f"Use: {', '.join(known)}")
        self._check(f"app.{name}")
        return await self._done(partial(self._app.action_mode, name))

    async def _quit(self, _: dict[str, Any]) -> dict[str, Any]:
        """Without a screen the app ends now, its texts kept as drafts; a visible one asks its user first where it would
        by its key. Asking again does not answer: the key's second press quits at once, and that is for a person."""
        if self._app.is_headless or not self._app.quit_notices():
            self._leaving = True
            return {"asks": False}
        self._check("app.quit")
        return {"asks": True, **await self._done(self._app.action_quit)}

    def _leave(self) -> None:
        if self._app.is_headless:
            self._app.save_drafts()
            self._app.exit(0)
        else:
            self._app.action_quit()

    async def _send_key(self, press: tuple[str, str | None]) -> dict[str, Any]:
        key, char = press
        focused = self._app.screen.focused
        typed = focused is not None and focused.check_consume_key(key, char)
        active = self._app.screen.active_bindings.get(key)
        self._check(None if typed or active is None else active.binding.id)
        self._app.post_message(events.Key(key, char))
        return await self._settled()

    # -- what needs a person ------------------------------------------------------------------------------------------

    def _check(self, name: str | None) -> None:
        """Conflict when a remote caller may not do this. `name` is the action's id, None for text and plain keys."""
        if reading.is_question(self._app) and not self._access.allow_removing and name != "back":
            raise Conflict(
                "The question on the screen is about something that cannot be undone.",
                where=type(self._app.screen).__name__,
                todo="Answer it at the screen, or cancel it with: tuningfork remote press escape",
            )
        why = self._forbidden(name)
        if why is not None:
            raise Unsupported(why, where=name, todo="Do it at the screen.")

    def _forbidden(self, name: str | None) -> str | None:
        if name in _AT_THE_TERMINAL:
            return "This action needs the terminal of the app."
        if name in _WITHOUT_A_QUESTION and not self._access.allow_removing:
            return "This action removes something at once, which a remote caller may not."
        return None

    # -- idle again ---------------------------------------------------------------------------------------------------

    async def _done(self, act: Callable[[], Any]) -> dict[str, Any]:
        """Run something where the app runs its keys' actions, then wait as for a key. What it raises is raised here."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def run() -> None:
            try:
                await invoke(act)
            except TuningforkError as error:
                if not ended.done():
                    ended.set_exception(error)
            finally:
                if not ended.done():
                    ended.set_result(None)

        self._app.call_later(run)
        with suppress(TimeoutError):
            await asyncio.wait_for(ended, _IDLE_S)
        return await self._settled()

    async def _built(self) -> None:
        """Wait until the screen has all its widgets: before that it offers no action of its own."""
        deadline = time.monotonic() + _IDLE_S
        while not self._app.screen.is_mounted and time.monotonic() < deadline:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.002)

    async def _settled(self) -> dict[str, Any]:
        """Wait until what was sent is handled, no message waits, and no call to the store is under way."""
        deadline, quiet = time.monotonic() + _IDLE_S, 0
        for pump in (self._app, self._app.screen.focused or self._app.screen):
            handled = asyncio.Event()
            if pump.call_later(handled.set):
                with suppress(TimeoutError):
                    await asyncio.wait_for(handled.wait(), max(0.0, deadline - time.monotonic()))
        while quiet < 3 and time.monotonic() < deadline:
            await asyncio.sleep(0.002)
            with suppress(LookupError):  # between two screens there is none
                widgets = [self._app.screen, *self._app.screen.walk_children()]
                called = self._app.bridge.waiting > 0 and not self._working()  # what a screen does by itself goes on
                still = self._app.message_queue_size == 0 and not called
                # one that is not mounted yet would take a text and tell nobody that it changed
                still = still and all(each.is_mounted and each.message_queue_size == 0 for each in widgets)
                quiet = quiet + 1 if still else 0
        screen = type(self._app.screen).__name__
        return {"idle": quiet >= 3, "working": self._working(), "mode": self._app.current_mode, "screen": screen}

    def _working(self) -> str:
        return reading.working(self._app)


async def _send(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    writer.write(protocol.line(message))
    await writer.drain()


def _elsewhere() -> dict[str, tuple[str, str | None]]:
    """What the modes and the whole app can do, by id: the action, and the mode that it belongs to."""
    found: dict[str, tuple[str, str | None]] = {key.id: (key.action, None) for key in modes.everywhere()}
    for mode in modes.registered():
        found |= {key.id: (key.action, mode.name) for key in modes.actions(mode.name)}
    return found


def _not_now(name: str) -> Conflict:
    return Conflict(f"The action {name} is not possible now.", todo="List them: tuningfork remote actions")


def _text(request: dict[str, Any], name: str, most: int, least: int = 1) -> str:
    value = request.get(name)
    if not isinstance(value, str) or not least <= len(value) <= most:
        raise BadInput(f"It must be a text of {least} to {most} characters.", where=name)
    return value


def _key(given: object) -> tuple[str, str | None]:
    """A key's name for Textual and the character it types: `a`, `?`, `enter`, `ctrl+s`. BadInput for no key."""
    if not isinstance(given, str) or not (match := _KEY.fullmatch(given)):
        raise BadInput(f"There is no key {one_line(repr(given), 40)}.", where="keys")
    if len(given) == 1:
        return _character_to_key(given), given
    last = match.group(2)
    if last not in _NAMED and len(last) != 1:
        todo = "Write keys such as a, ?, enter, escape, f2, ctrl+s or shift+down."
        raise BadInput(f"There is no key {one_line(repr(given), 40)}.", where="keys", todo=todo)
    return given, _TYPES.get(given, key_to_character(given))
