"""The app: themes, signals from the store, notices, and the question before it quits.
What a screen shows is in tui.screens, which modes there are in tui.modes; what takes time is in tui.bridge."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from collections import deque
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from textual import on, work
from textual._context import active_message_pump
from textual.app import App
from textual.binding import BindingsMap
from textual.command import CommandPalette
from textual.css.query import NoMatches
from textual.dom import DOMNode
from textual.notifications import Notification, Notify, SeverityLevel
from textual.signal import Signal
from textual.widget import Widget
from textual.widgets import Button
from textual.worker import WorkerFailed, active_worker

from store.db import Store
from store.errors import TuningforkError
from store.records import LIVE_STATES
from tui import file_errors, keys, modes, run_news, settings, terminal_input, themes
from tui.bridge import Bridge
from tui.messages import LiveJobs
from tui.run_news import RunNews
from tui.text import clean
from tui.widgets.key_bar import KeyBar

if TYPE_CHECKING:
    from textual.command import Provider
    from textual.screen import Screen

    from tui.remote.protocol import RemoteAccess

_POLL_S = 0.5
_SETTLED_S = 3.0
_NOTICES = 200


def _actions() -> type[Provider]:
    """The palette's provider, imported when the palette is first opened."""
    from tui.commands import Actions

    return Actions


