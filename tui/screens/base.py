"""What the screens of the modes share: masthead above, key bar below, Escape that never quits.
A mode's own screen composes its body and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, ClassVar, ParamSpec, TypeVar

from textual import on, work
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import BindingType
from textual.events import ScreenResume
from textual.screen import Screen

from store.errors import TuningforkError
from tui import keys
from tui.services import AppServices, services
from tui.text import clean
from tui.widgets.key_bar import KeyBar
from tui.widgets.masthead import Masthead

Answer = TypeVar("Answer")
P = ParamSpec("P")


def show_errors(method: Callable[P, Awaitable[None]]) -> Callable[P, Awaitable[None]]:
    """For coroutine methods of screens and widgets: an error of ours is shown as a notice and goes no further."""

    @wraps(method)
    async def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            await method(*args, **kwargs)
        except TuningforkError as error:
            node: Any = args[0]
            services(node).notify_error(error)

    return run


class ResultScreen(Screen[Answer]):
    """A screen that gives back a result, also when it finishes while another mode or a dialog covers it: after a slow
    write, for example. The framework's own `dismiss` would close whatever is on top."""

    _left_with: tuple[Answer | None] | None = None

    @property
    def tuningfork(self) -> AppServices:
        """The app, as far as a screen may use it."""
        return services(self)

    def dismiss(self, result: Answer | None = None) -> AwaitComplete:
        """Close with a result; where this is not the screen on top, as soon as it is."""
        if self._left_with is not None:
            (result,) = self._left_with  # it finished before, and that result was not delivered yet
        if self.is_active:
            return super().dismiss(result)
        self._left_with = (result,)
        return AwaitComplete()

    @on(ScreenResume)
    def _leave_now(self) -> None:
        if self._left_with is not None:
            self.call_later(self._leave, *self._left_with)

    def _leave(self, result: Answer | None) -> None:
        self.dismiss(result)  # not awaited: that would wait for itself


class PageScreen(ResultScreen[Answer]):
    """Base of every screen that fills the window. `PAGE` is its page in tui/help and in modes.pages()."""

    PAGE: ClassVar[str] = ""
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.BACK)

    def compose(self) -> ComposeResult:
        yield Masthead(self.app.current_mode)
        yield from self.compose_body()
        yield KeyBar()

    def compose_body(self) -> ComposeResult:
        """The widgets between masthead and key bar."""
        yield from ()

    def on_mount(self) -> None:
        self.query_one(Masthead).live = self.tuningfork.live
        self.tuningfork.live_changed.subscribe(self, self._live_changed)
        self.call_next(self.refresh_bindings)  # no action works before this

    def _live_changed(self, _live: object) -> None:
        self.query_one(Masthead).live = self.tuningfork.live

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.is_mounted and self.app.is_running and self.can_act(action)

    def can_act(self, action: str) -> bool:
        """Whether an action of this screen has something to act on. Asked only while all widgets are there."""
        return True

    def action_back(self) -> object:
        """Close the innermost thing that is open here; a screen with nothing open stays."""

    def back_word(self) -> str | None:
        """What Escape does here now, for the key bar; None to leave it out."""
        return None if self is self.app.screen_stack[0] else "Back"

    def badge(self) -> str:
        """The mode of this screen that keys act in, for the left end of the key bar; empty where there is only one."""
        return ""

    def key_word(self, id: str) -> str | None:
        """The word for a key now, by its id in tui.keys: None for its own word, "" to leave it out of the bar."""
        return None

    def working(self) -> str:
        """What this screen does by itself just now, in a word or two, for scripts that wait; empty for nothing."""
        return ""

    def quit_notice(self) -> str | None:
        """What to know before leaving the app now, in one sentence; None for nothing."""
        return None

    def save_drafts(self) -> None:
        """Write unsaved text to disk, at once and without awaiting: the process is about to end."""


class ModeScreen(PageScreen[None]):
    """Base of the modes' own screens. `MODE` is the mode's name in tui.modes, and the name of its page."""

    MODE: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.PAGE = cls.MODE

    @work(group="copy")
    async def copy(self, text: str) -> None:
        """Copy to the clipboard, and for terminals that take no copies to a file of the home."""
        self.app.copy_to_clipboard(clean(text))
        target = self.tuningfork.store.home.cache / "copied.txt"
        try:
            await self.tuningfork.bridge.file(target.write_text, text, "utf-8")
        except OSError:
            self.tuningfork.notify("Copied.")
            return
        self.tuningfork.notify("Copied. If your terminal takes no copies: it is in cache/copied.txt of the home, too.")