class TuningforkApp(App[int]):
    """`store` is open; the app closes its own threads and leaves closing the store to the caller. With `remote` it
    hears remote callers; without it there is no socket, and nothing of tui.remote is imported."""

    TITLE = "Tuningfork"
    CSS_PATH = "app.tcss"
    DEFAULT_MODE = "data"
    BINDINGS = keys.bindings(keys.HELP, keys.APP)
    COMMANDS = {_actions}  # noqa: RUF012 - Textual's own way
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide"), (140, "-very-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-tall")]  # noqa: RUF012

    def __init__(self, store: Store, remote: RemoteAccess | None = None) -> None:
        super().__init__()
        terminal_input.install()
        for mode in modes.registered():
            self.add_mode(mode.name, mode.make)
        self._bindings = BindingsMap.merge([self._bindings, BindingsMap(keys.bindings(modes.mode_keys()))])
        self.store, self._remote = store, remote
        self.bridge = Bridge(store, lambda: not self.is_running)
        self.settings = settings.load(store.home)
        self.live = LiveJobs()
        self._news = RunNews(self)
        self.remote_error: Exception | None = None
        """Why remote callers could not be heard, when that ended an app without a screen."""
        self._asked_to_quit = False
        self._theme_before: str | None = None
        self.notices: deque[Notification] = deque(maxlen=_NOTICES)
        self.live_changed: Signal[LiveJobs] = Signal(self, "live jobs")
        self.pairs_changed: Signal[None] = Signal(self, "pairs or datasets")
        self.runs_changed: Signal[None] = Signal(self, "runs, their metrics or events, or exports")
        for theme in themes.ALL:
            self.register_theme(theme)
        self.theme = self.settings.theme if self.settings.theme in self.available_themes else themes.automatic()
        if self.settings.keymap:
            self.set_keymap(self.settings.keymap)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return themes.VARIABLES

    def on_mount(self) -> None:
        self.call_after_refresh(self._follow_store)
        self.runs_changed.subscribe(self, lambda _: self._tell_news())
        self.set_interval(run_news.LOOK_S, self._reap)
        self._catch_signals()
        if self._remote is not None:
            self.call_after_refresh(self._hear_remote, self._remote)
        if not self.is_headless:  # a test's process has many apps, and each would be kept for good
            self.set_timer(_SETTLED_S, gc.freeze)  # else each collection walks the whole interface: 80 ms without keys

    # -- what others changed ------------------------------------------------------------------------------------------

    @work(group="run news", exclusive=True)
    async def _tell_news(self) -> None:
        await self._news.look()

    @work(group="reap", exclusive=True)
    async def _reap(self) -> None:
        await self._news.reap()

    @work(group="poll")
    async def _follow_store(self) -> None:
        """Look, tell, wait. No look cuts the one before short: a change is reported once, and would be lost with it."""
        while True:
            await self._look()
            await asyncio.sleep(_POLL_S)

    @work(group="remote")
    async def _hear_remote(self, access: RemoteAccess) -> None:
        """Hear remote callers as long as the app lives. Where that cannot be, a visible app shows why and works on."""
        from tui.remote.server import RemoteServer

        try:
            await RemoteServer(self, access).serve()
        except (TuningforkError, OSError) as error:
            if self.is_headless:
                self.remote_error = error
                self.exit(1, return_code=1)
            elif isinstance(error, TuningforkError):
                self.notify_error(error)
            else:
                self.notify(f"Remote calls cannot be heard: {file_errors.reason(error)}.", severity="error")

    async def live_now(self) -> LiveJobs:
        """What runs now, asked afresh; `live` is what the last look found."""
        return await self.bridge.call(_live_jobs)

    async def _look(self) -> None:
        change = await self.bridge.changes()
        if self.live.jobs or (change and change.runs):  # a job's progress is no change that screens reload for
            live = await self.bridge.call(_live_jobs)
            if live != self.live:
                self.live = live
                self.live_changed.publish(live)
        if change and change.runs:
            self.runs_changed.publish(None)
        if change and change.pairs:
            self.pairs_changed.publish(None)

    # -- notices ------------------------------------------------------------------------------------------------------

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """Show a short notice in the last line, instead of the one before unless that was a warning or an error.

        Text and title are cleaned and taken literally; `markup` is only there because the framework passes it.
        """
        for shown in list(self._notifications):
            if shown.severity == severity == "information":
                self._unnotify(shown, refresh=False)
        super().notify(clean(message), title=clean(title), severity=severity, timeout=timeout, markup=False)

    def _on_notify(self, event: Notify) -> None:
        self.notices.append(event.notification)
        super()._on_notify(event)

    def _refresh_notifications(self) -> None:
        """Show what is to be noticed in the key bar of the page; the framework's own cover what is being read."""
        for screen in reversed(self._screen_stack):
            for bar in screen.query(KeyBar):
                bar.notices = tuple(self._notifications)
                return

    def notify_error(self, error: TuningforkError) -> None:
        """Show what happened, where, and what to do."""
        self.notify(str(error), title="That did not work", severity="error", timeout=10)

    def show_error(self, error: TuningforkError, title: str = "That did not work") -> None:
        """Show it in a dialog, for what stopped a longer piece of work."""
        from tui.screens.dialogs.error import ErrorDialog

        self.push_screen(ErrorDialog(error, title))

    @work(group="settings")
    async def remember(self, **changes: str) -> None:
        """Keep a setting for the next start. Where the home cannot be written, only the setting is lost."""
        self.settings = replace(self.settings, **changes)  # type: ignore[arg-type]
        with suppress(OSError):
            await self.bridge.file(settings.save, self.store.home, self.settings)

    # -- moving and leaving -------------------------------------------------------------------------------------------

    def action_mode(self, mode: str) -> None:
        """Show a mode's screen."""
        self.switch_mode(mode)

    async def compare(self, *models: str) -> None:
        """Open Compare with these lanes."""
        await self._bare("compare")
        await self.screen.open_with(*models)  # type: ignore[attr-defined]

    async def train(self, dataset: str, objective: str, on: str | None) -> None:
        """Open Train with a new run on a dataset, on top of a run if one is named."""
        self.remember(dataset=dataset)
        await self._bare("train")
        await self.screen.open_with(dataset, objective, on)  # type: ignore[attr-defined]

    async def export(self, run: str, step: int | None) -> None:
        """Open Export with a run, at one of its checkpoints if a step is given."""
        await self._bare("export")
        await self.screen.open_with(run, step)  # type: ignore[attr-defined]

    async def _bare(self, mode: str) -> None:
        """Show a mode's own screen. What is open on top of it, such as an editor, is closed and its draft kept."""
        await self.switch_mode(mode)
        self.save_drafts()
        while len(self.screen_stack) > 1:
            await self.screen.dismiss(None)

    async def act(self, action: str, mode: str | None = None) -> None:
        """Run an action by name, as its key would: in another mode when that is named; on the focused widget first."""
        if mode is not None and mode != getattr(self.screen, "PAGE", ""):
            await self._bare(mode)
        focused = self.screen.focused
        name = "action_" + action.partition("(")[0]
        path = focused.ancestors_with_self if focused is not None else [self.screen, self]
        target = next((node for node in path if hasattr(node, name)), self.screen)
        await self.run_action(action, default_namespace=target)

    def action_help(self, page: str = "") -> None:
        """Help for the screen that is shown, or a page by its name; the key closes it too."""
        from tui.screens.dialogs.help import HelpScreen

        if isinstance(self.screen, HelpScreen):
            self.screen.dismiss(None)
            return
        pages = [getattr(screen, "PAGE", "") for screen in reversed(self.screen_stack)]
        self.push_screen(HelpScreen(page or next(filter(None, pages), "data")))

    def action_jump(self) -> None:
        """Label what can have the focus, and go to what is chosen; the key ends it, too. The palette has one field."""
        from tui.screens.dialogs.jump import JumpScreen, in_view

        if isinstance(self.screen, JumpScreen):
            self.screen.dismiss(None)
        elif not isinstance(self.screen, CommandPalette):
            if targets := in_view(self.screen):
                self.push_screen(JumpScreen(targets, self.size), self._jump_to)
            else:
                self.notify("There is nothing here to jump to.")

    def _jump_to(self, chosen: Widget | None) -> None:
        if chosen is not None and chosen.focusable:
            chosen.focus()
            if isinstance(chosen, Button):
                chosen.press()

    def action_help_quit(self) -> None:
        """Ctrl+C copies in a field; elsewhere it shows which key quits."""
        self.notify("Press ^Q or F10 to quit.")

    def action_notices(self) -> None:
        """List the notices of this session."""
        from tui.screens.dialogs.notices import NoticesDialog

        self.push_screen(NoticesDialog(tuple(self.notices)))

    def action_models(self) -> None:
        """List the models; add, prepare and remove them."""
        from tui.screens.models.page import ModelsPage

        self._open_once(ModelsPage)

    def action_doctor(self) -> None:
        """Check what is needed on this machine."""
        from tui.screens.doctor.page import DoctorPage

        self._open_once(DoctorPage)

    def _open_once(self, page: type[Screen[None]]) -> None:
        """Open a page that belongs to no mode, unless it is open here already."""
        if not any(isinstance(screen, page) for screen in self.screen_stack):
            self.push_screen(page())

    def action_jobs(self) -> None:
        """List what runs and what has ended."""
        from tui.screens.dialogs.jobs import JobsDialog

        self.push_screen(JobsDialog())

    @on(CommandPalette.OptionHighlighted)
    def _preview_theme(self, event: CommandPalette.OptionHighlighted) -> None:
        """Show a theme while the palette's cursor is on it."""
        if self._theme_before is None:
            self._theme_before = self.theme
        command = getattr(getattr(event.highlighted_event.option, "hit", None), "command", None)
        if isinstance(command, partial) and command.func == self.choose_theme:
            self.theme = command.args[0]
        else:
            self.theme = self._theme_before

    @on(CommandPalette.Closed)
    def _end_preview(self, event: CommandPalette.Closed) -> None:
        """Without a choice, the theme is the one before."""
        if self._theme_before is not None and not event.option_selected:
            self.theme = self._theme_before
        self._theme_before = None

    def choose_theme(self, name: str) -> None:
        """Use a theme, now and at the next start."""
        self.theme = name
        self.remember(theme=name)

    def action_quit(self) -> None:  # type: ignore[override]
        """Quit; ask first when something still runs or is unsaved. Pressed twice, quit at once."""
        notices = self.quit_notices()
        if not notices or self._asked_to_quit:
            self.save_drafts()
            self.exit(0)
        else:
            self._ask_to_quit(notices)

    def quit_notices(self) -> list[str]:
        """What to know before quitting: what still runs, then what is unsaved."""
        notices = []
        for run in self.live.runs:
            part = f" ({100 * run.step // run.total_steps}%)" if run.total_steps else ""
            notices.append(f"The run {run.name}{part} continues without this window.")
        notices += [f"The {job.kind} {job.name} continues without this window." for job in self.live.jobs]
        screens = [screen for stack in self._screen_stacks.values() for screen in stack]
        return notices + [text for screen in screens if (text := getattr(screen, "quit_notice", lambda: None)())]

    def _handle_exception(self, error: Exception) -> None:
        """Without what a node does not find because it is on its way out: one that is left while it is being built gets
        no children, and its handlers still run. For the framework that is a crash, and a traceback in the terminal."""
        cause: BaseException = error
        node: object = active_message_pump.get(None)
        if isinstance(error, WorkerFailed):
            cause, node = error.error, active_worker.get().node
        leaving = self._exit or not self.is_running or _is_leaving(node)
        if not (leaving and isinstance(cause, NoMatches)):
            super()._handle_exception(error)

    async def _close_all(self) -> None:
        """End what still reads before the framework takes the widgets away that it reads for; in that order it would
        fail on one that is gone, and leave a traceback in the terminal."""
        self.workers.cancel_all()
        await super()._close_all()

    @work(group="quit", exclusive=True)
    async def _ask_to_quit(self, notices: list[str]) -> None:
        from tui.screens.dialogs.confirm import Confirm

        self._asked_to_quit = True
        harmless = len(notices) == len(self.live.runs) + len(self.live.jobs)
        ask = Confirm("Quit Tuningfork?", "\n".join(notices), "Quit", cancel="Stay", harmless=harmless)
        try:
            if await self.push_screen_wait(ask):
                self.save_drafts()
                self.exit(0)
        finally:
            self._asked_to_quit = False

    async def on_unmount(self) -> None:
        self.bridge.close()

    # -- the terminal goes away ---------------------------------------------------------------------------------------

    def _catch_signals(self) -> None:
        """Save what was typed on SIGHUP and SIGTERM; an app without a screen ends on Ctrl-C, too. Not in tests, which
        have neither a terminal nor callers to lose."""
        if (self.is_headless and self._remote is None) or threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGHUP, signal.SIGTERM, *((signal.SIGINT,) if self.is_headless else ())):
            asyncio.get_running_loop().add_signal_handler(number, self.leave_now, number)

    def leave_now(self, number: int) -> None:
        """Save drafts and end with 128 + signal; a terminal that is gone may block, so after 2 s end anyway."""
        code = 128 + number
        watchdog = threading.Timer(2.0, os._exit, (code,))
        watchdog.daemon = True
        watchdog.start()
        self.save_drafts()
        self.exit(code, return_code=code)

    def save_drafts(self) -> None:
        """Ask every open screen to write its unsaved text."""
        for stack in self._screen_stacks.values():
            for screen in stack:
                save = getattr(screen, "save_drafts", None)
                if save is not None:
                    with suppress(OSError, TimeoutError):  # the other screens' texts still have a chance
                        save()


def _is_leaving(node: object) -> bool:
    return isinstance(node, DOMNode) and any(above._pruning or above._closing for above in node.ancestors_with_self)


def _live_jobs(store: Store) -> LiveJobs:
    from engine import job_list
    from store import jobs, runs

    every = runs.all_runs(store)
    return LiveJobs(
        runs=tuple(run for run in every if run.state in LIVE_STATES),
        queued=sum(run.state == "queued" for run in every),
        jobs=tuple(map(job_list.of_job, jobs.unfinished(store))),
    )
